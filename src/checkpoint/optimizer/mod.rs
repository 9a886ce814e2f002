//! What an optimizer keeps for the parameters of a network, whatever file it lies in.

mod mapping;
mod positions;

use std::collections::HashSet;

pub(super) use mapping::map_optimizer;
#[cfg(test)]
pub(super) use mapping::parameters;

use super::Tensor;

/// Names of tensors that are not known, for a message.
const MAX_UNKNOWN: usize = 4;

/// A tensor that an optimizer keeps for one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// The velocity of SGD, RMSprop and Muon.
    MomentumBuffer,
    /// Running mean of gradients (Adam and its like, Lion).
    ExpAvg,
    /// Running mean of squared gradients (Adam and its like, LAMB).
    ExpAvgSq,
    /// The largest of those so far (AMSGrad).
    MaxExpAvgSq,
    /// Running maximum of gradients' magnitudes (Adamax).
    ExpInf,
    /// Running mean of squared gradients (RMSprop).
    SquareAvg,
    /// Running mean of gradients (RMSprop, centered).
    GradAvg,
}

impl Slot {
    const ALL: [Slot; 7] = [
        Slot::MomentumBuffer,
        Slot::ExpAvg,
        Slot::ExpAvgSq,
        Slot::MaxExpAvgSq,
        Slot::ExpInf,
        Slot::SquareAvg,
        Slot::GradAvg,
    ];

    /// The key PyTorch keeps it under.
    fn key(self) -> &'static str {
        match self {
            Slot::MomentumBuffer => "momentum_buffer",
            Slot::ExpAvg => "exp_avg",
            Slot::ExpAvgSq => "exp_avg_sq",
            Slot::MaxExpAvgSq => "max_exp_avg_sq",
            Slot::ExpInf => "exp_inf",
            Slot::SquareAvg => "square_avg",
            Slot::GradAvg => "grad_avg",
        }
    }

    pub(crate) fn of_key(key: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.key() == key)
    }

    /// Whether a step is divided by it, or by its root, and does not follow it.
    pub(crate) fn divides(self) -> bool {
        match self {
            Slot::MomentumBuffer | Slot::ExpAvg | Slot::GradAvg => false,
            Slot::ExpAvgSq | Slot::MaxExpAvgSq | Slot::ExpInf | Slot::SquareAvg => true,
        }
    }
}

/// The state of one optimizer.
#[derive(Debug)]
pub(crate) struct Optimizer {
    /// Where it lies in the saved object (`optimizer`, `optimizer_states.0`).
    pub(crate) root: String,
    /// Names of tensors that it keeps and that are none of the [`Slot`]s.
    pub(crate) unknown: Vec<String>,
    /// Number of parameters of each group.
    pub(crate) groups: Vec<usize>,
    /// All groups' parameters, one after another: a parameter's position is its index here.
    pub(crate) parameters: Vec<Parameter>,
}

/// What an optimizer says about the parameter at one position.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name, where the optimizer was given names.
    pub(crate) name: Option<String>,
    /// The tensors kept for it; none before the first step.
    pub(crate) slots: Vec<(Slot, Tensor)>,
}

impl Optimizer {
    /// The family of the optimizer, by what it keeps.
    pub(crate) fn kind(&self) -> &'static str {
        let slots = self.parameters.iter().flat_map(|p| &p.slots);
        let kept: HashSet<Slot> = slots.map(|(slot, _)| *slot).collect();
        let keeps = |slot| kept.contains(&slot);
        match () {
            () if !self.unknown.is_empty() => "of a kind that is not known here",
            () if keeps(Slot::ExpAvgSq) && keeps(Slot::MomentumBuffer) => "Muon with Adam",
            () if keeps(Slot::ExpAvgSq) => "Adam",
            () if keeps(Slot::ExpInf) => "Adamax",
            () if keeps(Slot::ExpAvg) => "Lion",
            () if keeps(Slot::SquareAvg) => "RMSprop",
            () => "SGD",
        }
    }

    /// Notes a tensor that is none of the [`Slot`]s.
    pub(crate) fn note_unknown(unknown: &mut Vec<String>, key: &str) {
        if unknown.len() < MAX_UNKNOWN && !unknown.iter().any(|known| known == key) {
            unknown.push(key.to_owned());
        }
    }
}
