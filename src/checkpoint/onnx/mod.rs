//! ONNX models: the BatchNorm layers that the graph declares, and where their γ lie.
//!
//! The protobuf is walked and never decoded as a whole: names, types and byte ranges are kept,
//! elements are read when asked for. An edit patches ranges, so that everything this module does
//! not know stays what it was.

mod consumers;
mod data;
mod element;
mod external;
mod gamma;
mod model;
mod names;
mod parser;
mod patch;
#[cfg(feature = "train")]
mod program;
mod read_model;
mod read_node;
mod read_tensor;
mod values;
mod walk;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::path::{Path, PathBuf};

#[cfg(feature = "train")]
pub(crate) use model::{Dim, Type};
#[cfg(feature = "train")]
pub(crate) use program::{Attribute, Elements, Node, Program};

use super::declared::Declared;
use super::format::{self, Contents, DataFiles as Files, Format, FormatName, Opening};
use super::{Patches, StateDict, Tensor, Training};
use crate::error::{Error, Result};
use crate::file::Source;
use data::Place;
use external::DataFiles;
use model::{Data, Model, Run};
use patch::{Checksum, patches};
use values::Values;

const NAME: FormatName = FormatName {
    name: "onnx",
    title: "ONNX",
};

pub(super) struct Onnx;

impl Format for Onnx {
    fn detect(&self, source: &Source) -> Result<bool> {
        Ok(read_model::detect(source))
    }

    fn open(&self, file: Opening<'_>) -> Result<format::Opened> {
        Ok(open(file.source, file.home, file.files)?.into())
    }
}

impl From<Opened> for format::Opened {
    fn from(opened: Opened) -> format::Opened {
        format::Opened {
            format: NAME,
            sources: opened.sources,
            dicts: vec![StateDict::flat(opened.tensors, true)],
            training: Training::default(),
            notes: opened.notes,
            contents: Box::new(Parts {
                declared: opened.declared,
                places: opened.places,
                checksums: opened.checksums,
                others: opened.others,
                elsewhere: opened.elsewhere,
                aliases: opened.aliases,
            }),
        }
    }
}

/// What there is of a model beside its table.
#[derive(Debug)]
struct Parts {
    declared: Declared,
    places: Vec<Place>,
    checksums: Vec<Checksum>,
    others: Vec<PathBuf>,
    elsewhere: Vec<Tensor>,
    aliases: Vec<Tensor>,
}

impl Contents for Parts {
    fn read(&self, tensor: &Tensor, source: &Source) -> Result<Vec<u8>> {
        match tensor.scattered {
            Some(number) => self.places[number].read(source, tensor.len),
            None => tensor.piece(source),
        }
    }

    fn patches(&self, sources: &[Source], changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        patches(sources, &self.places, &self.checksums, changes)
    }

    fn declared(&self) -> Option<&Declared> {
        Some(&self.declared)
    }

    fn other_files(&self) -> &[PathBuf] {
        &self.others
    }

    fn elsewhere(&self) -> &[Tensor] {
        &self.elsewhere
    }

    fn aliases(&self) -> &[Tensor] {
        &self.aliases
    }
}

/// An opened model.
#[derive(Debug)]
struct Opened {
    /// The model file, then each data file that holds a γ, or every one (see [`Files`]).
    sources: Vec<Source>,
    /// Initializers and values of Constant nodes, in the file's order: those of the types of
    /// [`Dtype`](crate::dtype::Dtype) whose elements lie in one of the sources and not in varints
    /// (16-bit floats excepted). Names are made unique.
    tensors: Vec<Tensor>,
    /// Where the elements of tensors lie that are not in one piece, by the numbers that these have.
    places: Vec<Place>,
    /// The BatchNorm layers.
    declared: Declared,
    /// Facts that a user should hear of before an edit.
    notes: Vec<String>,
    /// The paths of the other data files.
    others: Vec<PathBuf>,
    /// The tensors that lie in those, as far as [`Dtype`](crate::dtype::Dtype) has their type; their
    /// source is an index into [`others`](Self::others).
    elsewhere: Vec<Tensor>,
    /// Names that an Identity of the main graph gives to a tensor of the table: exporters keep one
    /// of several equal initializers.
    aliases: Vec<Tensor>,
    /// Checksums of the data files among the sources; [`patches`] wants them.
    checksums: Vec<Checksum>,
    /// Where in the table each of the model's tensors stands that has a line there.
    positions: HashMap<usize, usize>,
}

/// Reads a model, whose data files lie in the directory `home` or below, and finds its layers.
///
/// # Errors
/// A file that is not ONNX, a damaged one, a data file that is missing or lies outside the model's
/// directory, names defined twice, running statistics of another length than γ.
fn open(source: Source, home: &Path, files: Files) -> Result<Opened> {
    let model = read_model::read_model(&source)?;
    open_model(&model, source, home, files)
}

/// As [`open`], of a model that was read already.
fn open_model(model: &Model, source: Source, home: &Path, all: Files) -> Result<Opened> {
    let files = DataFiles::find(&source, home, model)?;
    let norms = gamma::norms(&Values::new(model, source.path())?, &files)?;
    let folded = norms.is_empty() && has_convolution(model);
    let mut opened = Opened {
        sources: vec![source],
        tensors: Vec::new(),
        places: Vec::new(),
        declared: Declared { norms, folded },
        notes: Vec::new(),
        others: Vec::new(),
        elsewhere: Vec::new(),
        aliases: Vec::new(),
        checksums: Vec::new(),
        positions: HashMap::new(),
    };
    opened.open_files(model, &files, all)?;
    Ok(opened)
}

impl Opened {
    /// Opens the data files, and fills the table.
    fn open_files(&mut self, model: &Model, files: &DataFiles, all: Files) -> Result<()> {
        let mut sources = HashMap::new();
        let wanted: Vec<usize> = match all {
            Files::Gamma => self
                .declared
                .norms
                .iter()
                .filter_map(|norm| norm.gamma)
                .collect(),
            Files::All => stored(model),
        };
        for tensor in wanted {
            let Some((file, _)) = files.range(tensor) else {
                continue;
            };
            if let Entry::Vacant(entry) = sources.entry(file) {
                entry.insert(self.sources.len());
                self.sources.push(files.open(file)?);
                self.notes.extend(files.note(file)?);
            }
        }
        let others = files.except(|file| sources.contains_key(&file));
        self.others = others.iter().map(|file| files.path(*file)).collect();
        let source = |tensor| match files.range(tensor) {
            None => Some(0),
            Some((file, _)) => sources.get(&file).copied(),
        };
        for (index, tensor) in model.tensors.iter().enumerate() {
            if let (Data::External(external), Some(source)) = (&tensor.data, source(index))
                && let Some(at) = external.checksum
            {
                self.checksums.push(Checksum { source, at });
            }
        }
        let mut unique = names::Unique::default();
        for index in stored(model) {
            let Some(source) = source(index) else {
                continue;
            };
            let Some(mut tensor) = entry(model, files, index, source, &mut self.places) else {
                continue;
            };
            self.check_end(&tensor)?;
            tensor.name = unique.take(tensor.name);
            self.positions.insert(index, self.tensors.len());
            self.tensors.push(tensor);
        }
        for index in stored(model) {
            let Some((file, _)) = files.range(index) else {
                continue;
            };
            let Some(other) = others.iter().position(|other| *other == file) else {
                continue;
            };
            if let Some(mut tensor) = entry(model, files, index, other, &mut self.places) {
                tensor.name = unique.take(tensor.name);
                self.elsewhere.push(tensor);
            }
        }
        self.add_aliases(model, unique);
        for norm in &mut self.declared.norms {
            let gamma = norm.gamma.and_then(|gamma| self.positions.get(&gamma));
            norm.gamma = gamma.copied();
            for beta in &mut norm.betas {
                let place = beta.tensor.and_then(|beta| self.positions.get(&beta));
                beta.tensor = place.copied();
            }
        }
        Ok(())
    }

    fn add_aliases(&mut self, model: &Model, mut unique: names::Unique) {
        let by_name = |tensors: &[Tensor]| -> HashMap<String, usize> {
            let names = tensors.iter().enumerate();
            names.map(|(i, tensor)| (tensor.name.clone(), i)).collect()
        };
        let (mut table, mut elsewhere) = (by_name(&self.tensors), by_name(&self.elsewhere));
        // Nodes stand in the order in which they can be computed.
        for node in &model.graphs[model::MAIN].nodes {
            let ([input], [output]) = (&node.inputs[..], &node.outputs[..]) else {
                continue;
            };
            if !node.operator.is("Identity") || output.is_empty() {
                continue;
            }
            let known = [&mut table, &mut elsewhere];
            let tensors = [&self.tensors, &self.elsewhere];
            let found = (0..2).find_map(|side| Some((side, *known[side].get(input)?)));
            let Some((side, index)) = found else {
                continue;
            };
            let alias = Tensor {
                name: unique.take(output.clone()),
                ..tensors[side][index].clone()
            };
            known[side].insert(output.clone(), index);
            match side {
                0 => self.aliases.push(alias),
                _ => self.elsewhere.push(alias),
            }
        }
    }

    /// The file may have become shorter between the look at its length and the opening.
    fn check_end(&self, tensor: &Tensor) -> Result<()> {
        let source = &self.sources[tensor.source];
        if tensor.scattered.is_none() && tensor.offset + tensor.len > source.len() {
            let expected = format!("its {} bytes at {}", tensor.len, tensor.offset);
            let found = format!("a file of {} bytes", source.len());
            return Err(Error::malformed(
                source.path(),
                &tensor.name,
                expected,
                found,
            ));
        }
        Ok(())
    }
}

/// Initializers and values of Constant nodes, in the file's order.
fn stored(model: &Model) -> Vec<usize> {
    let initializers = model.graphs.iter().flat_map(|graph| &graph.initializers);
    let nodes = model.graphs.iter().flat_map(|graph| &graph.nodes);
    let unique: HashSet<usize> = initializers
        .copied()
        .chain(nodes.filter_map(|node| node.constant))
        .collect();
    let mut stored: Vec<usize> = unique.into_iter().collect();
    stored.sort_unstable();
    stored
}

/// The table's line for a tensor, where it can have one.
fn entry(
    model: &Model,
    files: &DataFiles,
    index: usize,
    source: usize,
    places: &mut Vec<Place>,
) -> Option<Tensor> {
    let tensor = &model.tensors[index];
    let dtype = element::dtype(tensor.data_type)?;
    let len = element::byte_len(&tensor.dims, tensor.data_type)?;
    let (offset, place) = match &tensor.data {
        Data::External(_) => (files.range(index)?.1.start, None),
        Data::Fixed(runs) => match runs[..] {
            [] => (0, None),
            [
                Run {
                    start, count: 1, ..
                },
            ] => (start, None),
            [first, ..] => (first.start, Some(Place::Runs(runs.clone()))),
        },
        Data::Varints(varints) => {
            if !matches!(tensor.data_type, element::FLOAT16 | element::BFLOAT16) {
                return None;
            }
            let message = varints.lengths.last()?;
            (message.body.start, Some(Place::Varints(varints.clone())))
        }
        Data::None | Data::Strings => return None,
    };
    let (name, shape) = (tensor.name.clone(), tensor.dims.clone());
    let scattered = place.map(|place| {
        places.push(place);
        places.len() - 1
    });
    Some(Tensor {
        name,
        dtype,
        shape,
        source,
        offset,
        len,
        fixed: None,
        scattered,
        strides: None,
    })
}

fn has_convolution(model: &Model) -> bool {
    let nodes = model.graphs.iter().flat_map(|graph| &graph.nodes);
    nodes.map(|node| &node.operator.name[..]).any(|name| {
        matches!(
            name,
            "Conv" | "ConvTranspose" | "ConvInteger" | "QLinearConv" | "FusedConv"
        )
    })
}
