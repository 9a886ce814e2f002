//! What no file may do.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use super::open;

/// A file of the repository with a few bytes changed, many times: each is a network or an error.
fn mutated(file: &str, resolution: Option<usize>, times: usize) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx");
    let bytes = std::fs::read(path.join(file)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(file);
    let mut random = ChaCha8Rng::seed_from_u64(bytes.len() as u64);
    let (mut networks, mut errors) = (0, 0);
    for _ in 0..times {
        let mut bytes = bytes.clone();
        for _ in 0..=random.next_u32() % 3 {
            let at = random.next_u32() as usize % bytes.len();
            bytes[at] = match random.next_u32() % 3 {
                0 => random.next_u32() as u8,
                1 => bytes[at] ^ (1 << (random.next_u32() % 8)),
                _ => [0, 1, 0x7f, 0xff][random.next_u32() as usize % 4],
            };
        }
        std::fs::write(&copy, &bytes).unwrap();
        match open(&copy, resolution.map(Into::into)) {
            Ok(network) => {
                networks += 1;
                // Numbers may lie in a form that is found out only when they are read.
                let weights = network.origin.weights().unwrap_or_default();
                for (spec, weight) in network.graph.tensors().iter().zip(&weights) {
                    assert_eq!(weight.len(), spec.len(), "{}", spec.name);
                }
            }
            Err(_) => errors += 1,
        }
    }
    (networks, errors)
}

#[test]
fn changed_bytes_make_a_network_or_an_error() {
    for (file, resolution) in [
        ("pieces.onnx", None),
        ("layouts.onnx", Some(7)),
        ("half.onnx", None),
        ("list.onnx", None),
    ] {
        let (_, errors) = mutated(file, resolution, 1500);
        assert!(errors > 0, "{file}");
    }
}
