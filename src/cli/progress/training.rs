//! How far training is: a bar on a terminal, and a line for every finished epoch.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::QUIET;
use crate::cli::output;
use crate::train::{Event, Metrics, Progress};

/// A bar is redrawn no more often than this.
const REDRAW: Duration = Duration::from_millis(100);

/// A run, shown to a person who waits.
pub(crate) struct Run {
    bar: Option<ProgressBar>,
    begin: Instant,
    drawn: Option<Instant>,
    /// Epochs that were finished when it began.
    first: u64,
    epochs: u64,
    /// When the epoch that is shown began.
    epoch: Instant,
    /// What stdout is for is something else.
    talks: bool,
}

impl Run {
    pub(crate) fn new(finished: u64, epochs: u64) -> Run {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {bar:16} {prefix}");
            ProgressBar::new(1).with_style(style.expect("the template is valid"))
        });
        Run {
            bar,
            begin: Instant::now(),
            drawn: None,
            first: finished,
            epochs,
            epoch: Instant::now(),
            talks: false,
        }
    }

    /// With the lines of finished epochs on stderr.
    pub(crate) fn talking(finished: u64, epochs: u64) -> Run {
        let mut run = Run::new(finished, epochs);
        run.talks = true;
        run
    }

    pub(crate) fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Training(progress) => self.training(&progress),
            Event::Warning { epoch, text } => {
                let text = format!("epoch {epoch}: {text}");
                self.over_bar(|| output::warn(&text));
            }
            Event::Testing {
                epoch,
                done,
                images,
            } => {
                let head = format!("epoch {epoch}/{}", self.epochs);
                self.draw((done, images), || (head, "testing".to_owned()));
            }
            Event::Ticket {
                epoch,
                pruned,
                channels,
            } => {
                let after = output::plural(epoch as usize, "epoch");
                let text = format!(
                    "an Early-Bird ticket is found after {after}: {pruned} of {channels} channels pruned"
                );
                self.over_bar(|| output::note(&text));
            }
            Event::Epoch {
                metrics,
                of,
                is_best,
            } => {
                self.epoch = Instant::now();
                let line = line(metrics, of, is_best);
                // Training goes on when nobody reads.
                let talks = self.talks;
                let print = || {
                    if talks {
                        output::talk_plainly(&line)
                    } else {
                        let _ = output::data(|out| writeln!(out, "{line}"));
                    }
                };
                self.over_bar(print);
            }
        }
    }

    /// Prints without getting in the way of the bar.
    fn over_bar(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn training(&mut self, progress: &Progress<'_>) {
        let (epochs, epoch) = (self.epochs, self.epoch);
        let left = self.left(progress);
        self.draw((progress.done, progress.images), || {
            let rate = progress.done as f64 / epoch.elapsed().as_secs_f64();
            let (loss, top1) = (progress.loss, progress.top1);
            let head = format!("epoch {}/{epochs}", progress.epoch);
            let tail = format!("{rate:.0} img/s loss {loss:.3} top-1 {top1:.1} % {left}");
            (head, tail)
        });
    }

    fn draw(&mut self, (done, images): (usize, usize), text: impl FnOnce() -> (String, String)) {
        let Some(bar) = &self.bar else { return };
        let recent = self.drawn.is_some_and(|at| at.elapsed() < REDRAW);
        if self.begin.elapsed() < QUIET || recent {
            return;
        }
        self.drawn = Some(Instant::now());
        let (head, tail) = text();
        bar.set_message(head);
        bar.set_prefix(tail);
        bar.set_length(images as u64);
        bar.set_position(done as u64);
    }

    /// The time that the rest of the run will take if it goes on like this.
    fn left(&self, progress: &Progress<'_>) -> String {
        let share = progress.done as f64 / progress.images as f64;
        let done = (progress.epoch - 1 - self.first) as f64 + share;
        let all = (self.epochs - self.first) as f64;
        let seconds = self.begin.elapsed().as_secs_f64() * (all - done) / done;
        let seconds = seconds.min(1e9) as u64;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        match hours {
            0 => format!("{minutes}:{:02} left", seconds % 60),
            1..=47 => format!("{hours}h{minutes:02} left"),
            _ => format!("{} days left", hours / 24),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What an epoch came to, in at most 80 columns.
fn line(metrics: &Metrics, of: u64, is_best: bool) -> String {
    let digits = of.to_string().len();
    let best = if is_best { "best" } else { "" };
    let regenerated = match metrics.regenerated {
        0 => String::new(),
        count => format!("  regenerated {count}"),
    };
    let accuracy = match metrics.test_miou {
        None => format!(
            "train {:5.2} %  test {:5.2} %",
            metrics.train_top1, metrics.test_top1
        ),
        Some(miou) => format!("test {:5.2} %  mIoU {miou:5.2} %", metrics.test_top1),
    };
    let line = format!(
        "epoch {:digits$}/{of}  loss {:.4}  {accuracy} {best:4}{regenerated}",
        metrics.epoch, metrics.train_loss
    );
    line.trim_end().to_owned()
}

/// Images dealt with, shown to a person who waits.
pub(crate) struct Images {
    verb: &'static str,
    total: usize,
    begin: Instant,
    bar: Option<ProgressBar>,
}

impl Images {
    /// `verb` is what happens to them, as `testing`.
    pub(crate) fn new(verb: &'static str, total: usize) -> Images {
        Images {
            verb,
            total,
            begin: Instant::now(),
            bar: None,
        }
    }

    pub(crate) fn update(&mut self, done: usize) {
        if self.begin.elapsed() < QUIET || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let template = "{msg} {bar:32} {human_pos} of {human_len}, {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            ProgressBar::new(self.total as u64)
                .with_style(style)
                .with_message(self.verb)
        });
        bar.set_position(done as u64);
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
