//! A progress bar for what takes longer than a second, on a terminal.

#[cfg(feature = "train")]
mod training;

use std::cell::OnceCell;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

#[cfg(feature = "train")]
pub(super) use training::{Images, Run};

use super::output::note_recovery;
use crate::edit::Event;

/// Work shorter than this shows no bar.
const QUIET: Duration = Duration::from_secs(1);

/// Bytes dealt with, shown to a person who waits.
pub(super) struct Bytes {
    verb: &'static str,
    begin: Instant,
    bar: OnceCell<ProgressBar>,
}

impl Bytes {
    /// `verb` is what happens to them, as `copying`.
    pub(super) fn new(verb: &'static str) -> Bytes {
        Bytes {
            verb,
            begin: Instant::now(),
            bar: OnceCell::new(),
        }
    }

    /// Listens to an edit.
    pub(super) fn on(&self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Recovered(recovery) => note_recovery(&recovery),
            Event::Copied { done, total } => self.update(done, total),
        }
        ControlFlow::Continue(())
    }

    pub(super) fn update(&self, done: u64, total: u64) {
        if self.begin.elapsed() < QUIET || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let template = "{msg} {bar:32} {binary_bytes} of {binary_total_bytes}, {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            ProgressBar::new(total)
                .with_style(style)
                .with_message(self.verb)
        });
        bar.set_position(done);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
