//! The numerical kernels: each is a function over slices and sizes, and knows neither the graph nor the plan.
//!
//! Values are `[images, height, width, channels]` f32, see [`layout`]; vectors come from `pulp`, see [`isa`].

pub(super) mod activation;
pub(super) mod aligned_buffer;
pub(super) mod batch_norm;
pub(super) mod channel_copy;
pub(super) mod convolution;
pub(super) mod destination;
pub(super) mod elementwise;
pub(super) mod epilogue;
pub(super) mod fused_pointwise;
pub(super) mod grouped;
pub(super) mod isa;
pub(super) mod layout;
pub(super) mod matmul;
pub(super) mod max_pool;
pub(super) mod resample;
pub(super) mod statistics;
pub(super) mod update;
pub(super) mod whitening;
