//! Runs a plan: its memory, its tasks on threads, and which kernel each step calls.

mod collect;
mod memory;
pub(super) mod parameter;
pub(super) mod plan;
mod prepare;
pub(super) mod report;
mod step;
mod task;
