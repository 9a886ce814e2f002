//! `ckpt-regen schema`.

use super::args::SchemaArgs;
use super::output;
use crate::batchnorm;
use crate::checkpoint::Checkpoint;
use crate::error::Result;

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    let text = batchnorm::template(&Checkpoint::open(&args.path)?)?;
    output::data(|out| out.write_all(text.as_bytes()))
}
