//! Runs a plan: memory, the shards of a batch on threads, and which kernel each step calls.

mod memory;
pub(super) mod parameter;
pub(super) mod plan;
mod prepare;
mod reduce;
pub(super) mod report;
mod shard;
mod step;
mod whitening;
