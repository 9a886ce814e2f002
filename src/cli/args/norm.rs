//! The options for a network's normalisation.

use clap::Args;

use crate::error::{Error, Result};
use crate::train::{NormChoice, NormName};

/// A normalisation and its settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct NormArgs {
    /// Normalisation: batch (BatchNorm), itn (IterNorm in place of every BatchNorm), ce (BatchNorm, and
    /// Channel Equilibrium at the end of each block) [default: batch]
    #[arg(long, value_name = "NORM", value_parser = ["batch", "itn", "ce"])]
    pub(crate) norm: Option<String>,
    /// itn, ce: channels in a group, halved until they divide those of a layer [default: 64; 16 for ce]
    #[arg(long, value_name = "N")]
    pub(crate) norm_group: Option<usize>,
    /// itn, ce: Newton iterations [default: 5; 3 for ce]
    #[arg(long, value_name = "T")]
    pub(crate) norm_iterations: Option<usize>,
    /// ce: channel reduction of its instance branch [default: 4]
    #[arg(long, value_name = "R")]
    pub(crate) ce_reduction: Option<usize>,
}

impl NormArgs {
    /// As it was typed.
    pub(crate) fn choice(&self) -> NormChoice {
        NormChoice {
            name: match self.norm.as_deref() {
                Some("itn") => NormName::Itn,
                Some("ce") => NormName::Ce,
                _ => NormName::Batch,
            },
            group: self.norm_group,
            iterations: self.norm_iterations,
            reduction: self.ce_reduction,
        }
    }

    /// # Errors
    /// Something was typed, and there is no network that it could be about.
    pub(crate) fn refuse_without_name(&self) -> Result<()> {
        let given = [
            ("norm", self.norm.is_some()),
            ("norm_group", self.norm_group.is_some()),
            ("norm_iterations", self.norm_iterations.is_some()),
            ("ce_reduction", self.ce_reduction.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((argument, _)) => Err(Error::argument(argument, "", "goes with NAME")),
            None => Ok(()),
        }
    }
}
