//! The γ of a network as bytes: what a plan is made for.

use crate::batchnorm::{Layer, Network};
use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::record::{self, Held};
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

    /// With the bytes that they have after an edit, for the record.
    pub(super) fn held<'g>(&'g self, checkpoint: &'g Checkpoint, after: &'g [u8]) -> Held<'g> {
        Held {
            dict: &checkpoint.dicts()[self.layer.dict].root,
            name: &self.tensor,
            dtype: self.dtype,
            before: &self.bytes,
            after,
            large: false,
        }
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

/// The fingerprint of γ as read.
pub(super) fn fingerprint(gammas: &[GammaBytes]) -> String {
    record::fingerprint(
        gammas
            .iter()
            .map(|g| (&g.tensor[..], g.dtype, &g.bytes[..])),
    )
}
