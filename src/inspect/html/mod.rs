//! A page to look at, print and send: charts, what each rule would change, a table to sort.

mod diff;
mod edited;
pub(crate) mod page;
mod report;
mod series;

/// One self-contained HTML page. It loads nothing, and holds what `--json` prints, from which it
/// takes the numbers that it shows under a pointer.
#[derive(Debug, Clone, Copy)]
pub struct Html;
