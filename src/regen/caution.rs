//! Where a rule may hurt: facts about a plan that a user should see before it is written.

use std::fmt;

use super::{Change, Gamma, LayerPlan, Options, Plan, Rule};

/// Something to think about; [`Display`](fmt::Display) gives it as a sentence with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Caution {
    /// `paper` flips channels that are negative and stronger than the threshold.
    FlipsStrongNegatives {
        /// How many have γ < 0 and |γ| > |t|.
        count: usize,
        /// The most negative of them.
        largest: f64,
    },
    /// Layers whose γ are all exactly 0.
    AllZero(Vec<String>),
    /// Layers of which every γ is at or below the threshold.
    WhollyBelow(Vec<String>),
}

/// The cautions of a plan made from `gammas`.
pub(super) fn cautions(gammas: &[Gamma], plan: &Plan, options: &Options) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if options.rule == Rule::Paper {
        let changes = plan.layers.iter().flat_map(|layer| {
            let strong = |change: &&Change| {
                let flips = change.old < 0.0 && change.new >= 0.0;
                flips && change.old.abs() > layer.threshold.abs()
            };
            layer.changes.iter().filter(strong).map(|change| change.old)
        });
        let strong: Vec<f64> = changes.collect();
        if !strong.is_empty() {
            let largest = strong.iter().copied().fold(0.0, f64::min);
            cautions.push(Caution::FlipsStrongNegatives {
                count: strong.len(),
                largest,
            });
        }
    }
    let zero = |gamma: &Gamma| gamma.values.iter().all(|value| *value == 0.0);
    let names = |gammas: Vec<&Gamma>| gammas.iter().map(|gamma| gamma.layer.clone()).collect();
    let zeros: Vec<&Gamma> = gammas
        .iter()
        .filter(|g| !options.keep_zeros && zero(g))
        .collect();
    if !zeros.is_empty() {
        cautions.push(Caution::AllZero(names(zeros)));
    }
    if plan.threshold.is_some() {
        let whole = |(gamma, layer): &(&Gamma, &LayerPlan)| {
            let selected = |value: &f64| match options.rule {
                // The signs stay, so that channels do not become equal.
                Rule::KeepSign => false,
                rule => rule.selects(*value, layer.threshold),
            };
            let kept = |value: &f64| options.keep_zeros && *value == 0.0;
            let below = gamma
                .values
                .iter()
                .all(|value| selected(value) && !kept(value));
            below && !layer.changes.is_empty() && !zero(gamma)
        };
        let both = gammas.iter().zip(&plan.layers);
        let whole: Vec<&Gamma> = both.filter(whole).map(|(gamma, _)| gamma).collect();
        if !whole.is_empty() {
            cautions.push(Caution::WhollyBelow(names(whole)));
        }
    }
    cautions
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caution::FlipsStrongNegatives { count, largest } => {
                let (channels, s) = if *count == 1 {
                    ("channel", "s")
                } else {
                    ("channels", "")
                };
                write!(
                    f,
                    "{count} {channels} with a strong negative γ (down to {largest:.4}) change{s} sign; \
                     --rule keep-sign keeps it"
                )
            }
            Caution::AllZero(layers) => write!(
                f,
                "γ is exactly 0 throughout {}: a zero-initialised residual branch, or channels \
                 masked by pruning? --keep-zeros leaves zeros alone",
                listed(layers)
            ),
            Caution::WhollyBelow(layers) => write!(
                f,
                "every γ of {} is at or below the threshold: all their channels become equal; \
                 --scope layer gives each layer its own threshold",
                listed(layers)
            ),
        }
    }
}

/// The first few names, and how many there are in all.
fn listed(layers: &[String]) -> String {
    const SHOWN: usize = 3;
    match layers {
        [one] => one.clone(),
        _ if layers.len() <= SHOWN => format!("{} layers ({})", layers.len(), layers.join(", ")),
        _ => format!(
            "{} layers ({}, …)",
            layers.len(),
            layers[..SHOWN].join(", ")
        ),
    }
}
