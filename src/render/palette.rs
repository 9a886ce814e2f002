//! The few colours of all drawings. A page gives them other values in the dark, by selecting on the
//! attributes (`[fill="#…"]` in `page.css`).

/// Red, green and blue, 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) u8, pub(crate) u8, pub(crate) u8);

/// Text, axes, medians.
pub(crate) const INK: Rgb = Rgb(0x1F, 0x29, 0x33);
/// Text that is not looked for.
pub(crate) const MUTED: Rgb = Rgb(0x66, 0x72, 0x80);
/// Lines behind the data.
pub(crate) const GRID: Rgb = Rgb(0xDD, 0xE2, 0xE7);
/// Counts.
pub(crate) const FILL: Rgb = Rgb(0x7F, 0xAA, 0xCF);
/// What is written about them.
pub(crate) const LINE: Rgb = Rgb(0x2C, 0x66, 0x99);
/// What to worry about. Apart from the blue in greyscale and to the colour-blind.
pub(crate) const ALARM: Rgb = Rgb(0xB8, 0x45, 0x00);
/// What tells several things of one kind apart, runs for example; `page.css` has names for them.
#[cfg(feature = "train")]
pub(crate) const SERIES: [Rgb; 6] = [
    LINE,
    ALARM,
    Rgb(0x2F, 0x7D, 0x4F),
    Rgb(0x7B, 0x4E, 0xA3),
    Rgb(0x8A, 0x6A, 0x00),
    Rgb(0x0E, 0x7C, 0x86),
];
/// Paper.
pub(crate) const PAPER: Rgb = Rgb(0xFF, 0xFF, 0xFF);
