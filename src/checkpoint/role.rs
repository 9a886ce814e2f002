//! What a network is for in its training run, and the words in names that say so.

use std::fmt;

use crate::name;

/// What a state dict or network is for in its training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The weights that the optimizer changes.
    Raw,
    /// An average of them.
    Ema,
    /// The other half of a distillation, not trained itself.
    Teacher,
}

impl Role {
    /// The name used in `--json` and in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Role::Raw => "raw",
            Role::Ema => "ema",
            Role::Teacher => "teacher",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word, or two, by which a component of a name marks an average or a teacher.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) words: &'static [&'static str],
    pub(crate) role: Role,
    /// It counts only beside a sibling with one of these words, if there are any.
    pub(crate) beside: &'static [&'static str],
    /// It does not count beside a sibling with one of these.
    pub(crate) not_beside: &'static [&'static str],
}

const fn plain(words: &'static [&'static str], role: Role) -> Mark {
    Mark {
        words,
        role,
        beside: &[],
        not_beside: &[],
    }
}

const fn key(words: &'static [&'static str]) -> Mark {
    Mark {
        words,
        role: Role::Ema,
        beside: &["q", "query"],
        not_beside: &["v", "value"],
    }
}

/// All marks; one of two words stands before those of one.
static MARKS: [Mark; 12] = [
    plain(&["mean", "teacher"], Role::Ema),
    plain(&["ema"], Role::Ema),
    plain(&["swa"], Role::Ema),
    plain(&["avg"], Role::Ema),
    plain(&["average"], Role::Ema),
    plain(&["averaged"], Role::Ema),
    plain(&["momentum"], Role::Ema),
    plain(&["shadow"], Role::Ema),
    plain(&["teacher"], Role::Teacher),
    Mark {
        words: &["target"],
        role: Role::Ema,
        beside: &["online"],
        not_beside: &[],
    },
    key(&["k"]),
    key(&["key"]),
];

impl Mark {
    /// The marks of a component whose [`words`](name::words) these are, each with the place where its
    /// words begin.
    pub(crate) fn all(words: &[String]) -> impl Iterator<Item = (&'static Mark, usize)> {
        MARKS.iter().filter_map(|mark| {
            let mut places = words.windows(mark.words.len());
            let at = places.position(|place| place == mark.words)?;
            Some((mark, at))
        })
    }

    /// Whether it counts wherever it stands.
    pub(crate) fn is_plain(&self) -> bool {
        self.beside.is_empty()
    }
}

/// The first component of a path that says by itself what lies below it: the path up to its end,
/// and the role.
pub(crate) fn marked(path: &str) -> Option<(&str, Role)> {
    let mut from = 0;
    for component in path.split(name::SEPARATORS) {
        let end = from + component.len();
        let words = name::words(component);
        let mut marks = Mark::all(&words).filter(|(mark, _)| mark.is_plain());
        if let Some((mark, _)) = marks.next() {
            return Some((&path[..end], mark.role));
        }
        from = end + 1;
    }
    None
}
