//! A comparison as text: all that does not fit, one line each.

use std::fmt;

use super::fit::Fit;

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            write!(f, "fits {} ({} tensors", self.network, self.tensors)?;
            let parts = [&self.root[..], self.prefix.trim_end_matches(['.', '/'])];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            return if parts.is_empty() {
                write!(f, ")")
            } else {
                write!(f, ", under {})", parts.join("."))
            };
        }
        let mut kinds = Vec::new();
        for (count, kind) in [
            (self.missing.len(), "missing"),
            (self.unexpected.len(), "unexpected"),
            (self.misfits.len(), "of another shape or type"),
        ] {
            if count > 0 {
                kinds.push(format!("{count} {kind}"));
            }
        }
        let (network, tensors) = (&self.network, self.tensors);
        write!(
            f,
            "does not fit {network} ({tensors} tensors): {}",
            kinds.join(", ")
        )?;
        for missing in &self.missing {
            write!(f, "\n  missing     {}", missing.name)?;
            if let Some(near) = &missing.near {
                write!(f, " (here it may be {near})")?;
            }
        }
        for (name, shape) in &self.unexpected {
            write!(f, "\n  unexpected  {name} {shape}")?;
        }
        for misfit in &self.misfits {
            let (expected, found) = (&misfit.expected, &misfit.found);
            write!(
                f,
                "\n  misfit      {}: expected {expected}, found {found}",
                misfit.name
            )?;
        }
        if let Some((found, asked)) = self.classes {
            write!(
                f,
                "\n  the last layer has {found} classes, {asked} asked for"
            )?;
        }
        Ok(())
    }
}
