//! Checkpoints in files: what the command does with them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ckpt_regen::checkpoint::newest;
use ckpt_regen::edit::{self, Cadence, Change, Destination, Event, PlanFile, Request, When};
use ckpt_regen::inspect::diff::{DiffOptions, diff as compare};
use ckpt_regen::inspect::track::{TrackOptions, track as follow};
use ckpt_regen::inspect::{self as view, Json, NetworkReport, Render};
use ckpt_regen::{Checkpoint, Result, storage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hints;
use crate::options::{RuleOptions, read_mask, read_schema, schedule, wrong};
use crate::work::{self, Stop};

/// What `apply` takes beside a rule, from a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct ApplyOptions {
    newest: bool,
    root: Option<String>,
    plan: Option<PathBuf>,
    every: Option<u64>,
    epoch: Option<u64>,
    epoch_key: Option<String>,
    start: Option<u64>,
    until: Option<u64>,
    reset_optimizer: bool,
    param_order: Option<Vec<String>>,
    mask: Option<PathBuf>,
    pruned_as_public: bool,
    output: Option<PathBuf>,
    in_place: bool,
    follow_symlinks: bool,
    record: Option<PathBuf>,
    plan_out: Option<PathBuf>,
    dry_run: bool,
}

/// Edits the checkpoint at `path`; what was done as `apply --json` prints it.
#[pyfunction]
pub(crate) fn apply(
    py: Python<'_>,
    path: PathBuf,
    rule: RuleOptions,
    options: ApplyOptions,
) -> PyResult<String> {
    work::write(py, move |stop| apply_to(path, &rule, options, stop))
}

fn apply_to(
    path: PathBuf,
    rule: &RuleOptions,
    options: ApplyOptions,
    stop: &Stop,
) -> Result<String> {
    let path = to_edit(path, options.newest)?;
    let every = options.every;
    let when = When {
        schedule: every
            .map(|every| schedule(every, options.start, options.until))
            .transpose()?,
        epoch: options.epoch,
        epoch_key: options.epoch_key,
    };
    let asked = rule.options()?;
    let cadence = Cadence::of(&when, &path)?;
    let change = match &options.plan {
        _ if !cadence.due.now => Change::Nothing,
        Some(file) => Change::Plan(Box::new(PlanFile::read(file)?)),
        None => Change::Rule(asked),
    };
    let request = Request {
        schema: rule.schema()?,
        root: options.root,
        filter: rule.filter()?,
        allow_dying: rule.allow_dying,
        skip_shared: rule.skip_shared,
        reset_optimizer: options.reset_optimizer,
        param_order: options.param_order,
        mask: read_mask(&options.mask)?,
        pruned_as_public: options.pruned_as_public,
        change,
    };
    let destination = Destination {
        follow_symlinks: options.follow_symlinks
            || (options.newest && options.output.is_none() && path.is_symlink()),
        output: options.output,
        in_place: options.in_place,
        record: options.record,
        plan_out: options.plan_out,
        dry_run: options.dry_run,
    };
    let applied = edit::apply(&path, &request, &destination, &|_: Event| stop.answer())?;
    let mut warnings: Vec<String> = cadence.warning.clone().into_iter().collect();
    warnings.extend(applied.planned.iter().flat_map(hints::warnings));
    warnings.extend(applied.warnings.iter().cloned());
    let json = applied.to_json(&path, asked.rule, &cadence, &warnings);
    Ok(json.to_string())
}

/// The checkpoint to edit: of a directory of checkpoints none, unless the newest is asked for.
fn to_edit(path: PathBuf, take_newest: bool) -> Result<PathBuf> {
    match (newest(&path)?, take_newest) {
        (None, _) => Ok(path),
        (Some(newest), true) => Ok(newest),
        (Some(newest), false) => {
            let newest = newest.display();
            let reason = format!(
                "is a directory of checkpoints, of which {newest} is the newest: name that one, or use \
                 newest=True"
            );
            Err(wrong("path", &path.to_string_lossy(), reason))
        }
    }
}

/// Takes the last edit back; what was done as `undo --json` prints it.
#[pyfunction]
pub(crate) fn undo(
    py: Python<'_>,
    path: PathBuf,
    in_place: bool,
    follow_symlinks: bool,
    record: Option<PathBuf>,
) -> PyResult<String> {
    let destination = Destination {
        in_place,
        follow_symlinks,
        record,
        ..Destination::default()
    };
    work::write(py, move |stop| {
        let undone = edit::undo(&path, &destination, &|_: Event| stop.answer())?;
        Ok(undone.to_json(&path).to_string())
    })
}

/// Compares two checkpoints; what differs as `diff --json` prints it.
#[pyfunction]
pub(crate) fn diff(
    py: Python<'_>,
    a: PathBuf,
    b: PathBuf,
    gamma_only: bool,
    schema: Option<PathBuf>,
    record: Option<PathBuf>,
    mask: Option<PathBuf>,
) -> PyResult<String> {
    work::read(py, move |stop| {
        let options = DiffOptions {
            schema: read_schema(&schema)?,
            gamma_only,
            record,
            mask: read_mask(&mask)?,
        };
        let diff = compare(&a, &b, &options, &|_, _| -> ControlFlow<()> {
            stop.answer()
        })?;
        Ok(json(&diff))
    })
}

/// Follows a network through checkpoints; the series as `track --json` prints it, and warnings.
#[pyfunction]
pub(crate) fn track(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    root: Option<String>,
    channels: Vec<String>,
    schema: Option<PathBuf>,
    record: Option<PathBuf>,
    mask: Option<PathBuf>,
) -> PyResult<(String, Vec<String>)> {
    work::read(py, move |_| {
        let mut paths = paths;
        paths.retain(|path| !storage::is_companion(path));
        if paths.is_empty() {
            let reason = "expected checkpoints, found none".to_owned();
            return Err(wrong("paths", "", reason));
        }
        let channel = |text: &String| {
            text.parse()
                .map_err(|err: String| wrong("channels", text, err))
        };
        let options = TrackOptions {
            schema: read_schema(&schema)?,
            root,
            channels: channels.iter().map(channel).collect::<Result<_>>()?,
            record,
            mask: read_mask(&mask)?,
        };
        let series = follow(&paths, &options)?;
        Ok((json(&series), series.warnings))
    })
}

/// The γ of a checkpoint.
#[pyclass(frozen, module = "ckpt_regen._native")]
pub(crate) struct Inspected {
    /// As `inspect --json` prints it.
    #[pyo3(get)]
    json: String,
    /// Of each network, the layers with their γ.
    networks: Vec<Vec<(String, Vec<f64>)>>,
}

#[pymethods]
impl Inspected {
    /// The layers of a network in their order, each with its γ as f64 of the machine.
    fn gammas<'py>(&self, py: Python<'py>, network: usize) -> Vec<(&str, Bound<'py, PyBytes>)> {
        let layers = self.networks.get(network).map_or(&[][..], Vec::as_slice);
        let bytes = |values: &[f64]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_ne_bytes())
                .collect()
        };
        let layers = layers.iter();
        layers
            .map(|(name, values)| (&name[..], PyBytes::new(py, &bytes(values))))
            .collect()
    }
}

/// Reads the γ of the checkpoint at `path`; of a directory of checkpoints, of the newest.
#[pyfunction]
pub(crate) fn inspect(
    py: Python<'_>,
    path: PathBuf,
    schema: Option<PathBuf>,
    mask: Option<PathBuf>,
) -> PyResult<Inspected> {
    work::read(py, move |_| {
        let newest = newest(&path)?;
        let path: &Path = newest.as_deref().unwrap_or(&path);
        let checkpoint = Checkpoint::open(path)?;
        let report = view::inspect_masked(
            &checkpoint,
            &read_schema(&schema)?,
            read_mask(&mask)?.as_ref(),
        )?;
        let layers = |network: &NetworkReport| -> Vec<(String, Vec<f64>)> {
            let layers = network.layers.iter();
            layers
                .map(|layer| (layer.name.clone(), network.gammas_in(layer).to_vec()))
                .collect()
        };
        Ok(Inspected {
            json: json(&report),
            networks: report.networks.iter().map(layers).collect(),
        })
    })
}

fn json<View>(view: &View) -> String
where
    Json: Render<View>,
{
    let mut text = Vec::new();
    let rendered = Json.render(view, &mut text);
    rendered.expect("memory takes all that is written");
    String::from_utf8(text).expect("JSON is text")
}
