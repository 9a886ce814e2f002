//! From what was asked for to a network and test images on which its accuracy can be measured.

use std::path::{Path, PathBuf};

use super::data::{Loader, Split};
use super::directory::{RunDirectory, is_checkpoint, is_run};
use super::open::{Request, base, same_classes};
use super::settings::Settings;
use super::state::State;
use super::{NewEngine, checkpoint, network, norm, pipeline};
use crate::checkpoint::directory::run::AVERAGE;
use crate::engine::Engine;
use crate::error::Result;
use crate::file::same_file;
use crate::net::Network;
use crate::net::onnx::is_onnx;

/// A network and test images.
pub struct Examination {
    /// With the checkpoint's weights.
    pub engine: Box<dyn Engine>,
    /// The test images.
    pub test: Loader,
    /// Where the weights are from.
    pub weights: PathBuf,
    /// How the network is built and images enter it.
    pub settings: Settings,
    /// What a user should hear of.
    pub notes: Vec<String>,
}

/// Opens the checkpoint at `path`, of any format, and the test images of the data set.
///
/// A run's checkpoint says itself what network it is of and what data it was trained on, and its
/// averaged weights are taken where it has any; of a run, that is its best checkpoint. Of `request`
/// count how weights are read, the recipe, changes and workers.
///
/// # Errors
/// As of [`open`](super::open).
pub fn examine(path: &Path, request: &Request, engine: NewEngine<'_>) -> Result<Examination> {
    let (path, state) = checkpoint_of(path)?;
    let base = match (&state, request.recipe) {
        (Some(state), None) => state.settings.clone(),
        _ => base(request.recipe, &request.changes)?,
    };
    let mut settings = Settings::with(&base, &request.changes)?;
    if settings.model.is_empty() && is_onnx(&path) {
        settings.model = path.to_string_lossy().into_owned();
    }
    network::file(&mut settings, state.as_ref())?;
    network::fix_resolution(&mut settings)?;
    let test = pipeline::dataset(&settings, Split::Test)?;
    if let Some(state) = &state {
        let expected = format!("the {} classes of the run", state.classes.len());
        let data = Path::new(&settings.data);
        same_classes(
            data,
            ("classes", expected),
            &state.classes,
            test.images().classes(),
        )?;
    }
    pipeline::complete_resolution(&mut settings, test.images())?;
    let classes = test.images().classes().len();
    let Network { graph, origin } = network::open(&settings, classes)?;
    let channels = graph.input_shape().channels;
    pipeline::complete_normalisation(&mut settings, classes, channels);
    let mut notes = origin
        .as_ref()
        .map_or(Vec::new(), |origin| origin.notes().to_vec());
    let mut engine = engine(graph, settings.task.task())?;
    let weights = averaged(path);
    match origin.filter(|origin| same_file(origin.path(), &weights)) {
        Some(origin) => network::write_weights(&origin, &mut *engine)?,
        None => {
            let (seed, load) = (settings.seed, &request.load);
            let paths = std::slice::from_ref(&weights);
            checkpoint::read_weights(paths, load, seed, &mut *engine)?;
        }
    }
    notes.extend(norm::untrained(&*engine));
    let workers = request.workers.max(1);
    let test = pipeline::loader(&settings, engine.graph(), test, Split::Test, workers)?;
    Ok(Examination {
        engine,
        test,
        weights,
        settings,
        notes,
    })
}

/// The checkpoint that `path` means (of a run, the best one) and its state, if it is one of a run.
pub(super) fn checkpoint_of(path: &Path) -> Result<(PathBuf, Option<State>)> {
    let path = if is_run(path) {
        Some(RunDirectory::best_of(path)).filter(|best| is_checkpoint(best))
    } else {
        None
    }
    .unwrap_or_else(|| path.to_owned());
    let path = if is_run(&path) {
        RunDirectory::last_of(&path)
    } else {
        path
    };
    let home = if path.is_dir() {
        path.clone()
    } else {
        path.parent().unwrap_or(Path::new("")).to_owned()
    };
    let state = if is_checkpoint(&home) {
        Some(State::read(&home)?)
    } else {
        None
    };
    Ok((path, state))
}

/// The averaged weights of a checkpoint, where it has any, else the checkpoint.
pub(super) fn averaged(path: PathBuf) -> PathBuf {
    let average = path.join(AVERAGE);
    if average.is_file() { average } else { path }
}
