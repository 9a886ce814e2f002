//! The search for an Early-Bird ticket (You et al., ICLR 2020).

use super::{Pruning, merge, set_channels, slim};
use crate::engine::{Engine, Part};
use crate::error::Result;
use crate::regen::Mask;
use crate::train::checkpoint;
use crate::train::epoch::seed_of_batch;
use crate::train::settings::Settings;
use crate::train::state::State;

/// Masks that are remembered, the newest among them.
const REMEMBERED: usize = 5;
/// The largest distance of the newest mask to each of the others for which a ticket is found.
const DISTANCE: f64 = 0.1;

/// Remembers what network slimming would prune at the beginning of this epoch, and returns it if the
/// masks of the last five epochs agree: the newest differs from each of the four before it in at most a
/// tenth of all channels, as the authors' code has it.
pub(in crate::train) fn find_ticket(
    settings: &Settings,
    pruning: &mut Pruning,
    engine: &dyn Engine,
) -> Result<Option<Mask>> {
    if settings.early_bird == 0.0 || pruning.ticket.is_some() {
        return Ok(None);
    }
    let newest = slim(settings, settings.early_bird, None, engine)?;
    if pruning.candidates.len() == REMEMBERED {
        pruning.candidates.remove(0);
    }
    pruning.candidates.push(newest.clone());
    Ok(agree(&pruning.candidates).then_some(newest))
}

/// Prunes a ticket that was found before the next epoch. What was the best epoch is of another network.
pub(in crate::train) fn prune_ticket(state: &mut State, ticket: &Mask, engine: &mut dyn Engine) {
    let pruning = &mut state.pruning;
    pruning.ticket = Some(state.epoch);
    pruning.candidates.clear();
    merge(&mut pruning.mask, ticket);
    set_channels(&pruning.mask, engine);
    state.best = None;
}

/// Draws the weights of a pruned network anew, others than it began with, and forgets what the optimizer
/// kept.
///
/// # Errors
/// As of drawing weights.
pub(in crate::train) fn draw_anew(state: &mut State, engine: &mut dyn Engine) -> Result<()> {
    let seed = seed_of_batch(state.seed, state.epoch, u64::MAX);
    checkpoint::draw_weights(seed, engine)?;
    let graph = engine.graph();
    let specs = graph.tensor_ids().zip(graph.tensors());
    let parameters = specs.filter(|(_, spec)| spec.is_parameter());
    let mut values = Vec::new();
    for id in parameters.map(|(id, _)| id).collect::<Vec<_>>() {
        for part in [Part::Slot(0), Part::Slot(1)] {
            engine.read(id, part, &mut values);
            if !values.is_empty() {
                values.fill(0.0);
                engine.write(id, part, &values);
            }
        }
    }
    state.step = 0;
    set_channels(&state.pruning.mask, engine);
    if state.settings.ema > 0.0 {
        engine.begin_average();
    }
    Ok(())
}

fn agree(masks: &[Mask]) -> bool {
    let [before @ .., newest] = masks else {
        return false;
    };
    let near = |mask: &Mask| newest.distance(mask).is_ok_and(|apart| apart <= DISTANCE);
    before.len() + 1 == REMEMBERED && before.iter().all(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regen::LayerMask;

    fn mask(pruned: &[usize]) -> Mask {
        Mask::new([LayerMask {
            name: "bn".to_owned(),
            channels: 20,
            pruned: pruned.to_vec(),
        }])
        .unwrap()
    }

    #[test]
    fn a_ticket_is_found_when_the_newest_of_five_masks_is_near_to_each_of_the_others() {
        // Two of 20 channels differ: a tenth.
        let [a, b] = [mask(&[0, 1, 2]), mask(&[0, 1, 3])];
        let far = mask(&[4, 5, 6]);
        let four = vec![a.clone(), b.clone(), a.clone(), b.clone()];
        assert!(!agree(&four));
        assert!(agree(&[&four[..], std::slice::from_ref(&a)].concat()));
        assert!(!agree(&[&four[..], std::slice::from_ref(&far)].concat()));
        assert!(!agree(&[&[far], &four[..]].concat()));
    }
}
