//! The `ckpt-regen` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ckpt_regen::cli::main(std::env::args_os())
}
