//! For those who train with candle: regeneration of any model in memory, and an [`Engine`] that runs a
//! network of this crate on candle's tensors.

mod engine;
mod regenerate;

pub use engine::Engine;
pub(crate) use regenerate::failed;
pub use regenerate::regenerate;
