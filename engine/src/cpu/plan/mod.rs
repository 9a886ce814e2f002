//! Plans a batch: which steps are computed in which order, and where their values lie in memory. Knows graphs, but no loops
//! and no vectors.
//!
//! 1. The graph becomes a list of steps, see [`step`].
//! 2. Passes fuse steps, see [`passes`].
//! 3. The program cuts the steps into segments, and decides what backward recomputes, see [`program`] and [`backward`].
//! 4. Buffers get memory, which those share that are not alive at the same time, see [`liveness`].
//!
//! Sizes of vectors and caches come from a [`target`].

pub(super) mod backward;
pub(super) mod liveness;
pub(super) mod passes;
pub(super) mod program;
pub(super) mod step;
pub(super) mod target;
