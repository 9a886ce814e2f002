//! Tests on whole files: small ones by `fixtures/generate.py`, real ones where
//! `CKPT_REGEN_MATERIAL` names the folder that has them, and hostile ones made here.

mod build;
mod checksums;
mod hostile_pickles;
mod hostile_zips;
mod layouts;
mod mappings;
mod real_files;
mod small_files;

use std::path::{Path, PathBuf};

use super::super::{StateDict, Tensor};
use super::{Opened, open};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/checkpoint/torch/tests/fixtures")
        .join(name)
}

/// The folder of real files.
fn material() -> Option<PathBuf> {
    crate::skip::material_folder("real PyTorch files")
}

fn open_path(path: &Path) -> Result<(Source, Opened)> {
    let source = Source::open(path)?;
    let opened = open(&source, 0)?;
    Ok((source, opened))
}

/// Opens a file with these contents.
fn open_bytes(bytes: &[u8]) -> Result<Opened> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    open_path(file.path()).map(|(_, opened)| opened)
}

impl Opened {
    fn finished(&self) -> Option<u64> {
        Some(self.epochs.as_ref()?.finished)
    }
}

fn dict<'a>(opened: &'a Opened, root: &str) -> &'a StateDict {
    opened.dicts.iter().find(|dict| dict.root == root).unwrap()
}

fn tensor<'a>(dict: &'a StateDict, name: &str) -> &'a Tensor {
    dict.tensors
        .iter()
        .find(|tensor| tensor.name == name)
        .unwrap()
}

fn bytes_of(source: &Source, tensor: &Tensor) -> Vec<u8> {
    source.read_at(tensor.offset, tensor.len as usize).unwrap()
}

fn floats(source: &Source, tensor: &Tensor) -> Vec<f64> {
    tensor.dtype.decode(&bytes_of(source, tensor))
}

/// An edit of one f32 element of a tensor.
fn edit(source: &Source, tensor: &Tensor, n: u64, value: f32) -> Patch {
    let offset = tensor.offset + 4 * n;
    Patch {
        offset,
        old: source.read_at(offset, 4).unwrap(),
        new: value.to_le_bytes().into(),
    }
}

/// A file's bytes with patches applied; each must find its old bytes.
fn patched(path: &Path, patches: &[Patch]) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    for Patch { offset, old, new } in patches {
        let range = *offset as usize..*offset as usize + old.len();
        assert_eq!(bytes[range.clone()], **old);
        bytes[range].copy_from_slice(new);
    }
    bytes
}

fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error @ (Error::Malformed { .. } | Error::Refused { .. })) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

/// Marsaglia's xorshift64.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A copy of `bytes` with one to four mutations: a flipped bit, a new byte, a removed or
    /// doubled range, a cut end.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            if out.is_empty() {
                break;
            }
            let at = self.below(out.len());
            let to = (at + 1 + self.below(16)).min(out.len());
            match self.below(8) {
                0..=2 => out[at] ^= 1 << self.below(8),
                3 | 4 => out[at] = self.next() as u8,
                5 => drop(out.drain(at..to)),
                6 => {
                    let piece = out[at..to].to_vec();
                    drop(out.splice(at..at, piece));
                }
                _ => out.truncate(at),
            }
        }
        out
    }
}
