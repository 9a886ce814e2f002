//! Pictures on a canvas.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use plotters::style::RGBColor;
use sha2::{Digest as _, Sha256};

use super::{Canvas, FINE, Frame};
use crate::text::hex;

impl Canvas<'_> {
    /// Colour on a rectangle where a grey picture is light, the more the lighter: so a page can
    /// give it another colour in the dark.
    pub(crate) fn mask(&self, frame: Frame, picture: &[u8], color: RGBColor, opacity: f64) {
        let RGBColor(r, g, b) = color;
        let place = format!(
            "x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\"",
            frame.left * FINE,
            frame.top * FINE,
            frame.width * FINE,
            frame.height * FINE
        );
        let picture = BASE64_STANDARD.encode(picture);
        let digest = Sha256::digest(format!("{place}{picture}"));
        let id = hex(&digest[..8]);
        let _ = writeln!(
            self.below.borrow_mut(),
            "<mask id=\"m{id}\" maskUnits=\"userSpaceOnUse\" {place}><image {place} \
             preserveAspectRatio=\"none\" image-rendering=\"pixelated\" \
             href=\"data:image/png;base64,{picture}\"/></mask>\
             <rect {place} fill=\"#{r:02X}{g:02X}{b:02X}\" fill-opacity=\"{opacity}\" \
             mask=\"url(#m{id})\"/>"
        );
    }
}
