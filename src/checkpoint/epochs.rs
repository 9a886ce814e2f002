//! How many epochs of a training run are finished, as far as its checkpoint says it, and the numbers
//! in the checkpoint that a user may know to say it.

use super::{Checkpoint, Tensor};
use crate::dtype::Dtype;

/// A number of finished epochs, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    /// The first epoch is 1.
    pub finished: u64,
    /// The keys that say it, as `meta.epoch` or `epoch + 1`.
    pub read_from: String,
}

impl Epochs {
    pub(crate) fn new(finished: u64, read_from: impl Into<String>) -> Epochs {
        let read_from = read_from.into();
        Epochs {
            finished,
            read_from,
        }
    }
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A number with a fraction, perhaps 0.
    Float(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(value) => value.fmt(f),
            Number::Float(value) => value.fmt(f),
        }
    }
}

impl Number {
    /// A count that it can be: not negative, and whole.
    pub fn count(self) -> Option<u64> {
        match self {
            Number::Int(value) => u64::try_from(value).ok(),
            Number::Float(value) => {
                let whole = value >= 0.0 && value.fract() == 0.0 && value < 9e15;
                whole.then_some(value as u64)
            }
        }
    }

    /// The number in the bytes of one little-endian element.
    pub(super) fn of_element(dtype: Dtype, bytes: &[u8]) -> Option<Number> {
        if dtype.is_editable_float() {
            return dtype.decode(bytes).first().copied().map(Number::Float);
        }
        let signed = matches!(dtype, Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64);
        let unsigned = matches!(dtype, Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64);
        if !signed && !unsigned || bytes.len() != (dtype.bits() / 8) as usize {
            return None;
        }
        let negative = signed && bytes.last().is_some_and(|top| top & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        Some(Number::Int(i64::from_le_bytes(wide)))
    }
}

/// A number of a checkpoint that is no weight, by the keys that lead to it.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// Joined with dots: `meta.epoch`.
    pub(crate) key: String,
    pub(crate) value: Value,
}

/// Where a [`Scalar`] is.
#[derive(Debug)]
pub(crate) enum Value {
    Number(Number),
    /// One element, not read yet.
    Tensor(Tensor),
}

impl Checkpoint {
    /// The numbers beside the weights, each with its key; those that cannot be read are left out.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, Number)> {
        self.training.scalars.iter().filter_map(|scalar| {
            let number = match &scalar.value {
                Value::Number(number) => Some(*number),
                Value::Tensor(tensor) => {
                    let bytes = self.read(tensor).ok()?;
                    Number::of_element(tensor.dtype, &bytes)
                }
            };
            Some((&scalar.key[..], number?))
        })
    }

    /// Those that may say how many epochs are finished, by their keys, the outermost first.
    pub fn epoch_numbers(&self) -> Vec<(&str, Number)> {
        let is_epoch = |key: &str| {
            let leaf = key.rsplit('.').next().unwrap_or(key);
            let words = crate::name::words(leaf);
            words.iter().any(|word| word == "epoch" || word == "epochs")
        };
        let mut found: Vec<_> = self.numbers().filter(|(key, _)| is_epoch(key)).collect();
        found.sort_by_key(|(key, _)| key.matches('.').count());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_in_its_type() {
        let read = |dtype, bytes: &[u8]| Number::of_element(dtype, bytes);
        assert_eq!(read(Dtype::I64, &5_i64.to_le_bytes()), Some(Number::Int(5)));
        assert_eq!(
            read(Dtype::I16, &(-2_i16).to_le_bytes()),
            Some(Number::Int(-2))
        );
        assert_eq!(read(Dtype::U8, &[255]), Some(Number::Int(255)));
        assert_eq!(
            read(Dtype::F32, &4.5_f32.to_le_bytes()),
            Some(Number::Float(4.5))
        );
        assert_eq!(read(Dtype::Bool, &[1]), None);
        assert_eq!(read(Dtype::I64, &[1]), None);
    }

    #[test]
    fn a_count_is_whole_and_not_negative() {
        assert_eq!(Number::Int(5).count(), Some(5));
        assert_eq!(Number::Float(5.0).count(), Some(5));
        for number in [
            Number::Int(-1),
            Number::Float(4.97),
            Number::Float(f64::NAN),
            Number::Float(-1.0),
        ] {
            assert_eq!(number.count(), None, "{number}");
        }
    }
}
