//! `track --json`. Fields may be added here, never changed.

use std::io;

use super::Series;
use crate::inspect::{Json, Render};

impl Render<Series> for Json {
    fn render(&self, series: &Series, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, series)?;
        writeln!(out)
    }
}
