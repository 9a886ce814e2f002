//! The command line: parse, call the library, print. Data goes to stdout, talk to stderr.

#[cfg(feature = "train")]
mod ablate;
mod apply;
mod args;
#[cfg(feature = "train")]
mod compare;
mod demo;
mod diff;
#[cfg(feature = "train")]
mod eval;
#[cfg(feature = "train")]
mod export;
mod hints;
mod inspect;
mod man;
#[cfg(feature = "train")]
mod model;
mod output;
mod paths;
mod pictures;
mod progress;
mod prune;
#[cfg(feature = "train")]
mod report;
mod rounds;
mod schema;
mod track;
#[cfg(feature = "train")]
mod train;
mod undo;

use std::error::Error as _;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{CommandFactory as _, Parser as _};

use crate::error::{Error, Result};
use args::{Cli, Command};

/// Runs the program. Exit code 0: did what was asked; 1: failed; 2: wrong usage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(err) if is_closed_pipe(&err) => ExitCode::SUCCESS,
        Err(err) => {
            report(&err);
            ExitCode::from(err.exit_code())
        }
    }
}

/// Parses and runs one command.
fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return Ok(ExitCode::from(err.exit_code() as u8));
        }
    };
    match cli.command {
        Command::Inspect(args) => return inspect::run(&args),
        Command::Diff(args) => return diff::run(&args),
        Command::Track(args) => track::run(&args)?,
        Command::Apply(args) => apply::run(*args)?,
        Command::Prune(args) => prune::run(&args)?,
        Command::Loop(args) => return rounds::run(&args),
        Command::Undo(args) => undo::run(&args)?,
        Command::Schema(args) => schema::run(&args)?,
        #[cfg(feature = "train")]
        Command::Model(args) => model::run(&args)?,
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(&args)?,
        #[cfg(feature = "train")]
        Command::Eval(args) => eval::run(&args)?,
        #[cfg(feature = "train")]
        Command::Export(args) => export::run(&args)?,
        #[cfg(feature = "train")]
        Command::Report(args) => report::run(&args)?,
        #[cfg(feature = "train")]
        Command::Ablate(args) => ablate::run(&args)?,
        #[cfg(feature = "train")]
        Command::Compare(args) => compare::run(&args)?,
        Command::Demo => demo::run()?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ckpt-regen", &mut script);
            output::data(|out| out.write_all(&script))?;
        }
        Command::Man { directory } => man::run(&directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an error for a person.
fn report(err: &Error) {
    output::talk("error", AnsiColor::Red, &chain(err));
}

/// An error with what caused it.
fn chain(err: &Error) -> String {
    let mut text = hints::error(err);
    let mut cause = err.source();
    while let Some(err) = cause {
        text += &format!(": {err}");
        cause = err.source();
    }
    text
}

/// Whether whoever read our output has seen enough (`ckpt-regen inspect … | head`).
fn is_closed_pipe(err: &Error) -> bool {
    matches!(err, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

const BOLD: Style = Style::new().bold();
