//! The runs in numbers, and by what they differ.

use toml::Table;

use super::{Report, Run};
use crate::render::{SERIES, escaped, grouped, plain};
use crate::study::measure::{Measure, measure};

pub(super) fn table(report: &Report) -> String {
    let differing = differing(report);
    let mut rows = String::new();
    for (i, run) in report.runs.iter().enumerate() {
        let said = run.regeneration.as_deref().unwrap_or("none");
        let key = match report.runs.len() {
            1 => String::new(),
            _ => format!(" class=\"key k{}\"", i % SERIES.len()),
        };
        rows += &format!(
            "<tr><th scope=\"row\" class=\"text\"><span{key}>{}</span><small>{}</small></th>\
             <td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&run.name),
            escaped(said),
            escaped(said),
            run.finished,
            percent(Run::last(&run.test_top1)),
            run.best.map_or_else(
                || "–".to_owned(),
                |best| format!(
                    "{} <small>({})</small>",
                    percent(Some(best.merit())),
                    best.epoch
                )
            ),
            Run::last(&run.train_loss).map_or_else(|| "–".to_owned(), |loss| format!("{loss:.3}")),
            Run::last(&run.inhibited).map_or_else(
                || "–".to_owned(),
                |count| format!(
                    "{} <small>({:.1} %)</small>",
                    grouped(count as u64),
                    run.share(count)
                )
            ),
        );
    }
    let Measure { accuracy, best, .. } = measure(report.is_of_scenes());
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\">\
         <table class=\"rules\">\n<thead><tr><th scope=\"col\" class=\"text\">run</th>\
         <th scope=\"col\" class=\"text\">regeneration</th><th scope=\"col\">epochs</th>\
         <th scope=\"col\">{accuracy}</th><th scope=\"col\">{best} (at)</th>\
         <th scope=\"col\">training loss</th><th scope=\"col\">inhibited</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n",
    );
    if !differing.is_empty() {
        out += &format!(
            "<p class=\"note\">What differs: {}</p>\n",
            escaped(&differing)
        );
    }
    out
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2} %"))
}

/// The settings by which runs differ, but for those of regeneration that are told anyway.
fn differing(report: &Report) -> String {
    let tables = report.runs.iter().map(|run| Table::try_from(&run.settings));
    let tables: Vec<Table> = tables.filter_map(Result::ok).collect();
    let mut keys: Vec<&String> = tables.iter().flat_map(Table::keys).collect();
    keys.sort();
    keys.dedup();
    let told = ["regen-every", "rule", "record"];
    let differ = |key: &&String| {
        let first = tables[0].get(*key);
        !told.contains(&&key[..]) && tables.iter().any(|table| table.get(*key) != first)
    };
    let said = keys.into_iter().filter(differ).map(|key| {
        let values = tables.iter().map(|table| match table.get(key) {
            Some(value) => match value.as_float() {
                Some(value) => plain(value),
                None => value.to_string(),
            },
            None => "–".to_owned(),
        });
        let mut values: Vec<String> = values.collect();
        values.dedup();
        format!("{key} {}", values.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}
