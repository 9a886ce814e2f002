//! The table of tensors → the BatchNorm layers, grouped into networks.
//!
//! A BatchNorm is recognised by what it consists of, not by what it is called: a float γ with a
//! running mean and a running variance beside it, all one-dimensional and of one length. Leaf
//! names are those of a few [dialects](pattern::dialects), or of a [`Schema`].

mod explain;
mod find;
mod network;
mod pattern;
mod schema;
mod select;

use std::fmt;

pub use explain::{Verdict, explain};
pub use schema::{Schema, template};
pub(crate) use select::nothing_found;
pub use select::{Filter, filter, select};

use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::Result;

/// One network of a checkpoint.
#[derive(Debug, Clone)]
pub struct Network {
    /// What tells it from the other networks of the file: the state dict it lies in, a leading
    /// `ema` or `teacher`, or both. Empty when the whole file is one network.
    pub root: String,
    /// Whether these are the weights in training.
    pub role: Role,
    /// Its BatchNorm layers, in the order of the state dict or else in natural order of names.
    pub layers: Vec<Layer>,
}

/// What a network is for in its training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The weights that the optimizer changes.
    Raw,
    /// An average of them.
    Ema,
    /// The other half of a distillation, not trained itself.
    Teacher,
}

/// One BatchNorm layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The name of its γ without the last component.
    pub name: String,
    /// Which of [`Checkpoint::dicts`] it lies in.
    pub dict: usize,
    /// Its γ in that state dict.
    pub gamma: usize,
    /// Number of channels, at least 1.
    pub channels: usize,
    /// Whether it lacks the batch counter that other layers of its network have, as a frozen
    /// BatchNorm does.
    pub frozen: bool,
    /// Why its γ cannot be edited, if it cannot.
    pub fixed: Option<String>,
}

impl Layer {
    /// The tensor that holds γ.
    pub fn tensor<'c>(&self, checkpoint: &'c Checkpoint) -> &'c Tensor {
        &checkpoint.dicts()[self.dict].tensors[self.gamma]
    }
}

impl Role {
    /// The name used in `--json` and in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Role::Raw => "raw",
            Role::Ema => "ema",
            Role::Teacher => "teacher",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The networks of a checkpoint, raw ones first.
///
/// A BatchNorm whose γ and statistics have different lengths is an error, unless the schema
/// excludes it. No BatchNorm at all is an empty list.
pub fn locate(checkpoint: &Checkpoint, schema: &Schema) -> Result<Vec<Network>> {
    let mut networks = Vec::new();
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let mut layers = find::layers(checkpoint, index, schema)?;
        if !dict.ordered {
            layers.sort_by(|a, b| alphanumeric_sort::compare_str(&a.name, &b.name));
        }
        networks.extend(network::split(&dict.root, layers, schema));
    }
    networks.sort_by_key(|network| network.role);
    Ok(networks)
}
