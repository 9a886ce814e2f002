//! Any bytes as a checkpoint: the readers of every format answer, they never panic or hang. The
//! corpus decides which of them is reached.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use ckpt_regen::batchnorm::{self, Schema};
use ckpt_regen::edit::{self, Request};
use ckpt_regen::{Checkpoint, inspect};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// One directory a process, since the readers take a path; in memory where there is such a place.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a place for files")
});

fuzz_target!(|bytes: &[u8]| {
    let path = DIRECTORY.path().join("checkpoint");
    fs::write(&path, bytes).expect("the file can be written");
    let Ok(checkpoint) = Checkpoint::open(&path) else {
        return;
    };
    let schema = Schema::default();
    let _ = batchnorm::locate(&checkpoint, &schema);
    let _ = batchnorm::explain(&checkpoint, &schema);
    let _ = inspect::inspect(&checkpoint, &schema);
    let _ = edit::plan(&checkpoint, &Request::default());
});
