//! Channel regeneration itself: lists of γ in, a plan out. Pure: no file, no framework.
//!
//! Source: Sharma and Foroosh, *Channel Regeneration: Improving Channel Utilization for Compact
//! DNNs*, AAAI 2023, Algorithm 1. The rule `reference` is what the first author's published
//! research code does; `keep-sign` is this project's.

mod caution;
mod moments;
mod options;
mod plan;
mod schedule;

pub use caution::Caution;
pub use moments::{Kept, Moment, reset};
pub use options::{Below, Options, Rule, Scope, To};
pub use plan::{Change, Crossings, Gamma, LayerPlan, Plan, PlanError, plan};
pub use schedule::{Due, Schedule};

/// |γ| below this counts as inhibited (Sharma and Foroosh, 2023).
pub const INHIBITED: f64 = 1e-2;
