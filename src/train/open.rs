//! From what was asked for to a run that is ready to go on.

use std::path::{Path, PathBuf};

use toml::Table;

use super::checkpoint;
use super::data::Split;
use super::directory::{RunDirectory, is_checkpoint, is_run, run_of};
use super::norm::NormName;
use super::recipe::Recipe;
use super::settings::Settings;
use super::state::State;
use super::task::TaskName;
use super::trainer::Trainer;
use super::{metrics, network, pipeline, pruning, record, regenerate};
use crate::engine::{Engine, Task};
use crate::error::{Error, Result};
use crate::file::same_place;
use crate::net::{Graph, Network};
use crate::regen::Mask;
use crate::weights::LoadOptions;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The directory of the run.
    pub out: Option<PathBuf>,
    /// What to go on from: the directory of a run, a checkpoint of a run, or weights; nothing for a new
    /// run. Several are weights of a part of the network each.
    pub resume: Vec<PathBuf>,
    /// How weights are read.
    pub load: LoadOptions,
    /// Channels that are pruned in what is gone on from.
    pub mask: Option<Mask>,
    /// Where the settings of a new run come from.
    pub recipe: Option<Recipe>,
    /// Settings in place of the recipe's, or of those of the run that goes on; the last come first.
    pub changes: Vec<Table>,
    /// Whether TensorBoard's event files are written, into `tensorboard/` of the run.
    pub tensorboard: bool,
    /// Threads that prepare batches.
    pub workers: usize,
}

impl Request {
    /// The settings of a new run, but for what the data set decides.
    ///
    /// # Errors
    /// No recipe, a value that is none of its kind, settings that make no sense.
    pub fn settings(&self) -> Result<Settings> {
        Settings::with(&base(self.recipe, &self.changes)?, &self.changes)
    }
}

/// Makes the engine that runs a network and learns a task.
pub type NewEngine<'a> = &'a dyn Fn(Graph, Task) -> Result<Box<dyn Engine>>;

/// Where a run begins.
enum Start {
    New,
    Weights(Vec<PathBuf>),
    /// A checkpoint with its state.
    Checkpoint(PathBuf, Box<State>),
}

/// Opens a run: begins one, or goes on with one.
///
/// # Errors
/// Settings, data, weights or directories that are not there, are wrong or do not fit each other.
pub fn open(request: &Request, engine: NewEngine<'_>) -> Result<Trainer> {
    let Places { out, run, start } = places(request)?;
    let base = match &start {
        Start::Checkpoint(_, state) => {
            let own = state.settings.recipe;
            if request.recipe.is_some_and(|recipe| recipe != own) {
                let reason = format!(
                    "a run that goes on has its settings, of recipe {}; single ones can be given",
                    own.name()
                );
                return Err(Error::argument("recipe", "", reason));
            }
            state.settings.clone()
        }
        _ => base(request.recipe, &request.changes)?,
    };
    let mut settings = Settings::with(&base, &request.changes)?;
    let before = match &start {
        Start::Checkpoint(_, state) => Some(&**state),
        _ => None,
    };
    let network_sha256 = network::file(&mut settings, before)?;
    network::fix_resolution(&mut settings)?;
    let train = pipeline::dataset(&settings, Split::Train)?;
    let test = pipeline::dataset(&settings, Split::Test)?;
    let classes = train.images().classes().to_vec();
    let expected = format!("the {} classes of the training images", classes.len());
    let data = Path::new(&settings.data);
    let place = ("test images", expected);
    same_classes(data, place, &classes, test.images().classes())?;
    pipeline::complete_resolution(&mut settings, train.images())?;
    let opened = network::open(&settings, classes.len())?;
    let channels = opened.graph.input_shape().channels;
    pipeline::complete_normalisation(&mut settings, classes.len(), channels);
    regenerate::check(&opened, &settings)?;
    let mut notes = network::notes(&opened, &settings)?;
    let Network { graph, origin } = opened;
    let named = settings.record.as_deref();
    let recorder = named.map(|named| record::Recorder::new(&graph, named));
    let recorder = recorder.transpose()?;
    let images = train.images().len();
    let mut engine = engine(graph, settings.task.task())?;
    let mut state = State::new(settings, classes, images, engine.precision());
    state.network_sha256 = network_sha256;
    if let Start::Checkpoint(path, before) = &start {
        same_data(path, before, &state)?;
    }
    let workers = request.workers.max(1);
    let load = |set, split| pipeline::loader(&state.settings, engine.graph(), set, split, workers);
    let loaders = (load(train, Split::Train)?, load(test, Split::Test)?);
    let begun = run.is_some();
    let drawn = matches!(start, Start::New) && origin.is_none();
    pruning::check_start(&state.settings, before, drawn, engine.graph())?;
    match &start {
        Start::New => match &origin {
            Some(origin) => network::write_weights(origin, &mut *engine)?,
            None => checkpoint::draw_weights(state.seed, &mut *engine)?,
        },
        Start::Weights(paths) => {
            let (seed, load) = (state.seed, &request.load);
            let fits = checkpoint::read_weights(paths, load, seed, &mut *engine)?;
            let fits = paths.iter().zip(&fits);
            notes.extend(fits.filter_map(|(path, fit)| checkpoint::note(path, fit)));
        }
        Start::Checkpoint(path, before) => {
            (state.epoch, state.step) = (before.epoch, before.step);
            state.order.next_epoch = before.epoch + 1;
            // The best checkpoint of another run stays there.
            state.best = before.best.filter(|_| begun);
            checkpoint::read(path, &state, &mut *engine)?;
            pruning::go_on(before, &mut state, &mut *engine)?;
        }
    }
    if let Some(mask) = &request.mask {
        pruning::add(&mut state.pruning, mask, &mut *engine)?;
    }
    if state.epoch == 0 && !begun {
        pruning::by_settings(&state.settings, &mut state.pruning, &mut *engine)?;
    }
    if !matches!(start, Start::Checkpoint(..)) && state.settings.ema > 0.0 {
        engine.begin_average();
    }
    let run = match run {
        Some(run) => run,
        None => RunDirectory::open(&out)?,
    };
    // Another program may have begun one there since.
    if !begun && is_run(&out) {
        return Err(taken(&out));
    }
    metrics::keep(&run.metrics(), state.epoch)?;
    record::keep(run.path(), state.epoch)?;
    let trainer = Trainer::new(engine, state, recorder, run, loaders, notes);
    trainer.begin(!begun, request.tensorboard)
}

struct Places {
    out: PathBuf,
    /// The run at `out`, if it is one that goes on.
    run: Option<RunDirectory>,
    start: Start,
}

/// The directory of the run, and where it begins.
fn places(request: &Request) -> Result<Places> {
    let fresh = |start: Start| {
        let Some(out) = request.out.clone() else {
            let reason = "expected the directory in which the run is to be kept";
            return Err(Error::argument("out", "", reason));
        };
        if is_run(&out) {
            Err(taken(&out))
        } else {
            Ok(Places {
                out,
                run: None,
                start,
            })
        }
    };
    let path = match &request.resume[..] {
        [] => return fresh(Start::New),
        [path] => path,
        all => {
            if let Some(run) = all.iter().find(|path| is_run(path) || is_checkpoint(path)) {
                let reason = "a run goes on alone; of several paths each holds weights of a part";
                return Err(Error::argument("resume", run.display(), reason));
            }
            return fresh(Start::Weights(all.to_vec()));
        }
    };
    let own = if is_run(path) {
        Some(path.clone())
    } else if is_checkpoint(path) {
        run_of(path)
    } else {
        return fresh(Start::Weights(vec![path.clone()]));
    };
    let goes_on = |run: &PathBuf| request.out.as_ref().is_none_or(|out| same_place(out, run));
    match own {
        Some(run) if goes_on(&run) => {
            let opened = RunDirectory::open(&run)?;
            let last = opened.last();
            let state = State::read(&last)?;
            Ok(Places {
                out: run,
                run: Some(opened),
                start: Start::Checkpoint(last, Box::new(state)),
            })
        }
        own => {
            let checkpoint = match own {
                Some(run) => RunDirectory::last_of(&run),
                None => path.clone(),
            };
            let state = State::read(&checkpoint)?;
            fresh(Start::Checkpoint(checkpoint, Box::new(state)))
        }
    }
}

fn taken(out: &Path) -> Error {
    let reason = "there is a run already, which can be resumed";
    Error::argument("out", out.display(), reason)
}

/// The settings that a new run begins with: those of its recipe, as far as they mean something to the task and the
/// normalisation that are asked for.
pub(super) fn base(recipe: Option<Recipe>, changes: &[Table]) -> Result<Settings> {
    let text = |key: &str| {
        let tables = changes.iter().rev();
        let mut values = tables.filter_map(|table| table.get(key)?.as_str());
        values.next().map(str::to_owned)
    };
    let named = match text("recipe") {
        Some(name) => Some(
            Recipe::ALL
                .into_iter()
                .find(|recipe| recipe.name() == name)
                .ok_or_else(|| Error::Usage(format!("recipe: there is none called {name:?}")))?,
        ),
        None => None,
    };
    let digits = (text("data").as_deref() == Some("digits")).then_some(Recipe::Digits);
    match recipe.or(named).or(digits) {
        Some(recipe) => {
            let own = recipe.settings();
            let task = match text("task").as_deref() {
                Some("segmentation") => TaskName::Segmentation,
                Some("classification") => TaskName::Classification,
                _ => own.task,
            };
            let norm = match text("norm").as_deref() {
                Some("itn") => NormName::Itn,
                _ => own.norm,
            };
            Ok(own.for_task(task, norm))
        }
        None => {
            let names: Vec<&str> = Recipe::ALL.iter().map(|recipe| recipe.name()).collect();
            let reason = format!("expected one of {}", names.join(", "));
            Err(Error::argument("recipe", "", reason))
        }
    }
}

/// Labels mean nothing where classes differ.
pub(super) fn same_classes(
    data: &Path,
    (place, expected): (&str, String),
    wanted: &[String],
    found: &[String],
) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    let odd = found.iter().find(|class| !wanted.contains(class));
    let found = match odd {
        Some(class) => format!("{}, {class:?} among them", found.len()),
        None => format!("{} of them, or in another order", found.len()),
    };
    Err(Error::malformed(data, place, expected, found))
}

/// A run goes on with the data that it began with.
fn same_data(checkpoint: &Path, before: &State, now: &State) -> Result<()> {
    let data = Path::new(&now.settings.data);
    let of_run = format!("the {} classes of the run", before.classes.len());
    same_classes(data, ("classes", of_run), &before.classes, &now.classes)?;
    if before.order.images != now.order.images {
        let expected = format!("{} images, as the run began with", before.order.images);
        return Err(Error::malformed(
            data,
            "training images",
            expected,
            now.order.images,
        ));
    }
    if before.dtype != now.dtype {
        let reason = format!("is in {}, and this trains in {}", before.dtype, now.dtype);
        return Err(Error::refused(checkpoint, reason));
    }
    Ok(())
}
