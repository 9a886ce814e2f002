//! What is compared: ways to regenerate, and none.

use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use crate::regen::Rule;

/// Without regeneration.
const WITHOUT: &str = "without";

/// One way to train, written `without`, or as a rule and E_RG: `paper-5`, `keep-sign-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    /// By which rule and every how many epochs; `None`: never.
    pub regeneration: Option<(Rule, u64)>,
}

impl Arm {
    /// The settings that make it.
    pub fn changes(&self) -> Table {
        let mut table = Table::new();
        let every = self.regeneration.map_or(0, |(_, every)| every);
        table.insert("regen-every".to_owned(), Value::Integer(every as i64));
        if let Some((rule, _)) = self.regeneration {
            table.insert("rule".to_owned(), Value::String(rule.to_string()));
        }
        table
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.regeneration {
            None => f.write_str(WITHOUT),
            Some((rule, every)) => write!(f, "{rule}-{every}"),
        }
    }
}

impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Arm, String> {
        if text == WITHOUT {
            return Ok(Arm { regeneration: None });
        }
        let parsed = text.rsplit_once('-').and_then(|(rule, every)| {
            let every: u32 = every.parse().ok().filter(|every| *every > 0)?;
            Some((rule.parse().ok()?, u64::from(every)))
        });
        match parsed {
            Some(regeneration) => Ok(Arm {
                regeneration: Some(regeneration),
            }),
            None => Err(
                "expected without, or a rule and the epochs between two regenerations, such as paper-5, \
                 reference-10 or keep-sign-5"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_written_as_it_is_read() {
        for text in ["without", "paper-5", "reference-10", "keep-sign-1"] {
            assert_eq!(text.parse::<Arm>().unwrap().to_string(), text);
        }
        for text in [
            "", "paper", "paper-0", "paper--1", "paper-x", "-5", "../a-5",
        ] {
            assert!(text.parse::<Arm>().is_err(), "{text}");
        }
    }
}
