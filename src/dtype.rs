//! Element types, and exact conversion of the four that a γ may have to and from `f64`.

use std::fmt;

use half::{bf16, f16};

/// The element type of a tensor, with safetensors' spelling as its [`Display`](fmt::Display) form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)]
pub enum Dtype {
    Bool,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E4M3FNUZ,
    F8_E5M2FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
    C128,
}

const NAMES: [(Dtype, &str); 23] = [
    (Dtype::Bool, "BOOL"),
    (Dtype::F4, "F4"),
    (Dtype::F6_E2M3, "F6_E2M3"),
    (Dtype::F6_E3M2, "F6_E3M2"),
    (Dtype::U8, "U8"),
    (Dtype::I8, "I8"),
    (Dtype::F8_E5M2, "F8_E5M2"),
    (Dtype::F8_E4M3, "F8_E4M3"),
    (Dtype::F8_E8M0, "F8_E8M0"),
    (Dtype::F8_E4M3FNUZ, "F8_E4M3FNUZ"),
    (Dtype::F8_E5M2FNUZ, "F8_E5M2FNUZ"),
    (Dtype::I16, "I16"),
    (Dtype::U16, "U16"),
    (Dtype::F16, "F16"),
    (Dtype::BF16, "BF16"),
    (Dtype::I32, "I32"),
    (Dtype::U32, "U32"),
    (Dtype::F32, "F32"),
    (Dtype::C64, "C64"),
    (Dtype::F64, "F64"),
    (Dtype::I64, "I64"),
    (Dtype::U64, "U64"),
    (Dtype::C128, "C128"),
];

impl Dtype {
    /// The type that safetensors spells `name`.
    pub fn from_name(name: &str) -> Option<Dtype> {
        // PyTorch has this type; safetensors has no word for it.
        let known = NAMES.iter().filter(|(dtype, _)| *dtype != Dtype::C128);
        known.into_iter().find(|(_, n)| *n == name).map(|(d, _)| *d)
    }

    /// Size of one element in bits (the 4- and 6-bit types are packed).
    pub fn bits(self) -> u64 {
        match self {
            Dtype::F4 => 4,
            Dtype::F6_E2M3 | Dtype::F6_E3M2 => 6,
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 8,
            Dtype::F8_E5M2 | Dtype::F8_E4M3 | Dtype::F8_E8M0 => 8,
            Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ => 8,
            Dtype::I16 | Dtype::U16 | Dtype::F16 | Dtype::BF16 => 16,
            Dtype::I32 | Dtype::U32 | Dtype::F32 => 32,
            Dtype::C64 | Dtype::F64 | Dtype::I64 | Dtype::U64 => 64,
            Dtype::C128 => 128,
        }
    }

    /// Whether elements are real floating-point numbers, of any width.
    pub fn is_float(self) -> bool {
        self.is_editable_float()
            || matches!(
                self,
                Dtype::F4 | Dtype::F6_E2M3 | Dtype::F6_E3M2 | Dtype::F8_E5M2
            )
            || matches!(self, Dtype::F8_E4M3 | Dtype::F8_E8M0)
            || matches!(self, Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ)
    }

    /// Whether a γ of this type can be read and rewritten: F16, BF16, F32 or F64.
    pub fn is_editable_float(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
    }

    /// The elements of little-endian `bytes`, each exact in `f64`.
    ///
    /// # Panics
    /// If the type is not one of the four of [`is_editable_float`](Self::is_editable_float).
    pub fn decode(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f64()),
            Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => each(bytes, f64::from_le_bytes),
            other => panic!("{other} elements are not decoded"),
        }
    }

    /// Appends `value`, rounded to nearest even, to `out` in little-endian order.
    ///
    /// # Panics
    /// As [`decode`](Self::decode).
    pub fn encode(self, value: f64, out: &mut Vec<u8>) {
        match self {
            Dtype::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
            Dtype::BF16 => out.extend(bf16::from_f64(value).to_le_bytes()),
            Dtype::F32 => out.extend((value as f32).to_le_bytes()),
            Dtype::F64 => out.extend(value.to_le_bytes()),
            other => panic!("{other} elements are not encoded"),
        }
    }

    /// `value` rounded to nearest even in this type (infinite where it does not fit).
    pub fn round(self, value: f64) -> f64 {
        let mut bytes = Vec::with_capacity(8);
        self.encode(value, &mut bytes);
        self.decode(&bytes)[0]
    }

    /// The largest value of this type that is not above `value`.
    pub fn round_down(self, value: f64) -> f64 {
        let nearest = self.round(value);
        if nearest <= value {
            return nearest;
        }
        match self {
            Dtype::F16 => below(
                nearest,
                |v| f16::from_f64(v).to_bits().into(),
                |b| f16::from_bits(b as u16).to_f64(),
            ),
            Dtype::BF16 => below(
                nearest,
                |v| bf16::from_f64(v).to_bits().into(),
                |b| bf16::from_bits(b as u16).to_f64(),
            ),
            Dtype::F32 => (nearest as f32).next_down().into(),
            _ => nearest.next_down(),
        }
    }
}

/// The neighbour below `value` in a 16-bit type given by its bit pattern (sign and magnitude).
fn below(value: f64, to_bits: impl Fn(f64) -> u32, from_bits: impl Fn(u32) -> f64) -> f64 {
    match value {
        0.0 => from_bits(0x8001),
        v if v > 0.0 => from_bits(to_bits(v) - 1),
        v => from_bits(to_bits(v) + 1),
    }
}

fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| f(*chunk))
        .collect()
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES
            .iter()
            .find(|(d, _)| d == self)
            .map_or("?", |(_, n)| n);
        f.pad(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATS: [Dtype; 4] = [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64];

    #[test]
    fn every_16_bit_pattern_survives_decoding_and_encoding() {
        for dtype in [Dtype::F16, Dtype::BF16] {
            for bits in 0..=u16::MAX {
                let bytes = bits.to_le_bytes();
                let value = dtype.decode(&bytes)[0];
                if value.is_nan() {
                    continue;
                }
                let mut back = Vec::new();
                dtype.encode(value, &mut back);
                assert_eq!(back, bytes, "{dtype} {bits:#06x}");
            }
        }
    }

    #[test]
    fn subnormals_are_kept() {
        let tiny = f32::from_bits(7);
        assert_eq!(Dtype::F32.decode(&tiny.to_le_bytes()), [f64::from(tiny)]);
        assert_eq!(Dtype::F32.round(f64::from(tiny)), f64::from(tiny));
    }

    #[test]
    fn rounding_down_is_the_largest_value_not_above() {
        for dtype in FLOATS {
            for value in [
                0.1,
                -0.1,
                1.0,
                0.0,
                -0.3333,
                1e-3,
                0.663532,
                2.0_f64.powi(-20) * 1.3,
            ] {
                let down = dtype.round_down(value);
                assert!(down <= value, "{dtype} {value}");
                assert!(
                    (value - down).abs() <= value.abs() / 100.0 + 1e-7,
                    "{dtype} {value}"
                );
                assert_eq!(dtype.round_down(down), down);
            }
        }
        assert_eq!(Dtype::F16.round_down(-1e-9), -f16::from_bits(1).to_f64());
    }
}
