//! `compare --json`. Fields may be added here, never changed.

use std::io;

use super::Comparison;
use crate::inspect::{Json, Render};

impl Render<Comparison> for Json {
    fn render(&self, comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, comparison)?;
        writeln!(out)
    }
}
