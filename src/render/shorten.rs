//! Names that are longer than the room they have.

use unicode_width::UnicodeWidthStr as _;

use crate::text::printable;

/// A name in at most `most` characters; a longer one loses its middle.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    cut(name, most)
}

/// A name in exactly `width` columns of a terminal; a longer one loses its middle.
pub(crate) fn fit(name: &str, width: usize) -> String {
    let mut name = printable(name);
    if name.width() > width {
        name = cut(&name, width);
    }
    let room = width.saturating_sub(name.width());
    format!("{name}{}", " ".repeat(room))
}

/// A third of `most` from the beginning and two thirds from the end, by which layers differ.
fn cut(name: &str, most: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    let tail = most * 2 / 3;
    let head = most.saturating_sub(tail + 1);
    let head: String = chars[..head.min(chars.len())].iter().collect();
    let tail: String = chars[chars.len() - tail.min(chars.len())..]
        .iter()
        .collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(fit("backbone.layer1.0.conv.bn", 16), "backb….0.conv.bn");
        assert_eq!(fit("bn", 4), "bn  ");
        assert_eq!(
            shortened("backbone.layer1.0.conv.bn", 16),
            "backb….0.conv.bn"
        );
    }
}
