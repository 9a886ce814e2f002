//! The few colours of all drawings. A page gives them other values in the dark, by selecting on the
//! attributes (`[fill="#…"]` in `page.css`).

pub(crate) use plotters::style::RGBColor;

/// Text, axes, medians.
pub(crate) const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
/// Text that is not looked for.
pub(crate) const MUTED: RGBColor = RGBColor(0x66, 0x72, 0x80);
/// Lines behind the data.
pub(crate) const GRID: RGBColor = RGBColor(0xDD, 0xE2, 0xE7);
/// Counts.
pub(crate) const FILL: RGBColor = RGBColor(0x7F, 0xAA, 0xCF);
/// What is written about them.
pub(crate) const LINE: RGBColor = RGBColor(0x2C, 0x66, 0x99);
/// What to worry about. Apart from the blue in greyscale and to the colour-blind.
pub(crate) const ALARM: RGBColor = RGBColor(0xB8, 0x45, 0x00);
/// What tells several things of one kind apart, runs for example; `page.css` has names for them.
#[cfg(feature = "train")]
pub(crate) const SERIES: [RGBColor; 6] = [
    LINE,
    ALARM,
    RGBColor(0x2F, 0x7D, 0x4F),
    RGBColor(0x7B, 0x4E, 0xA3),
    RGBColor(0x8A, 0x6A, 0x00),
    RGBColor(0x0E, 0x7C, 0x86),
];
/// Paper.
pub(crate) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
