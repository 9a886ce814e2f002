//! `ckpt-regen man`.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use super::args::Cli;
use super::output;
use crate::error::{Error, Result};

pub(super) fn run(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(Error::io("write man pages into", directory))?;
    output::talk_plainly(&format!("wrote man pages into {}", directory.display()));
    Ok(())
}
