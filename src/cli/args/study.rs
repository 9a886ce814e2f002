//! What `report`, `ablate` and `compare` take.

use std::path::PathBuf;

use clap::Args;

use crate::inspect::track::Channel;

/// Show training runs side by side, as a page: accuracy, loss, γ and gradients over time
///
/// Writes report.html, or what --html says, and prints one line a run. The page loads nothing: curves of
/// accuracy and loss with the regenerations marked; and of runs of `train --record`, how many channels
/// had which γ in each epoch, γ and mean |gradient| of single channels, and the gradients of all
/// channels of a layer (the paper's Figures 1, 3, 4 and 7).
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Directories of runs, or quoted patterns such as 'runs/*'
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Show the gradients of this layer [default: the first that was recorded]
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Follow this channel, counted from 0, or every channel of a layer; may be repeated [default:
    /// those whose |γ| has the smallest and the largest mean over time]
    #[arg(long, value_name = "LAYER[:INDEX]")]
    pub(crate) channel: Vec<Channel>,
    /// Write the page to this file [default: report.html]
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print a JSON object instead, which is what the page holds; no page without --html
    #[arg(long)]
    pub(crate) json: bool,
}
