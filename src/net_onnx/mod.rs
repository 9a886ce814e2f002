//! A network from an ONNX file: the main graph, with its BatchNorm intact, as a [`Graph`] that can be
//! trained.
//!
//! What exporters write beside the layers is computed away (sizes, axes, zeros), undone (layouts), or
//! put together again (hard-swish and SiLU in pieces, a channel shuffle, a bias that is added). An
//! exported batch of any size, or a dynamic one, is the batch. What cannot be had is listed, all of it
//! at once.
//!
//! Source: the operators' definitions at <https://onnx.ai/onnx/operators/>, opset 7 to 28.

mod arithmetic;
mod constant;
mod fold;
mod import;
mod input;
mod item;
mod known;
mod layers;
mod layout;
mod node;
mod operators;
mod parameters;
mod pool;
mod prune;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod view;

use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::net::{Graph, Node, Op, Resolution};
use import::Import;
use node::Tensors;
use parameters::Place;

/// The versions of ONNX's operator set that are known. Before 7, numbers were not spread over
/// dimensions as they are since.
const OPSETS: std::ops::RangeInclusive<u64> = 7..=28;

/// How to export a network so that BatchNorm stays what it is.
pub(crate) const EXPORT: &str = "export with torch.onnx.export(model.eval(), …, dynamo=True, optimize=False), or with \
     dynamo=False, training=TrainingMode.PRESERVE, do_constant_folding=False";

/// A network and the file that it is from.
#[derive(Debug)]
pub struct Network {
    /// The network. Its tensors are named as the initializers are.
    pub graph: Graph,
    /// Where it is from.
    pub origin: Origin,
}

/// The ONNX file of a network, with its weights.
#[derive(Debug)]
pub struct Origin {
    path: PathBuf,
    checkpoint: Checkpoint,
    places: Vec<Place>,
    notes: Vec<String>,
}

/// Reads the network in the ONNX file at `path`. Images have the height and width that the file
/// fixes, or `resolution` where it leaves them open.
///
/// # Errors
/// The file is no ONNX model, or damaged, or its data files are not there; a size that stays open, or
/// another than `resolution`; all that is not supported, in one message.
pub fn open(path: &Path, resolution: Option<Resolution>) -> Result<Network> {
    let (checkpoint, program) = Checkpoint::open_program(path)?;
    let opset = opset(path, &program.opsets)?;
    let tensors = Tensors {
        program: &program,
        checkpoint: &checkpoint,
    };
    let (batch, shape) = input::size(path, &program, resolution)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let imported = Import::new(&tensors, &file, opset, batch, shape).run(path)?;
    let mut notes = Vec::new();
    let is_norm = |node: &Node| matches!(node.op, Op::BatchNorm { .. });
    if checkpoint.is_folded() && !imported.graph.nodes().iter().any(is_norm) {
        notes.push(format!(
            "{}: has no BatchNorm, or the export folded it into the convolutions; to keep it, {EXPORT}",
            path.display()
        ));
    }
    if imported.in_training {
        notes.push(format!(
            "{}: was exported in training mode: as it is, it normalises each batch by itself when it \
             is deployed, and here it does not",
            path.display()
        ));
    }
    let origin = Origin {
        path: path.to_owned(),
        checkpoint,
        places: imported.places,
        notes,
    };
    let graph = imported.graph;
    Ok(Network { graph, origin })
}

/// Height and width of the images of the ONNX file at `path`, where it fixes them; a square where it
/// fixes one of them.
///
/// # Errors
/// As [`open`]; no images.
pub fn resolution(path: &Path) -> Result<Option<Resolution>> {
    let (_, program) = Checkpoint::open_program(path)?;
    input::resolution(path, &program)
}

/// Whether the file at `path` is an ONNX model.
pub(crate) fn is_onnx(path: &Path) -> bool {
    // Of all formats, the one whose files are graphs.
    path.is_file()
        && Checkpoint::open(path).is_ok_and(|checkpoint| checkpoint.declared_norms().is_some())
}

/// The version of the default operator set.
fn opset(path: &Path, opsets: &[(String, u64)]) -> Result<u64> {
    let version = opsets.iter().find(|(domain, _)| domain.is_empty());
    let expected = format!("{} to {}", OPSETS.start(), OPSETS.end());
    match version {
        Some((_, version)) if OPSETS.contains(version) => Ok(*version),
        Some((_, version)) => Err(Error::refused(
            path,
            format!(
                "uses opset {version}: known are {expected}; onnx.version_converter.convert_version \
                 makes one of the other, or opset_version= of the exporter"
            ),
        )),
        None => Err(Error::malformed(
            path,
            "opset_import",
            expected,
            "none of ONNX itself",
        )),
    }
}

impl Origin {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Facts that a user should hear of.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The weights in the file: the numbers of every tensor of the graph, in its order.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn weights(&self) -> Result<Vec<Vec<f64>>> {
        let weight = |place: &Place| {
            let tensor = &self.checkpoint.dicts()[0].tensors[place.at];
            let values = tensor.dtype.decode(&self.checkpoint.read(tensor)?);
            Ok(match place.transposed {
                Some((rows, columns)) => transposed(&values, rows, columns),
                None => values,
            })
        };
        self.places.iter().map(weight).collect()
    }

    /// The tensors of the file, as these `values` of the graph's tensors make them: each with its new
    /// bytes. What the file stores once for several tensors has to be the same for all of them.
    ///
    /// # Errors
    /// It is not; or a number does not fit the type that the file has it in.
    pub(crate) fn encoded(
        &self,
        graph: &Graph,
        values: &[Vec<f64>],
    ) -> Result<Vec<(&Tensor, Vec<u8>)>> {
        let mut all: Vec<(usize, String, Vec<u8>)> = Vec::new();
        let mut merged = Vec::new();
        for ((place, spec), values) in self.places.iter().zip(graph.tensors()).zip(values) {
            let tensor = &self.checkpoint.dicts()[0].tensors[place.at];
            let values = match place.transposed {
                Some((rows, columns)) => transposed(values, columns, rows),
                None => values.clone(),
            };
            let mut bytes = Vec::with_capacity(tensor.len as usize);
            for value in &values {
                if value.is_finite() && !tensor.dtype.round(*value).is_finite() {
                    let reason = format!(
                        "{}: {value} does not fit {}, in which the file has it",
                        spec.name, tensor.dtype
                    );
                    return Err(Error::refused(&self.path, reason));
                }
                tensor.dtype.encode(*value, &mut bytes);
            }
            match all.iter().find(|(at, ..)| *at == place.at) {
                Some((_, _, other)) if *other == bytes => {}
                Some((_, other, _)) => merged.push(format!("{} with {other}", spec.name)),
                None => all.push((place.at, spec.name.clone(), bytes)),
            }
        }
        if !merged.is_empty() {
            let reason = format!(
                "stores once what training has made different, since the exporter kept one of several \
                 equal tensors: {}. Such a file cannot be given the weights back; {EXPORT}",
                merged.join(", ")
            );
            return Err(Error::refused(&self.path, reason));
        }
        let tensors = &self.checkpoint.dicts()[0].tensors;
        Ok(all
            .into_iter()
            .map(|(at, _, bytes)| (&tensors[at], bytes))
            .collect())
    }

    /// The names of tensors that the file stores once for several.
    pub fn merged(&self, graph: &Graph) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let tensors = self.places.iter().zip(graph.tensors());
        let merged = tensors.filter(|(place, _)| !seen.insert(place.at));
        merged.map(|(_, spec)| spec.name.clone()).collect()
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// A matrix of `rows` rows with columns as rows.
fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    places.map(|place| values[place]).collect()
}
