//! The optimizer step of one tensor, split over threads.

use super::isa::Isa;
use crate::Optimizer;
use crate::optimizer::{self, Rates};

/// Elements per parallel chunk.
const CHUNK: usize = 1 << 15;

/// One optimizer step of `w` along its gradient `g`, which is set to 0 afterwards. Returns Σ g² from before the step.
///
/// The sum is split by the length of `w` alone, so that its bits do not depend on the number of threads.
pub(in crate::cpu) fn step(
    isa: Isa,
    optimizer: &Optimizer,
    rates: Rates,
    w: &mut [f32],
    g: &mut [f32],
    slots: [&mut [f32]; 2],
) -> f64 {
    if w.len() > CHUNK {
        let at = w.len() / 2;
        let ((w, more_w), (g, more_g)) = (w.split_at_mut(at), g.split_at_mut(at));
        let [(a, more_a), (b, more_b)] = slots.map(|slot| slot.split_at_mut(at.min(slot.len())));
        let (sum, more) = rayon::join(
            || step(isa, optimizer, rates, w, g, [a, b]),
            || step(isa, optimizer, rates, more_w, more_g, [more_a, more_b]),
        );
        return sum + more;
    }
    let sum = squares(isa, g);
    let [first, second] = slots;
    isa.run_loops(
        #[inline(always)]
        || optimizer::update(optimizer, rates, w, g, [&mut *first, &mut *second]),
    );
    g.fill(0.0);
    sum
}

/// Σ x²: f32 sums of 1024 elements, which are added in f64.
pub(in crate::cpu) fn squares(isa: Isa, x: &[f32]) -> f64 {
    let mut total = 0.0;
    isa.run_loops(
        #[inline(always)]
        || {
            for x in x.chunks(1024) {
                let mut sums = [0.0_f32; 16];
                let (vectors, rest) = x.as_chunks::<16>();
                for x in vectors {
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum += x * x;
                    }
                }
                let all = sums.iter().map(|sum| f64::from(*sum));
                total += all
                    .chain(rest.iter().map(|x| f64::from(x * x)))
                    .sum::<f64>();
            }
        },
    );
    total
}
