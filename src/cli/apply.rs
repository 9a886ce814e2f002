//! `ckpt-regen apply`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::args::{ApplyArgs, DestinationArgs, EditArgs, OptimizerState, ScheduleArgs};
use super::hints;
use super::inspect::{self, read_mask, read_schema};
use super::output;
use super::paths;
use super::pictures::{self, refuse_checkpoint, refuse_checkpoints};
use super::progress::Bytes;
use super::{BOLD, undo};
use crate::batchnorm::{Filter, Schema, one_median};
use crate::checkpoint::Checkpoint;
use crate::edit::{self, Applied, Cadence, Change, Destination, PlanFile, Planned, Request, When};
use crate::error::{Error, Result};
use crate::file::{read_small_file, same_place};
use crate::inspect::{Edited, Html};
use crate::regen::{LayerPlan, Mask, Options, Plan, Rule, Schedule, Scope, To};
use crate::render::plain;
use crate::text::printable;

pub(super) fn run(mut args: ApplyArgs) -> Result<()> {
    let begin = Instant::now();
    args.path = paths::to_edit(args.path, args.newest)?;
    args.to.follow_symlinks |= args.newest && args.to.output.is_none() && args.path.is_symlink();
    let args = &args;
    let cadence = Cadence::of(&when(&args.schedule), &args.path)?;
    let mut request = request(&args.edit, args.plan.as_deref())?;
    if !cadence.due.now {
        request.change = Change::Nothing;
    }
    let destination = destination(&args.to);
    if args.to.dry_run {
        inspect::warn_if_pending(&args.path)?;
    }
    if let Some(file) = &args.to.report {
        let others = [&args.plan, &args.edit.schema, &args.edit.mask];
        refuse_report(&args.path, &args.to, &others, file)?;
    }
    let progress = Bytes::new("copying");
    let outcome = edit::apply(&args.path, &request, &destination, &|event| {
        progress.on(event)
    })?;
    drop(progress);
    let planned = outcome.planned.as_ref();
    let mut warnings: Vec<String> = cadence.warning.clone().into_iter().collect();
    warnings.extend(planned.into_iter().flat_map(hints::warnings));
    warnings.extend(outcome.warnings.iter().cloned());
    if !args.json {
        warnings.iter().for_each(|warning| output::warn(warning));
        planned
            .iter()
            .flat_map(|p| &p.notes)
            .for_each(|note| output::note(note));
    }
    // Without anyone to read it, the report is written all the same.
    let printed = if args.json {
        let json = outcome.to_json(&args.path, rule_asked(args), &cadence, &warnings);
        output::data(|out| writeln!(out, "{json}"))
    } else {
        output::text(|out| summary(out, args, &cadence, &outcome))
    };
    if let Some(file) = &args.to.report {
        let (mask, none) = (planned.and_then(|p| p.mask.as_ref()), Mask::default());
        let report = EditReport {
            path: if args.to.dry_run {
                &args.path
            } else {
                &outcome.output
            },
            schema: &request.schema,
            edit: planned.map(|planned| (&planned.network.root[..], &planned.plan)),
            done: !args.to.dry_run,
            masks: [mask.unwrap_or(&none); 2],
            summary: outcome.to_json(&args.path, rule_asked(args), &cadence, &warnings),
            rule: match planned {
                Some(planned) => rule(planned),
                None => "not due: nothing regenerated".to_owned(),
            },
            warnings,
        };
        report.write(file)?;
    }
    printed?;
    if args.verbose {
        output::note_reading();
        undo::note_time(begin, outcome.syncs);
    }
    Ok(())
}

/// When to edit, as it was typed.
fn when(args: &ScheduleArgs) -> When {
    When {
        schedule: args.every.map(|every| Schedule {
            every,
            start: args.start.unwrap_or(every),
            until: args.until,
        }),
        epoch: args.epoch,
        epoch_key: args.epoch_key.clone(),
    }
}

/// The rule that was typed, or else the default.
fn rule_asked(args: &ApplyArgs) -> Rule {
    args.edit.rule.rule.unwrap_or_default()
}

/// Bytes of a file of names.
const MAX_ORDER: u64 = 64 << 20;

/// The names in a file, one a line.
fn read_order(file: &Path) -> Result<Vec<String>> {
    let text = read_small_file(file, MAX_ORDER).map_err(Error::io("read", file))?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// How the result reaches the disk, as it was typed.
pub(super) fn destination(args: &DestinationArgs) -> Destination {
    Destination {
        output: args.output.clone(),
        in_place: args.in_place,
        follow_symlinks: args.follow_symlinks,
        record: args.record.clone(),
        plan_out: args.plan_out.clone(),
        dry_run: args.dry_run,
    }
}

/// The report must not take the place of what the edit reads or writes.
pub(super) fn refuse_report(
    path: &PathBuf,
    to: &DestinationArgs,
    others: &[&Option<PathBuf>],
    file: &Path,
) -> Result<()> {
    let mut others = [&to.output, &to.plan_out]
        .into_iter()
        .chain(others.iter().copied());
    if others.any(|other| other.as_ref().is_some_and(|other| same_place(other, file))) {
        let message = format!("--report {} is another file of this edit", file.display());
        return Err(Error::Usage(message));
    }
    refuse_checkpoints(std::slice::from_ref(path), "--report", file)
}

/// A page about an edit.
pub(super) struct EditReport<'r> {
    /// The checkpoint: after the edit if it is `done`, else as it is.
    pub(super) path: &'r Path,
    pub(super) schema: &'r Schema,
    /// The root of the network that was edited, and how.
    pub(super) edit: Option<(&'r str, &'r Plan)>,
    pub(super) done: bool,
    /// The pruned channels before and after.
    pub(super) masks: [&'r Mask; 2],
    pub(super) summary: serde_json::Value,
    pub(super) rule: String,
    pub(super) warnings: Vec<String>,
}

impl EditReport<'_> {
    /// What is on the disk by now is not touched, whatever becomes of the report.
    pub(super) fn write(self, file: &Path) -> Result<()> {
        let edited_already = self.edit.is_some() && self.done;
        let write = || {
            let checkpoint = Checkpoint::open(self.path)?;
            // Known only now, where the output was a directory.
            refuse_checkpoint(&checkpoint, "--report", file)?;
            let mut edited = {
                let (edit, done, masks) = (self.edit, self.done, self.masks);
                Edited::new(&checkpoint, self.schema, edit, done, masks)?
            };
            edited.summary = self.summary;
            edited.rule = self.rule;
            edited.warnings = self.warnings;
            pictures::write(&Html, &edited, file)
        };
        write().map_err(|err| {
            let reason = format!("the report was not written: {}", super::chain(&err));
            let edit = if edited_already {
                "; the edit itself is done"
            } else {
                ""
            };
            Error::refused(file, reason + edit)
        })
    }
}

/// What to edit, by a rule or by a saved plan.
pub(super) fn request(args: &EditArgs, plan: Option<&Path>) -> Result<Request> {
    if args.param_order.is_some() && args.optimizer == OptimizerState::Keep {
        let message = "--param-order goes with --optimizer reset";
        return Err(Error::Usage(message.to_owned()));
    }
    let rule = &args.rule;
    let change = match plan {
        Some(file) => Change::Plan(Box::new(PlanFile::read(file)?)),
        None => Change::Rule(Options {
            rule: rule.rule.unwrap_or_default(),
            below: rule.below.unwrap_or_default(),
            to: rule.to.unwrap_or_default(),
            scope: rule.scope().unwrap_or_default(),
            keep_zeros: rule.keep_zeros,
        }),
    };
    Ok(Request {
        schema: read_schema(args.schema.as_deref())?,
        root: args.root.clone(),
        filter: Filter {
            include: rule.include.clone(),
            exclude: rule.exclude.clone(),
            iternorm: rule.iternorm,
        },
        allow_dying: args.allow_dying,
        skip_shared: args.skip_shared,
        param_order: args.param_order.as_deref().map(read_order).transpose()?,
        reset_optimizer: args.optimizer == OptimizerState::Reset,
        mask: read_mask(args.mask.as_deref())?,
        pruned_as_public: args.pruned_as_public,
        change,
    })
}

fn summary(
    out: &mut dyn Write,
    args: &ApplyArgs,
    cadence: &Cadence,
    done: &Applied,
) -> io::Result<()> {
    write_cadence(cadence, out)?;
    let shown = |path: &Path| printable(&path.to_string_lossy());
    let file = args.to.output.is_some().then(|| shown(&done.output));
    let Some(planned) = &done.planned else {
        return match file {
            Some(file) if !args.to.dry_run => {
                writeln!(out, "{BOLD}{file}{BOLD:#}: an unchanged copy")
            }
            _ => Ok(()),
        };
    };
    let plan = &planned.plan;
    let name = file.unwrap_or_else(|| shown(&args.path));
    let verb = if args.to.dry_run {
        "would regenerate"
    } else {
        "regenerated"
    };
    writeln!(
        out,
        "{BOLD}{name}{BOLD:#}: {verb} {} of {} channels, in {} of {} layers",
        plan.regenerated(),
        plan.counted,
        plan.layers_touched(),
        plan.layers.len(),
    )?;
    writeln!(out, "  rule     {}", rule(planned))?;
    let names = plan.layers.iter().map(|layer| &layer.name[..]);
    if let Some(line) = one_median(names).filter(|_| planned.options.scope == Scope::Network) {
        writeln!(out, "{}", printable(&line))?;
    }
    let changes = |layer: &'_ LayerPlan| (layer.name.clone(), layer.changes.len());
    write_most(out, plan.layers.iter().map(changes))?;
    if done.slots_reset > 0 {
        let slots = output::plural(done.slots_reset, "tensor");
        writeln!(
            out,
            "  reset    the regenerated γ's state in {slots} of the optimizer"
        )?;
    }
    match &done.record {
        Some(record) => writeln!(out, "  record   {} (for ckpt-regen undo)", shown(record)),
        None if args.to.dry_run => writeln!(out, "  nothing was written"),
        None if args.to.output.is_some() => writeln!(out, "  nothing changed: an unchanged copy"),
        None => writeln!(
            out,
            "  nothing changed: file and record are left as they were"
        ),
    }
}

/// The layers with the most channels of an edit.
pub(super) fn write_most(
    out: &mut dyn Write,
    layers: impl Iterator<Item = (String, usize)>,
) -> io::Result<()> {
    let mut most: Vec<(String, usize)> = layers.filter(|(_, count)| *count > 0).collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if most.is_empty() {
        return Ok(());
    }
    let most = most.iter().take(3);
    let most = most.map(|(name, count)| format!("{} ({count})", printable(name)));
    writeln!(out, "  most in  {}", most.collect::<Vec<_>>().join(", "))
}

/// Whether it is due, on one line, where there is a schedule.
fn write_cadence(cadence: &Cadence, out: &mut dyn Write) -> io::Result<()> {
    let (Some(schedule), Some(epoch)) = (cadence.schedule, cadence.epoch) else {
        return Ok(());
    };
    let state = if cadence.due.now {
        "due"
    } else {
        "not due, nothing regenerated"
    };
    let next = match cadence.due.next {
        Some(next) => format!("next at epoch {next}"),
        None => "never again".to_owned(),
    };
    let place = cadence.read_from.as_ref();
    let place = place.map_or(String::new(), |place| format!(" (read from {place})"));
    let every = schedule.every;
    writeln!(out, "epoch {epoch}, every {every}: {state}; {next}{place}")
}

/// The rule with its numbers, as `paper: γ ≤ 0.187 (median) becomes 0.187`.
fn rule(planned: &Planned) -> String {
    let options = &planned.options;
    let number = |value: Option<f64>| match value {
        Some(value) => precise(value),
        None if options.scope == Scope::Each => "its module's".to_owned(),
        None => "its layer's".to_owned(),
    };
    let (threshold, target) = (number(planned.plan.threshold), number(planned.plan.target));
    let selected = match options.rule {
        Rule::Paper => "γ ≤",
        Rule::Reference | Rule::KeepSign => "|γ| <",
    };
    let sign = if options.rule == Rule::KeepSign {
        "±"
    } else {
        ""
    };
    let to = match (options.to, options.scope) {
        (To::Threshold, Scope::Each | Scope::Layer) => "that".to_owned(),
        (To::Threshold | To::Value(_), _) => format!("{sign}{target}"),
        (to, _) => format!("{sign}{target} ({to})"),
    };
    format!(
        "{}: {selected} {threshold} ({}) becomes {to}",
        options.rule, options.below
    )
}

/// A γ with six digits behind the point, or as short as it is tiny.
pub(super) fn precise(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1e-3 {
        format!("{value:.6}")
    } else {
        plain(value)
    }
}
