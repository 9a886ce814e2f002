//! `inspect --json`. Fields may be added here, never changed.

use serde_json::{Map, Value, json};

use super::{LayerReport, NetworkReport, Report, Statistics};

/// The report as JSON; of the layers, those that `shown` accepts.
pub fn to_json(report: &Report, shown: &dyn Fn(&str) -> bool) -> Value {
    json!({
        "path": report.path.to_string_lossy(),
        "format": report.format.name(),
        "pending": report.pending,
        "training": {
            "layout": report.training.0,
            "epoch": report.training.1,
            "optimizer": report.training.2,
        },
        "networks": report.networks.iter().map(|n| network(n, shown)).collect::<Vec<_>>(),
    })
}

fn network(network: &NetworkReport, shown: &dyn Fn(&str) -> bool) -> Value {
    let layers = network
        .layers
        .iter()
        .filter(|layer| shown(&layer.name))
        .map(layer);
    let mut object = Map::new();
    object.insert("root".into(), json!(network.root));
    object.insert("role".into(), json!(network.role.name()));
    insert_statistics(&mut object, &network.total);
    object.insert(
        "histogram".into(),
        json!({ "edges": network.edges, "counts": network.total.counts }),
    );
    object.insert("layers".into(), layers.collect());
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
