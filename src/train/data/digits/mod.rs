//! The set that is built in: 1,797 handwritten digits of 8×8 pixels (E. Alpaydin and C. Kaynak, in
//! scikit-learn's copy; see LICENSE.txt beside). `make.py` wrote the file.

use std::path::Path;

use super::{Classified, InMemory, Split};
use crate::error::{Error, Result};

const FILE: &[u8] = include_bytes!("digits.png");
const SIDE: usize = 8;
/// A class and its pixels.
const ROW: usize = 1 + SIDE * SIDE;
/// Pixels are counts up to this one.
const WHITE: u16 = 16;
/// One image in so many is for testing, so that no writer is in one split alone. (The digits often
/// come in their order: one in five would always be a four or a nine.)
const TESTED: usize = 4;

/// The 1,348 images for training or the 449 for testing.
pub(super) fn open(split: Split) -> Result<Box<dyn Classified>> {
    let rows = rows().map_err(|err| {
        let expected = "the picture that is built in";
        Error::malformed(Path::new("digits"), "digits.png", expected, err)
    })?;
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for (index, row) in rows.chunks_exact(ROW).enumerate() {
        let tested = index % TESTED == TESTED - 1;
        if tested != (split == Split::Test) {
            continue;
        }
        labels.push(u32::from(row[0]));
        for &count in &row[1..] {
            let grey = (u16::from(count) * 255 + WHITE / 2) / WHITE;
            pixels.extend([grey as u8; 3]);
        }
    }
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    let set = InMemory::new("digits".into(), (SIDE, SIDE), classes, labels, pixels);
    Ok(Box::new(set))
}

fn rows() -> Result<Vec<u8>, png::DecodingError> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(FILE)).read_info()?;
    let mut rows = vec![0; reader.output_buffer_size().unwrap_or_default()];
    reader.next_frame(&mut rows)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_splits_are_those_of_every_build() {
        let (train, test) = (open(Split::Train).unwrap(), open(Split::Test).unwrap());
        assert_eq!((train.len(), test.len()), (1348, 449));
        let of =
            |set: &dyn Classified| -> Vec<u32> { (0..5).map(|index| set.class(index)).collect() };
        assert_eq!(of(&*train), [0, 1, 2, 4, 5]);
        assert_eq!(of(&*test), [3, 7, 1, 5, 9]);
        for set in [train, test] {
            let mut seen = [0; 10];
            (0..set.len()).for_each(|index| seen[set.class(index) as usize] += 1);
            assert!(seen.iter().all(|count| *count > set.len() / 12), "{seen:?}");
        }
    }

    #[test]
    fn the_first_image_is_the_one_everybody_knows() {
        let zero = open(Split::Train).unwrap().image(0).unwrap();
        let row: Vec<u8> = zero.pixels().iter().step_by(3).take(8).copied().collect();
        // 0, 0, 5, 13, 9, 1, 0, 0 of 16.
        assert_eq!(row, [0, 0, 80, 207, 143, 16, 0, 0]);
    }
}
