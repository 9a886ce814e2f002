//! Runs an ONNX file as a network here: what it says of some images.
//!
//! `onnx_outputs NET.onnx IMAGES` reads images as raw f32, little-endian, each channel by channel and
//! row by row, and prints a JSON list of numbers for each.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;

use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::engine::{Batch, Engine as _, Part};
use ckpt_regen::net::onnx;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, images] = &args[..] else {
        return Err("expected an ONNX file and a file of images".into());
    };
    let bytes = std::fs::read(images)?;
    let images: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();

    let onnx::Network { graph, origin } = onnx::open(Path::new(network), None)?;
    let weights = origin.weights()?;
    let mut engine = Cpu::new(graph, Isa::best(), 0)?;
    let ids: Vec<_> = engine.graph().tensor_ids().collect();
    for (id, values) in ids.into_iter().zip(&weights) {
        engine.write(id, Part::Value, values);
    }

    let shape = engine.graph().input_shape();
    let labels = vec![0; images.len() / shape.len()];
    engine.evaluate(&Batch {
        images: &images,
        labels: &labels,
    })?;
    let classes = engine.graph().output_shape().len();
    let mut output = Vec::new();
    engine.output(&mut output);
    let rows: Vec<&[f64]> = output.chunks_exact(classes).collect();
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}
