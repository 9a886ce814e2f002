//! `report --json`. Fields may be added here, never changed.

use std::io;

use super::Report;
use crate::inspect::{Json, Render};

impl Render<Report> for Json {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, report)?;
        writeln!(out)
    }
}
