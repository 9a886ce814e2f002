//! Where output goes.

use std::io::{self, Write};

use anstyle::AnsiColor;
use indicatif::HumanBytes;

use crate::checkpoint::Reading;
use crate::error::{Error, Result};
use crate::storage::{Purpose, Recovery};
use crate::text::printable_lines;

/// Writes text for a person to stdout, without colours where they are not wanted.
pub(super) fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    to_stdout(anstream::AutoStream::auto(io::stdout()).lock(), write)
}

/// Writes text for a program to stdout, as it is: a name may hold what looks like a colour.
pub(super) fn data(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    to_stdout(io::stdout().lock(), write)
}

fn to_stdout(
    mut out: impl Write,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(Error::io("write to", "stdout"))
}

/// Says something to a person, on stderr.
pub(super) fn talk(label: &str, color: AnsiColor, text: &str) {
    let style = color.on_default().bold();
    let mut out = anstream::AutoStream::auto(io::stderr()).lock();
    // With stderr gone there is nobody to tell.
    let _ = writeln!(out, "{style}{label}{style:#}: {}", printable_lines(text));
}

/// Says something that needs no label.
pub(super) fn talk_plainly(text: &str) {
    let mut out = anstream::AutoStream::auto(io::stderr()).lock();
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(out, "{}", printable_lines(text));
}

/// Points something out that may be a mistake.
pub(super) fn warn(text: &str) {
    talk("warning", AnsiColor::Yellow, text);
}

/// Adds a fact.
pub(super) fn note(text: &str) {
    talk("note", AnsiColor::Cyan, text);
}

/// How files were read so far, and how much of them.
pub(super) fn note_reading() {
    let Reading {
        mapped,
        positioned,
        bytes,
    } = Reading::so_far();
    let how = match (mapped, positioned) {
        (_, 0) => "mapped".to_owned(),
        (0, _) => "positioned reads".to_owned(),
        (mapped, others) => format!("{mapped} mapped, {others} by positioned reads"),
    };
    note(&format!("files: {how}; {} looked at", HumanBytes(bytes)));
}

/// Says what became of an interrupted edit.
pub(super) fn note_recovery(recovery: &Recovery) {
    match recovery {
        Recovery::Completed(Purpose::Apply) => {
            note("an interrupted earlier apply was completed first");
        }
        Recovery::Completed(Purpose::Undo) => note("an interrupted undo was completed first"),
        Recovery::GivenUp(file) => warn(&format!(
            "an interrupted earlier edit was given up: {} was rewritten since and is left as it \
             is. What had been replaced by then stays so; the record beside the checkpoint has its old \
             bytes",
            file.display()
        )),
    }
}

/// Columns of the terminal; 80 when stdout is none.
pub(super) fn width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(80, |(width, _)| usize::from(width.0))
}

/// `1 channel`, `2 channels`.
pub(super) fn plural(count: usize, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{s}")
}
