//! How files are read: mapped, and how much of them is looked at.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use crate::ALONE;
use crate::common::*;
use ckpt_regen::Checkpoint;
use ckpt_regen::checkpoint::Reading;
use ckpt_regen::inspect::track::{TrackOptions, track};

/// Bytes that were looked at so far; and those of them that the system was asked for.
fn bytes_read() -> [u64; 2] {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    [Reading::so_far().bytes, line.unwrap().parse().unwrap()]
}

/// How many there were since `before`.
fn since(before: [u64; 2]) -> [u64; 2] {
    let now = bytes_read();
    [now[0] - before[0], now[1] - before[1]]
}

/// A checkpoint of 50 MB, most of it one tensor that is a hole in the file.
fn large(path: &PathBuf, gamma: &[f32]) {
    let rest = f32s(&vec![1.0; gamma.len()]);
    let channels = [gamma.len() as u64];
    let small = safetensors_file(&[
        ("bn.weight", "F32", &channels, f32s(gamma)),
        ("bn.running_mean", "F32", &channels, rest.clone()),
        ("bn.running_var", "F32", &channels, rest),
        ("fc.weight", "F32", &[0], Vec::new()),
    ]);
    let size = 50_000_000_u64;
    let text = String::from_utf8_lossy(&small[8..]).into_owned();
    let json = &text[..=text.rfind("}}").unwrap() + 1];
    let mut header: serde_json::Value = serde_json::from_str(json).unwrap();
    let start = header["fc.weight"]["data_offsets"][0].as_u64().unwrap();
    header["fc.weight"] = serde_json::json!({
        "dtype": "F32", "shape": [size / 4], "data_offsets": [start, start + size],
    });
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(&small[8 + json.len()..]);
    fs::write(path, &bytes).unwrap();
    let file: File = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes.len() as u64 + size).unwrap();
}

#[test]
fn a_series_of_large_files_costs_their_headers_and_gamma() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let gamma: Vec<f32> = (0..1000_u16).map(|i| f32::from(i) / 1000.0).collect();
    let paths: Vec<PathBuf> = (1..=20)
        .map(|epoch| dir.path().join(format!("epoch-{epoch}.safetensors")))
        .collect();
    paths.iter().for_each(|path| large(path, &gamma));
    let before = bytes_read();
    let series = track(&paths, &TrackOptions::default()).unwrap();
    let [looked_at, read] = since(before);
    assert_eq!((series.saves.len(), series.network.channels), (20, 1000));
    // γ are 4,000 bytes.
    assert!(looked_at < 20 * 100_000, "{looked_at} bytes for 20 files");
    assert!(read < 20 * 100_000, "{read} bytes for 20 files");

    let training = repository(FIXTURE).join("training.pth");
    let before = bytes_read();
    track(std::slice::from_ref(&training), &TrackOptions::default()).unwrap();
    let ([looked_at, read], whole) = (since(before), fs::metadata(&training).unwrap().len());
    assert!(looked_at < whole / 4, "{looked_at} of {whole} bytes");
    assert!(read < whole / 4, "{read} of {whole} bytes");
}

#[cfg(not(ckpt_regen_portable))]
#[test]
fn a_checkpoint_is_mapped_while_it_is_open() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("m.safetensors");
    large(&path, &[0.5; 8]);
    let maps = || fs::read_to_string("/proc/self/maps").unwrap();
    let is_mapped = || {
        maps()
            .lines()
            .any(|line| line.ends_with(path.to_str().unwrap()))
    };
    let before = Reading::so_far();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(is_mapped(), "{} is not in {}", path.display(), maps());
    assert_eq!(Reading::so_far().mapped, before.mapped + 1);
    drop(checkpoint);
    assert!(!is_mapped());
}
