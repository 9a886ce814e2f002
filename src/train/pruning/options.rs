//! The settings of pruning that are not those of a file's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::regen::{FilterShares, Method};
use crate::train::settings::Settings;

/// Pruning of filters anew after each epoch, written `none` or `fpgm:RATIO`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Soft {
    /// None.
    #[default]
    None,
    /// This share of each convolution's filters, those nearest the geometric median, is set to 0; they
    /// may come back (He et al. 2019).
    Fpgm(f64),
}

impl fmt::Display for Soft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Soft::None => f.write_str("none"),
            Soft::Fpgm(ratio) => write!(f, "fpgm:{ratio}"),
        }
    }
}

impl FromStr for Soft {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Soft, String> {
        if text == "none" {
            return Ok(Soft::None);
        }
        let ratio = text
            .strip_prefix("fpgm:")
            .and_then(|ratio| ratio.parse().ok());
        match ratio {
            Some(ratio) if (0.0..1.0).contains(&ratio) && ratio > 0.0 => Ok(Soft::Fpgm(ratio)),
            _ => Err(
                "expected none, or fpgm: and a share above 0 and below 1, as in fpgm:0.4"
                    .to_owned(),
            ),
        }
    }
}

/// What follows when an Early-Bird ticket is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterTicket {
    /// The run ends.
    #[default]
    Stop,
    /// It goes on, pruned, with the weights that it has, as the paper says.
    Inherit,
    /// It goes on, pruned, with weights drawn anew and a new optimizer, as the authors' code does.
    Reinit,
}

/// Whether the settings of pruning make sense together.
///
/// # Errors
/// The first that does not.
pub(in crate::train) fn check(settings: &Settings) -> Result<()> {
    let share = |value: f64| (0.0..1.0).contains(&value);
    let prunes = settings.prune_ratio > 0.0;
    let soft = settings.soft != Soft::None;
    let by_filters = soft || prunes && settings.prune_method == Method::Fpgm;
    let distance = match settings.soft {
        Soft::Fpgm(ratio) => ratio,
        Soft::None => settings.prune_ratio,
    };
    let shares = FilterShares {
        distance,
        norm: settings.norm_ratio,
    };
    let problems = [
        (
            !(settings.sparsity.is_finite() && settings.sparsity >= 0.0),
            "sparsity: expected a number from 0 up",
        ),
        (
            !share(settings.prune_ratio),
            "prune-ratio: expected a share from 0 up to but not 1",
        ),
        (
            !share(settings.early_bird),
            "early-bird: expected a share from 0 up to but not 1",
        ),
        (
            !share(settings.norm_ratio),
            "norm-ratio: expected a share from 0 up to but not 1",
        ),
        (
            settings.norm_ratio > 0.0 && !by_filters,
            "norm-ratio: is for prune-method fpgm or soft",
        ),
        (
            by_filters && shares.check().is_err(),
            "norm-ratio: with the share by distance it is 1 or more",
        ),
        (
            prunes && settings.early_bird > 0.0,
            "prune-ratio: early-bird prunes by itself",
        ),
        (
            soft && prunes && settings.prune_method == Method::Fpgm,
            "soft: prune-method fpgm prunes the same filters for good",
        ),
        (
            settings.after_ticket != AfterTicket::Stop && settings.early_bird == 0.0,
            "continue: is for early-bird",
        ),
    ];
    match problems.iter().find(|(wrong, _)| *wrong) {
        Some((_, problem)) => Err(Error::Usage((*problem).to_owned())),
        None => Ok(()),
    }
}
