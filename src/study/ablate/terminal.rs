//! An ablation as a table for a terminal: a line for each number of channels.

use std::io;

use unicode_width::UnicodeWidthStr as _;

use super::Ablation;
use crate::render::{Render, Terminal, fit_all};
use crate::study::measure::measure;
use crate::text::printable;

impl Render<Ablation> for Terminal {
    fn render(&self, ablation: &Ablation, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(
            out,
            "{} of {} images without the channels of the largest γ of {}",
            measure(ablation.is_of_scenes()).accuracy,
            ablation.images,
            printable(&ablation.layer)
        )?;
        let all = &ablation.checkpoints;
        let room = self.width.saturating_sub(8) / all.len().max(1);
        let longest = all.iter().map(|one| printable(&one.name).width()).max();
        let column = longest.unwrap_or(0).clamp(8, room.max(11) - 2);
        let names = fit_all(all.iter().map(|one| &one.name[..]), column).into_iter();
        let names: String = names
            .map(|name| {
                let name = name.trim_end();
                format!("  {}{name}", " ".repeat(column - name.width().min(column)))
            })
            .collect();
        writeln!(out, "channels{names}")?;
        for (i, point) in ablation.points.iter().enumerate() {
            let cells: String = all
                .iter()
                .map(|one| format!("  {:>column$}", format!("{:.2} %", one.top1[i])))
                .collect();
            writeln!(out, "{point:>8}{cells}")?;
        }
        Ok(())
    }
}
