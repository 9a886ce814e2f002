//! What all renderers have in common, and those that are no more than a name.

use std::io;

/// One way to show something: a report, a difference, a series.
pub trait Render<View: ?Sized> {
    /// Writes all of `view` to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    fn render(&self, view: &View, out: &mut dyn io::Write) -> io::Result<()>;
}

/// One self-contained HTML page. It loads nothing, and holds what `--json` prints, from which it
/// takes the numbers that it shows under a pointer.
#[derive(Debug, Clone, Copy)]
pub struct Html;

/// An SVG document, with text as text.
#[derive(Debug, Clone, Copy)]
pub struct Svg;

/// Lines for a terminal, with colours as escape sequences.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns.
    pub width: usize,
}
