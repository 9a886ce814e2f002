//! A run: epoch after epoch, and what is done at the end of each.

use std::path::Path;

use super::checkpoint::Saved;
use super::data::Loader;
use super::directory::RunDirectory;
use super::epoch::{self, Parts, Totals};
use super::evaluate::{Evaluation, evaluate, evaluate_scenes};
use super::metrics::{self, Metrics};
use super::pruning::{self, AfterTicket, Hold};
use super::record::Recorder;
use super::regenerate::Gammas;
use super::samples::Samples;
use super::state::{Best, State};
use super::statistics;
use super::task::TaskName;
use super::tensorboard::TensorBoard;
use super::{Event, Events};
use crate::engine::Engine;
use crate::error::Result;
use crate::regen::{Caution, Mask};

/// A run that is ready to go on.
pub struct Trainer {
    engine: Box<dyn Engine>,
    state: State,
    recorder: Option<Recorder>,
    run: RunDirectory,
    train: Loader,
    test: Loader,
    tensorboard: Option<TensorBoard>,
    notes: Vec<String>,
    /// Whether a user has heard that running statistics are young.
    cautioned: bool,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All epochs are finished.
    Finished,
    /// As many as were asked for.
    Stopped,
    /// The test accuracy has not risen for as many epochs as the settings' patience.
    OutOfPatience,
    /// An Early-Bird ticket is found, and kept in `ticket/`.
    Ticket,
}

impl Trainer {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        state: State,
        recorder: Option<Recorder>,
        run: RunDirectory,
        (train, test): (Loader, Loader),
        notes: Vec<String>,
    ) -> Trainer {
        Trainer {
            engine,
            state,
            recorder,
            run,
            train,
            test,
            tensorboard: None,
            notes,
            cautioned: false,
        }
    }

    /// Keeps the settings, and of a new run the weights that it begins with.
    pub(super) fn begin(mut self, new: bool, tensorboard: bool) -> Result<Trainer> {
        if new {
            self.save_last()?;
        }
        self.run.write_settings(&self.state)?;
        if tensorboard {
            let directory = self.run.path().join("tensorboard");
            self.tensorboard = Some(TensorBoard::create(&directory)?);
        }
        Ok(self)
    }

    /// Where the run is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.run.path()
    }

    /// What a user should hear of before it goes on.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What it trains.
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Training images and test images.
    pub fn images(&self) -> (usize, usize) {
        (self.train.dataset().len(), self.test.dataset().len())
    }

    /// Trains until all epochs are finished, or `stop_after` of them.
    ///
    /// # Errors
    /// An image that cannot be read, a number that is no longer finite, a file that cannot be
    /// written. The last checkpoint is then that of the last finished epoch.
    pub fn run(&mut self, stop_after: Option<u64>, events: Events<'_>) -> Result<End> {
        loop {
            if let Some(end) = self.end() {
                return Ok(end);
            }
            if stop_after.is_some_and(|epochs| self.state.epoch >= epochs) {
                return Ok(End::Stopped);
            }
            self.look_for_ticket(events)?;
            if self.state.has_ticket() {
                return Ok(End::Ticket);
            }
            self.epoch(events)?;
        }
    }

    /// Why no epoch follows this one, if none does.
    fn end(&self) -> Option<End> {
        if self.state.epoch >= self.state.settings.epochs {
            return Some(End::Finished);
        }
        if self.state.has_ticket() {
            return Some(End::Ticket);
        }
        self.state
            .is_out_of_patience()
            .then_some(End::OutOfPatience)
    }

    /// Before an epoch: looks for an Early-Bird ticket, where the settings ask for one. A found one is
    /// pruned and kept.
    fn look_for_ticket(&mut self, events: Events<'_>) -> Result<()> {
        let (settings, engine) = (&self.state.settings, &mut *self.engine);
        let Some(mask) = pruning::find_ticket(settings, &mut self.state.pruning, engine)? else {
            return Ok(());
        };
        pruning::prune_ticket(&mut self.state, &mask, engine);
        self.run.save_ticket(&self.saved()?)?;
        events(Event::Ticket {
            epoch: self.state.epoch,
            pruned: self.state.pruning.mask.count(),
            channels: self.state.pruning.mask.channels(),
        });
        if self.state.settings.after_ticket == AfterTicket::Reinit {
            pruning::draw_anew(&mut self.state, &mut *self.engine)?;
        }
        self.run.rewrite_last(&self.saved()?)
    }

    /// One epoch: train, prune softly, test, metrics, best checkpoint, regeneration, last checkpoint.
    fn epoch(&mut self, events: Events<'_>) -> Result<()> {
        let number = self.state.epoch + 1;
        let sparsity = self.state.settings.sparsity;
        let mut hold = Hold::new(sparsity, &self.state.pruning, &*self.engine);
        let totals = epoch::train(
            Parts {
                engine: &mut *self.engine,
                loader: &mut self.train,
                recorder: self.recorder.as_mut(),
                settings: &self.state.settings,
                hold: &mut hold,
                step: &mut self.state.step,
            },
            number,
            events,
        )?;
        let State {
            settings, pruning, ..
        } = &mut self.state;
        pruning::prune_softly(settings, pruning, &mut *self.engine)?;
        let pruned = self.state.pruning.pruned();
        let (tested, samples) = self.test(number, events)?;
        self.state.epoch = number;
        self.state.order.next_epoch = number + 1;
        let gammas = Gammas::read(&*self.engine);
        let reached = Best {
            epoch: number,
            test_top1: tested.percent(tested.top1),
            test_score: tested.is_of_scenes().then(|| tested.score()),
        };
        let before = self.state.best;
        let is_best = before.is_none_or(|best| reached.merit() > best.merit());
        if is_best {
            self.state.best = Some(reached);
        }
        let settings = &self.state.settings;
        let schedule = settings.regeneration();
        let due = schedule.is_some_and(|schedule| schedule.at(number).now);
        let mut plan = if due && self.end().is_none() {
            Some(gammas.plan(self.engine.graph(), settings, &pruned, number)?)
        } else {
            None
        };
        let mut warn = |text: &str| {
            events(Event::Warning {
                epoch: number,
                text,
            })
        };
        let harmful = plan.take_if(|plan| plan.crossings().kills());
        if let Some(caution) = harmful.and_then(|plan| Caution::dying(&plan)) {
            warn(&format!("due, and the network is left as it is: {caution}"));
        }
        for caution in plan.iter().flat_map(|plan| &plan.cautions) {
            if matches!(
                caution,
                Caution::Dying { .. } | Caution::LowThreshold { .. }
            ) {
                warn(&caution.to_string());
            }
        }
        let regenerated = plan.as_ref().map_or(0, |plan| plan.regenerated());
        let metrics = self.metrics(&totals, &tested, (&gammas, &pruned), regenerated);
        metrics::append(&self.run.metrics(), &metrics)?;
        if let Some(tensorboard) = &mut self.tensorboard {
            tensorboard.write(&metrics)?;
        }
        if let Some(recorder) = &mut self.recorder {
            let record = recorder.finish(number, gammas.all());
            record.write(self.run.path())?;
        }
        if is_best {
            self.run.save_best(&self.saved()?)?;
            if tested.is_of_scenes() {
                samples.write(self.run.path(), self.test.dataset())?;
            }
        }
        if let Some(plan) = &plan {
            pruning::revive(&mut self.state.pruning, plan);
            gammas.write(plan, &self.state.settings, &mut *self.engine);
        }
        self.save_last()?;
        events(Event::Epoch {
            metrics: &metrics,
            of: self.state.settings.epochs,
            is_best,
        });
        Ok(())
    }

    /// Accuracy on the test images: of the average, where there is one.
    fn test(&mut self, epoch: u64, events: Events<'_>) -> Result<(Evaluation, Samples)> {
        let (train, test, settings) = (&mut self.train, &mut self.test, &self.state.settings);
        let images = test.dataset().len();
        let mut samples = Samples::of(images);
        let mut measure = |engine: &mut dyn Engine| {
            if settings.recalibrate > 0 {
                statistics::recalibrate(engine, train, settings, epoch)?;
            } else if !self.cautioned
                && let Some(text) = statistics::caution(engine)
            {
                self.cautioned = true;
                events(Event::Warning { epoch, text: &text });
            }
            let mut progress = |done| {
                events(Event::Testing {
                    epoch,
                    done,
                    images,
                });
            };
            match settings.task {
                TaskName::Classification => evaluate(engine, test, &mut progress),
                TaskName::Segmentation => {
                    evaluate_scenes(engine, test, &mut progress, &mut |predicted| {
                        samples.see(predicted);
                        Ok(())
                    })
                }
            }
        };
        let averaged = settings.ema > 0.0;
        if averaged {
            // Statistics that are estimated again stay in the average.
            self.engine.exchange_average();
        }
        let tested = measure(&mut *self.engine);
        if averaged {
            self.engine.exchange_average();
        }
        Ok((tested?, samples))
    }

    fn metrics(
        &self,
        totals: &Totals,
        tested: &Evaluation,
        (gammas, pruned): (&Gammas, &Mask),
        regenerated: usize,
    ) -> Metrics {
        let of_scenes = tested.is_of_scenes();
        Metrics {
            epoch: self.state.epoch,
            train_loss: totals.loss,
            train_top1: totals.top1,
            test_loss: tested.loss,
            test_top1: tested.percent(tested.top1),
            test_miou: of_scenes.then(|| tested.mean_iou()),
            test_score: of_scenes.then(|| tested.score()),
            test_iou: of_scenes.then(|| tested.iou()),
            images_per_s: totals.images as f64 / totals.time.as_secs_f64(),
            lr: totals.lr,
            regenerated,
            inhibited: gammas.inhibited(pruned),
            median_gamma: gammas.median(pruned),
            pruned: pruned.count(),
        }
    }

    fn saved(&self) -> Result<Saved> {
        Saved::new(&*self.engine, &self.state)
    }

    fn save_last(&self) -> Result<()> {
        self.run.save_last(&self.saved()?, self.state.settings.keep)
    }
}
