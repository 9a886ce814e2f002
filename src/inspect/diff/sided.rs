//! γ of one side, counted in bins that both sides have in common.

use serde::Serialize;

use super::super::finite;
use super::Summary;
use crate::render::{Axes, Binned};

/// The γ of a layer or network on one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sided {
    /// Where they lie.
    #[serde(flatten)]
    pub summary: Summary,
    /// How many of them are in each bin.
    pub histogram: Counts,
}

/// How many finite γ fall into each bin of a network's edges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counts {
    /// By bin, fine enough for a picture.
    pub fine_counts: Vec<u64>,
    /// The same between the edges that are drawn.
    pub drawn: Option<DrawnCounts>,
}

/// How many finite γ fall into each bin between the edges that are drawn, and beyond them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrawnCounts {
    /// By bin, fine enough for a picture.
    pub fine_counts: Vec<u64>,
    /// How many are below the first edge.
    pub below: u64,
    /// How many are above the last.
    pub above: u64,
}

/// The bins of a network: both sides and all layers have the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edges {
    /// One more than there are bins; from the smallest to the largest γ, with 0 between them.
    pub fine_edges: Vec<f64>,
    /// Those between which histograms are drawn, where a few γ far from all others would squeeze
    /// these; `None` where all are drawn.
    pub drawn: Option<DrawnEdges>,
}

/// The bins that are drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrawnEdges {
    /// One more than there are bins.
    pub fine_edges: Vec<f64>,
}

impl Edges {
    /// Those for these finite γ, which are put in another order.
    pub(super) fn over(values: &mut [f64]) -> Edges {
        let axes = Axes::over(values);
        Edges {
            fine_edges: axes.whole.fine_edges(),
            drawn: axes.drawn.map(|drawn| DrawnEdges {
                fine_edges: drawn.fine_edges(),
            }),
        }
    }
}

impl Sided {
    /// Of γ that are not pruned, and how many are.
    pub(super) fn of(values: &[f64], pruned: usize, edges: &Edges) -> Sided {
        let finite = finite(values);
        let drawn = edges.drawn.as_ref().map(|drawn| {
            let binned = Binned::new(&drawn.fine_edges, &finite);
            DrawnCounts {
                fine_counts: binned.counts,
                below: binned.below,
                above: binned.above,
            }
        });
        Sided {
            summary: Summary::of(values, pruned),
            histogram: Counts {
                fine_counts: Binned::new(&edges.fine_edges, &finite).counts,
                drawn,
            },
        }
    }
}
