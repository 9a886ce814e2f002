//! Pages to look at, print and send: charts, what each rule would change, a table to sort.

mod diff;
mod edited;
mod report;
mod series;

use serde_json::json;

use crate::render::escaped;

/// What the script is told of every histogram of γ, but for where its numbers are.
const HISTOGRAM: &str = "data-chart=\"histogram\" data-symbol=\"γ\" data-thing=\"channel\"";

/// The same of histograms layer by layer.
fn ridge() -> String {
    let terms = json!([
        {"name": "channels", "key": "channels", "once": true},
        {"name": "min", "key": "min"},
        {"name": "median", "key": "median"},
        {"name": "max", "key": "max"},
        {"name": "inhibited", "key": "inhibited", "of": "channels"},
    ]);
    format!(
        "data-chart=\"ridge\" data-symbol=\"γ\" data-counts=\"histogram/fine_counts\" \
         data-terms=\"{}\"",
        escaped(&terms.to_string())
    )
}
