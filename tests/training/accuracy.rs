//! A trained network is as right about real images as it was where it was trained.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use crate::common::{FIXTURE, material, repository};
use candle_core::DType;
use candle_nn::VarMap;
use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::engine::{Batch, Engine};
use ckpt_regen::net::zoo;
use ckpt_regen::{Checkpoint, weights};
use serde_json::Value;

/// Channel means and deviations that fixtures/generate.py normalises CIFAR-100 by.
const MEAN: [f32; 3] = [0.5071, 0.4865, 0.4409];
const DEVIATION: [f32; 3] = [0.2673, 0.2564, 0.2762];
const PIXELS: usize = 32 * 32;

/// The images of one class: below one another in a lossless WebP, 32 pixels wide.
fn images(path: &Path) -> Vec<f32> {
    let file = BufReader::new(File::open(path).unwrap());
    let mut decoder = image_webp::WebPDecoder::new(file).unwrap();
    let (width, height) = decoder.dimensions();
    assert_eq!((width, height % 32, decoder.has_alpha()), (32, 0, false));
    let mut bytes = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut bytes).unwrap();
    let planes = bytes.chunks_exact(3 * PIXELS).flat_map(|image| {
        (0..3).flat_map(move |channel| {
            let plane = image.iter().skip(channel).step_by(3);
            plane.map(move |byte| (f32::from(*byte) / 255.0 - MEAN[channel]) / DEVIATION[channel])
        })
    });
    planes.collect()
}

#[test]
fn the_fixture_reaches_its_test_accuracy_on_cifar_100() {
    let Some(folder) = material("data/cifar100/test") else {
        return;
    };
    let expected = fs::read(repository(FIXTURE).join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let epochs = expected["history"].as_array().unwrap();
    let expected = epochs[epochs.len() - 1]["test_acc"].as_f64().unwrap();

    let options = zoo::Options {
        classes: 100,
        resolution: 32.into(),
        stem: zoo::Stem::Native,
        width: 0.25,
        norm: zoo::Norm::Batch,
    };
    let graph = zoo::build("mobilenet_v2", &options).unwrap();
    let checkpoint = Checkpoint::open(repository(FIXTURE).join("model.safetensors")).unwrap();
    let vars: VarMap = weights::initialize(&graph, 0, DType::F32).unwrap();
    weights::load(&graph, &checkpoint, &weights::LoadOptions::default(), &vars).unwrap();
    let mut engine = Cpu::new(graph, Isa::best(), 0).unwrap();
    weights::to_engine(&vars, &mut engine).unwrap();

    let (mut right, mut seen) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let class = path.file_name().unwrap().to_str().unwrap()[..2]
            .parse()
            .unwrap();
        let images = images(&path);
        let labels = vec![class; images.len() / (3 * PIXELS)];
        let outcome = engine
            .evaluate(&Batch {
                images: &images,
                labels: &labels,
            })
            .unwrap();
        right += outcome.top1;
        seen += outcome.images;
    }
    assert_eq!(seen, 10_000);
    let accuracy = 100.0 * right as f64 / seen as f64;
    assert!(
        (accuracy - expected).abs() <= 0.05,
        "{accuracy} %, where it was trained {expected} %"
    );
}
