//! What is compared: ways to train.

use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use crate::train::RunRule;

/// Without regeneration.
const WITHOUT: &str = "without";

/// One way to train: a name, and the settings that make it.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    name: String,
    changes: Table,
}

impl Arm {
    /// An arm by its own settings, written `NAME: KEY=VALUE, KEY=VALUE`; without regeneration if they do
    /// not say otherwise. A value is one of TOML, or a word.
    ///
    /// # Errors
    /// No name, or one that cannot be a directory's; no setting, or something that is none.
    pub fn named(text: &str) -> Result<Arm, String> {
        let (name, settings) = text
            .split_once(':')
            .ok_or_else(|| "expected NAME: SETTING=VALUE, …".to_owned())?;
        let name = name.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
            return Err(format!(
                "the name {name:?} is that of a directory: expected letters, digits, -, _, . and +, the \
                 first a letter or digit"
            ));
        }
        let mut changes = without();
        for setting in each(settings) {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("expected SETTING=VALUE, found {:?}", setting.trim()))?;
            let value = value.trim();
            let parsed = format!("value = {value}").parse::<Table>().ok();
            let parsed = parsed.and_then(|mut table| table.remove("value"));
            let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
            changes.insert(key.trim().replace('_', "-"), value);
        }
        Ok(Arm {
            name: name.to_owned(),
            changes,
        })
    }

    /// The settings that make it.
    pub fn changes(&self) -> &Table {
        &self.changes
    }
}

/// The settings of a list: a comma without a setting behind it is one of a value, as in `[2, 3]`.
fn each(settings: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for piece in settings.split(',') {
        match all.last_mut() {
            Some(last) if !piece.contains('=') => *last += &format!(",{piece}"),
            _ => all.push(piece.to_owned()),
        }
    }
    all
}

/// The settings of an arm without regeneration.
fn without() -> Table {
    let never = ("regen-every".to_owned(), Value::Integer(0));
    Table::from_iter([never])
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// From `without`, or a rule and E_RG: `paper-5`, `keep-sign-10`, `random-4`.
impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Arm, String> {
        let mut changes = without();
        if text != WITHOUT {
            let parsed = text.rsplit_once('-').and_then(|(rule, every)| {
                let every: u32 = every.parse().ok().filter(|every| *every > 0)?;
                Some((rule.parse::<RunRule>().ok()?, i64::from(every)))
            });
            let (rule, every) = parsed.ok_or_else(|| {
                "expected without, or a rule and the epochs between two regenerations, such as paper-5, \
                 reference-10, keep-sign-5 or random-5"
                    .to_owned()
            })?;
            changes.insert("regen-every".to_owned(), Value::Integer(every));
            changes.insert("rule".to_owned(), Value::String(rule.to_string()));
        }
        Ok(Arm {
            name: text.to_owned(),
            changes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_written_as_it_is_read() {
        for text in [
            "without",
            "paper-5",
            "reference-10",
            "keep-sign-1",
            "random-4",
        ] {
            assert_eq!(text.parse::<Arm>().unwrap().to_string(), text);
        }
        for text in [
            "", "paper", "paper-0", "paper--1", "paper-x", "-5", "../a-5",
        ] {
            assert!(text.parse::<Arm>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_arm_of_its_own_settings_has_no_regeneration_but_by_them() {
        let text = "no-decay: decay_vectors=false, lr = 0.2,milestones=[2, 3], optimizer=sgd";
        let arm = Arm::named(text).unwrap();
        assert_eq!(arm.to_string(), "no-decay");
        let changes = "regen-every = 0\ndecay-vectors = false\nlr = 0.2\nmilestones = [2, 3]\n\
                       optimizer = 'sgd'";
        assert_eq!(*arm.changes(), changes.parse().unwrap());
        let arm = Arm::named("often: regen-every=1").unwrap();
        assert_eq!(arm.changes()["regen-every"], Value::Integer(1));
        for wrong in [
            "a",
            "a:",
            "a: b",
            ": b=1",
            "../a: b=1",
            "-a: b=1",
            "a b: c=1",
        ] {
            assert!(Arm::named(wrong).is_err(), "{wrong}");
        }
    }
}
