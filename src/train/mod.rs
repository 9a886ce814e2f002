//! Training: data, the epochs of a run, regeneration between them, checkpoints.
//!
//! A run is decided by its [`Settings`]; everything that is drawn follows from the seed, the number
//! of the epoch and that of the image or batch, so that a run that was killed and goes on from its
//! last checkpoint ends with the same bits as one that was not.
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen::Error> {
//! use ckpt_regen::train::{self, Machine, Request, open_engine};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! let request = Request {
//!     out: Some(dir.path().join("run")),
//!     changes: vec![toml::toml! {
//!         data = "digits"
//!         model = "resnet20"
//!         epochs = 2
//!         batch-size = 1024
//!         regen-every = 1
//!     }],
//!     ..Request::default()
//! };
//! let machine = Machine::default();
//! let mut trainer = train::open(&request, &|graph, task| open_engine(graph, task, &machine))?;
//! trainer.run(Some(1), &mut |_| {})?;
//! assert_eq!(trainer.state().epoch, 1);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod course;
pub mod data;
mod diagnose;
mod directory;
mod epoch;
mod evaluate;
mod examine;
mod export;
mod history;
mod machine;
mod metrics;
mod network;
mod norm;
mod open;
mod pipeline;
mod pruning;
mod recipe;
mod record;
mod regenerate;
mod rule;
mod samples;
mod schedule;
mod settings;
mod state;
mod statistics;
mod task;
mod tensorboard;
mod tensors;
mod text;
mod trainer;

pub use crate::engine::Precision;
pub use directory::{is_checkpoint, is_run};
pub use evaluate::{Evaluation, OnPrediction, Predicted, evaluate, evaluate_scenes};
pub use examine::{Examination, examine};
pub use export::{Trained, trained};
pub use history::{Finished, History};
pub use machine::{Device, EngineName, Machine, open_engine};
pub use metrics::Metrics;
pub use norm::{NormChoice, NormName};
pub use open::{NewEngine, Request, open};
pub use pruning::{AfterTicket, Pruning, Soft};
pub use recipe::Recipe;
pub use record::{Record, RecordedLayer, SAMPLE_EVERY, records};
pub use rule::RunRule;
pub use samples::SceneSample;
pub use schedule::{Shape, learning_rate};
pub use settings::{OptimizerName, RegenState, Settings, Stem, read_file};
pub use state::{Best, Order, State};
pub use task::TaskName;
pub use trainer::{End, Trainer};

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A batch was trained on.
    Training(Progress<'a>),
    /// Images were tested.
    Testing {
        /// In which epoch, counted from 1.
        epoch: u64,
        /// Images that are done.
        done: usize,
        /// Of so many.
        images: usize,
    },
    /// Something about a test or a regeneration that a user should know.
    Warning {
        /// After which epoch, counted from 1.
        epoch: u64,
        /// In a sentence.
        text: &'a str,
    },
    /// An Early-Bird ticket is found and pruned, and is on the disk.
    Ticket {
        /// After which epoch, counted from 1.
        epoch: u64,
        /// How many channels are pruned.
        pruned: usize,
        /// Of so many.
        channels: usize,
    },
    /// An epoch is finished, and its checkpoints are on the disk.
    Epoch {
        /// What it came to.
        metrics: &'a Metrics,
        /// How many epochs there are.
        of: u64,
        /// Whether its test accuracy is the best so far.
        is_best: bool,
    },
}

/// How far an epoch is, after a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// Counted from 1.
    pub epoch: u64,
    /// Images that are done.
    pub done: usize,
    /// Of so many.
    pub images: usize,
    /// Mean training loss so far.
    pub loss: f64,
    /// Training accuracy so far, percent.
    pub top1: f64,
    /// The loss of the batch.
    pub batch_loss: f64,
    /// The images of the batch, by their numbers in the data set.
    pub indices: &'a [usize],
}

/// Is told of every [`Event`]; `&mut |_| {}` does not listen.
pub type Events<'a> = &'a mut dyn FnMut(Event<'_>);
