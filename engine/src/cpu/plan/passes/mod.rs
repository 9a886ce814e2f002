//! Fusion passes: each merges steps, so that fewer values are written and read.

pub(in crate::cpu) mod channel_copy;
pub(in crate::cpu) mod epilogue;
pub(in crate::cpu) mod fused_pointwise;
pub(in crate::cpu) mod shortcut;
