use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images");
    std::fs::read(path.join(name)).unwrap()
}

fn expected() -> Vec<(String, Image)> {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    let side = |name: &str| expected[name].as_u64().unwrap() as usize;
    let images = expected["pixels"].as_object().unwrap().iter();
    let images = images.map(|(name, text)| {
        let pixels = BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
        (
            name.clone(),
            Image::new(side("width"), side("height"), pixels),
        )
    });
    images.collect()
}

fn decoded(bytes: &[u8]) -> Result<Image> {
    let mut image = Image::default();
    decode(bytes, Path::new("x"), &mut image)?;
    Ok(image)
}

#[test]
fn every_kind_becomes_what_pillow_makes_of_it() {
    let all = expected();
    assert_eq!(all.len(), 18);
    for (name, expected) in all {
        let bytes = fixture(&name);
        let image = decoded(&bytes).unwrap();
        let at = PathBuf::from(&name);
        assert_eq!(
            size(Cursor::new(&bytes), &at).unwrap(),
            (image.width(), image.height())
        );
        assert_eq!(
            (image.width(), image.height()),
            (expected.width(), expected.height())
        );
        let pairs = image.pixels().iter().zip(expected.pixels());
        let levels: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
        // Decoders of lossy formats may round as they like.
        let allowed = match name.rsplit_once('.').unwrap().1 {
            "jpg" if name != "png.jpg" => 4,
            _ if name == "lossy.webp" => 4,
            _ => 0,
        };
        let most = levels.iter().max().unwrap();
        assert!(*most <= allowed, "{name}: {most} levels off");
        let mean = levels.iter().map(|l| f64::from(*l)).sum::<f64>() / levels.len() as f64;
        assert!(mean < 0.8, "{name}: {mean} levels off on average");
    }
}

#[test]
fn what_is_cut_off_is_damaged_wherever_the_cut_is() {
    for (name, _) in expected() {
        let bytes = fixture(&name);
        // The last bytes of a PNG say no more than that it ends there.
        let most = bytes.len() - if bytes.starts_with(b"\x89PNG") { 16 } else { 2 };
        for len in (0..=most).step_by(7) {
            let message = decoded(&bytes[..len]).unwrap_err().to_string();
            assert!(
                message.starts_with("x: image: expected"),
                "{name} {len}: {message}"
            );
        }
    }
}

#[test]
fn no_damage_makes_a_panic() {
    let mut random = super::super::transform::generator([0; 8], 0, 0, 0);
    for (name, _) in expected() {
        let bytes = fixture(&name);
        for _ in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..rand::Rng::random_range(&mut random, 1..4) {
                let at = rand::Rng::random_range(&mut random, 0..bytes.len());
                bytes[at] = rand::Rng::random(&mut random);
            }
            let _ = size(Cursor::new(&bytes), Path::new("x"));
            let _ = decoded(&bytes);
        }
    }
}

#[test]
fn a_promise_of_many_pixels_is_refused_before_anything_is_decoded() {
    let mut bytes = fixture("rgb.png");
    bytes[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let crc = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    let mut jpeg = fixture("rgb.jpg");
    let at = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    jpeg[at + 5..at + 9].fill(0xF0);
    for bytes in [bytes, jpeg] {
        for message in [
            decoded(&bytes).unwrap_err().to_string(),
            size(Cursor::new(&bytes), Path::new("x"))
                .unwrap_err()
                .to_string(),
        ] {
            assert!(
                message.starts_with("x: size: expected 1 to 67108864 pixels"),
                "{message}"
            );
        }
    }
}

#[test]
fn other_files_are_no_images() {
    for bytes in [&b""[..], b"GIF89a......", b"RIFF....WAVE", b"\xFF"] {
        let message = decoded(bytes).unwrap_err().to_string();
        assert!(
            message.contains("expected a JPEG, PNG or WebP file"),
            "{message}"
        );
    }
}
