//! Learning-rate schedules: PyTorch's `StepLR`, `MultiStepLR`, `CosineAnnealingLR`, `OneCycleLR` and
//! `LinearLR`.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::settings::Settings;

/// A learning-rate schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Constant.
    Constant,
    /// Falls every so many epochs.
    Step,
    /// Falls at the epochs given.
    #[default]
    MultiStep,
    /// Falls along half a cosine, to 0, with every update (Loshchilov and Hutter 2017).
    Cosine,
    /// Rises from a 25th for 30 % of the run, then falls to a 250,000th, along half a cosine each,
    /// with every update (Smith and Topin 2018; the momentum stays).
    OneCycle,
    /// Falls to 0 as the power 0.9 of the share of updates that are left, with every update (Chen et al.
    /// 2017).
    Poly,
}

/// Linear warm-up, from a hundredth, with every update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WarmUp {
    pub(super) epochs: u64,
}

/// Where the warm-up begins (torchvision's references).
const WARM_UP_START: f64 = 0.01;
const POLY_POWER: f64 = 0.9;
/// `OneCycleLR`: pct_start, div_factor, final_div_factor.
const RISE: f64 = 0.3;
const RISE_FROM: f64 = 25.0;
const FALL_TO: f64 = 1e4;

/// The learning rate of update number `update` of epoch number `epoch`, both counted from 0, where an
/// epoch has `updates`.
///
/// `step` and `multi-step` change between epochs, counted from the beginning of the run; `cosine` and
/// `poly` begin after the warm-up and span the rest.
pub fn learning_rate(settings: &Settings, epoch: u64, update: u64, updates: u64) -> f64 {
    let lr = settings.lr;
    let now = epoch.saturating_mul(updates).saturating_add(update);
    let warm_up = settings.warm_up().epochs.saturating_mul(updates);
    if now < warm_up {
        let done = now as f64 / warm_up as f64;
        return lr * (WARM_UP_START + (1.0 - WARM_UP_START) * done);
    }
    let power = |falls: u64| settings.lr_factor.powf(falls as f64);
    match settings.schedule {
        Shape::Constant => lr,
        Shape::Step => lr * power(epoch / settings.step_epochs.max(1)),
        Shape::MultiStep => {
            let passed = settings.milestones.iter().filter(|at| **at <= epoch);
            lr * power(passed.count() as u64)
        }
        Shape::Cosine => {
            let all = settings.epochs.saturating_mul(updates) - warm_up;
            half_cosine(lr, 0.0, (now - warm_up) as f64 / all as f64)
        }
        Shape::Poly => {
            let all = settings.epochs.saturating_mul(updates) - warm_up;
            lr * (1.0 - (now - warm_up) as f64 / all as f64).powf(POLY_POWER)
        }
        Shape::OneCycle => {
            let last = settings.epochs.saturating_mul(updates) as f64;
            let now = now as f64;
            let (top, end) = ((RISE * last - 1.0).max(0.0), last - 1.0);
            let start = lr / RISE_FROM;
            if now < top {
                half_cosine(start, lr, now / top)
            } else if top < end {
                half_cosine(lr, start / FALL_TO, (now - top) / (end - top))
            } else {
                lr
            }
        }
    }
}

/// From `start` to `end` along half a cosine, at `share` of the way.
fn half_cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Recipe;

    /// At these updates of a run of 10 epochs of 4.
    fn rates(change: impl FnOnce(&mut Settings), updates: &[u64]) -> Vec<f64> {
        let mut settings = Recipe::Cifar.settings();
        (settings.epochs, settings.lr) = (10, 0.1);
        change(&mut settings);
        let at = |now: &u64| learning_rate(&settings, now / 4, now % 4, 4);
        updates.iter().map(at).collect()
    }

    fn expect(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
        }
    }

    #[test]
    fn steps_fall_between_epochs() {
        let step = rates(
            |s| (s.schedule, s.step_epochs, s.lr_factor) = (Shape::Step, 3, 0.5),
            &[0, 11, 12, 24, 39],
        );
        expect(&step, &[0.1, 0.1, 0.05, 0.025, 0.0125]);
        let multi = rates(|s| s.milestones = vec![2, 5], &[7, 8, 19, 20]);
        expect(&multi, &[0.1, 0.02, 0.02, 0.004]);
    }

    /// `CosineAnnealingLR(optimizer, 40)` of PyTorch 2.11.
    #[test]
    fn the_cosine_is_pytorchs() {
        let found = rates(|s| s.schedule = Shape::Cosine, &[0, 1, 10, 20, 39]);
        let wanted = [
            0.1,
            0.099_845_866_686_656_4,
            0.085_355_339_059_327_36,
            0.05,
            0.000_154_133_313_343_601_8,
        ];
        expect(&found, &wanted);
    }

    /// `OneCycleLR(optimizer, 0.1, total_steps=40)` of PyTorch 2.11.
    #[test]
    fn one_cycle_is_pytorchs() {
        let found = rates(|s| s.schedule = Shape::OneCycle, &[0, 5, 11, 12, 25, 39]);
        let wanted = [
            0.004,
            0.045_168_887_762_882_31,
            0.1,
            0.099_685_611_752_220_17,
            0.050_000_2,
            4e-7,
        ];
        expect(&found, &wanted);
    }

    #[test]
    fn the_polynomial_falls_to_nothing_with_every_update() {
        let found = rates(|s| s.schedule = Shape::Poly, &[0, 20, 39]);
        expect(
            &found,
            &[0.1, 0.1 * 0.5_f64.powf(0.9), 0.1 * 0.025_f64.powf(0.9)],
        );
    }

    #[test]
    fn warm_up_rises_to_where_the_schedule_has_it() {
        let found = rates(|s| s.warmup_epochs = 2, &[0, 4, 8]);
        expect(&found, &[0.001, 0.0505, 0.1]);
        let cosine = |s: &mut Settings| (s.warmup_epochs, s.schedule) = (2, Shape::Cosine);
        expect(&rates(cosine, &[8, 24]), &[0.1, 0.05]);
    }
}
