//! The element types of ONNX: TensorProto.DataType.

use crate::dtype::Dtype;

pub(super) const STRING: u64 = 8;
pub(super) const FLOAT16: u64 = 10;
pub(super) const BFLOAT16: u64 = 16;

/// The type that ONNX numbers `data_type`, where this crate has it too.
pub(super) fn dtype(data_type: u64) -> Option<Dtype> {
    Some(match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        FLOAT16 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        14 => Dtype::C64,
        15 => Dtype::C128,
        BFLOAT16 => Dtype::BF16,
        17 => Dtype::F8_E4M3,
        18 => Dtype::F8_E4M3FNUZ,
        19 => Dtype::F8_E5M2,
        20 => Dtype::F8_E5M2FNUZ,
        24 => Dtype::F8_E8M0,
        _ => return None,
    })
}

/// Bits of an element. The 6-bit types are left out: how they are packed differs by field.
fn bits(data_type: u64) -> Option<u64> {
    match data_type {
        21..=23 => Some(4),
        25 | 26 => Some(2),
        _ => dtype(data_type).map(Dtype::bits),
    }
}

/// Whether elements have a known width.
pub(super) fn is_sized(data_type: u64) -> bool {
    bits(data_type).is_some()
}

/// Bytes of a tensor; `None` when its elements have no known width or the product overflows.
pub(super) fn byte_len(dims: &[u64], data_type: u64) -> Option<u64> {
    // A zero anywhere makes the tensor empty, however large the rest.
    let elements = if dims.contains(&0) {
        0
    } else {
        dims.iter().try_fold(1_u64, |n, dim| n.checked_mul(*dim))?
    };
    Some(elements.checked_mul(bits(data_type)?)?.div_ceil(8))
}

/// Whether elements of a type may be given by field number `field` of TensorProto.
pub(super) fn may_lie_in(data_type: u64, field: u32) -> bool {
    match field {
        4 => matches!(data_type, 1 | 14),
        5 => matches!(data_type, 2..=6 | 9 | FLOAT16 | BFLOAT16..),
        6 => data_type == STRING,
        7 => data_type == 7,
        9 => data_type != STRING,
        10 => matches!(data_type, 11 | 15),
        11 => matches!(data_type, 12 | 13),
        _ => false,
    }
}
