//! Data sets, networks and training runs.

#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod candle;
mod data;
mod model;
mod norm;
mod onnx;
mod pruning;
mod report;
mod segmentation;
mod train;
mod weights;
mod zoo;
