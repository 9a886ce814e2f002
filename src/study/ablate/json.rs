//! `ablate --json`. Fields may be added here, never changed.

use std::io;

use super::Ablation;
use crate::inspect::{Json, Render};

impl Render<Ablation> for Json {
    fn render(&self, ablation: &Ablation, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, ablation)?;
        writeln!(out)
    }
}
