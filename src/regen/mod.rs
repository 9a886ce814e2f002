//! Channel regeneration itself: lists of γ in, a plan out; and which channels pruning takes out.
//! Pure: no file, no framework.
//!
//! Source: Sharma and Foroosh, *Channel Regeneration: Improving Channel Utilization for Compact
//! DNNs*, AAAI 2023, Algorithm 1. The rule `reference` is what the first author's published
//! research code does; `keep-sign` is this project's.

mod caution;
mod mask;
mod measure;
mod moments;
mod options;
mod plan;
mod prune;
mod schedule;
mod text;

pub use caution::Caution;
pub use mask::{LayerMask, Mask, MaskError};
pub use measure::{INHIBITED, is_inhibited, lower_median};
pub use moments::{Kept, Moment, reset};
pub use options::{Below, Options, Rule, Scope, To};
pub use plan::{Change, Crossings, Gamma, LayerPlan, Plan, PlanError, plan};
pub use prune::{FilterShares, Method, PruneError, Slimmed, check_ratio, fpgm, slimming};
pub use schedule::{Due, Schedule};
pub(crate) use text::OptionsText;
