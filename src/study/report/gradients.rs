//! The gradients of all channels of one layer over time (Figure 7 of the paper).

use serde::Serialize;

use super::{Recorded, of_one_network};
use crate::error::Result;

/// One layer in all runs of its network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerGradients {
    /// The layer's name.
    pub layer: String,
    /// How many channels it has.
    pub channels: usize,
    /// Mean |gradient| of each channel's filter, by run of the report, channel and epoch, to four
    /// digits; empty for a run of which it was not recorded, or of another network.
    pub gradient: Vec<Vec<Vec<Option<f32>>>>,
}

/// The layer asked for, or else the first whose gradients were recorded.
pub(super) fn of_layer(all: &[Recorded], asked: Option<&str>) -> Result<Option<LayerGradients>> {
    let runs = of_one_network(all);
    let Some(record) = runs.first().and_then(|(_, run)| run.any()) else {
        return Ok(None);
    };
    let recorded = |place: usize, run: &Recorded| {
        let mut records = run.records.iter().flatten();
        records.any(|record| record.layers[place].gradient.is_some())
    };
    let place = match asked {
        Some(name) => record.layers.iter().position(|layer| layer.name == name),
        None => {
            let mut places = 0..record.layers.len();
            places.find(|place| runs.iter().any(|(_, run)| recorded(*place, run)))
        }
    };
    let Some(place) = place else {
        return Ok(None);
    };
    let channels = record.layers[place].gamma.len();
    let mut gradient = vec![Vec::new(); all.len()];
    for (number, run) in runs.iter().filter(|(_, run)| recorded(place, run)) {
        let of_channel = |channel: usize| -> Vec<Option<f32>> {
            let at = |record: &Option<crate::train::Record>| {
                let gradient = record.as_ref()?.layers[place].gradient.as_ref()?;
                Some(short(gradient[channel]))
            };
            run.records.iter().map(at).collect()
        };
        gradient[*number] = (0..channels).map(of_channel).collect();
    }
    Ok(Some(LayerGradients {
        layer: record.layers[place].name.clone(),
        channels,
        gradient,
    }))
}

/// Four digits: it is the mean of samples, and there are many of them.
fn short(value: f32) -> f32 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn four_digits_are_kept() {
        assert_eq!(super::short(1.234_567e-5), 1.235e-5);
        assert_eq!(super::short(0.0), 0.0);
    }
}
