//! The shell of every page: head, style, data and script, with nothing to be loaded; and what stands
//! on several of them.

#[cfg(feature = "train")]
mod curves;
mod lines;
mod table;

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::canvas::Figure;
use super::{escaped, grouped, share, typeset};

#[cfg(feature = "train")]
pub(crate) use curves::{Along, ChartLine, color, curve, key, keys};
pub(crate) use lines::LinesFigure;
pub(crate) use table::{Column, table};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A chart is drawn for screens of this width, in pixels, and for those of a phone.
pub(crate) const WIDE: f64 = 940.0;
pub(crate) const NARROW: f64 = 356.0;

/// A page to be: a title, a body, and the data behind it.
pub(crate) struct Page<'p> {
    pub(crate) title: &'p str,
    pub(crate) data: &'p Value,
    /// HTML, with all text in it [`escaped`]. The script gives life to its tables of class `sort`
    /// and its figures of class `chart`; `page.js` says by which attributes.
    pub(crate) body: &'p str,
}

impl Page<'_> {
    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        // A script that is not exactly ours does not run, wherever it comes from.
        let (style, script) = (digest(STYLE), digest(SCRIPT));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; \
             form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"generator\" content=\"ckpt-regen {}\">\n\
             <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n\
             <div id=\"tip\" role=\"status\" hidden></div>\n\
             <script type=\"application/json\" id=\"data\">",
            env!("CARGO_PKG_VERSION"),
            escaped(self.title),
            self.body,
        )?;
        // `<` occurs in strings alone, and could end the element there.
        let data = self.data.to_string().replace('<', "\\u003c");
        writeln!(
            out,
            "{data}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>"
        )
    }
}

fn digest(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// A chart in both widths, with attributes for the script and a caption in HTML.
pub(crate) fn figure(attributes: &str, caption: &str, draw: impl Fn(f64) -> Figure) -> String {
    let mut drawings = String::new();
    for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
        let Figure { svg, plot } = draw(width);
        drawings += &format!(
            "<div class=\"{class}\" data-plot=\"{:.1} {:.1} {:.1} {:.1}\">{svg}</div>\n",
            plot.left, plot.top, plot.width, plot.height
        );
    }
    format!(
        "<figure class=\"chart\" tabindex=\"0\" {attributes}>\n<figcaption>{caption}</figcaption>\n\
         {drawings}</figure>\n"
    )
}

/// Facts as pairs of a term and what is said of it, both HTML.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let pair = |(term, text): &(&str, String)| format!("<div><dt>{term}</dt><dd>{text}</dd></div>");
    let pairs: String = pairs.iter().map(pair).collect();
    format!("<dl class=\"facts\">{pairs}</dl>\n")
}

/// A name that may be broken before its dots.
pub(crate) fn breakable(name: &str) -> String {
    escaped(name).replace('.', "<wbr>.")
}

/// A number, or a dash.
pub(crate) fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), typeset)
}

/// A count that is to be seen where it is not 0.
pub(crate) fn alarming(count: usize) -> String {
    match count {
        0 => "0".to_owned(),
        count => format!("<b>{}</b>", grouped(count as u64)),
    }
}

/// A count with its share of all.
pub(crate) fn count_and_share(count: usize, of: usize) -> String {
    format!(
        "{} <small>{}</small>",
        grouped(count as u64),
        share(count, of)
    )
}
