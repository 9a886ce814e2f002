//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[cfg(feature = "train")]
mod golden;
#[cfg(feature = "train")]
mod scenes;
mod skip;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[cfg(feature = "train")]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use golden::golden_network;
#[cfg(feature = "train")]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use scenes::{SIZE, grey, png, scenes_in};
use serde_json::Value;
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use skip::{material_folder, skip};

pub(crate) const FIXTURE: &str = "fixtures/mobilenet_v2_025";

/// A path of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A path below the folder of outside material; `None`, after a [`skip`], where there is none.
pub(crate) fn material(path: &str) -> Option<PathBuf> {
    Some(material_folder(path)?.join(path))
}

/// Whether what is slow and repeats is run as well: `CKPT_REGEN_THOROUGH=1`.
pub(crate) fn is_thorough() -> bool {
    std::env::var_os("CKPT_REGEN_THOROUGH").is_some_and(|value| value == "1")
}

/// The program with these arguments, not yet run.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckpt-regen"));
    command.args(args).env("NO_COLOR", "1");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    command(args).output().expect("the program starts")
}

/// Stdout of a run that must succeed.
pub(crate) fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

pub(crate) fn ok_json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args)).expect("stdout is JSON")
}

/// Stderr of a run that must fail with this exit code.
pub(crate) fn fails(code: i32, args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        stderr(&output)
    );
    let text = stderr(&output);
    assert!(!text.contains("panicked"), "{text}");
    text
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A temporary directory with a copy of `file`, and the copy's path.
pub(crate) fn copy_of(file: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dir.path().join(file.file_name().expect("a file"));
    fs::copy(file, &copy).expect("the file is copied");
    (dir, copy)
}

/// A temporary directory with a copy of the files in `from`.
pub(crate) fn copy_of_dir(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, bytes) in state(from) {
        let copy = dir.path().join(name);
        fs::create_dir_all(copy.parent().expect("a directory")).expect("the directory is made");
        fs::write(copy, bytes).expect("the file is copied");
    }
    dir
}

/// Every file of a directory and of those in it, by its path there, with its contents.
pub(crate) fn state(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        let name = name.to_str().expect("a UTF-8 name");
        if path.is_dir() {
            let inside = state(&path).into_iter();
            files.extend(inside.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            let bytes = fs::read(&path).expect("the file is readable");
            files.insert(name.to_owned(), bytes);
        }
    }
    files
}

/// The path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// One tensor of [`safetensors_file`].
pub(crate) type Entry<'a> = (&'a str, &'a str, &'a [u64], Vec<u8>);

/// A safetensors file of these tensors, in this order.
pub(crate) fn safetensors_file(tensors: &[Entry<'_>]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        data.extend(bytes);
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert((*name).to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A checkpoint whose BatchNorm layers have these γ; the statistics are 0 and 1.
pub(crate) fn network(layers: &[(&str, &[f32])]) -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<f32>)> = Vec::new();
    for (name, gamma) in layers {
        tensors.push((format!("{name}.weight"), gamma.to_vec()));
        tensors.push((format!("{name}.bias"), vec![0.0; gamma.len()]));
        tensors.push((format!("{name}.running_mean"), vec![0.0; gamma.len()]));
        tensors.push((format!("{name}.running_var"), vec![1.0; gamma.len()]));
    }
    let shapes: Vec<[u64; 1]> = tensors.iter().map(|(_, v)| [v.len() as u64]).collect();
    let entries = tensors.iter().zip(&shapes);
    let entries: Vec<Entry<'_>> = entries
        .map(|((name, v), shape)| (&name[..], "F32", &shape[..], f32s(v)))
        .collect();
    safetensors_file(&entries)
}

/// Numbers that look like an image, from −2 to 2.
pub(crate) fn pixels(count: usize) -> Vec<f32> {
    let mut state: u64 = 11;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// CIFAR-100's binary format in `dir`: a made-up image of each class, to train on and for tests.
pub(crate) fn cifar100(dir: &Path) {
    let pixels = pixels(100 * 3072);
    let mut bytes = Vec::new();
    for (class, own) in pixels.chunks(3072).enumerate() {
        bytes.extend([0, class as u8]);
        bytes.extend(own.iter().map(|pixel| (pixel * 60.0 + 128.0) as u8));
    }
    let folder = dir.join("cifar-100-binary");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("train.bin"), &bytes).unwrap();
    fs::write(folder.join("test.bin"), &bytes).unwrap();
    let names = |count: usize, what: &str| -> String {
        (0..count).map(|n| format!("{what} {n}\n")).collect()
    };
    fs::write(folder.join("fine_label_names.txt"), names(100, "class")).unwrap();
    fs::write(folder.join("coarse_label_names.txt"), names(20, "group")).unwrap();
}

/// The γ of one layer, as the library reads them.
pub(crate) fn gamma(path: &Path, layer: &str) -> Vec<f64> {
    let checkpoint = ckpt_regen::Checkpoint::open(path).expect("the checkpoint opens");
    let name = format!("{layer}.weight");
    let tensors = &checkpoint.dicts()[0].tensors;
    let tensor = tensors
        .iter()
        .find(|t| t.name == name)
        .expect("the layer is there");
    tensor
        .dtype
        .decode(&checkpoint.read(tensor).expect("γ is readable"))
}

/// Compares with tests/snapshots/NAME, which `CKPT_REGEN_SNAPSHOTS=write` writes anew.
pub(crate) fn snapshot(name: &str, text: &str) {
    let file = repository("tests/snapshots").join(name);
    if std::env::var_os("CKPT_REGEN_SNAPSHOTS").is_some_and(|value| value == "write") {
        fs::write(&file, text).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let line = kept.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        kept == text,
        "{name} differs, first in line {:?}; CKPT_REGEN_SNAPSHOTS=write keeps it\n{text}",
        line.map(|line| line + 1)
    );
}
