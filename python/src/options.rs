//! Options as Python gives them → those of the library.

use std::path::PathBuf;
use std::str::FromStr;

use ckpt_regen::Error;
use ckpt_regen::batchnorm::{Filter, Schema};
use ckpt_regen::record::MaskFile;
use ckpt_regen::regen::{Mask, Options, Schedule};
use pyo3::prelude::*;
use regex_lite::Regex;

/// What to regenerate, from a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct RuleOptions {
    rule: String,
    below: String,
    to: Option<String>,
    scope: String,
    keep_zeros: bool,
    iternorm: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    pub(crate) allow_dying: bool,
    pub(crate) skip_shared: bool,
    schema: Option<PathBuf>,
}

impl RuleOptions {
    pub(crate) fn options(&self) -> Result<Options, Error> {
        Ok(Options {
            rule: parsed("rule", &self.rule)?,
            below: parsed("below", &self.below)?,
            to: match &self.to {
                Some(to) => parsed("to", to)?,
                None => Default::default(),
            },
            scope: parsed("scope", &self.scope)?,
            keep_zeros: self.keep_zeros,
        })
    }

    pub(crate) fn filter(&self) -> Result<Filter, Error> {
        Ok(Filter {
            include: regexes("include", &self.include)?,
            exclude: regexes("exclude", &self.exclude)?,
            iternorm: self.iternorm,
        })
    }

    pub(crate) fn schema(&self) -> Result<Schema, Error> {
        read_schema(&self.schema)
    }
}

/// The schema of a file, or the built-in one.
pub(crate) fn read_schema(file: &Option<PathBuf>) -> Result<Schema, Error> {
    file.as_deref()
        .map_or_else(|| Ok(Schema::default()), Schema::read)
}

/// The mask of a file, if one is named.
pub(crate) fn read_mask(file: &Option<PathBuf>) -> Result<Option<Mask>, Error> {
    file.as_deref().map(MaskFile::read).transpose()
}

/// A schedule with its default start.
pub(crate) fn schedule(
    every: u64,
    start: Option<u64>,
    until: Option<u64>,
) -> Result<Schedule, Error> {
    for (argument, value) in [("every", every), ("start", start.unwrap_or(1))] {
        if value == 0 {
            return Err(wrong(argument, "0", "expected 1 or more".to_owned()));
        }
    }
    Ok(Schedule {
        every,
        start: start.unwrap_or(every),
        until,
    })
}

fn parsed<T: FromStr<Err = String>>(argument: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|reason| wrong(argument, text, reason))
}

fn regexes(argument: &'static str, texts: &[String]) -> Result<Vec<Regex>, Error> {
    let parse = |text: &String| {
        let regex = Regex::new(text);
        regex.map_err(|err| wrong(argument, text, err.to_string()))
    };
    texts.iter().map(parse).collect()
}

/// That an argument makes no sense.
pub(crate) fn wrong(argument: &'static str, value: &str, reason: String) -> Error {
    Error::Argument {
        argument,
        value: value.to_owned(),
        reason,
    }
}
