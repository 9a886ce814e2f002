//! Options as text, as records and saved plans hold them.

use serde::{Deserialize, Serialize};

use super::Options;

/// [`Options`] in the spelling of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OptionsText {
    rule: String,
    below: String,
    to: String,
    scope: String,
    keep_zeros: bool,
}

impl From<&Options> for OptionsText {
    fn from(options: &Options) -> OptionsText {
        OptionsText {
            rule: options.rule.to_string(),
            below: options.below.to_string(),
            to: options.to.to_string(),
            scope: options.scope.to_string(),
            keep_zeros: options.keep_zeros,
        }
    }
}

impl OptionsText {
    pub(crate) fn parse(&self) -> Result<Options, String> {
        Ok(Options {
            rule: self.rule.parse()?,
            below: self.below.parse()?,
            to: self.to.parse()?,
            scope: self.scope.parse()?,
            keep_zeros: self.keep_zeros,
        })
    }
}
