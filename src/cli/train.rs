//! `ckpt-regen train`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::{Table, Value};

use super::args::{MachineArgs, NetworkArgs, RuleArgs, SettingArgs, TrainArgs};
use super::inspect::read_mask;
use super::output;
use super::progress::Run;
use crate::checkpoint::Checkpoint;
use crate::edit::pruned_channels;
use crate::error::Result;
use crate::regen::Mask;
use crate::train::{self, End, Machine, Recipe, Request, Trainer, open_engine, read_file};
use crate::weights::LoadOptions;

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    let changes = changes(args.config.as_deref(), &args.network, &args.settings)?;
    let request = Request {
        out: args.out.clone(),
        resume: args.resume.clone(),
        load: LoadOptions {
            root: args.root.clone(),
            partial: args.partial,
        },
        mask: mask(args.mask.as_deref(), &args.resume, args.root.as_deref())?,
        recipe: recipe(&args.network),
        changes,
        tensorboard: args.tensorboard,
        workers: workers(&args.machine),
    };
    let machine = Machine::from(&args.machine);
    let mut trainer = train::open(&request, &|graph, task| open_engine(graph, task, &machine))?;
    trainer.notes().iter().for_each(|note| output::note(note));
    output::talk_plainly(&about(&trainer, &machine, workers(&args.machine)));
    let mut progress = Run::new(trainer.state().epoch, trainer.state().settings.epochs);
    let end = trainer.run(args.stop_after, &mut |event| progress.on(event));
    drop(progress);
    let end = end.inspect_err(|_| {
        let run = trainer.directory().display();
        output::note(&format!(
            "{run}/last is the checkpoint of the last finished epoch; --resume {run} goes on from it"
        ));
    })?;
    output::data(|out| writeln!(out, "{}", summary(&trainer, end)))
}

/// The pruned channels of what is gone on from: those of a file, else those that the record beside it has.
pub(super) fn mask(
    file: Option<&Path>,
    resume: &[PathBuf],
    root: Option<&str>,
) -> Result<Option<Mask>> {
    if let Some(mask) = read_mask(file)? {
        return Ok(Some(mask));
    }
    let [path] = resume else { return Ok(None) };
    let path = if train::is_run(path) {
        path.join("last")
    } else {
        path.to_owned()
    };
    let Ok(checkpoint) = Checkpoint::open(&path) else {
        // Training says what is wrong with it.
        return Ok(None);
    };
    let mut notes = Vec::new();
    let mask = pruned_channels(&checkpoint, root, &mut notes)?;
    notes.iter().for_each(|note| output::note(note));
    Ok(mask)
}

/// As many threads prepare batches as compute: they wait most of the time.
pub(super) fn workers(machine: &MachineArgs) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    machine.threads.unwrap_or_else(processors)
}

pub(super) fn recipe(network: &NetworkArgs) -> Option<Recipe> {
    let named = |recipe: &Recipe| network.recipe.as_deref() == Some(recipe.name());
    Recipe::ALL.into_iter().find(named)
}

/// Puts a flag that was given into a table of settings.
pub(super) fn put(table: &mut Table, key: &str, value: &Option<impl Serialize>) {
    if let Some(value) = value {
        let value = Value::try_from(value).expect("a flag is a plain value");
        table.insert(key.replace('_', "-"), value);
    }
}

macro_rules! put_all {
    ($table:expr, $args:expr, $($field:ident)*) => {
        $(put($table, stringify!($field), &$args.$field);)*
    };
}

pub(super) fn network_flags(args: &NetworkArgs) -> Table {
    let mut table = Table::new();
    put_all!(&mut table, args, model stem width resolution data task mean std);
    put_all!(&mut table, args.scenes, label_values ignored_values test_sides long_side label_pad);
    put_all!(&mut table, args.norm, norm norm_group norm_iterations ce_reduction);
    table
}

/// What changes a recipe: the file of settings first, so that flags win.
pub(super) fn changes(
    config: Option<&Path>,
    network: &NetworkArgs,
    settings: &SettingArgs,
) -> Result<Vec<Table>> {
    let mut flags = network_flags(network);
    setting_flags(settings, &mut flags);
    let file = config.map(read_file).transpose()?;
    Ok(file.into_iter().chain([flags]).collect())
}

fn setting_flags(args: &SettingArgs, table: &mut Table) {
    put_all!(table, args, seed epochs epoch_updates batch_size accumulate optimizer lr decoder_lr momentum nesterov
        weight_decay decay_vectors clip_norm schedule milestones step_epochs lr_factor
        warmup_epochs label_smoothing bn_momentum ema patience recalibrate keep record crop_padding flip rotation
        random_resized_crop short_sides regen_every regen_start regen_until regen_state sparsity prune_ratio norm_ratio
        min_channels early_bird pruned_as_public);
    put(table, "continue", &args.after_ticket);
    let method = args.prune_method.map(|method| method.to_string());
    put(table, "prune_method", &method);
    put(table, "soft", &args.soft.map(|soft| soft.to_string()));
    let RuleArgs {
        rule,
        below,
        to,
        scope: _,
        each: _,
        keep_zeros,
        iternorm,
        include,
        exclude,
    } = &args.rule;
    put(table, "rule", &rule.map(|rule| rule.to_string()));
    put(table, "below", &below.map(|below| below.to_string()));
    put(table, "to", &to.map(|to| to.to_string()));
    put(
        table,
        "scope",
        &args.rule.scope().map(|scope| scope.to_string()),
    );
    put(table, "keep_zeros", &keep_zeros.then_some(true));
    put(table, "iternorm", &iternorm.then_some(true));
    for (key, list) in [("include", include), ("exclude", exclude)] {
        let list: Vec<&str> = list.iter().map(|regex| regex.as_str()).collect();
        put(table, key, &(!list.is_empty()).then_some(list));
    }
}

/// What is trained on what.
fn about(trainer: &Trainer, machine: &Machine, threads: usize) -> String {
    let (state, graph) = (trainer.state(), trainer.engine().graph());
    let parameters = graph.tensors().iter().filter(|spec| spec.is_parameter());
    let parameters: usize = parameters.map(|spec| spec.len()).sum();
    let (train, test) = trainer.images();
    let classes = state.classes.len();
    let threads = output::plural(threads, "thread");
    let begun = match state.epoch {
        0 => String::new(),
        epoch => format!("; {} finished", output::plural(epoch as usize, "epoch")),
    };
    format!(
        "{}: {parameters} parameters; {train} + {test} images of {classes} classes; {machine}, \
         {threads}{begun}",
        graph.name()
    )
}

fn summary(trainer: &Trainer, end: End) -> String {
    let (state, run) = (trainer.state(), trainer.directory());
    let finished = format!("{} of {} epochs", state.epoch, state.settings.epochs);
    let best = state.best.map_or(String::new(), |best| {
        let (merit, epoch) = (best.merit(), best.epoch);
        let what = if best.test_score.is_some() {
            "score "
        } else {
            ""
        };
        let place = run.join("best");
        format!(
            "; best {what}{merit:.2} % at epoch {epoch}, {}",
            place.display()
        )
    });
    let why = match end {
        End::Finished => String::new(),
        End::Stopped => format!("; --resume {} goes on", run.display()),
        End::Ticket => {
            let mask = &state.pruning.mask;
            let (pruned, channels) = (mask.count(), mask.channels());
            let ticket = run.join("ticket");
            format!(
                "; ticket found, {pruned} of {channels} channels pruned: {}",
                ticket.display()
            )
        }
        End::OutOfPatience => format!(
            "; no better test {} for {}",
            if state.best.is_some_and(|best| best.test_score.is_some()) {
                "score"
            } else {
                "accuracy"
            },
            output::plural(state.settings.patience as usize, "epoch")
        ),
    };
    format!("{}: {finished}{best}{why}", run.display())
}
