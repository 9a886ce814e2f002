//! Pages to look at, print and send: charts, what each rule would change, a table to sort.

mod diff;
mod edited;
mod report;
mod series;

use serde_json::json;

use crate::render::escaped;

/// The name of the histogram that is drawn, in the object of a network or layer.
fn drawn(is_apart: bool) -> &'static str {
    if is_apart {
        "histogram/drawn"
    } else {
        "histogram"
    }
}

/// What the names below lack, where they lack something.
fn names_begin_with(beginning: &str) -> String {
    match beginning {
        "" => String::new(),
        _ => format!(
            "<p class=\"note\">Names begin with {}</p>\n",
            escaped(beginning)
        ),
    }
}

/// What stands below the histograms of layers about the counts at their ends, where there are some.
fn ends(is_apart: bool) -> &'static str {
    if is_apart {
        " ◂ and ▸ count what lies beyond the axis."
    } else {
        ""
    }
}

/// What the script is told of a histogram of γ: where its edges and its counts are.
fn histogram(edges: &str, now: &str) -> String {
    format!(
        "data-chart=\"histogram\" data-symbol=\"γ\" data-thing=\"channel\" \
         data-edges=\"{edges}/fine_edges\" data-now=\"{now}\" data-key=\"fine_counts\""
    )
}

/// The same of histograms layer by layer, which are called so in the object of a layer.
fn ridge(edges: &str, rows: &str, histogram: &str) -> String {
    let terms = json!([
        {"name": "channels", "key": "channels", "once": true},
        {"name": "min", "key": "min"},
        {"name": "median", "key": "median"},
        {"name": "max", "key": "max"},
        {"name": "inhibited", "key": "inhibited", "of": "channels"},
    ]);
    format!(
        "data-chart=\"ridge\" data-symbol=\"γ\" data-edges=\"{edges}/fine_edges\" \
         data-rows=\"{rows}\" data-now=\"{histogram}\" data-key=\"fine_counts\" data-terms=\"{}\"",
        escaped(&terms.to_string())
    )
}
