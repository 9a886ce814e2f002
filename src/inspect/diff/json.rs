//! `diff --json`. Fields may be added here, never changed.

use std::io;

use super::Diff;
use crate::inspect::{Json, Render};

impl Render<Diff> for Json {
    fn render(&self, diff: &Diff, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, diff)?;
        writeln!(out)
    }
}
