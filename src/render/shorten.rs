//! Names that are wider than their column.

use std::collections::{HashMap, HashSet};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::text::printable;

/// A name in at most `most` columns; a wider one loses its middle.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    if name.width() <= most {
        return name.to_owned();
    }
    // Most of what is kept is the end, by which layers differ.
    let tail = most * 2 / 3;
    let head = taken(name.chars(), most.saturating_sub(tail + 1));
    let tail: String = taken(name.chars().rev(), tail).chars().rev().collect();
    format!("{head}…{tail}")
}

/// The same of all names of a table, of which different ones stay different: where the loss of their
/// middle would make some the same, words lose their ends instead, and where that is not enough, names
/// are numbered.
pub(crate) fn shortened_all<N: AsRef<str>>(names: &[N], most: usize) -> Vec<String> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let different = names.iter().collect::<HashSet<_>>().len();
    let is_distinct = |shown: &Vec<String>| shown.iter().collect::<HashSet<_>>().len() == different;
    let cut: Vec<String> = names.iter().map(|name| shortened(name, most)).collect();
    if is_distinct(&cut) {
        return cut;
    }
    let abbreviated = (1..most)
        .rev()
        .map(|letters| abbreviated(&names, most, letters));
    let abbreviated = abbreviated.flatten().next().filter(is_distinct);
    abbreviated.unwrap_or_else(|| numbered(cut, most))
}

/// Names whose words are cut to so many letters where they are too wide; `None` where that is not
/// enough.
fn abbreviated(names: &[&str], most: usize, letters: usize) -> Option<Vec<String>> {
    let one = |name: &&str| {
        if name.width() <= most {
            return Some((*name).to_owned());
        }
        let mut word = 0;
        let kept = |c: &char| {
            word = if c.is_alphabetic() { word + 1 } else { 0 };
            word <= letters
        };
        let name: String = name.chars().filter(kept).collect();
        (name.width() <= most).then_some(name)
    };
    names.iter().map(one).collect()
}

/// The names of a table for a terminal, each in exactly `width` columns.
pub(crate) fn fit_all<'n>(names: impl Iterator<Item = &'n str>, width: usize) -> Vec<String> {
    let names: Vec<String> = names.map(printable).collect();
    let pad = |name: String| {
        let room = width.saturating_sub(name.width());
        name + &" ".repeat(room)
    };
    let shown = shortened_all(&names, width).into_iter();
    shown.map(pad).collect()
}

/// As many characters as fit into `most` columns.
fn taken(chars: impl Iterator<Item = char>, most: usize) -> String {
    let mut room = most;
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    chars.take_while(fits).collect()
}

/// With a number at the end of each that would be the same as one before.
fn numbered(shown: Vec<String>, most: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let number = |text: String| {
        let count = counts.entry(text.clone()).or_insert(0);
        loop {
            *count += 1;
            let mark = format!("~{count}");
            let own = match *count {
                1 => text.clone(),
                _ => taken(text.chars(), most.saturating_sub(mark.len())) + &mark,
            };
            if seen.insert(own.clone()) {
                return own;
            }
        }
    };
    shown.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_loses_its_middle() {
        let name = "backbone.layer1.0.conv.bn";
        assert_eq!(shortened(name, 16), "backb….0.conv.bn");
        let shown = fit_all([name, "bn"].into_iter(), 16);
        assert_eq!(shown, ["backb….0.conv.bn", "bn              "]);
    }

    #[test]
    fn a_wide_letter_takes_two_columns() {
        assert_eq!(shortened("幅幅幅幅", 6), "…幅幅");
        assert_eq!(fit_all(["幅"].into_iter(), 4), ["幅  "]);
    }

    #[test]
    fn where_names_would_become_the_same_words_lose_their_ends() {
        let name = |stage: usize, layer: usize| {
            format!("encoder.stages.{stage}.layers.{layer}.layer.0.normalization")
        };
        let names = [name(0, 1), name(2, 10), "stem.bn".to_owned()];
        assert_eq!(shortened(&names[0], 22), shortened(&name(1, 1), 22));
        assert_eq!(
            shortened_all(&names, 22),
            ["en.st.0.la.1.la.0.no", "en.st.2.la.10.la.0.no", "stem.bn"]
        );
    }

    #[test]
    fn names_that_differ_where_nothing_is_kept_are_numbered() {
        let name = |middle: &str| format!("abcdefgh{middle}abcdefgh");
        let names = ["x", "y", "z"].map(name);
        assert_eq!(shortened_all(&names, 6), ["a…efgh", "a…ef~2", "a…ef~3"]);
    }

    #[test]
    fn no_width_is_too_small_and_no_table_too_long() {
        let names: Vec<String> = (0..5000).map(|i| format!("begin{i:>20}the.end")).collect();
        for most in [0, 1, 2, 3, 10] {
            let shown: HashSet<String> = shortened_all(&names, most).into_iter().collect();
            assert_eq!(shown.len(), names.len(), "{most}");
        }
    }
}
