//! The file tool: every format read, edited, undone, compared and shown; and what is refused.

#[path = "../common/mod.rs"]
mod common;
mod sandbox;

mod apply;
mod bad_input;
mod browser;
mod diff;
mod docs;
mod formats;
mod house;
mod iternorm;
mod kill;
mod layer_names;
mod look;
mod mutation;
mod npz;
mod outliers;
mod overwrite;
mod pipelines;
mod prune;
mod real_checkpoints;
mod series;
