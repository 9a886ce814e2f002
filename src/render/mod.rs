//! A toolkit that draws: charts on a canvas, the page around them, tables and bars for a terminal.
//! It knows no checkpoint: what there is to see of one is said by the views, which `inspect` and
//! `study` have.

mod axes;
mod bars;
mod bins;
pub(crate) mod canvas;
pub(crate) mod chart;
mod json;
mod markup;
mod number;
pub(crate) mod page;
mod palette;
#[cfg(feature = "png")]
mod png;
mod renderers;
mod shorten;
pub(crate) mod terminal;

pub(crate) use axes::Axes;
pub(crate) use bars::{bars, sparkline};
pub use bins::Binned;
pub(crate) use bins::Bins;
pub use json::Json;
pub(crate) use markup::escaped;
#[cfg(feature = "train")]
pub(crate) use number::minus;
pub(crate) use number::{grouped, number, percent, percent_of, plain, share, share_of, typeset};
pub(crate) use palette::*;
#[cfg(feature = "png")]
pub use png::Png;
pub use renderers::{Html, Render, Svg, Terminal};
pub(crate) use shorten::{fit_all, shortened, shortened_all};
