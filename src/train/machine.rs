//! What computes: the one place that chooses an engine.

use std::fmt;

use crate::candle;
use crate::engine::cpu::{Cpu, Isa};
use crate::engine::plain::Plain;
use crate::engine::{Engine, Precision, Task};
use crate::error::{Error, Result};
use crate::net::Graph;

/// What shall compute, and in which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Where.
    pub device: Device,
    /// The type of the numbers.
    pub precision: Precision,
    /// By which engine.
    pub engine: EngineName,
    /// Threads; 0: one a processor.
    pub threads: usize,
}

/// Where a network is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The fastest that there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

/// An engine by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineName {
    /// The fastest that computes in the precision asked for.
    #[default]
    Auto,
    /// [`Cpu`]: f32.
    Fast,
    /// [`candle::Engine`]: f32 or f64, on threads of candle's own (`RAYON_NUM_THREADS`).
    Candle,
    /// [`Plain`], the specification: f32 or f64, on one thread.
    Plain,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            device: Device::default(),
            precision: Precision::F32,
            engine: EngineName::default(),
            threads: 0,
        }
    }
}

impl Machine {
    /// The engine that this comes to.
    ///
    /// # Errors
    /// The fast engine in f64.
    pub fn resolved(&self) -> Result<EngineName> {
        match (self.engine, self.precision) {
            (EngineName::Fast, Precision::F64) => {
                let reason = "it computes in f32; plain and candle compute in f64 too";
                Err(Error::argument("engine", "fast", reason))
            }
            (EngineName::Auto, Precision::F32) => Ok(EngineName::Fast),
            (EngineName::Auto, Precision::F64) => Ok(EngineName::Plain),
            (name, _) => Ok(name),
        }
    }
}

/// The engine for a network and what it learns.
///
/// # Errors
/// As of [`Machine::resolved`] and of the engine: an output that does not fit the task, no threads.
pub fn open_engine(graph: Graph, task: Task, machine: &Machine) -> Result<Box<dyn Engine>> {
    Ok(match (machine.resolved()?, machine.precision) {
        (EngineName::Plain, Precision::F64) => Box::new(Plain::<f64>::with_task(graph, task)?),
        (EngineName::Plain, Precision::F32) => Box::new(Plain::<f32>::with_task(graph, task)?),
        (EngineName::Candle, precision) => {
            let device = candle_core::Device::Cpu;
            Box::new(candle::Engine::with_task(graph, task, &device, precision)?)
        }
        (EngineName::Auto | EngineName::Fast, _) => {
            Box::new(Cpu::with_task(graph, task, Isa::best(), machine.threads)?)
        }
    })
}

/// What computes, as `fast engine (avx512), f32`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.resolved() {
            Ok(EngineName::Plain) => "plain engine".to_owned(),
            Ok(EngineName::Candle) => "candle engine (cpu)".to_owned(),
            _ => format!("fast engine ({})", Isa::best().name()),
        };
        let precision = match self.precision {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        };
        write!(f, "{engine}, {precision}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f64_is_computed_by_all_but_the_fast_engine() {
        let machine = |engine, precision| Machine {
            engine,
            precision,
            ..Machine::default()
        };
        for (engine, precision, resolved) in [
            (EngineName::Auto, Precision::F32, EngineName::Fast),
            (EngineName::Auto, Precision::F64, EngineName::Plain),
            (EngineName::Plain, Precision::F32, EngineName::Plain),
            (EngineName::Candle, Precision::F32, EngineName::Candle),
            (EngineName::Candle, Precision::F64, EngineName::Candle),
            (EngineName::Fast, Precision::F32, EngineName::Fast),
        ] {
            assert_eq!(machine(engine, precision).resolved().unwrap(), resolved);
        }
        let refused = machine(EngineName::Fast, Precision::F64).resolved();
        let message = refused.unwrap_err().to_string();
        assert_eq!(
            message,
            "engine fast: it computes in f32; plain and candle compute in f64 too"
        );
    }
}
