//! Passes over the steps: each makes fewer of them, or some that do more in one go.

pub(in crate::cpu) mod expand;
pub(in crate::cpu) mod finish;
pub(in crate::cpu) mod moves;
pub(in crate::cpu) mod shortcut;
