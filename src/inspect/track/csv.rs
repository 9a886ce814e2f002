//! `track --csv`: one line a layer of a save, for a spreadsheet or a data frame.

use std::io;

use serde::Serialize;

use super::{LayerSeries, Series};
use crate::inspect::Render;

/// Lines of comma-separated values, the first with their names.
#[derive(Debug, Clone, Copy)]
pub struct Csv;

/// One line. What is not known is empty.
#[derive(Serialize)]
struct Line<'s> {
    path: &'s str,
    at: u64,
    epoch: Option<u64>,
    /// `network` or `layer`; a layer may be called anything.
    scope: &'static str,
    layer: &'s str,
    channels: usize,
    inhibited: usize,
    min: Option<f64>,
    median: Option<f64>,
    max: Option<f64>,
    non_finite: usize,
    hamming: Option<f64>,
    regenerated: usize,
    pruned: usize,
}

impl Render<Series> for Csv {
    fn render(&self, series: &Series, out: &mut dyn io::Write) -> io::Result<()> {
        let mut lines = ::csv::Writer::from_writer(out);
        for (index, save) in series.saves.iter().enumerate() {
            let line = |scope, layer: &'_ LayerSeries| -> Result<(), ::csv::Error> {
                lines.serialize(Line {
                    path: &save.path,
                    at: save.at,
                    epoch: save.epoch,
                    scope,
                    layer: &layer.name,
                    channels: layer.channels,
                    inhibited: layer.inhibited[index],
                    min: layer.min[index],
                    median: layer.median[index],
                    max: layer.max[index],
                    non_finite: layer.non_finite[index],
                    hamming: layer.hamming[index],
                    regenerated: layer.regenerated[index],
                    pruned: layer.pruned[index],
                })
            };
            let mut line = line;
            for layer in &series.layers {
                line("layer", layer).map_err(io::Error::from)?;
            }
            line("network", &series.network).map_err(io::Error::from)?;
        }
        lines.flush()
    }
}
