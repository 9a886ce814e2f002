//! Loops: every kernel is a function over slices and sizes, and knows no graph and no plan.

pub(super) mod activation;
pub(super) mod convolution;
pub(super) mod elementwise;
pub(super) mod expand;
pub(super) mod finish;
pub(super) mod grouped;
pub(super) mod isa;
pub(super) mod layout;
pub(super) mod lines;
pub(super) mod max_pool;
pub(super) mod mix;
pub(super) mod moves;
pub(super) mod multiply;
pub(super) mod norm;
pub(super) mod statistics;
pub(super) mod update;
