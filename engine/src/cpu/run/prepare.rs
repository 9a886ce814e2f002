//! Filters as a segment reads them.

use crate::cpu::kernels::convolution::winograd;
use crate::cpu::kernels::expand;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::plan::step::{Algorithm, Convolution};

/// Writes the filters of a convolution as forward, or backward, reads them ([`Convolution::prepared`]);
/// behind transformed ones for backward lie those that they are made from.
pub(in crate::cpu) fn prepare(
    layer: &Convolution,
    isa: Isa,
    weight: &[f32],
    backward: bool,
    into: &mut [f32],
) {
    let filters = layer.geometry.filters();
    match (backward, layer.algorithm) {
        (false, Algorithm::Product | Algorithm::Grouped(_)) => {
            if let (Some(norm), Some(_)) = (&layer.norm, &layer.expansion) {
                expand::prepare(&norm.normal, weight, into);
            }
        }
        (false, Algorithm::Winograd(_)) => {
            winograd::transform(isa, &filters, weight, false, into);
        }
        (true, Algorithm::Product) => {
            filters.transpose(&layer.backward, weight, into);
            if let (Some(norm), Some(_)) = (&layer.norm, &layer.expansion) {
                expand::scale(&norm.normal, filters.to, into);
            }
        }
        (true, Algorithm::Grouped(narrow)) => narrow.turn(weight, into),
        (true, Algorithm::Winograd(_)) => {
            let turned = filters.transposed();
            let (into, between) = into.split_at_mut(winograd::transformed(&turned).len());
            filters.transpose(&layer.backward, weight, between);
            winograd::transform(isa, &turned, between, true, into);
        }
    }
}
