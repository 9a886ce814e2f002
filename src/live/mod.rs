//! Regeneration of a network that a framework holds in memory: its tensors are described, its γ are
//! given as numbers, and the plan is the one that an edit of its saved state dict would have.
//!
//! Nothing here reads or writes the memory itself: the caller does, with what it has for that.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::batchnorm::{self, Filter, Layer, Network, Schema};
use crate::checkpoint::{self, Role, StateDict};
use crate::dtype::Dtype;
use crate::edit;
use crate::error::{Error, Refusal, Result};
use crate::regen::{self, Gamma, Kept, Moment, Options, Plan};

/// A tensor of a network's state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name there.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// Dimensions; empty for a scalar.
    pub shape: Vec<u64>,
    /// The number of the device that holds its elements.
    pub device: usize,
    /// The address of its first byte on that device.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What to regenerate in a network. The default is the paper's algorithm on all layers.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether the tensors come in the network's own order; otherwise layers are put in the natural order
    /// of their names.
    pub ordered: bool,
    /// How BatchNorm layers are found.
    pub schema: Schema,
    /// Which of them.
    pub filter: Filter,
    /// The rule.
    pub options: Options,
    /// Carry out an edit by which more channels die than come back, instead of refusing it.
    pub allow_dying: bool,
    /// Leave layers alone whose γ cannot be edited, instead of refusing.
    pub skip_shared: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            ordered: true,
            schema: Schema::default(),
            filter: Filter::default(),
            options: Options::default(),
            allow_dying: false,
            skip_shared: false,
        }
    }
}

/// The BatchNorm layers of the network in training, found as in a file.
#[derive(Debug)]
pub struct Live {
    owner: PathBuf,
    dict: StateDict,
    networks: Vec<Network>,
    network: Network,
    counted: HashSet<String>,
    request: Request,
}

/// The γ of one layer of a network in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveGamma<'l> {
    /// The name of the tensor in the state dict.
    pub tensor: &'l str,
    /// The layer's name, as a plan has it.
    pub layer: &'l str,
    /// Whether it is counted and edited; the others are left alone.
    pub counted: bool,
}

/// A plan for a network in memory.
#[derive(Debug)]
pub struct LivePlan {
    /// What to change.
    pub plan: Plan,
    /// That some layers seem to be frozen, in a sentence.
    pub frozen: Option<String>,
    /// Facts about what was not touched, in sentences.
    pub notes: Vec<String>,
}

impl Live {
    /// Finds the layers among the tensors of a state dict. Errors name `owner` as the
    /// place, where those about a checkpoint name the file.
    ///
    /// # Errors
    /// No BatchNorm, no or several networks in training, no layer left by the filter, or a γ that
    /// cannot be edited.
    pub fn find(owner: &str, tensors: Vec<Tensor>, request: Request) -> Result<Live> {
        let owner = PathBuf::from(owner);
        let dict = table(tensors, request.ordered);
        let located = batchnorm::locate_in(&dict, &request.schema);
        let mut networks = located.map_err(|mismatch| {
            let name = &dict.tensors[mismatch.tensor].name;
            Error::malformed(&owner, name, mismatch.expected, mismatch.found)
        })?;
        if networks.is_empty() {
            let dicts = std::slice::from_ref(&dict);
            return Err(batchnorm::nothing_found_in(&owner, dicts));
        }
        mark_overlapping(&dict, &mut networks);
        batchnorm::each_once(std::slice::from_ref(&dict), &mut networks);
        let network = batchnorm::only_raw(&owner, &networks)?;
        let layers = batchnorm::filter(&owner, &network, &request.filter)?;
        let tensor = |layer: &Layer| Some(&dict.tensors[layer.gamma?].name[..]);
        let counted = edit::editable(&owner, &layers, &tensor, request.skip_shared)?;
        let counted = counted.iter().map(|layer| layer.name.clone()).collect();
        Ok(Live {
            owner,
            networks,
            network,
            counted,
            request,
            dict,
        })
    }

    /// The γ of the network, in order.
    pub fn gammas(&self) -> Vec<LiveGamma<'_>> {
        let layers = self.network.layers.iter();
        let gamma = |layer| self.gamma(layer);
        layers.filter_map(gamma).collect()
    }

    fn gamma<'l>(&'l self, layer: &'l Layer) -> Option<LiveGamma<'l>> {
        Some(LiveGamma {
            tensor: &self.dict.tensors[layer.gamma?].name,
            layer: &layer.name,
            counted: self.counted.contains(&layer.name),
        })
    }

    /// The rule.
    pub fn options(&self) -> &Options {
        &self.request.options
    }

    /// The plan for these values, those of the counted γ in their order, each exact.
    ///
    /// # Errors
    /// A γ that is NaN or infinite; more channels dying than coming back.
    ///
    /// # Panics
    /// If there are other numbers of values than the γ have channels.
    pub fn plan(&self, values: &[f64]) -> Result<LivePlan> {
        let mut gammas = Vec::new();
        let mut rest = values;
        let counted: Vec<&Layer> = self.counted().collect();
        for layer in &counted {
            let (own, behind) = rest.split_at(layer.channels);
            gammas.push(Gamma {
                layer: layer.name.clone(),
                dtype: self.dtype(layer),
                values: own.to_vec(),
            });
            rest = behind;
        }
        assert!(rest.is_empty(), "{} values too many", rest.len());
        let owner = &self.owner;
        let tensor = |name: &str| {
            let layer = self.network.layers.iter().find(|l| l.name == name)?;
            Some(&self.dict.tensors[layer.gamma?].name[..])
        };
        let plan = regen::plan(&gammas, &self.request.options, None);
        let plan = plan.map_err(|err| edit::refuse(owner, &tensor, err))?;
        if !self.request.allow_dying {
            edit::refuse_dying(owner, &plan, Refusal::Dying)?;
        }
        let mut notes = edit::left_alone(&self.networks, &self.network);
        notes.extend(batchnorm::iter_norms_left(
            &self.network,
            &self.request.filter,
        ));
        let left = self.network.channels() - plan.counted;
        if left > 0 {
            notes.push(format!(
                "{left} channels were left out of the count by the options"
            ));
        }
        Ok(LivePlan {
            frozen: edit::frozen(&counted),
            plan,
            notes,
        })
    }

    fn counted(&self) -> impl Iterator<Item = &Layer> {
        let layers = self.network.layers.iter();
        layers.filter(|layer| self.counted.contains(&layer.name))
    }

    fn dtype(&self, layer: &Layer) -> Dtype {
        self.dict.tensors[layer.gamma.expect("a counted layer has a γ")].dtype
    }
}

/// Resets what an optimizer of `torch.optim` keeps under `key` for the γ of a network
/// ([`regen::reset`]), rounded to the type of each.
///
/// # Errors
/// It is not known what stands under this key.
pub fn reset(key: &str, kept: &mut [Kept], dtypes: &[Dtype]) -> Result<()> {
    let slot = checkpoint::Slot::of_key(key).ok_or_else(|| {
        let reason = format!("cannot be reset: it keeps {key}, which this program does not know");
        Error::refused_for(Refusal::Optimizer, Path::new("optimizer"), reason)
    })?;
    regen::reset(Moment::of(slot.divides()), kept);
    for (kept, dtype) in kept.iter_mut().zip(dtypes) {
        for channel in &kept.regenerated {
            if let Some(value) = kept.values.get_mut(*channel) {
                *value = dtype.round(*value);
            }
        }
    }
    Ok(())
}

/// The state dict as a table: a device is a file, an address an offset.
fn table(tensors: Vec<Tensor>, ordered: bool) -> StateDict {
    let entry = |tensor: Tensor| checkpoint::Tensor {
        name: tensor.name,
        dtype: tensor.dtype,
        shape: tensor.shape,
        source: tensor.device,
        offset: tensor.address,
        len: tensor.len,
        fixed: None,
        scattered: None,
        strides: None,
    };
    StateDict {
        root: String::new(),
        tensors: tensors.into_iter().map(entry).collect(),
        ordered,
        role: Role::Raw,
    }
}

/// Marks γ whose bytes a tensor uses that is no γ, or a γ that begins elsewhere.
fn mark_overlapping(dict: &StateDict, networks: &mut [Network]) {
    let layers = networks.iter().flat_map(|network| &network.layers);
    let gammas: HashSet<usize> = layers.filter_map(|layer| layer.gamma).collect();
    let mut places: Vec<usize> = (0..dict.tensors.len()).collect();
    places.retain(|place| dict.tensors[*place].len > 0);
    let range = |place: usize| {
        let tensor = &dict.tensors[place];
        (tensor.source, tensor.offset, tensor.len)
    };
    places.sort_by_key(|place| range(*place));
    let overlap = |a: usize, b: usize| {
        let ((on_a, a, len_a), (on_b, b, len_b)) = (range(a), range(b));
        on_a == on_b && a < b + len_b && b < a + len_a
    };
    let longest = places
        .iter()
        .map(|place| range(*place).2)
        .max()
        .unwrap_or(0);
    for layer in networks.iter_mut().flat_map(|network| &mut network.layers) {
        let Some(gamma) = layer.gamma else { continue };
        let (device, begin, len) = range(gamma);
        let from =
            places.partition_point(|p| range(*p) < (device, begin.saturating_sub(longest), 0));
        let near = places[from..].iter().copied();
        let near = near.take_while(|p| {
            let (on, at, _) = range(*p);
            on == device && at < begin + len
        });
        let other = near
            .filter(|p| *p != gamma && overlap(*p, gamma))
            .find(|p| {
                let alias = gammas.contains(p) && range(*p) == range(gamma);
                !alias
            });
        if let Some(other) = other {
            let name = &dict.tensors[other].name;
            let reason = || format!("its memory is also used by {name}");
            layer.fixed.get_or_insert_with(reason);
        }
    }
}
