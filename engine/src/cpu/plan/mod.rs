//! What is computed, in which order, and where it lies meanwhile: knows graphs and no loops.
//!
//! The graph becomes steps (`step`), passes make fewer of them (`passes`), a program cuts them into
//! segments and decides what backward computes again (`program`, `backward`), and what is needed at one
//! time gets its place (`liveness`), all for one machine (`target`).

pub(super) mod backward;
pub(super) mod liveness;
pub(super) mod passes;
pub(super) mod program;
pub(super) mod step;
pub(super) mod target;
