//! The kernels on a processor: compiled by g++ behind `tests/emulator.h`, and called in place of a launch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use libloading::Library;

use super::launch::Memory;

/// In which order the threads of a block run, and the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Order {
    Rising,
    Falling,
}

thread_local! {
    static ORDER: Cell<Option<Order>> = const { Cell::new(None) };
}

/// Names of the kernels that were launched; the emulator runs one at a time.
static LAUNCHED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this thread's kernels go to the emulator.
pub(super) fn is_on() -> bool {
    ORDER.get().is_some()
}

/// Runs `work` with the kernels in place of candle's operations.
pub(in super::super) fn with<T>(order: Order, work: impl FnOnce() -> T) -> T {
    ORDER.set(Some(order));
    let result = work();
    ORDER.set(None);
    result
}

/// Whether the kernels could be compiled; says once where they could not.
pub(in super::super) fn is_there() -> bool {
    library().is_some()
}

/// The kernels launched so far by any thread, with the type of their elements.
pub(in super::super) fn launched() -> BTreeSet<String> {
    LAUNCHED.lock().unwrap().clone()
}

/// The folder of the kernels, and the files in it that are kernels.
pub(in super::super) fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/candle/engine/kernels");
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "cu"))
        .collect()
}

fn library() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let version = Command::new("g++").arg("--version").output();
        if !cfg!(target_os = "linux") || version.is_err() {
            crate::skip::skip("CUDA kernels", "there is no g++ on Linux");
            return None;
        }
        Some(compiled())
    });
    library.as_ref()
}

#[expect(
    unsafe_code,
    reason = "a library is believed what it does when it is loaded"
)]
fn compiled() -> Library {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.so");
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/candle/engine/tests/emulator.h");
    let mut compiler = Command::new("g++");
    compiler.args([
        "-std=c++20",
        "-O1",
        "-fno-strict-aliasing",
        "-fPIC",
        "-shared",
    ]);
    compiler.args(["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]);
    compiler.arg("-include").arg(shim).args(["-x", "c++"]);
    let output = compiler
        .args(sources())
        .arg("-o")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // SAFETY: it is our own, and does nothing when loaded.
    unsafe { Library::new(&path) }.unwrap()
}

/// Runs the kernel `name`.
///
/// # Panics
/// There is no such kernel, or its threads do not all come to the same barriers. A kernel that reads or
/// writes outside its tensors ends the process.
#[expect(unsafe_code, reason = "as Launch::run")]
pub(super) fn launch<S: Copy>(name: &str, blocks: usize, memory: &[Memory], sizes: S) {
    type Emulated = unsafe extern "C" fn(
        blocks: u32,
        falling: i32,
        arguments: *const *mut c_void,
        bytes: *const usize,
        tensors: usize,
    ) -> i32;
    let order = ORDER.get().expect("with() has been called");
    let library = library().expect("is_there() has been asked");
    // The shim has the kernel write to copies, and for so long changes where they start.
    let mut starts: Vec<u64> = memory.iter().map(|tensor| tensor.start).collect();
    let arguments = starts
        .iter_mut()
        .map(|start| std::ptr::from_mut(start).cast());
    let sizes = std::ptr::from_ref(&sizes).cast_mut().cast();
    let arguments: Vec<*mut c_void> = arguments.chain([sizes]).collect();
    let bytes: Vec<usize> = memory.iter().map(|tensor| tensor.bytes).collect();
    // One at a time: a block has its variables in one place.
    let mut launched = LAUNCHED.lock().unwrap();
    let falling = i32::from(order == Order::Falling);
    // SAFETY: `KERNEL` in the shim defines these; the rest is promised to `Launch::run`.
    let state = unsafe {
        let kernel = library.get::<Emulated>(format!("emulated_{name}"));
        let kernel = kernel.unwrap_or_else(|err| panic!("{name}: {err}"));
        kernel(
            blocks as u32,
            falling,
            arguments.as_ptr(),
            bytes.as_ptr(),
            bytes.len(),
        )
    };
    assert_eq!(state, 0, "{name}: some threads wait where others do not");
    launched.insert(name.to_owned());
}
