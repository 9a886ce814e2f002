//! Channel regeneration itself: lists of γ in, a plan out. Pure: no file, no framework.
//!
//! Source: Sharma and Foroosh, *Channel Regeneration: Improving Channel Utilization for Compact
//! DNNs*, AAAI 2023, Algorithm 1. The rule `reference` is what the first author's published
//! research code does; `keep-sign` is this project's.

mod caution;
mod measure;
mod moments;
mod options;
mod plan;
mod schedule;
mod text;

pub use caution::Caution;
pub use measure::{INHIBITED, is_inhibited, lower_median};
pub use moments::{Kept, Moment, reset};
pub use options::{Below, Options, Rule, Scope, To};
pub use plan::{Change, Crossings, Gamma, LayerPlan, Plan, PlanError, plan};
pub use schedule::{Due, Schedule};
pub(crate) use text::OptionsText;
