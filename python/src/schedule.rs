//! When to regenerate.

use ckpt_regen::regen;
use pyo3::prelude::*;

use crate::error::raise;
use crate::options;

/// Due at the epochs `start`, `start + every`, `start + 2 every`, … up to `until`.
///
/// An epoch is a number of finished epochs; the first is 1. `start` is `every` if not given.
/// Raises UsageError where `every` or `start` is 0.
#[pyclass(frozen, eq, hash, module = "ckpt_regen")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Schedule {
    #[pyo3(get)]
    every: u64,
    #[pyo3(get)]
    start: u64,
    #[pyo3(get)]
    until: Option<u64>,
}

impl Schedule {
    fn library(&self) -> regen::Schedule {
        regen::Schedule {
            every: self.every,
            start: self.start,
            until: self.until,
        }
    }
}

#[pymethods]
impl Schedule {
    #[new]
    #[pyo3(signature = (every, start=None, until=None))]
    fn new(py: Python<'_>, every: u64, start: Option<u64>, until: Option<u64>) -> PyResult<Self> {
        let schedule = options::schedule(every, start, until).map_err(|err| raise(py, &err))?;
        Ok(Schedule {
            every: schedule.every,
            start: schedule.start,
            until: schedule.until,
        })
    }

    /// Whether it is time after so many finished epochs.
    fn due(&self, finished: u64) -> bool {
        self.library().at(finished).now
    }

    /// The next epoch after so many finished ones; None when there is none.
    fn next(&self, finished: u64) -> Option<u64> {
        self.library().at(finished).next
    }

    fn __repr__(&self) -> String {
        let (every, start) = (self.every, self.start);
        let until = self
            .until
            .map_or("None".to_owned(), |until| until.to_string());
        format!("Schedule(every={every}, start={start}, until={until})")
    }
}
