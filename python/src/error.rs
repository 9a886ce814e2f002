//! Errors of the library → the exceptions of `ckpt_regen`, which are classes of the package.

use std::error::Error as _;
use std::path::Path;

use ckpt_regen::batchnorm::NOTHING_FOUND;
use ckpt_regen::edit::FINITE;
use ckpt_regen::{Error, Refusal};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::hints;

/// What an exception says beside its message.
#[derive(Default)]
struct Fields<'e> {
    file: Option<&'e Path>,
    place: Option<&'e str>,
    expected: Option<&'e str>,
    found: Option<&'e str>,
    errno: Option<i32>,
}

/// The exception for an error.
pub(crate) fn raise(py: Python<'_>, err: &Error) -> PyErr {
    let mut message = format!("{err}{}", hints::way_out(err));
    let mut cause = err.source();
    while let Some(err) = cause {
        message += &format!(": {err}");
        cause = err.source();
    }
    exception(py, kind(err), message, &fields(err)).unwrap_or_else(|failed| failed)
}

fn fields(err: &Error) -> Fields<'_> {
    match err {
        Error::Io { path, source, .. } => Fields {
            file: Some(path),
            errno: source.raw_os_error(),
            ..Fields::default()
        },
        Error::Malformed {
            path,
            place,
            expected,
            found,
        } => Fields {
            file: Some(path),
            place: Some(place),
            expected: Some(expected),
            found: Some(found),
            errno: None,
        },
        Error::Refused { path, .. } => Fields {
            file: Some(path),
            ..Fields::default()
        },
        Error::Argument {
            argument, value, ..
        } => Fields {
            place: Some(argument),
            found: Some(&value[..]).filter(|value| !value.is_empty()),
            ..Fields::default()
        },
        _ => Fields::default(),
    }
}

/// The kind by its name, on which programs decide what to do.
fn kind(err: &Error) -> &'static str {
    match err {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => "not-found",
        Error::Io { .. } => "io",
        Error::Malformed { place, .. } if place == NOTHING_FOUND => "no-batchnorm",
        Error::Malformed { expected, .. } if expected == FINITE => "non-finite",
        Error::Malformed { .. } => "malformed",
        Error::Refused { refusal, .. } => match refusal {
            Refusal::Dying | Refusal::DyingPlan => "dying",
            Refusal::FixedGamma => "fixed-gamma",
            Refusal::Network => "network",
            Refusal::Optimizer => "optimizer",
            Refusal::SymbolicLink | Refusal::UndoneLink | Refusal::LinkedIndex => "symbolic-link",
            Refusal::HardLinks => "hard-links",
            Refusal::Resizes => "resizes",
            _ => "refused",
        },
        _ => "usage",
    }
}

fn exception(py: Python<'_>, kind: &str, message: String, fields: &Fields<'_>) -> PyResult<PyErr> {
    let make = py.import("ckpt_regen._errors")?.getattr("make")?;
    let keywords: Bound<'_, PyDict> = [
        ("place", fields.place),
        ("expected", fields.expected),
        ("found", fields.found),
    ]
    .into_py_dict(py)?;
    keywords.set_item("file", fields.file.map(|file| file.to_string_lossy()))?;
    keywords.set_item("errno", fields.errno)?;
    let made = make.call((kind, message), Some(&keywords))?;
    Ok(PyErr::from_value(made))
}
