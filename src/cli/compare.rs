//! `ckpt-regen compare`.

use super::args::{CompareArgs, RuleArgs};
use super::output;
use super::pictures::write;
use super::progress::Run;
use super::report::refuse_other_files;
use super::train::{changes, mask, recipe, workers};
use crate::error::{Error, Result};
use crate::inspect::{Html, Json, Render as _, Terminal};
use crate::study::compare::{Planned, compare, plan};
use crate::train::{Machine, Request, open_engine};

pub(super) fn run(args: &CompareArgs) -> Result<()> {
    decided_by_arms(args)?;
    if let Some(page) = &args.html {
        refuse_other_files(page)?;
    }
    let changes = changes(args.config.as_deref(), &args.network, &args.settings)?;
    let request = Request {
        recipe: recipe(&args.network),
        changes,
        resume: args.resume.clone(),
        mask: mask(args.mask.as_deref(), &args.resume, None)?,
        workers: workers(&args.machine),
        ..Request::default()
    };
    let arms = [&args.arms[..], &args.more].concat();
    let plan = plan(&args.out, &arms, &args.seeds, &request)?;
    let machine = Machine::from(&args.machine);
    for (number, planned) in plan.iter().enumerate() {
        let place = format!(
            "{} of {}: {}",
            number + 1,
            plan.len(),
            planned.path.display()
        );
        if planned.finished {
            output::talk_plainly(&format!("{place} is finished"));
            continue;
        }
        output::talk_plainly(&place);
        train(planned, &machine).inspect_err(|_| {
            output::note("the same command goes on from the last finished epoch of every run");
        })?;
    }
    let comparison = compare(&plan)?;
    if let Some(page) = &args.html {
        write(&Html, &comparison, page)?;
    }
    if args.json {
        output::data(|out| Json.render(&comparison, out))
    } else {
        let width = output::width();
        output::text(|out| Terminal { width }.render(&comparison, out))
    }
}

fn train(planned: &Planned, machine: &Machine) -> Result<()> {
    let mut trainer = planned.open(&|graph, task| open_engine(graph, task, machine))?;
    trainer.notes().iter().for_each(|note| output::note(note));
    let state = trainer.state();
    let mut progress = Run::talking(state.epoch, state.settings.epochs);
    trainer
        .run(None, &mut |event| progress.on(event))
        .map(|_| ())
}

/// Refuses flags that would make the arms one.
fn decided_by_arms(args: &CompareArgs) -> Result<()> {
    let RuleArgs { rule, .. } = &args.settings.rule;
    let given = [
        ("--seed", args.settings.seed.is_some(), "--seeds"),
        (
            "--regen-every",
            args.settings.regen_every.is_some(),
            "--arms",
        ),
        ("--rule", rule.is_some(), "--arms"),
    ];
    match given.iter().find(|(_, given, _)| *given) {
        Some((flag, _, instead)) => Err(Error::Usage(format!("{flag}: {instead} says it"))),
        None => Ok(()),
    }
}
