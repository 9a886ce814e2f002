//! Trained weights, and the ONNX file that they can be written back into.

use std::path::{Path, PathBuf};

use candle_core::DType;

use super::examine::{averaged, checkpoint_of};
use super::network;
use super::settings::Settings;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::net::onnx::{self, Origin};
use crate::net::{self, Choice, Graph};
use crate::weights::{self, LoadOptions};

/// Trained weights of a network that is from a file.
#[derive(Debug)]
pub struct Trained {
    /// The network.
    pub graph: Graph,
    /// Its file.
    pub origin: Origin,
    /// The numbers of every tensor of the graph, in its order.
    pub values: Vec<Vec<f64>>,
    /// Where they are from.
    pub weights: PathBuf,
}

/// Reads the weights of the checkpoint at `path` and the ONNX file of their network: that of the run,
/// or `model`. Of a run the best checkpoint is taken, and the average where there is one, as
/// [`examine`](super::examine()) does.
///
/// # Errors
/// No file is named, or it is not the one that the run began with; the weights do not fit it.
pub fn trained(path: &Path, model: Option<&str>) -> Result<Trained> {
    let (path, state) = checkpoint_of(path)?;
    let mut settings = state
        .as_ref()
        .map_or_else(Settings::default, |state| state.settings.clone());
    if let Some(model) = model {
        settings.model = model.to_owned();
    }
    if settings.model.is_empty() {
        let reason = "expected the ONNX file that the weights are of";
        return Err(Error::argument("model", "", reason));
    }
    if network::file(&mut settings, state.as_ref())?.is_none() {
        let reason =
            "it is no ONNX file; only what was trained from one can be written back into it";
        return Err(Error::argument("model", &settings.model, reason));
    }
    // Weights do not depend on the size of the images, which a run knows.
    let own = onnx::resolution(Path::new(&settings.model)).unwrap_or_default();
    let resolution = settings.resolution.or(own.is_none().then_some(224.into()));
    let choice = Choice {
        resolution: resolution.filter(|_| own.is_none()),
        ..Choice::default()
    };
    let network = net::open(&settings.model, &choice)?;
    let Some(origin) = network.origin else {
        return Err(Error::argument("model", "", "expected an ONNX file"));
    };
    let graph = network.graph;
    let weights = averaged(path);
    let vars = weights::initialize(&graph, 0, DType::F64)?;
    let checkpoint = Checkpoint::open(&weights)?;
    weights::load(&graph, &checkpoint, &LoadOptions::default(), &vars)?;
    let values = weights::values(&graph, &vars)?;
    Ok(Trained {
        graph,
        origin,
        values,
        weights,
    })
}
