//! The γ of a network as bytes, and their SHA-256: what a plan is made for, what a record has left.

use sha2::{Digest, Sha256};

use crate::batchnorm::{Layer, Network};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::error::Result;
use crate::regen::Gamma;

/// The γ of one layer as they stand in the file.
#[derive(Debug, Clone)]
pub(super) struct GammaBytes {
    pub(super) layer: Layer,
    /// The name of the tensor in its state dict.
    pub(super) tensor: String,
    pub(super) dtype: Dtype,
    pub(super) bytes: Vec<u8>,
}

impl GammaBytes {
    /// All γ of a network that can be read.
    pub(super) fn of_network(checkpoint: &Checkpoint, network: &Network) -> Result<Vec<Self>> {
        let mut gammas = Vec::with_capacity(network.layers.len());
        for layer in &network.layers {
            // A strided γ is spread over any number of bytes.
            let Some(tensor) = layer.tensor(checkpoint).filter(|t| t.fixed.is_none()) else {
                continue;
            };
            gammas.push(GammaBytes {
                layer: layer.clone(),
                tensor: tensor.name.clone(),
                dtype: tensor.dtype,
                bytes: checkpoint.read(tensor)?,
            });
        }
        Ok(gammas)
    }

    /// As numbers. The type is one that can be edited.
    pub(super) fn decode(&self) -> Gamma {
        let values = self.dtype.decode(&self.bytes);
        Gamma {
            layer: self.layer.name.clone(),
            dtype: self.dtype,
            values,
        }
    }
}

/// SHA-256, in hexadecimal, of γ: tensors in order of their names, each as name, type, length and
/// bytes. It does not depend on the format of the file or on the order of its layers.
pub(super) fn fingerprint<'g>(
    gammas: impl IntoIterator<Item = (&'g str, Dtype, &'g [u8])>,
) -> String {
    let mut gammas: Vec<_> = gammas.into_iter().collect();
    gammas.sort_by_key(|(name, ..)| *name);
    let mut hash = Sha256::new();
    for (name, dtype, bytes) in gammas {
        hash.update(name);
        hash.update([0]);
        hash.update(dtype.to_string());
        hash.update([0]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The fingerprint of γ as read.
pub(super) fn of(gammas: &[GammaBytes]) -> String {
    fingerprint(
        gammas
            .iter()
            .map(|g| (&g.tensor[..], g.dtype, &g.bytes[..])),
    )
}
