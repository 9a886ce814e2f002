//! What the library asks of the system: memory and reads.
//!
//! Both are counted for the whole process, so that one test runs at a time.

#[path = "../common/mod.rs"]
mod common;

use std::sync::Mutex;

#[cfg(feature = "train")]
mod memory;
#[cfg(target_os = "linux")]
mod reads;

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());
