//! Loads a state dict into the variables of a network and on into an engine, as a run does that begins
//! with weights; where there is no such file, it is written instead. `benches/file_side.py` takes time
//! and memory, from the line on that this prints.
//!
//!     cargo run --release --example load_weights -- mobilenet_v2 8 model.safetensors

use candle_core::DType;
use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::net::zoo;
use ckpt_regen::weights::{self, LoadOptions};
use ckpt_regen::{Checkpoint, Error};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || {
        let usage = "expected NETWORK WIDTH FILE".to_owned();
        args.next().ok_or(Error::Usage(usage))
    };
    let (network, width, file) = (next()?, next()?.parse()?, next()?);
    let options = zoo::Options {
        width,
        ..zoo::defaults(&network)?
    };
    let graph = zoo::build(&network, &options)?;
    let vars = weights::initialize(&graph, 0, DType::F32)?;
    let mut engine = Cpu::new(graph.clone(), Isa::best(), 2)?;
    if !std::path::Path::new(&file).exists() {
        vars.save(&file)?;
        return Ok(());
    }
    println!("loading {file}");
    let checkpoint = Checkpoint::open(&file)?;
    weights::load(&graph, &checkpoint, &LoadOptions::default(), &vars)?;
    weights::to_engine(&vars, &mut engine)?;
    Ok(())
}
