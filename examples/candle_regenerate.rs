//! A candle model trained on made-up images and regenerated between two epochs, in memory.
//!
//! `cargo run --release --example candle_regenerate`

#![allow(clippy::print_stdout, reason = "a program may print")]

use std::error::Error;

use candle_core::{DType, Device, Module, ModuleT, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, Optimizer, SGD, VarBuilder, VarMap, batch_norm,
    conv2d, linear, loss,
};
use ckpt_regen::candle::regenerate;
use ckpt_regen::regen::{Plan, Rule};

const EPOCHS: usize = 6;
const EVERY: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    train_and_regenerate().map(|_| ())
}

/// Two convolutions with BatchNorm and a classifier of two classes.
struct Net {
    convolutions: [Conv2d; 2],
    norms: [BatchNorm; 2],
    classifier: Linear,
}

impl Net {
    fn new(vb: VarBuilder) -> candle_core::Result<Net> {
        let padded = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        Ok(Net {
            convolutions: [
                conv2d(1, 8, 3, padded, vb.pp("conv1"))?,
                conv2d(8, 16, 3, padded, vb.pp("conv2"))?,
            ],
            norms: [
                batch_norm(8, 1e-5, vb.pp("bn1"))?,
                batch_norm(16, 1e-5, vb.pp("bn2"))?,
            ],
            classifier: linear(16, 2, vb.pp("fc"))?,
        })
    }

    fn forward(&self, images: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let mut x = images.clone();
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            x = norm.forward_t(&convolution.forward(&x)?, train)?.relu()?;
        }
        self.classifier.forward(&x.mean((2, 3))?)
    }
}

/// Noise, and in every second image a bright upper half.
fn images(count: usize, device: &Device) -> candle_core::Result<(Tensor, Tensor)> {
    let labels: Vec<u32> = (0..count as u32).map(|n| n % 2).collect();
    let mut pixels = Vec::with_capacity(count * 64);
    let mut state = 1_u32;
    for label in &labels {
        for pixel in 0..64 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            let bright = *label == 1 && pixel < 32;
            pixels.push(noise + if bright { 1.0 } else { 0.0 });
        }
    }
    let images = Tensor::from_vec(pixels, (count, 1, 8, 8), device)?;
    Ok((images, Tensor::from_vec(labels, count, device)?))
}

/// Trains, regenerates every [`EVERY`] epochs but not after the last, and returns the variables with
/// every plan that was carried out.
pub(crate) fn train_and_regenerate() -> Result<(VarMap, Vec<Plan>), Box<dyn Error>> {
    let device = Device::Cpu;
    let vars = VarMap::new();
    let net = Net::new(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    let (images, labels) = images(64, &device)?;
    let mut optimizer = SGD::new(vars.all_vars(), 0.1)?;
    let mut plans = Vec::new();
    for epoch in 1..=EPOCHS {
        let loss = loss::cross_entropy(&net.forward(&images, true)?, &labels)?;
        optimizer.backward_step(&loss)?;
        println!("epoch {epoch}: loss {:.4}", loss.to_scalar::<f32>()?);
        if epoch % EVERY == 0 && epoch < EPOCHS {
            let plan = regenerate(&vars, Rule::Paper)?;
            println!(
                "  {} of {} channels regenerated, γ {:.6}",
                plan.regenerated(),
                plan.counted,
                plan.target.unwrap_or(f64::NAN)
            );
            plans.push(plan);
        }
    }
    let guesses = net.forward(&images, false)?.argmax(1)?;
    let right = guesses.eq(&labels)?.to_dtype(DType::U32)?.sum_all()?;
    println!("{} of 64 images recognised", right.to_scalar::<u32>()?);
    Ok((vars, plans))
}
