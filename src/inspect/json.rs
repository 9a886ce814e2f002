//! `inspect --json`. Fields may be added here, never changed.

use std::io;

use serde_json::{Map, Value, json};

use super::{LayerReport, NetworkReport, Render, Report, Statistics};

/// One JSON object on a line of its own.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Render<Report> for Json {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "{}", to_json(report))
    }
}

/// The report as JSON.
pub(super) fn to_json(report: &Report) -> Value {
    json!({
        "path": report.path.to_string_lossy(),
        "format": report.format.name(),
        "pending": report.pending,
        "training": {
            "layout": report.training.0,
            "epoch": report.training.1,
            "optimizer": report.training.2,
        },
        "networks": report.networks.iter().map(network).collect::<Vec<_>>(),
    })
}

fn network(network: &NetworkReport) -> Value {
    let mut object = Map::new();
    object.insert("root".into(), json!(network.root));
    object.insert("role".into(), json!(network.role.name()));
    insert_statistics(&mut object, &network.total);
    object.insert(
        "histogram".into(),
        json!({ "edges": network.edges, "counts": network.total.counts }),
    );
    object.insert("layers".into(), network.layers.iter().map(layer).collect());
    object.into()
}

fn layer(layer: &LayerReport) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), json!(layer.name));
    object.insert(
        "dtype".into(),
        json!(layer.dtype.map(|dtype| dtype.to_string())),
    );
    insert_statistics(&mut object, &layer.statistics);
    object.insert("editable".into(), json!(layer.fixed.is_none()));
    if let Some(reason) = &layer.fixed {
        object.insert("reason".into(), json!(reason));
    }
    object.insert(
        "histogram".into(),
        json!({ "counts": layer.statistics.counts }),
    );
    object.into()
}

fn insert_statistics(object: &mut Map<String, Value>, statistics: &Statistics) {
    let range = statistics.range;
    object.insert("channels".into(), json!(statistics.channels));
    object.insert("min".into(), json!(range.map(|range| range.min)));
    object.insert("median".into(), json!(range.map(|range| range.median)));
    object.insert("max".into(), json!(range.map(|range| range.max)));
    object.insert("inhibited".into(), json!(statistics.inhibited));
    object.insert(
        "at_or_below_median".into(),
        json!(statistics.at_or_below_median),
    );
    object.insert("negative".into(), json!(statistics.negative));
    object.insert("non_finite".into(), json!(statistics.non_finite));
}
