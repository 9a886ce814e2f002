//! The Python module `ckpt_regen._native`: what the package `ckpt_regen` calls of the library.
//!
//! Functions take plain Python values and return text in JSON, as the command prints it with
//! `--json`; the package makes typed objects of that.

mod error;
mod files;
mod hints;
mod live;
mod options;
mod schedule;
mod work;

use pyo3::prelude::*;

/// The compiled part of ckpt_regen.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<files::Inspected>()?;
    module.add_class::<live::Live>()?;
    module.add_class::<schedule::Schedule>()?;
    module.add_function(wrap_pyfunction!(files::apply, module)?)?;
    module.add_function(wrap_pyfunction!(files::diff, module)?)?;
    module.add_function(wrap_pyfunction!(files::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(files::track, module)?)?;
    module.add_function(wrap_pyfunction!(files::undo, module)?)?;
    Ok(())
}
