//! What computes: the one place that chooses an engine.

use std::fmt;
use std::str::FromStr;

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
    /// The processor; a GPU is asked for by name.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of this number, in builds with the feature `cuda`.
    Cuda(usize),
}

/// From `auto`, `cpu`, `cuda` (the first) or `cuda:N`.
impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Device, String> {
        let number = |text: &str| match text {
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:")?.parse().ok(),
        };
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            _ => match number(text) {
                Some(number) => Ok(Device::Cuda(number)),
                None => Err("expected auto, cpu, cuda or cuda:N".to_owned()),
            },
        }
    }
}

/// As it is written on a command line.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => write!(f, "auto"),
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// An engine by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineName {
    /// The fastest that computes on the device and in the precision asked for.
    #[default]
    Auto,
    /// [`Cpu`]: f32.
    Fast,
    /// [`candle::Engine`]: f32 or f64, on any device; on a processor, on threads of candle's own
    /// (`RAYON_NUM_THREADS`).
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
    /// The fast engine in f64; any engine but candle's on a GPU.
    pub fn resolved(&self) -> Result<EngineName> {
        match (self.device, self.engine, self.precision) {
            (Device::Cuda(_), EngineName::Auto | EngineName::Candle, _) => Ok(EngineName::Candle),
            (Device::Cuda(_), EngineName::Fast | EngineName::Plain, _) => Err(Error::argument(
                "device",
                self.device,
                "only the engine candle computes on a GPU",
            )),
            (_, EngineName::Fast, Precision::F64) => {
                let reason = "it computes in f32; plain and candle compute in f64 too";
                Err(Error::argument("engine", "fast", reason))
            }
            (_, EngineName::Auto, Precision::F32) => Ok(EngineName::Fast),
            (_, EngineName::Auto, Precision::F64) => Ok(EngineName::Plain),
            (_, name, _) => Ok(name),
        }
    }
}

/// The engine for a network and what it learns.
///
/// # Errors
/// As of [`Machine::resolved`] and of the engine: an output that does not fit the task, no threads; a
/// device that is not there, or that this build cannot compute on.
pub fn open_engine(graph: Graph, task: Task, machine: &Machine) -> Result<Box<dyn Engine>> {
    Ok(match (machine.resolved()?, machine.precision) {
        (EngineName::Plain, Precision::F64) => Box::new(Plain::<f64>::with_task(graph, task)?),
        (EngineName::Plain, Precision::F32) => Box::new(Plain::<f32>::with_task(graph, task)?),
        (EngineName::Candle, precision) => {
            let device = candle_device(machine.device)?;
            Box::new(candle::Engine::with_task(graph, task, &device, precision)?)
        }
        (EngineName::Auto | EngineName::Fast, _) => {
            Box::new(Cpu::with_task(graph, task, Isa::best(), machine.threads)?)
        }
    })
}

fn candle_device(device: Device) -> Result<candle_core::Device> {
    let Device::Cuda(number) = device else {
        return Ok(candle_core::Device::Cpu);
    };
    if !cfg!(feature = "cuda") {
        let reason = "this build computes on the processor only; one with --features cuda computes on GPUs too";
        return Err(Error::argument("device", device, reason));
    }
    candle_core::Device::new_cuda(number)
        .map_err(|err| Error::argument("device", device, said(&err.to_string())))
}

/// What the driver says, out of `DriverError(CODE, "what it says")` and a trace of where in candle it was
/// said.
fn said(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default();
    line.split('"').nth(1).unwrap_or(line)
}

/// What computes, as `fast engine (avx512), f32`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.resolved() {
            Ok(EngineName::Plain) => "plain engine".to_owned(),
            Ok(EngineName::Candle) => match self.device {
                Device::Auto | Device::Cpu => "candle engine (cpu)".to_owned(),
                device @ Device::Cuda(_) => format!("candle engine ({device})"),
            },
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
    #[test]
    fn on_a_gpu_candle_computes_and_nothing_else() {
        let machine = |engine| Machine {
            engine,
            device: Device::Cuda(1),
            ..Machine::default()
        };
        for engine in [EngineName::Auto, EngineName::Candle] {
            let machine = machine(engine);
            assert_eq!(machine.resolved().unwrap(), EngineName::Candle);
            assert_eq!(machine.to_string(), "candle engine (cuda:1), f32");
        }
        for engine in [EngineName::Fast, EngineName::Plain] {
            let message = machine(engine).resolved().unwrap_err().to_string();
            assert_eq!(
                message,
                "device cuda:1: only the engine candle computes on a GPU"
            );
        }
    }

    #[test]
    fn of_a_drivers_error_its_sentence_is_shown() {
        let error =
            "DriverError(CUDA_ERROR_NO_DEVICE, \"no device is detected\")\n   0: candle_core::…";
        assert_eq!(said(error), "no device is detected");
        assert_eq!(said("out of memory\n   0: …"), "out of memory");
    }

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(12)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let expected = Err("expected auto, cpu, cuda or cuda:N".to_owned());
            assert_eq!(wrong.parse::<Device>(), expected, "{wrong}");
        }
    }
}
