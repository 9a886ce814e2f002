//! Which channels pruning has taken out of a network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::near::near;

/// The pruned channels of a network, by the names of its BatchNorm layers.
///
/// Serialised as a list: `[{"name": "bn1", "channels": 16, "pruned": [0, 5]}, …]`, layers in order
/// of their names, channels counted from 0 in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<LayerMask>", into = "Vec<LayerMask>")]
pub struct Mask {
    layers: BTreeMap<String, Entry>,
}

/// The part of a [`Mask`] for one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMask {
    /// The layer's name.
    pub name: String,
    /// How many channels it has.
    pub channels: usize,
    /// Those that are pruned, counted from 0, each once, in ascending order.
    pub pruned: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    channels: usize,
    pruned: Vec<usize>,
}

/// Why a mask is none, or not one of these layers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A layer stands in it twice.
    #[error("layer {0} stands in the mask twice")]
    Twice(String),
    /// A channel that the layer has not, or one out of order.
    #[error(
        "layer {layer}: expected pruned channels below {channels} in ascending order, found {found}"
    )]
    Channel {
        /// The layer's name.
        layer: String,
        /// How many channels it has.
        channels: usize,
        /// The first that does not fit.
        found: usize,
    },
    /// A layer that the network has not.
    #[error("the mask names the layer {layer}, which is not there{meant}")]
    Unknown {
        /// The layer's name.
        layer: String,
        /// Which one was perhaps meant.
        meant: String,
    },
    /// A layer of another size.
    #[error("layer {layer}: the mask is for {mask} channels, and there are {network}")]
    Channels {
        /// The layer's name.
        layer: String,
        /// Channels in the mask.
        mask: usize,
        /// Channels of the network, or of the other mask.
        network: usize,
    },
}

impl Mask {
    /// A mask of these layers.
    ///
    /// # Errors
    /// A layer given twice; channels that it has not, or that are not in ascending order.
    pub fn new(layers: impl IntoIterator<Item = LayerMask>) -> Result<Mask, MaskError> {
        let mut mask = Mask::default();
        for LayerMask {
            name,
            channels,
            pruned,
        } in layers
        {
            let mut next = 0;
            for &found in &pruned {
                if found < next || found >= channels {
                    return Err(MaskError::Channel {
                        layer: name,
                        channels,
                        found,
                    });
                }
                next = found + 1;
            }
            let entry = Entry { channels, pruned };
            if mask.layers.insert(name.clone(), entry).is_some() {
                return Err(MaskError::Twice(name));
            }
        }
        Ok(mask)
    }

    /// Its layers, in order of their names.
    pub fn layers(&self) -> impl Iterator<Item = (&str, usize, &[usize])> {
        let layers = self.layers.iter();
        layers.map(|(name, entry)| (&name[..], entry.channels, &entry.pruned[..]))
    }

    /// The pruned channels of a layer, in ascending order; none of one that it does not name.
    pub fn pruned(&self, layer: &str) -> &[usize] {
        self.layers.get(layer).map_or(&[], |entry| &entry.pruned)
    }

    /// Whether a channel is pruned.
    pub fn is_pruned(&self, layer: &str, channel: usize) -> bool {
        self.pruned(layer).binary_search(&channel).is_ok()
    }

    /// How many channels are pruned.
    pub fn count(&self) -> usize {
        self.layers.values().map(|entry| entry.pruned.len()).sum()
    }

    /// How many channels its layers have.
    pub fn channels(&self) -> usize {
        self.layers.values().map(|entry| entry.channels).sum()
    }

    /// Whether nothing is pruned.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The part for the layers that `kept` accepts.
    #[must_use]
    pub fn of_layers(&self, kept: impl Fn(&str) -> bool) -> Mask {
        let layers = self.layers.iter().filter(|(name, _)| kept(name));
        Mask {
            layers: layers
                .map(|(name, entry)| (name.clone(), entry.clone()))
                .collect(),
        }
    }

    /// Takes a channel out of the pruned ones.
    pub fn revive(&mut self, layer: &str, channel: usize) {
        if let Some(entry) = self.layers.get_mut(layer) {
            entry.pruned.retain(|pruned| *pruned != channel);
        }
    }

    /// Adds the layers and the pruned channels of another mask; returns how many channels are new.
    ///
    /// # Errors
    /// A layer that has other numbers of channels in the two; then nothing is added.
    pub fn merge(&mut self, other: &Mask) -> Result<usize, MaskError> {
        for (name, entry) in &other.layers {
            if let Some(own) = self.layers.get(name) {
                same_channels(name, entry.channels, own.channels)?;
            }
        }
        let before = self.count();
        for (name, entry) in &other.layers {
            let own = self.layers.entry(name.clone()).or_insert_with(|| Entry {
                channels: entry.channels,
                pruned: Vec::new(),
            });
            own.pruned.extend(&entry.pruned);
            own.pruned.sort_unstable();
            own.pruned.dedup();
        }
        Ok(self.count() - before)
    }

    /// Whether each of its layers is one of `layers`, given by name and number of channels. Layers
    /// that it does not name are unpruned.
    ///
    /// # Errors
    /// The first layer that is not there, with near names, or that has another number of channels.
    pub fn check<'n>(
        &self,
        layers: impl IntoIterator<Item = (&'n str, usize)>,
    ) -> Result<(), MaskError> {
        let known: BTreeMap<&str, usize> = layers.into_iter().collect();
        for (name, entry) in &self.layers {
            match known.get(&name[..]) {
                Some(network) => same_channels(name, entry.channels, *network)?,
                None => {
                    let near = near(name, known.keys().copied());
                    let meant = match &near[..] {
                        [] => String::new(),
                        [nearest, ..] => format!("; did you mean {nearest}?"),
                    };
                    return Err(MaskError::Unknown {
                        layer: name.clone(),
                        meant,
                    });
                }
            }
        }
        Ok(())
    }

    /// The share of the channels that are pruned in one of two masks of a network and not in the
    /// other: 0 for equal masks, at most 1. Early-Bird (You et al., ICLR 2020) calls a ticket found
    /// when it is at most 0.1 between the newest mask and each of the four before it.
    ///
    /// # Errors
    /// Masks that are not of the same layers.
    pub fn distance(&self, other: &Mask) -> Result<f64, MaskError> {
        self.check(other.layers().map(|(name, channels, _)| (name, channels)))?;
        other.check(self.layers().map(|(name, channels, _)| (name, channels)))?;
        let differing = self.layers().map(|(name, _, pruned)| {
            let both = pruned.iter().filter(|at| other.is_pruned(name, **at));
            let both = both.count();
            pruned.len() + other.pruned(name).len() - 2 * both
        });
        let differing: usize = differing.sum();
        Ok(differing as f64 / self.channels().max(1) as f64)
    }
}

fn same_channels(layer: &str, mask: usize, network: usize) -> Result<(), MaskError> {
    if mask == network {
        return Ok(());
    }
    Err(MaskError::Channels {
        layer: layer.to_owned(),
        mask,
        network,
    })
}

impl TryFrom<Vec<LayerMask>> for Mask {
    type Error = MaskError;

    fn try_from(layers: Vec<LayerMask>) -> Result<Mask, MaskError> {
        Mask::new(layers)
    }
}

impl From<Mask> for Vec<LayerMask> {
    fn from(mask: Mask) -> Vec<LayerMask> {
        let layers = mask.layers.into_iter();
        layers
            .map(|(name, entry)| LayerMask {
                name,
                channels: entry.channels,
                pruned: entry.pruned,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(layers: &[(&str, usize, &[usize])]) -> Mask {
        let layers = layers.iter().map(|(name, channels, pruned)| LayerMask {
            name: (*name).to_owned(),
            channels: *channels,
            pruned: pruned.to_vec(),
        });
        Mask::new(layers).unwrap()
    }

    #[test]
    fn json_gives_it_back_and_nonsense_is_refused_with_its_place() {
        let own = mask(&[("a", 4, &[0, 3]), ("b", 2, &[])]);
        let json = serde_json::to_string(&own).unwrap();
        assert_eq!(
            json,
            r#"[{"name":"a","channels":4,"pruned":[0,3]},{"name":"b","channels":2,"pruned":[]}]"#
        );
        assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), own);
        for (json, said) in [
            (
                r#"[{"name":"a","channels":4,"pruned":[4]}]"#,
                "below 4 in ascending order, found 4",
            ),
            (
                r#"[{"name":"a","channels":4,"pruned":[2,2]}]"#,
                "ascending order, found 2",
            ),
            (
                r#"[{"name":"a","channels":1,"pruned":[]},{"name":"a","channels":1,"pruned":[]}]"#,
                "layer a stands in the mask twice",
            ),
        ] {
            let err = serde_json::from_str::<Mask>(json).unwrap_err().to_string();
            assert!(err.contains(said), "{err}");
        }
    }

    #[test]
    fn merging_adds_channels_and_layers_and_counts_the_new_ones() {
        let mut own = mask(&[("a", 4, &[0, 3])]);
        let new = own.merge(&mask(&[("a", 4, &[1, 3]), ("b", 2, &[0])]));
        assert_eq!(new, Ok(2));
        assert_eq!(own, mask(&[("a", 4, &[0, 1, 3]), ("b", 2, &[0])]));
        assert_eq!((own.count(), own.channels()), (4, 6));
        assert!(own.is_pruned("a", 1) && !own.is_pruned("a", 2) && !own.is_pruned("c", 0));
        let before = own.clone();
        let other = mask(&[("b", 2, &[1]), ("a", 5, &[])]);
        assert!(own.merge(&other).is_err());
        assert_eq!(own, before);
    }

    #[test]
    fn a_mask_of_another_network_names_the_layer_and_what_was_expected() {
        let own = mask(&[("layer1.bn", 4, &[0])]);
        assert_eq!(own.check([("layer1.bn", 4), ("layer2.bn", 8)]), Ok(()));
        let err = own.check([("layer1.bn", 8)]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "layer layer1.bn: the mask is for 4 channels, and there are 8"
        );
        let err = own.check([("layer1.bn1", 4)]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "the mask names the layer layer1.bn, which is not there; did you mean layer1.bn1?"
        );
    }

    #[test]
    fn the_distance_is_the_share_of_channels_that_differ() {
        let a = mask(&[("a", 6, &[0, 1, 2]), ("b", 4, &[])]);
        let b = mask(&[("a", 6, &[1, 2, 5]), ("b", 4, &[3])]);
        // Channels 0 and 5 of a, 3 of b: 3 of 10.
        assert_eq!(a.distance(&b), Ok(0.3));
        assert_eq!(b.distance(&a), Ok(0.3));
        assert_eq!(a.distance(&a), Ok(0.0));
        assert!(a.distance(&mask(&[("a", 6, &[])])).is_err());
    }
}
