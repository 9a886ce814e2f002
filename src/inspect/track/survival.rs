//! Which channels were regenerated when, as far as files tell, and how they fared.
//!
//! A record beside a checkpoint, of the γ that are in it, says exactly which γ an edit changed.
//! Without one, the mark that a regeneration with the default threshold leaves is looked for: at
//! least half of all γ, and not all, share one magnitude bit for bit, which is not 0 and the smallest
//! of all. The channels that bear it, and did not in the save before, are taken as regenerated; that
//! may be one too many, the median itself. Once training went on, neither is left.

use std::ops::Range;

use serde::Serialize;

use super::read::Read;
use crate::inspect::masked;
use crate::regen::is_inhibited;

/// How it is known that channels were regenerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The record beside the checkpoint.
    Record,
    /// The γ themselves, of which half are equal.
    Mark,
}

/// A regeneration, and how its channels fared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regeneration {
    /// In which save its channels are found, counted from 0.
    pub save: usize,
    /// How it is known.
    pub source: Source,
    /// How many channels it changed.
    pub regenerated: usize,
    /// How many of them are not inhibited in this save and each later one, up to the next
    /// regeneration.
    pub alive: Vec<usize>,
}

/// Regenerated channels some saves later, of all regenerations that were followed so long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survival {
    /// How many saves later.
    pub after: usize,
    /// How many channels had been regenerated.
    pub regenerated: usize,
    /// How many of them are not inhibited then.
    pub alive: usize,
}

/// The channels that were regenerated in a save.
pub(super) struct Lifted {
    pub(super) save: usize,
    source: Source,
    /// Among those of the network, in order.
    channels: Vec<usize>,
}

impl Lifted {
    /// How many of them are within a layer.
    pub(super) fn count(&self, layer: &Range<usize>) -> usize {
        let below = |end: usize| self.channels.partition_point(|channel| *channel < end);
        below(layer.end) - below(layer.start)
    }
}

/// The regenerations that a series, in order, shows.
pub(super) fn find(saves: &[Read]) -> Vec<Lifted> {
    let mut found = Vec::new();
    for (index, save) in saves.iter().enumerate() {
        let previous = index
            .checked_sub(1)
            .map(|previous| &saves[previous].gamma[..]);
        let (source, channels) = match &save.before {
            Some(before) => (Source::Record, changed(before, save)),
            None => (Source::Mark, marked(&save.gamma, previous, &save.pruned)),
        };
        if !channels.is_empty() {
            found.push(Lifted {
                save: index,
                source,
                channels,
            });
        }
    }
    found
}

/// Those that an edit changed, and did not prune.
fn changed(before: &[f64], now: &Read) -> Vec<usize> {
    let pairs = before.iter().zip(&now.gamma).enumerate();
    pairs
        .filter(|(channel, (a, b))| {
            a.to_bits() != b.to_bits() && now.pruned.binary_search(channel).is_err()
        })
        .map(|(channel, _)| channel)
        .collect()
}

fn marked(gamma: &[f64], previous: Option<&[f64]>, pruned: &[usize]) -> Vec<usize> {
    let kept = masked::unpruned(gamma, pruned);
    if kept.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let smallest = kept
        .iter()
        .map(|value| value.abs())
        .fold(f64::INFINITY, f64::min);
    let bears = |value: f64| value.abs() == smallest;
    let mut rest = kept.iter().filter(|value| !bears(**value));
    let one_value = match rest.next() {
        // As it was initialised: all γ are one value, or one of two.
        None => true,
        Some(first) => rest.all(|value| value == first),
    };
    let count = kept.iter().filter(|value| bears(**value)).count();
    if smallest == 0.0 || one_value || count < 2 || 2 * count < kept.len() {
        return Vec::new();
    }
    let anew = |channel: &usize| previous.is_none_or(|gamma| !bears(gamma[*channel]));
    (0..gamma.len())
        .filter(|channel| pruned.binary_search(channel).is_err())
        .filter(|channel| bears(gamma[*channel]))
        .filter(anew)
        .collect()
}

/// Each regeneration, and all together.
pub(super) fn follow(lifted: &[Lifted], gammas: &[&[f64]]) -> (Vec<Regeneration>, Vec<Survival>) {
    let ends = lifted
        .iter()
        .skip(1)
        .map(|next| next.save)
        .chain([gammas.len()]);
    let follow = |(lifted, end): (&Lifted, usize)| {
        let alive = |gamma: &&[f64]| {
            let channels = lifted.channels.iter();
            channels
                .filter(|channel| !is_inhibited(gamma[**channel]))
                .count()
        };
        Regeneration {
            save: lifted.save,
            source: lifted.source,
            regenerated: lifted.channels.len(),
            alive: gammas[lifted.save..end].iter().map(alive).collect(),
        }
    };
    let regenerations: Vec<Regeneration> = lifted.iter().zip(ends).map(follow).collect();
    let longest = regenerations
        .iter()
        .map(|r| r.alive.len())
        .max()
        .unwrap_or(0);
    let together = (0..longest).map(|after| {
        let followed = || regenerations.iter().filter(|r| r.alive.len() > after);
        Survival {
            after,
            regenerated: followed().map(|r| r.regenerated).sum(),
            alive: followed().map(|r| r.alive[after]).sum(),
        }
    });
    let together = together.collect();
    (regenerations, together)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_channels_at_the_smallest_magnitude_are_a_mark() {
        assert_eq!(marked(&[0.3, 0.3, 0.5, 0.3, 0.9], None, &[]), [0, 1, 3]);
        assert_eq!(marked(&[0.3, -0.3, 0.5, 0.9], None, &[]), [0, 1]);
    }

    #[test]
    fn pruned_channels_bear_no_mark_and_hide_none() {
        let gamma = [0.0, 0.3, 0.3, 0.5, 0.9, 0.0];
        assert_eq!(marked(&gamma, None, &[0, 5]), [1, 2]);
        assert!(marked(&gamma, None, &[]).is_empty());
    }

    #[test]
    fn an_untrained_network_bears_no_mark() {
        assert!(marked(&[1.0; 8], None, &[]).is_empty());
        assert!(marked(&[0.0, 0.0, 0.0, 1.0], None, &[]).is_empty());
        assert!(marked(&[0.5, 0.5, 1.0, 1.0], None, &[]).is_empty());
        assert!(marked(&[0.1, 0.2, 0.3], None, &[]).is_empty());
        assert!(marked(&[f64::NAN, 0.3, 0.3, 0.3, 0.5], None, &[]).is_empty());
    }

    #[test]
    fn a_mark_that_was_there_before_is_no_second_regeneration() {
        let gamma = [0.3, 0.3, 0.3, 0.5, 0.7];
        assert!(marked(&gamma, Some(&gamma), &[]).is_empty());
        assert_eq!(
            marked(&gamma, Some(&[0.3, 0.1, 0.2, 0.5, 0.7]), &[]),
            [1, 2]
        );
    }
}
