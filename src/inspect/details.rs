//! What pages, pictures and JSON have of a network beyond the table in a terminal: fine bins, and what
//! each rule would change. Worked out when first asked for: without, a table of 10,000 layers takes
//! 72 ms instead of 95.

use std::sync::OnceLock;

use super::preview::{self, Effect, Preview};
use super::{LayerReport, NetworkReport, finite, masked};
use crate::batchnorm::LayerKind;
use crate::dtype::Dtype;
use crate::render::{Axes, Binned, Bins};

/// All γ of a network, and what has been worked out from them.
#[derive(Debug, Clone)]
pub(super) struct Details {
    axes: Axes,
    layers: Vec<LayerGamma>,
    found: OnceLock<Found>,
}

/// The γ of one layer; none where they cannot be read.
#[derive(Debug, Clone)]
pub(super) struct LayerGamma {
    pub(super) name: String,
    pub(super) kind: LayerKind,
    pub(super) dtype: Option<Dtype>,
    pub(super) fixed: Option<String>,
    pub(super) values: Vec<f64>,
    /// The pruned channels, in ascending order.
    pub(super) pruned: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Found {
    whole: Fine,
    /// Where it is not the whole that is drawn.
    drawn: Option<Fine>,
    /// For the network, and for each layer.
    rules: Result<([Preview; 3], Vec<[Effect; 3]>), String>,
}

/// Fine bins on one axis.
#[derive(Debug, Clone)]
pub(super) struct Fine {
    pub(super) edges: Vec<f64>,
    pub(super) total: Binned,
    layers: Vec<Binned>,
}

impl Fine {
    fn new(axis: Bins, layers: &[LayerGamma]) -> Fine {
        let edges = axis.fine_edges();
        let count = |layer: &LayerGamma| {
            let kept = masked::unpruned(&layer.values, &layer.pruned);
            Binned::new(&edges, &finite(&kept))
        };
        let layers: Vec<Binned> = layers.iter().map(count).collect();
        let mut total = Binned::new(&edges, &[]);
        layers.iter().for_each(|layer| total.add(layer));
        Fine {
            edges,
            total,
            layers,
        }
    }

    /// Those of one layer; `None` where it is none of this network.
    pub(super) fn layer(&self, layer: &LayerReport) -> Option<&Binned> {
        self.layers.get(layer.index)
    }
}

impl Details {
    pub(super) fn new(axes: Axes, layers: Vec<LayerGamma>) -> Details {
        Details {
            axes,
            layers,
            found: OnceLock::new(),
        }
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| Found {
            whole: Fine::new(self.axes.whole, &self.layers),
            drawn: (self.axes.drawn).map(|axis| Fine::new(axis, &self.layers)),
            rules: preview::of(&self.layers),
        })
    }
}

impl NetworkReport {
    /// What each rule would change, in the order of [`Rule::ALL`](crate::regen::Rule::ALL).
    ///
    /// # Errors
    /// Why an edit would be refused.
    pub fn rules(&self) -> Result<&[Preview; 3], &str> {
        let rules = self.details.found().rules.as_ref();
        rules.map(|(rules, _)| rules).map_err(|reason| &reason[..])
    }

    /// What each rule would change in one of its layers; `None` where an edit of the network would
    /// be refused.
    pub fn rules_in(&self, layer: &LayerReport) -> Option<[Effect; 3]> {
        let (_, layers) = self.details.found().rules.as_ref().ok()?;
        layers.get(layer.index).copied()
    }

    /// The γ of one of its layers, one value a channel, each exact; none where they cannot be read.
    pub fn gammas_in(&self, layer: &LayerReport) -> &[f64] {
        let layer = self.details.layers.get(layer.index);
        layer.map_or(&[], |layer| &layer.values)
    }

    /// The edges of the fine bins; every one of its edges is one of them.
    pub fn fine_edges(&self) -> &[f64] {
        &self.details.found().whole.edges
    }

    /// How many of all γ fall into each fine bin.
    pub fn fine_counts(&self) -> &[u64] {
        &self.details.found().whole.total.counts
    }

    /// How many γ of one of its layers fall into each fine bin.
    pub fn fine_counts_in(&self, layer: &LayerReport) -> &[u64] {
        let counts = self.details.found().whole.layer(layer);
        counts.map_or(&[], |binned| &binned.counts)
    }

    /// The fine bins between the [`drawn_edges`](Self::drawn_edges).
    pub(super) fn drawn(&self) -> Option<&Fine> {
        self.details.found().drawn.as_ref()
    }

    /// The fine bins to be drawn.
    pub(super) fn shown(&self) -> &Fine {
        self.drawn().unwrap_or(&self.details.found().whole)
    }
}

#[cfg(test)]
mod tests {
    use crate::Checkpoint;
    use crate::batchnorm::Schema;
    use crate::inspect::{Json, Render as _, Terminal, inspect};

    #[test]
    fn a_table_does_not_ask_for_what_json_has() {
        let path = "fixtures/mobilenet_v2_025/model.safetensors";
        let checkpoint = Checkpoint::open(path).unwrap();
        let report = inspect(&checkpoint, &Schema::default()).unwrap();
        let is_found = || report.networks[0].details.found.get().is_some();
        let mut out = Vec::new();
        Terminal { width: 80 }.render(&report, &mut out).unwrap();
        assert!(!is_found());
        Json.render(&report, &mut out).unwrap();
        assert!(is_found());
    }
}
