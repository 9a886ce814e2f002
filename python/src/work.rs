//! Work of the library on a thread of its own, while Python's other threads run and Ctrl-C is heard.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ckpt_regen::Result;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::raise;

/// Between two looks for a signal.
const LOOK: Duration = Duration::from_millis(50);

/// Tells work that its result is not wanted any more.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What a listener of the library answers.
    pub(crate) fn answer(&self) -> ControlFlow<()> {
        match self.0.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Runs work that writes nothing. On a signal it is left behind, to end by itself.
pub(crate) fn read<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    run(py, work, false)
}

/// Runs work that writes. On a signal it is stopped and waited for: it has happened, or has not.
pub(crate) fn write<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    run(py, work, true)
}

fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
    waits: bool,
) -> PyResult<T> {
    let stop = Stop::default();
    let (sender, mut receiver) = mpsc::sync_channel(1);
    let work = {
        let stop = stop.clone();
        // Nobody may be left to hear of it.
        move || drop(sender.send(work(&stop)))
    };
    let thread = thread::Builder::new().name("ckpt-regen".to_owned());
    thread.spawn(work)?;
    loop {
        let heard;
        (receiver, heard) = py.detach(move || hear(receiver));
        match heard {
            Ok(done) => return done.map_err(|err| raise(py, &err)),
            Err(RecvTimeoutError::Disconnected) => {
                let message = "ckpt-regen failed in a way that was not foreseen; stderr says how";
                return Err(PyRuntimeError::new_err(message));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(signal) = py.check_signals() {
            stop.0.store(true, Ordering::Relaxed);
            if waits {
                py.detach(move || drop(receiver.recv()));
            }
            return Err(signal);
        }
    }
}

type Heard<T> = std::result::Result<Result<T>, RecvTimeoutError>;

fn hear<T>(receiver: Receiver<Result<T>>) -> (Receiver<Result<T>>, Heard<T>) {
    let heard = receiver.recv_timeout(LOOK);
    (receiver, heard)
}
