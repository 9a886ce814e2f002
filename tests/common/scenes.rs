//! Small scenes, as CamVid is laid out: a class for each pixel.

use std::fs;
use std::path::Path;

/// Width and height of all but the last scene of each split, which is turned.
pub(crate) const SIZE: (usize, usize) = (40, 32);
/// The value of pixels that do not count.
const VOID: u8 = 11;

/// A PNG of this kind.
pub(crate) fn png(
    size: (usize, usize),
    color: png::ColorType,
    depth: png::BitDepth,
    raw: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0 as u32, size.1 as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(raw).unwrap();
    writer.finish().unwrap();
    bytes
}

pub(crate) fn grey(size: (usize, usize), raw: &[u8]) -> Vec<u8> {
    png(size, png::ColorType::Grayscale, png::BitDepth::Eight, raw)
}

/// Scenes of CamVid's 11 classes, of which the first three are there: in squares of 8 pixels, by their
/// colours. The first column does not count. 8 for training, 3 for tests.
pub(crate) fn scenes_in(dir: &Path) {
    for (split, count) in [("train", 8), ("val", 3)] {
        let kinds = ["images", "annotations"];
        let [images, maps] = kinds.map(|kind| dir.join(kind).join(split));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&maps).unwrap();
        for number in 0..count {
            let (width, height) = match number + 1 == count {
                true => (SIZE.1, SIZE.0),
                false => SIZE,
            };
            let class = |at: usize| (at / width / 8 + at % width / 8 + number) % 3;
            let pixels = 0..width * height;
            let label = |at: usize| match at.is_multiple_of(width) {
                true => VOID,
                false => class(at) as u8,
            };
            let labels: Vec<u8> = pixels.clone().map(label).collect();
            let colors = [[250, 20, 30], [20, 240, 40], [10, 30, 230]];
            let colors: Vec<u8> = pixels.flat_map(|at| colors[class(at)]).collect();
            let size = (width, height);
            let image = png(size, png::ColorType::Rgb, png::BitDepth::Eight, &colors);
            fs::write(images.join(format!("{number}.png")), image).unwrap();
            fs::write(maps.join(format!("{number}.png")), grey(size, &labels)).unwrap();
        }
    }
    let names =
        "sky\nbuilding\npole\nroad\npavement\ntree\nsign\nfence\ncar\npedestrian\nbicyclist\n";
    fs::write(dir.join("classes.txt"), names).unwrap();
}
