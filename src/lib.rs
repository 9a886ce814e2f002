//! `ckpt-regen` brings back the channels that a network has stopped using, from outside the
//! training code: it edits the BatchNorm scales γ in a checkpoint file, between two resume steps of
//! any training pipeline.
//!
//! ```text
//! file(s) ──▶ checkpoint ──▶ batchnorm ──▶ regen ──▶ edit ──▶ file(s) + record
//!             (table of      (which        (rule →    (patch bytes,
//!              byte ranges)   tensors        plan)      nothing else)
//!                             are γ)   │
//!                                      ▼
//!                                   inspect (look)
//!
//! net (a network as a graph) ─▶ engine (runs it)     weights: a checkpoint's, into either
//!                                   ▲
//!                    data ─▶ train ─┘ epochs, and regeneration between them
//! ```
//!
//! Data flows left to right, and a change is a value: a [`regen::Plan`] lists layer, channel, old
//! and new γ, and can be printed, saved, tested and dropped before anything is written.
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("model.safetensors");
//! # std::fs::copy("fixtures/mobilenet_v2_025/model.safetensors", &path).unwrap();
//! use ckpt_regen::{Checkpoint, edit};
//!
//! let request = edit::Request::default(); // the paper's algorithm on the only raw network
//! let planned = edit::plan(&Checkpoint::open(&path)?, &request)?;
//! println!("{} channels would change", planned.plan.regenerated());
//!
//! let applied = edit::apply(&path, &request, &edit::Destination::default(), &edit::ignore)?;
//! println!("taken back with {}", applied.record.expect("something changed").display());
//! edit::undo(&path, &edit::Destination::default(), &edit::ignore)?;
//! # Ok(())
//! # }
//! ```
//!
//! What a framework holds in memory is planned for by [`live`], as its saved state dict would be.
//!
//! The feature `cli`, which is on by default, is the command `ckpt-regen`; a library does without it and
//! its dependencies. With the feature `train`, which is on by default too, there are networks as graphs (`net`), their
//! weights (`weights`), training (`train`) and its data sets (`train::data`), what the paper measures
//! (`study`), and `candle`: regeneration of models that candle trains in
//! memory, and an engine on candle's tensors.

pub mod batchnorm;
#[cfg(feature = "train")]
pub mod candle;
pub mod checkpoint;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod dtype;
pub mod edit;
mod error;
mod file;
pub mod inspect;
pub mod live;
mod name;
mod near;
#[cfg(feature = "train")]
pub mod net {
    //! Networks as graphs, from the zoo or from ONNX files.

    pub use ckpt_regen_engine::net::*;

    pub use crate::net_onnx as onnx;
    pub use crate::net_onnx::source::{Choice, Network, is_file, open};
}
#[cfg(feature = "train")]
#[doc(hidden)]
pub mod net_onnx;
pub mod record;
pub mod regen;
mod render;
#[cfg(test)]
#[path = "../tests/common/skip.rs"]
mod skip;
pub mod storage;
#[cfg(feature = "train")]
pub mod study;
mod text;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod weights;

#[cfg(feature = "train")]
pub use ckpt_regen_engine as engine;

pub use checkpoint::Checkpoint;
pub use error::{Error, Refusal, Result};
