//! The rectangle that a random resized crop takes.

use rand::Rng;

/// Of the image's area.
const AREA: (f64, f64) = (0.08, 1.0);
/// Width to height.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const ATTEMPTS: usize = 10;

/// Place (left, top) and size (width, height), drawn as torchvision's `RandomResizedCrop` does: area
/// uniform, ratio uniform in its logarithm; after ten that do not fit, the largest in the middle
/// whose ratio is allowed.
pub(super) fn random_box(
    (width, height): (usize, usize),
    random: &mut impl Rng,
) -> ((isize, isize), (usize, usize)) {
    let area = (width * height) as f64;
    for _ in 0..ATTEMPTS {
        let target = area * random.random_range(AREA.0..=AREA.1);
        let ratio = random.random_range(RATIO.0.ln()..=RATIO.1.ln()).exp();
        let w = (target * ratio).sqrt().round_ties_even() as usize;
        let h = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = random.random_range(0..=height - h);
            let left = random.random_range(0..=width - w);
            return ((left as isize, top as isize), (w, h));
        }
    }
    let ratio = width as f64 / height as f64;
    let across = |len: usize, ratio: f64| (len as f64 * ratio).round_ties_even().max(1.0) as usize;
    let (w, h) = if ratio < RATIO.0 {
        (width, across(width, 1.0 / RATIO.0))
    } else if ratio > RATIO.1 {
        (across(height, RATIO.1), height)
    } else {
        (width, height)
    };
    (
        (((width - w) / 2) as isize, ((height - h) / 2) as isize),
        (w, h),
    )
}

#[cfg(test)]
mod tests {
    use super::super::transform::generator;
    use super::*;

    #[test]
    fn the_rectangle_lies_inside_and_has_the_drawn_area_and_ratio() {
        let mut random = generator([0; 8], 0, 0, 0);
        let (width, height) = (400, 300);
        let (mut areas, mut wide) = (0.0, 0);
        for _ in 0..2000 {
            let ((left, top), (w, h)) = random_box((width, height), &mut random);
            assert!(left >= 0 && top >= 0 && w > 0 && h > 0);
            assert!(left as usize + w <= width && top as usize + h <= height);
            let share = (w * h) as f64 / (width * height) as f64;
            let ratio = w as f64 / h as f64;
            assert!((0.078..=1.0).contains(&share), "{share}");
            assert!((0.74..=1.35).contains(&ratio), "{ratio}");
            areas += share;
            wide += usize::from(w > h);
        }
        // The mean of torchvision's RandomResizedCrop.get_params at this size is 0.435 ± 0.005, and
        // 58 % ± 1 % are wider than high: large ones fit only in the image's own proportions.
        assert!((areas / 2000.0 - 0.435).abs() < 0.02, "{}", areas / 2000.0);
        assert!((1100..1220).contains(&wide), "{wide}");
    }

    #[test]
    fn an_extreme_image_gives_its_middle() {
        let mut random = generator([0; 8], 0, 0, 0);
        let mut last = |size| {
            let boxes = (0..200).map(|_| random_box(size, &mut random));
            boxes.max_by_key(|(_, (w, h))| w * h).unwrap()
        };
        assert_eq!(last((3, 900)), ((0, 448), (3, 4)));
        assert_eq!(last((900, 3)), ((448, 0), (4, 3)));
        assert_eq!(last((1, 1)), ((0, 0), (1, 1)));
    }
}
