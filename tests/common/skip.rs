//! What a test does that finds something missing which it needs.

use std::io::Write as _;
use std::path::PathBuf;

/// Says, past the capture of test output, what is not checked and why. With `CKPT_REGEN_REQUIRE=1`
/// nothing may be missing, and the test fails.
pub(crate) fn skip(what: &str, missing: &str) {
    let required = std::env::var_os("CKPT_REGEN_REQUIRE").is_some_and(|value| value == "1");
    assert!(
        !required,
        "CKPT_REGEN_REQUIRE is 1, but {what} cannot be checked: {missing}"
    );
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {missing}");
}

/// The folder of real files that `CKPT_REGEN_MATERIAL` names; [`skip`]s without it.
pub(crate) fn material_folder(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CKPT_REGEN_MATERIAL").map(PathBuf::from);
    if folder.is_none() {
        skip(what, "CKPT_REGEN_MATERIAL is not set");
    }
    folder
}
