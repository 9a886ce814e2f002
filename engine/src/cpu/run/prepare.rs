//! Filter transforms that are done once per segment, before its shards run.

use crate::cpu::kernels::convolution::winograd;
use crate::cpu::kernels::fused_pointwise;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::plan::step::{Algorithm, Convolution};

/// Writes the filters of a convolution as its kernel reads them, forward or backward: scaled, transposed or
/// Winograd-transformed; `into` has [`Convolution::prepared_len`] elements. Behind Winograd filters for backward lie the
/// transposed ones that they are computed from.
pub(in crate::cpu) fn prepare(
    layer: &Convolution,
    isa: Isa,
    weight: &[f32],
    backward: bool,
    into: &mut [f32],
) {
    let filters = layer.geometry.filters();
    match (backward, layer.algorithm) {
        (false, Algorithm::Direct | Algorithm::Grouped(_)) => {
            if let (Some(norm), Some(_)) = (&layer.norm, &layer.fused) {
                fused_pointwise::scale_filters(&norm.coefficients, weight, into);
            }
        }
        (false, Algorithm::Winograd(_)) => {
            winograd::transform_filters(isa, &filters, weight, false, into);
        }
        (true, Algorithm::Direct) => {
            filters.transpose(&layer.backward, weight, into);
            if let (Some(norm), Some(_)) = (&layer.norm, &layer.fused) {
                fused_pointwise::scale_transposed(&norm.coefficients, filters.out_channels, into);
            }
        }
        (true, Algorithm::Grouped(grouped)) => grouped.transpose(weight, into),
        (true, Algorithm::Winograd(_)) => {
            let transposed = filters.transposed();
            let (into, filters_transposed) =
                into.split_at_mut(winograd::transformed_layout(&transposed).len());
            filters.transpose(&layer.backward, weight, filters_transposed);
            winograd::transform_filters(isa, &transposed, filters_transposed, true, into);
        }
    }
}
