//! The words of a training command, with what is put into them.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::{Error, Result};

/// What is put into the words of a round.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) epochs: u64,
    pub(super) total: u64,
    pub(super) start: u64,
    pub(super) round: u64,
    /// `None` as long as there is none.
    pub(super) checkpoint: Option<PathBuf>,
}

/// A command as it was typed.
#[derive(Debug)]
pub(super) struct Words(Vec<Word>);

#[derive(Debug)]
struct Word {
    text: OsString,
    /// Left out as long as there is no checkpoint.
    optional: bool,
}

const CHECKPOINT: &str = "{checkpoint}";
const NAMES: [&str; 5] = ["{epochs}", "{total}", "{start}", "{round}", CHECKPOINT];

impl Words {
    /// Takes `[` and `]` off words that are optional: those from one that begins with `[` to the next
    /// that ends with `]`. A single word in brackets is optional if it is a flag or has something to
    /// be put in, so that `[10,20]` is a list as ever.
    ///
    /// # Errors
    /// A bracket that is not closed, or `{checkpoint}` outside of brackets.
    pub(super) fn parse(command: &[OsString]) -> Result<Words> {
        let mut words = Vec::with_capacity(command.len());
        let mut open: Option<&str> = None;
        for word in command {
            let Some(text) = word.to_str() else {
                words.push(Word {
                    text: word.clone(),
                    optional: open.is_some(),
                });
                continue;
            };
            let mut text = text;
            let begins = open.is_none() && text.len() > 1 && text.starts_with('[');
            if begins && (!text.ends_with(']') || is_optional(text)) {
                open = Some(text);
                text = &text[1..];
            }
            let optional = open.is_some();
            if optional && let Some(last) = text.strip_suffix(']') {
                open = None;
                text = last;
            }
            if !optional && text.contains(CHECKPOINT) {
                return Err(Error::Usage(format!(
                    "{text}: there is no checkpoint before the first round: put it in brackets, as in \
                     [--resume {CHECKPOINT}]"
                )));
            }
            words.push(Word {
                text: text.into(),
                optional,
            });
        }
        match open {
            None => Ok(Words(words)),
            Some(word) => Err(Error::Usage(format!("{word}: no later word ends with ]"))),
        }
    }

    /// The program and its arguments in a round.
    pub(super) fn fill(&self, values: &Values) -> Vec<OsString> {
        let has_checkpoint = values.checkpoint.is_some();
        let words = self
            .0
            .iter()
            .filter(|word| has_checkpoint || !word.optional);
        words.map(|word| filled(&word.text, values)).collect()
    }
}

/// Whether a single word in brackets is optional.
fn is_optional(word: &str) -> bool {
    let inside = &word[1..];
    let is_flag = inside
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_alphabetic()));
    is_flag || NAMES.iter().any(|name| inside.contains(name))
}

fn filled(word: &OsStr, values: &Values) -> OsString {
    let Some(text) = word.to_str() else {
        return word.to_owned();
    };
    let numbers = [
        ("{epochs}", values.epochs),
        ("{total}", values.total),
        ("{start}", values.start),
        ("{round}", values.round),
    ];
    let mut text = text.to_owned();
    for (name, number) in numbers {
        text = text.replace(name, &number.to_string());
    }
    // A path need not be text.
    let mut filled = OsString::new();
    for (n, part) in text.split(CHECKPOINT).enumerate() {
        if n > 0 {
            filled.push(values.checkpoint.as_deref().unwrap_or("".as_ref()));
        }
        filled.push(part);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Result<Words> {
        Words::parse(&command.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    fn filled(command: &str, checkpoint: Option<&str>) -> String {
        let values = Values {
            epochs: 5,
            total: 30,
            start: 2,
            round: 1,
            checkpoint: checkpoint.map(PathBuf::from),
        };
        let words = words(command).unwrap().fill(&values);
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn numbers_and_the_checkpoint_are_put_in() {
        let command =
            "train --epochs {total} --stop={epochs} {start}/{round} [--resume {checkpoint}]";
        assert_eq!(filled(command, None), "train --epochs 30 --stop=5 2/1");
        assert_eq!(
            filled(command, Some("out/a{b}.pth")),
            "train --epochs 30 --stop=5 2/1 --resume out/a{b}.pth"
        );
    }

    #[test]
    fn words_in_brackets_are_left_out_without_a_checkpoint() {
        for (command, without, with) in [
            ("t [--resume] x", "t x", "t --resume x"),
            ("t [--resume run]", "t", "t --resume run"),
            ("t [-r={checkpoint}]", "t", "t -r=c"),
            ("t [{checkpoint}] [--a 1 --b]", "t", "t c --a 1 --b"),
            (
                "t --steps [10,20] {x}",
                "t --steps [10,20] {x}",
                "t --steps [10,20] {x}",
            ),
            ("t [-1,2] []", "t [-1,2] []", "t [-1,2] []"),
        ] {
            assert_eq!(filled(command, None), without);
            assert_eq!(filled(command, Some("c")), with);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let message = |command| words(command).unwrap_err().to_string();
        assert!(message("t [--resume run").contains("no later word ends with ]"));
        assert!(message("t --resume {checkpoint}").contains("put it in brackets"));
    }
}
