//! Single channels over time (Figure 4 of the paper).

use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

use super::LayerSeries;
use crate::error::{Error, Result};

/// Channels by name: `features.3.conv.1:12`, or `features.3.conv.1` for all of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The layer's name.
    pub layer: String,
    /// Counted from 0; `None` for all.
    pub index: Option<usize>,
}

/// One channel over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trajectory {
    /// The layer's name.
    pub layer: String,
    /// Counted from 0.
    pub channel: usize,
    /// Why it is shown.
    pub chosen: Chosen,
    /// γ by save; `None` where it is NaN or infinite.
    pub gamma: Vec<Option<f64>>,
}

/// Why a channel is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chosen {
    /// It was named.
    Asked,
    /// Its |γ| has the smallest mean over time.
    Weakest,
    /// Its |γ| has the largest.
    Strongest,
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Channel, String> {
        if text.is_empty() {
            return Err("expected LAYER or LAYER:INDEX, such as features.3.conv.1:12".to_owned());
        }
        // A layer's name may have a colon itself.
        let channel = text
            .rsplit_once(':')
            .and_then(|(layer, index)| Some((layer, index.parse().ok()?)));
        let (layer, index) = match channel {
            Some((layer, index)) => (layer, Some(index)),
            None => (text, None),
        };
        Ok(Channel {
            layer: layer.to_owned(),
            index,
        })
    }
}

impl Channel {
    /// Which layer and channels are meant, where `layer` knows number and size of the layer of a name;
    /// `None` where it knows none.
    pub(crate) fn find(
        &self,
        layer: impl Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<Option<(usize, Range<usize>)>> {
        let Channel { layer: name, index } = self;
        // What looks like an index may be the end of a layer's name.
        let whole = index.and_then(|index| layer(&format!("{name}:{index}")));
        let index = index.filter(|_| whole.is_none());
        let Some((number, channels)) = whole.or_else(|| layer(name)) else {
            return Ok(None);
        };
        match index {
            None => Ok(Some((number, 0..channels))),
            Some(index) if index < channels => Ok(Some((number, index..index + 1))),
            Some(index) => Err(Error::argument(
                "channel",
                format!("{name}:{index}"),
                format!("the layer has {channels} channels, counted from 0"),
            )),
        }
    }
}

/// The channels asked for, or else the weakest and the strongest of `layers`.
pub(super) fn follow(
    asked: &[Channel],
    layers: &[LayerSeries],
    gammas: &[&[f64]],
) -> Result<Vec<Trajectory>> {
    let trajectory = |layer: &LayerSeries, channel: usize, chosen| {
        let at = layer.range.start + channel;
        let finite = |gamma: &&[f64]| Some(gamma[at]).filter(|value| value.is_finite());
        Trajectory {
            layer: layer.name.clone(),
            channel,
            chosen,
            gamma: gammas.iter().map(finite).collect(),
        }
    };
    if !asked.is_empty() {
        let mut all = Vec::new();
        for channel in asked {
            let find = |name: &str| layers.iter().position(|layer| layer.name == *name);
            let found = channel.find(|name| find(name).map(|at| (at, layers[at].channels)))?;
            let (at, channels) = found.ok_or_else(|| no_layer(&channel.layer, layers))?;
            let layer = &layers[at];
            all.extend(channels.map(|channel| trajectory(layer, channel, Chosen::Asked)));
        }
        return Ok(all);
    }
    let mean = |at: usize| -> f64 { gammas.iter().map(|gamma| gamma[at].abs()).sum() };
    let all = layers
        .iter()
        .flat_map(|layer| layer.range.clone().map(move |at| (mean(at), at, layer)));
    let all: Vec<(f64, usize, &LayerSeries)> = all.filter(|(mean, ..)| mean.is_finite()).collect();
    let weakest = all.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    // Of several, the first.
    let strongest = all.iter().rev().max_by(|a, b| a.0.total_cmp(&b.0));
    let both = [(weakest, Chosen::Weakest), (strongest, Chosen::Strongest)];
    let both = both
        .into_iter()
        .filter_map(|(found, chosen)| Some((found?, chosen)));
    Ok(both
        .map(|((_, at, layer), chosen)| trajectory(layer, at - layer.range.start, chosen))
        .collect())
}

fn no_layer(name: &str, layers: &[LayerSeries]) -> Error {
    let first: Vec<&str> = layers.iter().take(4).map(|layer| &layer.name[..]).collect();
    let reason = format!(
        "no layer {name:?} among the {} layers ({}, …)",
        layers.len(),
        first.join(", ")
    );
    Error::argument("channel", "", reason)
}
