//! What can be done about an error or a caution: which option of the functions helps.

use ckpt_regen::edit::Planned;
use ckpt_regen::regen::Caution;
use ckpt_regen::{Error, Refusal};

/// What an error is followed by.
pub(crate) fn way_out(err: &Error) -> &'static str {
    let Error::Refused { refusal, .. } = err else {
        return "";
    };
    match refusal {
        Refusal::SymbolicLink => {
            "; output= writes a copy, follow_symlinks=True edits a single file where it is"
        }
        Refusal::UndoneLink => "; follow_symlinks=True restores it where it is",
        Refusal::LinkedIndex => "; output= writes a copy",
        Refusal::HardLinks => "; without in_place this name gets a file of its own",
        Refusal::Resizes => "; without in_place it can be edited",
        Refusal::Dying => {
            "; to='quantile:0.75' gives a γ that lives, rule='keep-sign' spares strong negative γ, \
             keep_zeros=True leaves zeros out of the median, allow_dying=True does it all the same"
        }
        Refusal::DyingPlan => "; allow_dying=True does it all the same",
        Refusal::FixedGamma => "; skip_shared=True leaves such layers alone",
        Refusal::Network => "; root= names one in a file",
        _ => "",
    }
}

/// What a user should know of a plan before it is written.
pub(crate) fn warnings(planned: &Planned) -> Vec<String> {
    let mut all = plan_warnings(&planned.plan.cautions, planned.frozen.as_deref());
    all.extend(planned.warnings.iter().cloned());
    all
}

/// The same of a plan for a network in memory.
pub(crate) fn plan_warnings(cautions: &[Caution], frozen: Option<&str>) -> Vec<String> {
    let caution = |caution: &Caution| format!("{caution}{}", of_caution(caution));
    let frozen = frozen.map(|frozen| format!("{frozen} exclude= leaves them alone"));
    cautions.iter().map(caution).chain(frozen).collect()
}

fn of_caution(caution: &Caution) -> &'static str {
    match caution {
        Caution::MostlyZero { .. } => {
            ": keep_zeros=True leaves zeros alone and out of the median, below='quantile:0.75' looks \
             higher"
        }
        Caution::StrongNegatives { .. } => "; rule='keep-sign' keeps it",
        Caution::AllZero(_) => " keep_zeros=True leaves zeros alone",
        Caution::Unmasked { .. } => "; keep_zeros=True leaves zeros alone",
        Caution::WhollyBelow(_) => "; scope='layer' gives each layer its own threshold",
        Caution::Dying { .. } | Caution::LowThreshold { .. } | Caution::AllOne => "",
    }
}
