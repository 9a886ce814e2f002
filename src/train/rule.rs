//! Which channels a run regenerates: by a rule of the paper's kind, or, to compare with, at random.

use std::fmt;
use std::str::FromStr;

use super::data::shuffled;
use super::settings::Settings;
use crate::regen::{Caution, Change, Gamma, Mask, Plan, Rule};

/// The rule of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunRule {
    /// One that files are edited by too.
    Rule(Rule),
    /// The control: as many channels as `paper` selects, drawn at random, get its new γ.
    Random,
}

impl RunRule {
    /// The rule that has threshold and new γ.
    pub fn rule(self) -> Rule {
        match self {
            RunRule::Rule(rule) => rule,
            RunRule::Random => Rule::Paper,
        }
    }
}

const RANDOM: &str = "random";

impl fmt::Display for RunRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunRule::Rule(rule) => rule.fmt(f),
            RunRule::Random => f.write_str(RANDOM),
        }
    }
}

impl FromStr for RunRule {
    type Err = String;

    fn from_str(text: &str) -> Result<RunRule, String> {
        if text == RANDOM {
            return Ok(RunRule::Random);
        }
        let rule = text.parse().map(RunRule::Rule);
        rule.map_err(|_| "expected paper, reference, keep-sign or random".to_owned())
    }
}

/// The control's plan, given that of `paper` for the same γ under one threshold for the network; the
/// settings' seed and the number of finished epochs decide what is drawn. Pruned channels and zeros that
/// are kept are not drawn.
pub(super) fn at_random(
    gammas: &[Gamma],
    paper: Plan,
    pruned: Option<&Mask>,
    settings: &Settings,
    epoch: u64,
) -> Plan {
    let layers = gammas.iter().zip(&paper.layers).enumerate();
    let counted: Vec<(usize, usize)> = layers
        .flat_map(|(at, (gamma, _))| {
            let counted = gamma.values.iter().enumerate();
            let counted = counted.filter(|(channel, value)| {
                let pruned = pruned.is_some_and(|mask| mask.is_pruned(&gamma.layer, *channel));
                !(pruned || settings.keep_zeros && **value == 0.0)
            });
            counted.map(move |(channel, _)| (at, channel))
        })
        .collect();
    let selected = counted.iter().filter(|(at, channel)| {
        let threshold = paper.layers[*at].threshold;
        Rule::Paper.selects(gammas[*at].values[*channel], threshold)
    });
    let selected = selected.count();
    let mut drawn = shuffled(counted.len(), settings.seed, epoch);
    drawn.truncate(selected);
    drawn.sort_unstable();
    let mut plan = paper;
    for layer in &mut plan.layers {
        layer.changes.clear();
    }
    for (at, channel) in drawn.into_iter().map(|index| counted[index]) {
        let (old, new) = (gammas[at].values[channel], plan.layers[at].target);
        if old.to_bits() != new.to_bits() {
            plan.layers[at].changes.push(Change { channel, old, new });
        }
    }
    plan.cautions
        .retain(|caution| matches!(caution, Caution::LowThreshold { .. }));
    plan.cautions.extend(Caution::dying(&plan));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::regen::{LayerMask, Options, plan};

    fn gammas() -> Vec<Gamma> {
        let layer = |name: &str, values: Vec<f64>| Gamma {
            layer: name.to_owned(),
            dtype: Dtype::F64,
            values,
        };
        let weak = (0..40).map(|at| f64::from(at) / 100.0).collect();
        let strong = (0..60).map(|at| 1.0 + f64::from(at) / 100.0).collect();
        vec![layer("weak", weak), layer("strong", strong)]
    }

    #[test]
    fn as_many_channels_as_of_the_paper_are_drawn_over_the_whole_network() {
        let gammas = gammas();
        let paper = plan(&gammas, &Options::default(), None).unwrap();
        // 50 of 100 are at or below the median, one of them the median itself.
        assert_eq!(paper.regenerated(), 49);
        let random = |seed, epoch| {
            let settings = Settings {
                seed,
                ..Settings::default()
            };
            at_random(&gammas, paper.clone(), None, &settings, epoch)
        };
        let drawn = random(0, 4);
        assert_eq!(random(0, 4), drawn);
        for other in [random(0, 8), random(1, 4)] {
            assert_ne!(other, drawn);
        }
        assert!((49..=50).contains(&drawn.regenerated()));
        assert_eq!(drawn.threshold, paper.threshold);
        let strong = &drawn.layers[1].changes;
        assert!((15..45).contains(&strong.len()), "{}", strong.len());
        for (layer, gamma) in drawn.layers.iter().zip(&gammas) {
            assert!(layer.changes.is_sorted_by_key(|change| change.channel));
            for change in &layer.changes {
                assert_eq!(change.old, gamma.values[change.channel]);
                assert_eq!(Some(change.new), paper.target);
            }
        }
    }

    #[test]
    fn zeros_that_are_kept_and_pruned_channels_are_not_drawn() {
        let gammas = vec![Gamma {
            layer: "bn".to_owned(),
            dtype: Dtype::F64,
            values: vec![0.0, 0.0, 1.0, 2.0, 3.0],
        }];
        let mask = Mask::new([LayerMask {
            name: "bn".to_owned(),
            channels: 5,
            pruned: vec![2],
        }])
        .unwrap();
        for (seed, pruned) in (0..20).flat_map(|seed| [(seed, None), (seed, Some(&mask))]) {
            let settings = Settings {
                seed,
                keep_zeros: true,
                ..Settings::default()
            };
            let paper = plan(&gammas, &settings.rule_options(), pruned).unwrap();
            let drawn = at_random(&gammas, paper, pruned, &settings, 1);
            let least = if pruned.is_some() { 3 } else { 2 };
            let mut changes = drawn.layers[0].changes.iter();
            assert!(changes.all(|change| change.channel >= least));
        }
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in ["paper", "reference", "keep-sign", "random"] {
            assert_eq!(text.parse::<RunRule>().unwrap().to_string(), text);
        }
        assert!("best".parse::<RunRule>().is_err());
    }
}
