use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;

use super::*;

/// The image that fixtures/transforms/generate.py draws.
fn image(width: usize, height: usize) -> Image {
    let value = |x: usize, y: usize, c: usize| {
        let texture = (x * y * (c + 1)) % 37 * 3 + (x / 7 + y / 5) % 2 * 40;
        (x * 5 + y * 3 + c * 60 + texture) as u8
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = places.flat_map(|(x, y)| [0, 1, 2].map(|c| value(x, y, c)));
    Image::new(width, height, pixels.collect())
}

/// Runs every case of one kind; gives the differences of their bytes.
fn differences(kind: &str, apply: impl Fn(&Value, Image) -> Image) -> Vec<Vec<u8>> {
    let text = include_str!("../../../../fixtures/transforms/transforms.json");
    let cases: Value = serde_json::from_str(text).unwrap();
    let size = |value: &Value| {
        let side = |n: usize| value[n].as_u64().unwrap() as usize;
        (side(0), side(1))
    };
    let cases = cases[kind].as_array().unwrap().iter().map(|case| {
        let (width, height) = size(&case["image"]);
        let result = apply(case, image(width, height));
        assert_eq!((result.width(), result.height()), size(&case["size"]));
        let expected = BASE64_STANDARD
            .decode(case["pixels"].as_str().unwrap())
            .unwrap();
        let pairs = result.pixels().iter().zip(&expected);
        pairs.map(|(a, b)| a.abs_diff(*b)).collect()
    });
    cases.collect()
}

fn number(case: &Value, name: &str) -> usize {
    case[name].as_u64().unwrap() as usize
}

fn step(step: Step, image: Image) -> Image {
    let mut work = Workspace {
        image,
        ..Workspace::default()
    };
    let before = (work.image.width(), work.image.height());
    step.apply(&mut work, &mut generator([0; 8], 0, 0, 0));
    let after = (work.image.width(), work.image.height());
    assert_eq!(step.size(before), Ok(after));
    work.image
}

#[test]
fn scaling_agrees_with_pillow_to_one_level() {
    let scaled = differences("resize", |case, image| {
        step(Step::Resize(number(case, "side").into()), image)
    });
    let cut = differences("resized_crop", |case, image| {
        let at = |n: usize| case["box"][n].as_u64().unwrap() as usize;
        let side = number(case, "side");
        let (mut piece, mut result) = (Image::default(), Image::default());
        let place = (at(0) as isize, at(1) as isize);
        crop::crop(&image, place, (at(2), at(3)), &mut piece);
        resize::resize(&mut Resizer::new(), &piece, (side, side), &mut result);
        result
    });
    assert_eq!((scaled.len(), cut.len()), (5, 3));
    for levels in scaled.iter().chain(&cut) {
        assert!(levels.iter().all(|level| *level <= 1), "{levels:?}");
    }
}

#[test]
fn rotation_takes_the_pixels_that_pillow_takes() {
    let turned = differences("rotate", |case, image| {
        let mut result = Image::default();
        rotate::rotate(&image, case["degrees"].as_f64().unwrap(), &mut result);
        result
    });
    assert_eq!(turned.len(), 5);
    for levels in turned {
        let off = levels.iter().filter(|level| **level > 0).count();
        assert_eq!(off, 0, "of {}", levels.len());
    }
}

#[test]
fn the_middle_is_where_torchvision_cuts_it() {
    let cut = differences("center_crop", |case, image| {
        step(Step::CenterCrop(number(case, "side").into()), image)
    });
    assert_eq!(cut.len(), 4);
    assert!(cut.concat().iter().all(|level| *level == 0), "{cut:?}");
}

#[test]
fn a_random_crop_goes_everywhere_and_nowhere_else() {
    // One pixel on a padding of one: nine places for it in a crop of three, all equally likely.
    let white = Image::new(1, 1, vec![255; 3]);
    let crop = Step::RandomCrop {
        size: 1.into(),
        padding: 1,
    };
    let mut hits = 0;
    for index in 0..900 {
        let mut work = Workspace {
            image: white.clone(),
            ..Workspace::default()
        };
        crop.apply(&mut work, &mut generator([0; 8], 0, 0, index));
        hits += usize::from(work.image == white);
    }
    assert!((60..140).contains(&hits), "{hits} of 900, expected 100");
}

#[test]
fn half_of_the_images_are_mirrored() {
    let pair = Image::new(2, 1, vec![0, 0, 0, 9, 9, 9]);
    let mirrored = (0..1000).filter(|index| {
        let mut work = Workspace {
            image: pair.clone(),
            ..Workspace::default()
        };
        Step::RandomHorizontalFlip.apply(&mut work, &mut generator([0; 8], 0, 0, *index));
        work.image != pair
    });
    let mirrored = mirrored.count();
    assert!((440..560).contains(&mirrored), "{mirrored} of 1000");
}

#[test]
fn a_transform_of_random_steps_keeps_its_size_on_any_image() {
    let transform = Transform {
        steps: vec![
            Step::RandomRotation(20.0),
            Step::RandomResizedCrop(24.into()),
            Step::RandomHorizontalFlip,
        ],
        normalisation: Normalisation::IMAGENET,
    };
    for (width, height) in [(1, 1), (1, 500), (700, 2), (64, 64)] {
        assert_eq!(transform.size((width, height)), Ok((24, 24)));
        for index in 0..20 {
            let mut work = Workspace {
                image: image(width, height),
                ..Workspace::default()
            };
            transform.apply((0, 0, index), &mut work);
            assert_eq!((work.image.width(), work.image.height()), (24, 24));
        }
    }
}
