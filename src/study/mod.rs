//! What the paper measures, on your own runs: curves and gradients of runs side by side.

pub mod report;
