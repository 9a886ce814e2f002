//! Where a rule may hurt: facts about a plan that a user should see before it is written.

use std::fmt;

use super::plan::Counted;
use super::{Change, Crossings, INHIBITED, LayerPlan, Options, Plan, Rule, Scope, is_inhibited};

/// Something to think about; [`Display`](fmt::Display) gives it as a sentence with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Caution {
    /// Channels fall below [`INHIBITED`].
    Dying {
        /// How many fall, and how many rise above it.
        crossings: Crossings,
        /// The thresholds by which they fall, the smallest and the largest.
        thresholds: (f64, f64),
    },
    /// The threshold is itself below [`INHIBITED`]: little is brought back.
    LowThreshold {
        /// t, or the largest of those that are so low.
        threshold: f64,
        /// In how many layers; `None` where there is one threshold.
        layers: Option<usize>,
    },
    /// More than half of the γ are exactly 0, so that the threshold is 0 too.
    MostlyZero {
        /// How many are 0.
        zeros: usize,
        /// Of so many.
        counted: usize,
    },
    /// `paper` takes their strength from negative channels that are stronger than the threshold.
    StrongNegatives {
        /// How many become positive or 0.
        flipped: usize,
        /// How many stay negative and become smaller in magnitude.
        weakened: usize,
        /// The most negative of both.
        largest: f64,
    },
    /// Every γ is exactly 1.
    AllOne,
    /// Layers whose γ are all exactly 0.
    AllZero(Vec<String>),
    /// At least 1 % of the channels have neither γ nor β, and no mask is known.
    Unmasked {
        /// How many have γ = β = 0, in layers where not all have.
        zeros: usize,
        /// Of so many.
        channels: usize,
    },
    /// Layers of which every γ is at or below the threshold.
    WhollyBelow(Vec<String>),
}

/// The cautions of a plan made from `gammas`. Pruned channels are none of them.
pub(super) fn cautions(gammas: &[Counted<'_>], plan: &Plan, options: &Options) -> Vec<Caution> {
    let mut cautions = Vec::new();
    cautions.extend(Caution::dying(plan));
    cautions.extend(mostly_zero(gammas, plan, options).or_else(|| low_threshold(plan)));
    if options.rule == Rule::Paper {
        cautions.extend(strong_negatives(plan));
    }
    let mut values = gammas.iter().flat_map(Counted::unpruned);
    if values.all(|(_, value)| value == 1.0) {
        cautions.push(Caution::AllOne);
    }
    let zero = |gamma: &Counted<'_>| {
        let mut values = gamma.unpruned().peekable();
        values.peek().is_some() && values.all(|(_, value)| value == 0.0)
    };
    let names = |gammas: Vec<&Counted<'_>>| {
        let names = gammas.iter().map(|gamma| gamma.gamma.layer.clone());
        names.collect()
    };
    let zeros: Vec<&Counted<'_>> = gammas
        .iter()
        .filter(|g| !options.keep_zeros && zero(g))
        .collect();
    if !zeros.is_empty() {
        cautions.push(Caution::AllZero(names(zeros)));
    }
    if options.scope != Scope::Layer {
        let whole = |(gamma, layer): &(&Counted<'_>, &LayerPlan)| {
            let selected = |value: f64| match options.rule {
                // The signs stay, so that channels do not become equal.
                Rule::KeepSign => false,
                rule => rule.selects(value, layer.threshold),
            };
            let kept = |value: f64| options.keep_zeros && value == 0.0;
            let below = gamma
                .unpruned()
                .all(|(_, value)| selected(value) && !kept(value));
            below && !layer.changes.is_empty() && !zero(gamma)
        };
        // A layer of which nothing is counted has no plan.
        let mut layers = plan.layers.iter().peekable();
        let both = gammas.iter().filter_map(|gamma| {
            let layer = layers.next_if(|layer| layer.name == gamma.gamma.layer)?;
            Some((gamma, layer))
        });
        let whole: Vec<&Counted<'_>> = both.filter(whole).map(|(gamma, _)| gamma).collect();
        if !whole.is_empty() {
            cautions.push(Caution::WhollyBelow(names(whole)));
        }
    }
    cautions
}

impl Caution {
    /// That channels die, and by which thresholds.
    pub(crate) fn dying(plan: &Plan) -> Option<Caution> {
        let crossings = plan.crossings();
        let falls = |change: &Change| !is_inhibited(change.old) && is_inhibited(change.new);
        let layers = plan
            .layers
            .iter()
            .filter(|layer| layer.changes.iter().any(falls));
        let thresholds: Vec<f64> = layers.map(|layer| layer.threshold).collect();
        let least = thresholds.iter().copied().min_by(f64::total_cmp)?;
        let most = thresholds.iter().copied().max_by(f64::total_cmp)?;
        Some(Caution::Dying {
            crossings,
            thresholds: (least, most),
        })
    }
}

fn mostly_zero(gammas: &[Counted<'_>], plan: &Plan, options: &Options) -> Option<Caution> {
    let values = gammas.iter().flat_map(Counted::unpruned);
    let zeros = values.filter(|(_, value)| *value == 0.0).count();
    let none = plan.threshold == Some(0.0) && plan.regenerated() == 0 && !options.keep_zeros;
    (none && 2 * zeros > plan.counted).then_some(Caution::MostlyZero {
        zeros,
        counted: plan.counted,
    })
}

fn low_threshold(plan: &Plan) -> Option<Caution> {
    // Another target than the threshold may bring channels back all the same.
    let is_low = |layer: &&LayerPlan| layer.threshold < INHIBITED && layer.target < INHIBITED;
    let low = plan.layers.iter().filter(is_low);
    let low: Vec<f64> = low.map(|layer| layer.threshold).collect();
    let threshold = low.iter().copied().max_by(f64::total_cmp)?;
    let layers = plan.threshold.is_none().then_some(low.len());
    Some(Caution::LowThreshold { threshold, layers })
}

fn strong_negatives(plan: &Plan) -> Option<Caution> {
    let (mut flipped, mut weakened, mut largest) = (0, 0, 0.0_f64);
    for layer in &plan.layers {
        let strong =
            |change: &&Change| change.old < 0.0 && change.old.abs() > layer.threshold.abs();
        for change in layer.changes.iter().filter(strong) {
            if change.new >= 0.0 {
                flipped += 1;
            } else if change.new > change.old {
                weakened += 1;
            } else {
                continue;
            }
            largest = largest.min(change.old);
        }
    }
    (flipped + weakened > 0).then_some(Caution::StrongNegatives {
        flipped,
        weakened,
        largest,
    })
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caution::Dying {
                crossings: Crossings { died, back },
                thresholds: (least, most),
            } => {
                let fall = if *died == 1 { "falls" } else { "fall" };
                let rise = if *back == 1 { "rises" } else { "rise" };
                let threshold = if least == most {
                    format!("the threshold {}", short(*least))
                } else {
                    format!("thresholds from {} to {}", short(*least), short(*most))
                };
                write!(
                    f,
                    "{} {fall} below |γ| = {INHIBITED} by {threshold}, and {back} {rise} above it",
                    channels(*died)
                )
            }
            Caution::LowThreshold { threshold, layers } => {
                let t = short(*threshold);
                match layers {
                    None => write!(
                        f,
                        "the threshold {t} is below {INHIBITED}: little is brought back"
                    ),
                    Some(layers) => write!(
                        f,
                        "in {layers} {} the threshold is below {INHIBITED} (up to {t}): little is \
                         brought back there",
                        if *layers == 1 { "layer" } else { "layers" }
                    ),
                }
            }
            Caution::MostlyZero { zeros, counted } => write!(
                f,
                "{zeros} of {counted} γ are exactly 0, more than half, so the threshold is 0 and \
                 nothing is regenerated"
            ),
            Caution::StrongNegatives {
                flipped,
                weakened,
                largest,
            } => {
                let count = channels(flipped + weakened);
                write!(
                    f,
                    "{count} with a strong negative γ (down to {largest:.4}) "
                )?;
                let one = flipped + weakened == 1;
                match (flipped, weakened, one) {
                    (_, 0, true) => f.write_str("changes sign"),
                    (_, 0, false) => f.write_str("change sign"),
                    (0, _, true) => f.write_str("becomes weaker"),
                    (0, _, false) => f.write_str("become weaker"),
                    _ => write!(
                        f,
                        "lose it: {flipped} change sign, {weakened} become weaker"
                    ),
                }
            }
            Caution::AllOne => f.write_str(
                "every γ is exactly 1: scales may be in layers of their own (Caffe's Scale), or the \
                 network is not trained yet",
            ),
            Caution::AllZero(layers) => write!(
                f,
                "γ is exactly 0 throughout {}: a zero-initialised residual branch, or channels \
                 masked by pruning?",
                listed(layers)
            ),
            Caution::Unmasked { zeros, channels } => write!(
                f,
                "{zeros} of {channels} channels have γ = β = 0, as pruning leaves them, and no mask is \
                 known: they are counted and regenerated as the others"
            ),
            Caution::WhollyBelow(layers) => write!(
                f,
                "every γ of {} is at or below the threshold: all their channels become equal",
                listed(layers)
            ),
        }
    }
}

/// `1 channel`, `2 channels`.
fn channels(count: usize) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} channel{s}")
}

/// A number in few digits, whatever its size.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        magnitude if magnitude < 1e-3 => format!("{value:.1e}"),
        _ => format!("{value:.4}"),
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
