use std::path::PathBuf;

use super::*;
use crate::train::data::Loader;

/// Scenes of these sizes, width and height. The red of the pixel in row y and column x is y, its green x, and its class
/// (y + x) / 4 % 3; the pixel at 0, 0 does not count.
struct Numbered(Vec<(usize, usize)>);

fn class(row: usize, column: usize) -> u8 {
    match (row, column) {
        (0, 0) => IGNORED,
        _ => ((row + column) / 4 % 3) as u8,
    }
}

impl Dataset for Numbered {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> PathBuf {
        index.to_string().into()
    }

    fn size(&self, index: usize) -> Option<(usize, usize)> {
        Some(self.0[index])
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        let (width, height) = self.0[index];
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [y as u8, x as u8, 7]));
        *into = Image::new(width, height, pixels.collect());
        Ok(())
    }
}

impl Scenes for Numbered {
    fn read_labels(&self, index: usize, into: &mut LabelMap) -> Result<()> {
        let (width, height) = self.0[index];
        let labels = (0..height).flat_map(|y| (0..width).map(move |x| class(y, x)));
        *into = LabelMap::new(width, height, labels.collect());
        Ok(())
    }
}

fn transform(split: Split) -> SceneTransform {
    SceneTransform {
        split,
        sizes: Sizes::default(),
        flip: false,
        stride: 8,
        pad: LabelPad::Ignore,
        normalisation: Normalisation {
            mean: [0.0; 3],
            deviation: [1.0 / 255.0; 3],
        },
    }
}

fn loader(sizes: &[(usize, usize)], transform: SceneTransform) -> Loader {
    Loader::scenes(Arc::new(Numbered(sizes.to_vec())), transform, 4, 1).unwrap()
}

fn draws(count: usize, pass: u64) -> Vec<Draw> {
    let draw = |index| Draw {
        index,
        pass,
        scale: 0,
    };
    (0..count).map(draw).collect()
}

#[test]
fn a_batch_is_padded_to_multiples_of_8_and_labelled_in_the_middle_of_each_square() {
    let mut loader = loader(&[(20, 10), (30, 17)], transform(Split::Train));
    let mut epoch = loader.epoch(vec![draws(2, 1)], 0);
    let batch = epoch.next().unwrap().unwrap();
    assert_eq!(batch.resolution, "24x32".parse().unwrap());
    let at = |image: usize, plane: usize, row: usize, column: usize| {
        batch.images[((image * 3 + plane) * 24 + row) * 32 + column].round()
    };
    for (image, (width, height)) in [(0, (20, 10)), (1, (30, 17))] {
        for (row, column) in (0..24).flat_map(|row| (0..32).map(move |column| (row, column))) {
            let inside = row < height && column < width;
            let expected = if inside { [row, column, 7] } else { [0; 3] };
            let found = [0, 1, 2].map(|plane| at(image, plane, row, column) as usize);
            assert_eq!(found, expected, "{image} {row} {column}");
        }
    }
    let label = |(width, height): (usize, usize), row: usize, column: usize| {
        let (row, column) = (8 * row + 4, 8 * column + 4);
        let inside = row < height && column < width;
        u32::from(if inside { class(row, column) } else { IGNORED })
    };
    let squares =
        |size| (0..3).flat_map(move |row| (0..4).map(move |column| label(size, row, column)));
    let expected: Vec<u32> = squares((20, 10)).chain(squares((30, 17))).collect();
    assert_eq!(batch.labels, expected);
}

#[test]
fn the_reference_takes_what_lies_beyond_a_padded_image_for_the_first_class() {
    let transform = SceneTransform {
        pad: LabelPad::First,
        ..transform(Split::Train)
    };
    let mut loader = loader(&[(20, 10), (30, 17)], transform);
    let mut epoch = loader.epoch(vec![draws(2, 1)], 0);
    let labels = epoch.next().unwrap().unwrap().labels;
    // 20 × 10 is padded to 24 × 16: two rows of three squares, of which the second lies below the image.
    let [zero, one] = [0, 1].map(|x| u32::from(class(4, 8 * x + 4)));
    let out = u32::from(IGNORED);
    assert_eq!(
        labels[..12],
        [zero, one, out, 0, out, out, out, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_flipped_image_has_flipped_labels() {
    let flipping = SceneTransform {
        flip: true,
        stride: 1,
        ..transform(Split::Train)
    };
    let mut loader = loader(&[(16, 8)], flipping);
    let batches = (1..40).map(|pass| draws(1, pass)).collect();
    let mut epoch = loader.epoch(batches, 3);
    let mut flipped = 0;
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap();
        let columns = &batch.images[128..256];
        flipped += usize::from(columns[0].round() as usize == 15);
        for (at, label) in batch.labels.iter().enumerate() {
            let column = columns[at].round() as usize;
            assert_eq!(*label, u32::from(class(at / 16, column)));
        }
    }
    assert!((8..32).contains(&flipped), "{flipped} of 39");
}

#[test]
fn labels_are_those_of_pillow_flipped_or_not() {
    // numpy.arange(w) and numpy.arange(w)[::-1] as images of one row, by Pillow 13's resize((n, 1), NEAREST).
    assert_eq!(nearest(5, 10), [1, 3, 5, 7, 9]);
    assert_eq!(nearest(4, 10), [1, 3, 6, 8]);
    assert_eq!(nearest(6, 4), [0, 1, 1, 2, 2, 3]);
    assert_eq!(nearest(3, 3), [0, 1, 2]);
    let flipping = SceneTransform {
        sizes: Sizes {
            short_sides: vec![8],
            long_side: 0,
        },
        flip: true,
        stride: 1,
        ..transform(Split::Train)
    };
    let mut loader = loader(&[(32, 16)], flipping);
    let mut epoch = loader.epoch((1..20).map(|pass| draws(1, pass)).collect(), 3);
    let mut flipped = 0;
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap();
        let own = |column: usize| u32::from(class(1, 2 * column + 1));
        // Flipped, the pixel in column 2x + 1 was that in 31 − (2x + 1).
        let turned = |column: usize| u32::from(class(1, 30 - 2 * column));
        let found = &batch.labels[..16];
        let is_flipped = found.iter().copied().eq((0..16).map(turned));
        assert!(
            is_flipped || found.iter().copied().eq((0..16).map(own)),
            "{found:?}"
        );
        flipped += usize::from(is_flipped);
    }
    assert!((4..16).contains(&flipped), "{flipped} of 19");
}

#[test]
fn scenes_that_would_grow_beyond_what_is_decoded_are_refused() {
    let scaling = SceneTransform {
        sizes: Sizes {
            short_sides: vec![600],
            long_side: 0,
        },
        ..transform(Split::Train)
    };
    let new = |transform| Loader::scenes(Arc::new(Numbered(vec![(4, 20000)])), transform, 4, 1);
    let refused = new(scaling.clone()).err().unwrap().to_string();
    assert!(
        refused.starts_with("0: would be scaled to 600×3000000 pixels"),
        "{refused}"
    );
    let sizes = Sizes {
        long_side: 1000,
        ..scaling.sizes.clone()
    };
    assert!(new(SceneTransform { sizes, ..scaling }).is_ok());
}

#[test]
fn one_shorter_side_is_drawn_for_each_batch_and_the_longer_one_is_limited() {
    let scaling = SceneTransform {
        sizes: Sizes {
            short_sides: vec![8, 16, 24],
            long_side: 40,
        },
        ..transform(Split::Train)
    };
    let mut loader = loader(&[(20, 10), (40, 10)], scaling);
    let batches = (1..60).map(|pass| draws(1, pass)).collect();
    let mut epoch = loader.epoch(batches, 0);
    let mut seen = std::collections::BTreeMap::new();
    while let Some(batch) = epoch.next() {
        *seen
            .entry(batch.unwrap().resolution.to_string())
            .or_insert(0) += 1;
    }
    // 24 would make 48 of the longer side: 40 × 20 instead.
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["16x32", "24x40", "8x16"]);
    assert!(seen.values().all(|count| *count > 8), "{seen:?}");
    // Both images of a batch have one scale.
    drop(epoch);
    let mut epoch = loader.epoch((1..20).map(|pass| draws(2, pass)).collect(), 0);
    while let Some(batch) = epoch.next() {
        let side = batch.unwrap().resolution.to_string();
        assert!(["8x32", "16x40", "24x40"].contains(&&side[..]), "{side}");
    }
}

#[test]
fn a_test_sees_images_of_one_size_at_each_scale_and_every_label() {
    let testing = SceneTransform {
        sizes: Sizes {
            short_sides: vec![10, 20],
            long_side: 0,
        },
        ..transform(Split::Test)
    };
    let sizes = [(20, 10), (20, 10), (10, 20), (20, 10)];
    let mut loader = loader(&sizes, testing);
    assert_eq!(loader.scales(), 2);
    let mut epoch = loader.test();
    let mut seen = Vec::new();
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap();
        seen.push((batch.indices.to_vec(), batch.resolution.to_string()));
        if seen.len() % 2 == 0 {
            assert_eq!(batch.labels.len(), 200 * batch.indices.len());
            assert_eq!(batch.labels[1], u32::from(class(0, 1)));
        } else {
            assert!(batch.labels.is_empty());
        }
    }
    let expected = [
        (vec![0, 1], "16x24"),
        (vec![0, 1], "24x40"),
        (vec![2], "24x16"),
        (vec![2], "40x24"),
        (vec![3], "16x24"),
        (vec![3], "24x40"),
    ];
    let expected = expected.map(|(indices, size)| (indices, size.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn higher_images_are_of_a_kind_of_their_own() {
    let loader = loader(&[(20, 10), (10, 20), (10, 10)], transform(Split::Train));
    let kinds = [0, 1, 2].map(|index| loader.is_portrait(index));
    assert_eq!(kinds, [false, true, false]);
}
