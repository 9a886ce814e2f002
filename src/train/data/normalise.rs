//! From bytes to what a network sees.

use super::Image;

/// Mean and standard deviation of red, green and blue, where white is 1: a network sees
/// (value − mean) / deviation, as after torchvision's `ToTensor` and `Normalize`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// Of red, green and blue.
    pub mean: [f32; 3],
    /// Of red, green and blue.
    pub deviation: [f32; 3],
}

impl Normalisation {
    /// CIFAR-10's training images; the numbers that everybody uses for it.
    pub const CIFAR10: Normalisation = Normalisation {
        mean: [0.4914, 0.4822, 0.4465],
        deviation: [0.2470, 0.2435, 0.2616],
    };
    /// CIFAR-100's training images; the numbers that everybody uses for it.
    pub const CIFAR100: Normalisation = Normalisation {
        mean: [0.5071, 0.4865, 0.4409],
        deviation: [0.2673, 0.2564, 0.2762],
    };
    /// ImageNet, and what is cut from it: those of torchvision's models.
    pub const IMAGENET: Normalisation = Normalisation {
        mean: [0.485, 0.456, 0.406],
        deviation: [0.229, 0.224, 0.225],
    };
    /// The built-in digits' training images, measured.
    pub const DIGITS: Normalisation = Normalisation {
        mean: [0.3054; 3],
        deviation: [0.3758; 3],
    };

    /// What every byte becomes, by channel.
    pub(super) fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            let (mean, deviation) = (self.mean[channel], self.deviation[channel]);
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / deviation)
        })
    }
}

/// Writes an image as three planes, or its red as one, as `into` has room.
pub(super) fn normalise(image: &Image, tables: &[[f32; 256]; 3], into: &mut [f32]) {
    let (pixels, _) = image.pixels().as_chunks::<3>();
    if into.len() == pixels.len() {
        for (pixel, grey) in pixels.iter().zip(into) {
            *grey = tables[0][usize::from(pixel[0])];
        }
        return;
    }
    let (red, rest) = into.split_at_mut(pixels.len());
    let (green, blue) = rest.split_at_mut(pixels.len());
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        *red = tables[0][usize::from(pixel[0])];
        *green = tables[1][usize::from(pixel[1])];
        *blue = tables[2][usize::from(pixel[2])];
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Split, open};
    use super::*;

    #[test]
    fn channels_become_planes_with_the_numbers_of_torchvision() {
        let image = Image::new(2, 1, vec![0, 128, 255, 1, 2, 3]);
        let mut planes = [0.0; 6];
        normalise(&image, &Normalisation::CIFAR100.tables(), &mut planes);
        // Normalize((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))(ToTensor()(image))
        let expected = [
            -1.897_119, -1.882_448, 0.0603, -1.866_837, 2.024_258, -1.553_712,
        ];
        for (value, expected) in planes.iter().zip(expected) {
            assert!((value - expected).abs() < 2e-6, "{planes:?}");
        }
    }

    #[test]
    fn the_digits_have_mean_0_and_deviation_1() {
        let digits = open("digits", Split::Train).unwrap();
        let tables = Normalisation::DIGITS.tables();
        let (mut sum, mut squares, mut planes) = (0.0, 0.0, [0.0; 192]);
        for index in 0..digits.len() {
            normalise(&digits.image(index).unwrap(), &tables, &mut planes);
            sum += planes.iter().map(|x| f64::from(*x)).sum::<f64>();
            squares += planes.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        let count = (192 * digits.len()) as f64;
        assert!((sum / count).abs() < 1e-3, "{}", sum / count);
        assert!((squares / count - 1.0).abs() < 1e-3, "{}", squares / count);
    }
}
