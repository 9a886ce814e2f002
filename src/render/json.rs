//! What `--json` prints. Fields may be added to it, never changed.

use std::io;

use serde::Serialize;

use super::Render;

/// One JSON object on a line of its own.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl<View: Serialize + ?Sized> Render<View> for Json {
    fn render(&self, view: &View, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, view)?;
        writeln!(out)
    }
}
