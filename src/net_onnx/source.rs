//! A network by what a user calls it: its name in the zoo, or an ONNX file.

use std::path::Path;

use super::{Network as OfFile, Origin};
use crate::error::{Error, Result};
use crate::net::{Graph, Resolution, zoo};

/// What is chosen about a network; what is not is as the network has it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Choice {
    /// Number of classes.
    pub classes: Option<usize>,
    /// Height and width of the images.
    pub resolution: Option<Resolution>,
    /// How it takes the images in.
    pub stem: Option<zoo::Stem>,
    /// Factor of its channel counts.
    pub width: Option<f64>,
    /// How it normalises.
    pub norm: Option<zoo::Norm>,
}

/// A network, and the file that it is from if it is from one.
#[derive(Debug)]
pub struct Network {
    /// The network.
    pub graph: Graph,
    /// Its ONNX file, with weights.
    pub origin: Option<Origin>,
}

/// Whether a network of this name is a file: it ends in `.onnx`, or is a path, or a file is there,
/// and there is none of this name in the zoo.
pub fn is_file(name: &str) -> bool {
    let path = Path::new(name);
    let is_onnx = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    let is_path = name.contains(std::path::is_separator);
    !zoo::names().any(|known| known == name) && (is_onnx || is_path || path.is_file())
}

/// Opens the network called `name`.
///
/// # Errors
/// There is none; the choice is none that it has; as [`zoo::build`] and [`onnx::open`](super::open).
pub fn open(name: &str, choice: &Choice) -> Result<Network> {
    if is_file(name) {
        return of_file(Path::new(name), choice);
    }
    let defaults = zoo::defaults(name)?;
    let stem = choice.stem.unwrap_or(defaults.stem);
    let resolution = match stem {
        zoo::Stem::Native => defaults.resolution,
        zoo::Stem::Cifar => 32.into(),
    };
    let options = zoo::Options {
        classes: choice.classes.unwrap_or(defaults.classes),
        resolution: choice.resolution.unwrap_or(resolution),
        stem,
        width: choice.width.unwrap_or(defaults.width),
        norm: choice.norm.unwrap_or(defaults.norm),
    };
    Ok(Network {
        graph: zoo::build(name, &options)?,
        origin: None,
    })
}

fn of_file(path: &Path, choice: &Choice) -> Result<Network> {
    let shown = path.display();
    if choice.stem.is_some_and(|stem| stem != zoo::Stem::Native) {
        let reason = format!("{shown} takes images in as it was exported");
        return Err(Error::argument("stem", "", reason));
    }
    if choice.width.is_some_and(|width| width != 1.0) {
        let reason = format!("{shown} is as wide as it was exported");
        return Err(Error::argument("width", "", reason));
    }
    if choice.norm.is_some_and(|norm| norm != zoo::Norm::Batch) {
        let reason = format!("{shown} normalises as it was exported");
        return Err(Error::argument("norm", "", reason));
    }
    let OfFile { graph, origin } = super::open(path, choice.resolution)?;
    let output = graph.output_shape();
    match choice.classes {
        Some(classes) if output.pixels() == 1 && output.channels != classes => {
            Err(Error::Usage(format!(
                "{shown} has {} classes, not {classes}: export it with as many",
                output.channels
            )))
        }
        _ => Ok(Network {
            graph,
            origin: Some(origin),
        }),
    }
}
