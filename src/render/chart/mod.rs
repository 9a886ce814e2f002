//! Charts: each is a value with its data, which draws itself into a frame of a canvas and returns
//! where its plot lies.

mod axis;
mod heat;
mod histogram;
#[cfg(feature = "train")]
mod interval;
mod lines;
mod outline;
#[cfg(feature = "train")]
mod raster;
mod ridge;

pub(crate) use axis::Axis;
pub(crate) use heat::Heat;
pub(crate) use histogram::{Histogram, Mark};
#[cfg(feature = "train")]
pub(crate) use interval::{Interval, Intervals};
#[cfg(feature = "train")]
pub(crate) use lines::Marks;
pub(crate) use lines::{Line, Lines};
pub(crate) use outline::Bars;
#[cfg(feature = "train")]
pub(crate) use raster::Raster;
pub(crate) use ridge::{Ridge, Row};
