//! A report as `inspect --json` prints it. Fields may be added here, never changed.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{Binned, Effect, LayerReport, NetworkReport, Preview, Report, Statistics};
use crate::regen::Rule;

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self).serialize(serializer)
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
            "epoch": report.training.1.as_ref().map(|epochs| epochs.finished),
            "optimizer": report.training.2,
        },
        "epoch_read_from": report.training.1.as_ref().map(|epochs| &epochs.read_from),
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
        json!({
            "edges": network.edges,
            "counts": network.total.counts,
            "fine_edges": network.fine_edges(),
            "fine_counts": network.fine_counts(),
            "drawn": network_drawn(network),
        }),
    );
    let rules = network.rules();
    let rules_json = rules.ok().map(|rules| {
        let one = |rule: &Preview| (rule.rule.to_string(), preview(rule));
        rules.iter().map(one).collect::<Map<_, _>>()
    });
    object.insert("rules".into(), json!(rules_json));
    if let Err(reason) = rules {
        object.insert("rules_refused".into(), json!(reason));
    }
    object.insert(
        "layers".into(),
        network.layers.iter().map(|l| layer(network, l)).collect(),
    );
    object.into()
}

fn layer(network: &NetworkReport, layer: &LayerReport) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), json!(layer.name));
    object.insert("norm".into(), json!(layer.kind.name()));
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
        json!({
            "counts": layer.statistics.counts,
            "fine_counts": network.fine_counts_in(layer),
            "drawn": layer_drawn(network, layer),
        }),
    );
    let rules = network.rules_in(layer).map(|effects| {
        let all = Rule::ALL.iter().zip(effects);
        all.map(|(rule, effect)| (rule.to_string(), effect_json(effect).into()))
            .collect::<Map<_, Value>>()
    });
    object.insert("rules".into(), json!(rules));
    object.into()
}

/// The histogram as it is drawn, where that is not the whole.
fn network_drawn(network: &NetworkReport) -> Option<Value> {
    let fine = network.drawn()?;
    let mut object = drawn(network.total.drawn.as_ref()?, &fine.total);
    object.insert("edges".into(), json!(network.drawn_edges));
    object.insert("fine_edges".into(), json!(fine.edges));
    Some(object.into())
}

fn layer_drawn(network: &NetworkReport, layer: &LayerReport) -> Option<Value> {
    let fine = network.drawn()?.layer(layer)?;
    Some(drawn(layer.statistics.drawn.as_ref()?, fine).into())
}

fn drawn(coarse: &Binned, fine: &Binned) -> Map<String, Value> {
    Map::from_iter([
        ("counts".to_owned(), json!(coarse.counts)),
        ("fine_counts".to_owned(), json!(fine.counts)),
        ("below".to_owned(), json!(coarse.below)),
        ("above".to_owned(), json!(coarse.above)),
    ])
}

fn effect_json(effect: Effect) -> Map<String, Value> {
    Map::from_iter([
        ("selected".to_owned(), json!(effect.selected)),
        ("regenerated".to_owned(), json!(effect.regenerated)),
    ])
}

fn preview(preview: &Preview) -> Value {
    let mut object = effect_json(preview.total);
    object.insert("threshold".into(), json!(preview.threshold));
    object.insert("layers_touched".into(), json!(preview.layers_touched));
    object.into()
}

fn insert_statistics(object: &mut Map<String, Value>, statistics: &Statistics) {
    let range = statistics.range;
    object.insert("channels".into(), json!(statistics.channels));
    object.insert("min".into(), json!(range.map(|range| range.min)));
    object.insert("median".into(), json!(range.map(|range| range.median)));
    object.insert("max".into(), json!(range.map(|range| range.max)));
    object.insert("inhibited".into(), json!(statistics.inhibited));
    object.insert("pruned".into(), json!(statistics.pruned));
    object.insert(
        "at_or_below_median".into(),
        json!(statistics.at_or_below_median),
    );
    object.insert("negative".into(), json!(statistics.negative));
    object.insert("non_finite".into(), json!(statistics.non_finite));
}
