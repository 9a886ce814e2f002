//! What the paper measures, on your own runs: curves and gradients of runs side by side, accuracy
//! without the strongest channels, and comparisons over several seeds.

pub mod ablate;
pub mod compare;
mod measure;
mod names;
pub mod report;
pub mod scenes;
