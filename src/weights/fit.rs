//! How far a checkpoint fits a network, before any tensor is read.

use std::collections::{HashMap, HashSet};

use super::find::{Place, find};
use crate::checkpoint::{Checkpoint, Tensor, Weight};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::net::{Graph, Kind, TensorSpec};

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The network, where the checkpoint holds several: a state dict, or a leading component of the
    /// names in one.
    pub root: Option<String>,
    /// Take the tensors that fit and leave the others as they are, instead of refusing.
    pub partial: bool,
}

/// How a checkpoint compares with a network.
///
/// A missing batch counter (`num_batches_tracked`) is not counted as missing, and one too many not
/// as unexpected, nor `n_averaged` beside an average.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The network's name; of a part, as in `the encoder of NAME`.
    pub network: String,
    /// The part of the network that is compared, as its tensors' names begin: `encoder.`, `decoder.` or
    /// `backbone.`, which the checkpoint's names then lack; empty for all of it.
    pub part: String,
    /// The state dict (see [`StateDict::root`](crate::checkpoint::StateDict::root)).
    pub root: String,
    /// What stands before the network's names there, with its separator; empty for nothing.
    pub prefix: String,
    /// How many tensors the network, or that part of it, has, batch counters aside.
    pub tensors: usize,
    /// How many of them fit.
    pub fitting: usize,
    /// Tensors that the checkpoint lacks.
    pub missing: Vec<Missing>,
    /// Tensors that the network has not, by their names and as `F32 [16]`.
    pub unexpected: Vec<(String, String)>,
    /// Tensors of another shape, or of a type that is not read.
    pub misfits: Vec<Misfit>,
    /// Where the last layer has other classes: how many the checkpoint has, and the network.
    pub classes: Option<(u64, usize)>,
    pub(super) dict: usize,
    /// What fits: number of the graph's tensor, and of the state dict's.
    pub(super) taken: Vec<(usize, usize)>,
}

/// A tensor that a checkpoint lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// An unexpected tensor of the same shape that is called almost like it.
    pub near: Option<String>,
}

/// A tensor that is there and cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its name.
    pub name: String,
    /// What the network has.
    pub expected: String,
    /// What the checkpoint has.
    pub found: String,
}

/// Compares `checkpoint` with `graph`; reads no tensor.
///
/// Of several networks in the checkpoint the one in training is taken, or the one at `root`. What
/// stands before all its names (`module.`, say) is left away. A checkpoint of the encoder, the decoder or
/// the backbone alone is compared with that part.
///
/// # Errors
/// Nothing of the network is there, or it is there several times, equally well.
pub fn fit(graph: &Graph, checkpoint: &Checkpoint, root: Option<&str>) -> Result<Fit> {
    let place = find(graph, checkpoint, root)?;
    let weights = checkpoint.weights(place.dict);
    let named = |weight: &Weight<'_>| weight.tensor.name.clone();
    let by_name: HashMap<String, usize> = weights
        .iter()
        .enumerate()
        .map(|(i, weight)| (named(weight), i))
        .collect();
    let own: Vec<(usize, &TensorSpec, &str)> = place.tensors(graph).collect();
    let counted = own
        .iter()
        .filter(|(_, spec, _)| spec.kind != Kind::BatchCount);
    let mut fit = Fit {
        network: match place.part.trim_end_matches('.') {
            "" => graph.name().to_owned(),
            part => format!("the {part} of {}", graph.name()),
        },
        part: place.part.to_owned(),
        root: checkpoint.dicts()[place.dict].root.clone(),
        prefix: place.prefix.clone(),
        tensors: counted.count(),
        fitting: 0,
        missing: Vec::new(),
        unexpected: Vec::new(),
        misfits: Vec::new(),
        classes: None,
        dict: place.dict,
        taken: Vec::new(),
    };
    let mut missing = Vec::new();
    for &(number, spec, name) in &own {
        match by_name.get(&format!("{}{name}", place.prefix)) {
            None if spec.kind == Kind::BatchCount => {}
            None => missing.push(spec),
            Some(index) => match misfit(spec, weights[*index].tensor) {
                None => {
                    fit.taken.push((number, *index));
                    fit.fitting += usize::from(spec.kind != Kind::BatchCount);
                }
                Some(misfit) => fit.misfits.push(misfit),
            },
        }
    }
    let unexpected = unexpected(graph, checkpoint, &place, &weights);
    fit.missing = with_near(&missing, &unexpected);
    let shown = |tensor: &&Tensor| (tensor.name.clone(), typed(tensor));
    fit.unexpected = unexpected.iter().map(shown).collect();
    fit.classes = other_classes(graph, &place, &by_name, &weights);
    Ok(fit)
}

impl Fit {
    /// Whether every tensor of the network is there and fits, and nothing else is there.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misfits.is_empty()
    }
}

/// Type and shape, as in `F32 [16]`.
fn typed(tensor: &Tensor) -> String {
    format!("{} {:?}", tensor.dtype, tensor.shape)
}

/// Why a tensor of the right name cannot be taken.
fn misfit(spec: &TensorSpec, tensor: &Tensor) -> Option<Misfit> {
    let shape: Vec<u64> = spec.shape.iter().map(|n| *n as u64).collect();
    let same = tensor.shape == shape;
    let float = tensor.dtype.is_editable_float();
    let (fits, types) = match spec.kind {
        // Some writers have no scalars.
        Kind::BatchCount => (
            (same || tensor.shape == [1])
                && (float || matches!(tensor.dtype, Dtype::I64 | Dtype::I32)),
            "I64",
        ),
        _ => (same && float, "F16, BF16, F32 or F64"),
    };
    (!fits).then(|| Misfit {
        name: spec.name.clone(),
        expected: if same {
            types.to_owned()
        } else {
            format!("{shape:?}")
        },
        found: if same {
            tensor.dtype.to_string()
        } else {
            format!("{:?}", tensor.shape)
        },
    })
}

/// The tensors that the network has not.
fn unexpected<'c>(
    graph: &Graph,
    checkpoint: &Checkpoint,
    place: &Place,
    weights: &[Weight<'c>],
) -> Vec<&'c Tensor> {
    let known: HashSet<&str> = place.tensors(graph).map(|(_, _, name)| name).collect();
    // A graph keeps the constants of its computation among its weights.
    let is_graph = checkpoint.declared_norms().is_some();
    let is_constant =
        |tensor: &Tensor| is_graph && (tensor.shape.is_empty() || !tensor.dtype.is_float());
    // BatchNorm's, and that of the averaged model around an average.
    let is_counter = |name: &str| {
        let leaf = name.rsplit(['.', '/']).next();
        matches!(leaf, Some("num_batches_tracked" | "n_averaged"))
    };
    let tensors = weights.iter().map(|weight| weight.tensor);
    tensors
        .filter(|tensor| {
            let own = tensor.name.strip_prefix(&place.prefix[..]);
            !own.is_some_and(|own| known.contains(own))
                && !is_counter(&tensor.name)
                && !is_constant(tensor)
                && !place.is_foreign(&tensor.name)
        })
        .collect()
}

/// Least likeness of a name that is suggested: 1 is the same.
const NEAR: f64 = 0.6;
/// Bytes of names that are compared at most. Where more are missing and unexpected, the two have
/// nothing to do with each other.
const MAX_COMPARED: usize = 400_000;

/// How like two names are, 0 to 1; of one layer they are near, whatever the last component.
fn likeness(a: &str, b: &str) -> f64 {
    let layer = |name: &str| name.rfind(['.', '/']).map(|at| name[..at].to_owned());
    match (layer(a), layer(b)) {
        (Some(one), Some(other)) if one == other => {
            let rest = one.len()..;
            let leaf = strsim::normalized_damerau_levenshtein(&a[rest.clone()], &b[rest]);
            NEAR + (1.0 - NEAR) * leaf
        }
        _ => strsim::normalized_damerau_levenshtein(a, b),
    }
}

/// The missing tensors, each with the unexpected one that is most like it.
fn with_near(missing: &[&TensorSpec], unexpected: &[&Tensor]) -> Vec<Missing> {
    let mut left = MAX_COMPARED;
    let mut near = |spec: &TensorSpec| {
        let alike = unexpected.iter().filter(|tensor| {
            let dims = tensor.shape.iter().map(|n| usize::try_from(*n).ok());
            dims.eq(spec.shape.iter().map(|n| Some(*n)))
        });
        let mut best: Option<(f64, &str)> = None;
        for tensor in alike {
            left = left.checked_sub(tensor.name.len())?;
            let likeness = likeness(&spec.name, &tensor.name);
            if likeness >= best.map_or(NEAR, |(best, _)| best) {
                best = Some((likeness, &tensor.name));
            }
        }
        best.map(|(_, name)| name.to_owned())
    };
    let missing = missing.iter().map(|spec| Missing {
        name: spec.name.clone(),
        near: near(spec),
    });
    missing.collect()
}

/// The class counts of checkpoint and network, where the last layer differs in nothing else.
fn other_classes(
    graph: &Graph,
    place: &Place,
    by_name: &HashMap<String, usize>,
    weights: &[Weight<'_>],
) -> Option<(u64, usize)> {
    // An auxiliary head may stand behind the output.
    let nodes = &graph.nodes()[..=graph.output().index()];
    let mut tensors = nodes.iter().rev().map(|node| node.op.tensors());
    let last = graph.tensor(*tensors.find(|tensors| !tensors.is_empty())?.first()?);
    let (asked, features) = last.shape.split_first()?;
    let own = last.name.strip_prefix(place.part)?;
    let index = by_name.get(&format!("{}{own}", place.prefix))?;
    let (found, others) = weights[*index].tensor.shape.split_first()?;
    let alike = others.iter().eq(features
        .iter()
        .map(|n| *n as u64)
        .collect::<Vec<_>>()
        .iter());
    let classes = graph.output_shape().channels == *asked;
    (alike && classes && *found != *asked as u64).then_some((*found, *asked))
}
