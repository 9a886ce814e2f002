//! The bytes of pruned channels: γ, β and filters of zeros.

use std::collections::HashMap;

use super::PruneRequest;
use super::gamma::GammaBytes;
use crate::batchnorm::Layer;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::regen::Mask;

/// A tensor of which elements become 0.
pub(super) struct Zeroed<'c> {
    pub(super) dict: usize,
    pub(super) tensor: &'c Tensor,
    pub(super) old: Vec<u8>,
    pub(super) new: Vec<u8>,
    pub(super) is_gamma: bool,
}

/// The tensors that change where the channels of `mask` get γ = β = 0 and filters of zeros, which are
/// in `filters` by layer.
///
/// # Errors
/// One that would change and cannot be edited.
pub(super) fn zeroed<'c>(
    checkpoint: &'c Checkpoint,
    gammas: &[GammaBytes],
    filters: &HashMap<String, &'c Tensor>,
    mask: &Mask,
    request: &PruneRequest,
) -> Result<Vec<Zeroed<'c>>> {
    let mut changes = Vec::new();
    for gamma in gammas {
        let layer = &gamma.layer;
        let pruned = mask.pruned(&layer.name);
        if pruned.is_empty() {
            continue;
        }
        if !request.filters_only {
            let tensor = layer.tensor(checkpoint).expect("its bytes were read");
            let change = zero(layer.dict, tensor, gamma.bytes.clone(), pruned);
            changes.extend(change.map(|change| Zeroed {
                is_gamma: true,
                ..change
            }));
            changes.extend(betas(checkpoint, layer, pruned)?);
        }
        if let Some(tensor) = filters.get(&layer.name) {
            let change = zero(layer.dict, tensor, checkpoint.read(tensor)?, pruned);
            // Strides are followed; anything else is in the way.
            let fixed = tensor.fixed.as_ref().filter(|_| tensor.strides.is_none());
            if let (Some(_), Some(reason)) = (&change, fixed) {
                return Err(cannot(checkpoint, &tensor.name, reason));
            }
            changes.extend(change);
        }
    }
    Ok(changes)
}

fn betas<'c>(
    checkpoint: &'c Checkpoint,
    layer: &Layer,
    pruned: &[usize],
) -> Result<Vec<Zeroed<'c>>> {
    let mut changes = Vec::new();
    for beta in &layer.betas {
        let Some(tensor) = beta.tensor else {
            let reason = beta.fixed.as_deref().unwrap_or("it is not stored");
            return Err(cannot(checkpoint, &layer.name, reason));
        };
        let tensor = &checkpoint.dicts()[layer.dict].tensors[tensor];
        let change = zero(layer.dict, tensor, checkpoint.read(tensor)?, pruned);
        if let (Some(_), Some(reason)) = (&change, &beta.fixed) {
            return Err(cannot(checkpoint, &tensor.name, reason));
        }
        changes.extend(change);
    }
    Ok(changes)
}

fn cannot(checkpoint: &Checkpoint, name: &str, reason: &str) -> Error {
    let reason = format!("{name} cannot be edited: {reason}");
    Error::refused(checkpoint.path(), reason)
}

/// A tensor whose first dimension is channels, those that are pruned set to 0; `None` where they are 0
/// already.
fn zero<'c>(dict: usize, tensor: &'c Tensor, old: Vec<u8>, pruned: &[usize]) -> Option<Zeroed<'c>> {
    let width = (tensor.dtype.bits() / 8) as usize;
    let mut new = old.clone();
    for &channel in pruned {
        for element in elements(tensor, channel) {
            if let Some(bytes) = new.get_mut(element * width..(element + 1) * width) {
                bytes.fill(0);
            }
        }
    }
    (new != old).then_some(Zeroed {
        dict,
        tensor,
        old,
        new,
        is_gamma: false,
    })
}

/// Where the elements of a channel stand in the bytes of its tensor, in elements.
fn elements(tensor: &Tensor, channel: usize) -> Vec<usize> {
    let shape: Vec<usize> = tensor.shape.iter().map(|n| *n as usize).collect();
    let strides: Vec<usize> = match &tensor.strides {
        Some(strides) => strides.iter().map(|n| *n as usize).collect(),
        None => {
            let mut strides = vec![1; shape.len()];
            for at in (1..shape.len()).rev() {
                strides[at - 1] = strides[at] * shape[at];
            }
            strides
        }
    };
    let mut places = vec![channel * strides[0]];
    for (count, stride) in shape.iter().zip(&strides).skip(1) {
        let steps = |place: usize| (0..*count).map(move |step| place + step * stride);
        places = places.into_iter().flat_map(steps).collect();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    fn tensor(shape: &[u64], strides: Option<&[u64]>) -> Tensor {
        Tensor {
            name: "conv.weight".to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            source: 0,
            offset: 0,
            len: shape.iter().product::<u64>() * 4,
            fixed: None,
            scattered: None,
            strides: strides.map(<[u64]>::to_vec),
        }
    }

    #[test]
    fn a_channel_is_a_row_or_what_its_strides_say() {
        assert_eq!(elements(&tensor(&[3], None), 2), [2]);
        assert_eq!(elements(&tensor(&[2, 3], None), 1), [3, 4, 5]);
        // Channels last: [2, 2, 1, 2] of 1, in and out in front.
        let last = tensor(&[2, 2, 1, 2], Some(&[4, 1, 4, 2]));
        assert_eq!(elements(&last, 1), [4, 6, 5, 7]);
    }

    #[test]
    fn only_pruned_channels_become_0_and_zeros_are_no_change() {
        let tensor = tensor(&[2, 2], None);
        let old: Vec<u8> = (1..=16).collect();
        let change = zero(0, &tensor, old.clone(), &[1]).unwrap();
        assert_eq!(change.new[..8], old[..8]);
        assert_eq!(change.new[8..], [0; 8]);
        assert!(zero(0, &tensor, change.new, &[1]).is_none());
    }
}
