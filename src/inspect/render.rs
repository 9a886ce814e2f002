//! What all renderers have in common.

use std::io;

/// One way to show something: a report, a difference, a series.
pub trait Render<View: ?Sized> {
    /// Writes all of `view` to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    fn render(&self, view: &View, out: &mut dyn io::Write) -> io::Result<()>;
}
