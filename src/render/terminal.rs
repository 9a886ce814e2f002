//! What tables for a terminal have in common.

use anstyle::{AnsiColor, Style};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const ALARM: Style = AnsiColor::Red.on_default();
pub(crate) const BAR: Style = AnsiColor::Cyan.on_default();
pub(crate) const PLAIN: Style = Style::new();

/// Narrower than this, lines wrap rather than lose columns.
pub(crate) const MIN_WIDTH: usize = 70;
/// From here on there is room for columns that are not needed.
pub(crate) const WIDE: usize = 120;

/// A number in six columns, or a dash.
pub(crate) fn number_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| format!("{:>6}", "-"), super::number)
}
