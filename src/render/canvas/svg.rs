//! A drawing as an SVG document, with text as text.

use std::fmt::{self, Write as _};

use super::super::Rgb;
use super::super::markup::escaped;
use super::{Anchor, DASH, Drawing, Frame, Point, Shape};

impl Drawing {
    /// The document. Colours are attributes, `fill="#…"` or `stroke="#…"`, so that a page can
    /// select on them.
    pub(crate) fn svg(&self) -> String {
        let (width, height) = (Number(self.size.0), Number(self.size.1));
        let title = escaped(&self.title);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" role=\"img\">\n\
             <title>{title}</title>\n"
        );
        for shape in &self.shapes {
            write(&mut out, shape).expect("a String takes all");
        }
        out += "</svg>\n";
        out
    }
}

fn write(out: &mut String, shape: &Shape) -> fmt::Result {
    match shape {
        Shape::Fill {
            frame,
            color,
            opacity,
        } => {
            let (place, color) = (Place(*frame), Hex(*color));
            write!(out, "<rect {place} fill=\"{color}\"")?;
            if *opacity < 1.0 {
                write!(out, " fill-opacity=\"{opacity}\"")?;
            }
            writeln!(out, "/>")
        }
        Shape::Area { points, color } => {
            let (points, color) = (Points(points), Hex(*color));
            writeln!(out, "<polygon fill=\"{color}\" points=\"{points}\"/>")
        }
        Shape::Path {
            points,
            color,
            width,
            dashed,
        } => {
            let (points, color, width) = (Points(points), Hex(*color), Number(*width));
            write!(
                out,
                "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\""
            )?;
            if *dashed {
                let (dash, gap) = DASH;
                write!(out, " stroke-dasharray=\"{dash} {gap}\"")?;
            }
            writeln!(out, " points=\"{points}\"/>")
        }
        Shape::Dot { at, radius, color } => {
            let (x, y, r) = (Number(at.0), Number(at.1), Number(*radius));
            let color = Hex(*color);
            writeln!(
                out,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{color}\"/>"
            )
        }
        Shape::Text {
            text,
            at,
            anchor,
            font,
        } => {
            let (x, y, size) = (Number(at.0), Number(at.1), Number(font.size));
            write!(out, "<text x=\"{x}\" y=\"{y}\" dy=\"0.5ex\"")?;
            match anchor {
                Anchor::Start => {}
                Anchor::Middle => write!(out, " text-anchor=\"middle\"")?,
                Anchor::End => write!(out, " text-anchor=\"end\"")?,
            }
            if font.bold {
                write!(out, " font-weight=\"bold\"")?;
            }
            let (color, text) = (Hex(font.color), escaped(text));
            writeln!(out, " font-size=\"{size}\" fill=\"{color}\">{text}</text>")
        }
        #[cfg(feature = "train")]
        Shape::Shades {
            frame,
            columns,
            shades,
            color,
            opacity,
        } => shaded(out, (*frame, *columns), shades, (*color, *opacity)),
    }
}

/// A rectangle of one colour under a mask of cells, so that a page can give it another colour in
/// the dark.
#[cfg(feature = "train")]
fn shaded(
    out: &mut String,
    (frame, columns): (Frame, usize),
    shades: &[u8],
    (color, opacity): (Rgb, f64),
) -> fmt::Result {
    use base64::Engine as _;
    use sha2::Digest as _;

    let (place, color) = (Place(frame), Hex(color));
    let picture = base64::prelude::BASE64_STANDARD.encode(gray(columns, shades));
    let digest = sha2::Sha256::digest(format!("{place}{picture}"));
    let id = crate::text::hex(&digest[..8]);
    writeln!(
        out,
        "<mask id=\"m{id}\" maskUnits=\"userSpaceOnUse\" {place}><image {place} \
         preserveAspectRatio=\"none\" image-rendering=\"pixelated\" \
         href=\"data:image/png;base64,{picture}\"/></mask>\
         <rect {place} fill=\"{color}\" fill-opacity=\"{opacity}\" mask=\"url(#m{id})\"/>"
    )
}

/// A picture in grey, row by row.
#[cfg(feature = "train")]
fn gray(columns: usize, shades: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = (columns as u32, (shades.len() / columns) as u32);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(shades));
    written.expect("as many pixels as there are, written to memory");
    bytes
}

/// Pixels, to a hundredth.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // + 0.0: no "-0".
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

struct Hex(Rgb);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rgb(r, g, b) = self.0;
        write!(f, "#{r:02X}{g:02X}{b:02X}")
    }
}

/// The attributes of a rectangle.
struct Place(Frame);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, y) = (Number(self.0.left), Number(self.0.top));
        let (width, height) = (Number(self.0.width), Number(self.0.height));
        write!(
            f,
            "x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""
        )
    }
}

struct Points<'a>(&'a [Point]);

impl fmt::Display for Points<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (x, y)) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{},{}", Number(*x), Number(*y))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::INK;
    use super::super::Type;
    use super::*;

    #[test]
    fn a_drawing_holds_text_as_text_and_nothing_unescaped() {
        let (drawing, ()) = Drawing::new((20.0, 10.0), "a < b", |canvas| {
            let font = Type::new(10.0, INK);
            canvas.text("</svg><script>\u{1}", (5.0, 5.0), Anchor::Start, font);
        });
        let svg = drawing.svg();
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;\u{FFFD}"), "{svg}");
        assert!(svg.contains("<title>a &lt; b</title>"));
        assert!(svg.contains(r#"viewBox="0 0 20 10""#) && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn numbers_have_two_decimals_at_most_and_no_sign_at_zero() {
        let all = [1.0, 2.346, -0.001].map(|number| Number(number).to_string());
        assert_eq!(all, ["1", "2.35", "0"]);
    }
}
