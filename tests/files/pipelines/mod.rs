//! What users' files showed: which network is edited, when it is due, and which channels must not
//! be.

mod channels;
mod epochs;
mod files;
mod networks;
mod optimizers;
mod rounds;
mod unusual;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::common::*;

/// A directory with a checkpoint of these layers in it.
fn made(layers: &[(&str, &[f32])]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, network(layers)).unwrap();
    (dir, file)
}

/// γ that are different in each of eight channels; the median is 0.4.
const EIGHT: &[f32] = &[0.7, 0.1, 0.6, 0.3, 0.5, 0.2, 0.4, 0.8];

/// Three live channels are negative, and more than half of all are dead.
const DYING: &[f32] = &[-0.9, -0.8, -0.7, 6e-41, 6e-41, 0.5, 0.6, 0.7];
