//! What a person can do about an error or a caution of the library: which option helps.

use crate::batchnorm::NOTHING_FOUND;
use crate::edit::Planned;
use crate::error::{Error, Refusal};
use crate::regen::Caution;

/// An error in the words of the command line.
pub(super) fn error(err: &Error) -> String {
    match err {
        Error::Argument { argument, .. } => {
            let option = argument.replace('_', "-");
            let rest = err.to_string();
            let rest = rest.strip_prefix(argument).unwrap_or(&rest);
            // What the reason for another argument proposes.
            let rest = rest.replace("epoch_key=", "--epoch-key ");
            format!("--{option}{rest}")
        }
        err => format!("{err}{}", way_out(err)),
    }
}

/// What an error is followed by.
fn way_out(err: &Error) -> String {
    let text = match err {
        Error::Malformed { place, .. } if place == NOTHING_FOUND => {
            ". --explain says why each was left; --schema names them otherwise"
        }
        Error::Refused { refusal, .. } => match refusal {
            Refusal::SymbolicLink => {
                ". --output writes a copy; --follow-symlinks edits a single file where it is"
            }
            Refusal::UndoneLink => ". --follow-symlinks restores it where it is",
            Refusal::LinkedIndex => ": --output writes a copy",
            Refusal::HardLinks => "; without --in-place this name gets a file of its own",
            Refusal::Resizes => "; without --in-place it can be edited",
            Refusal::Dying => {
                ". --to quantile:0.75 gives a γ that lives, --rule keep-sign spares strong negative \
                 γ, --keep-zeros leaves zeros out of the median. --allow-dying does it all the same"
            }
            Refusal::DyingPlan => ". --allow-dying does it all the same",
            Refusal::FixedGamma => ". --skip-shared leaves such layers alone",
            Refusal::Network => ". Name one with --root",
            Refusal::Convolutions => {
                ": --model says it, by the name of the network or by its ONNX file"
            }
            Refusal::Convolution => ". --exclude leaves such layers alone",
            Refusal::Optimizer => "; --optimizer keep leaves it as it is",
            Refusal::Weights { classes } => {
                let classes = classes.map_or_else(String::new, of_classes);
                return format!("{classes}\n  --partial takes what fits");
            }
            Refusal::RunNetwork => ". --model FILE says where it is now",
            Refusal::NotRecorded => {
                "; train --record does it, with --resume from the next epoch on"
            }
            Refusal::File => "",
        },
        _ => "",
    };
    text.to_owned()
}

/// Behind that a checkpoint has this many classes, and others were asked for.
pub(super) fn of_classes(found: u64) -> String {
    format!(": --classes {found}")
}

/// What a user should know of a plan before it is written.
pub(super) fn warnings(planned: &Planned) -> Vec<String> {
    let cautions = planned.plan.cautions.iter().map(caution);
    let frozen = planned.frozen.iter();
    let frozen = frozen.map(|frozen| format!("{frozen} --exclude leaves them alone"));
    cautions
        .chain(frozen)
        .chain(planned.warnings.iter().cloned())
        .collect()
}

fn caution(caution: &Caution) -> String {
    let way_out = match caution {
        Caution::MostlyZero { .. } => {
            ": --keep-zeros leaves zeros alone and out of the median, --below quantile:0.75 looks \
             higher"
        }
        Caution::StrongNegatives { .. } => "; --rule keep-sign keeps it",
        Caution::AllZero(_) => " --keep-zeros leaves zeros alone",
        Caution::Unmasked { .. } => {
            ". --keep-zeros leaves zeros alone, --mask FILE says which are pruned"
        }
        Caution::WhollyBelow(_) => "; --scope layer gives each layer its own threshold",
        Caution::Dying { .. } | Caution::LowThreshold { .. } | Caution::AllOne => "",
    };
    format!("{caution}{way_out}")
}
