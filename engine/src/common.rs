//! Parts of an engine that all engines share, for those written elsewhere: the check of a batch, how it
//! is run, the input pixels of pooling and resizing, and the factors of dropout and stochastic depth.

pub use crate::check::check;
pub use crate::mode::Mode;
pub use crate::noise::{factor, of_node, shared};
pub use crate::pixels::{adaptive_region, bilinear_weights, divisor, taps};
