//! The optimizer step of all tensors at once.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::optimizer::Parameter;
use super::launch::{File, Launch, address};
use super::{output, run_on};
use crate::engine::Optimizer;

/// Elements of a tensor that one block takes.
const PIECE: usize = 4096;

/// The kernels of an optimizer.
#[derive(Debug)]
pub(in super::super) struct Step<'a> {
    parameters: &'a [Parameter<'a>],
    optimizer: Optimizer,
    /// The pieces of all parameters, as `Piece` in `optimizer.cu`, a row of seven numbers each.
    pieces: Tensor,
}

/// `Optimizer` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    algorithm: i32,
    scale: f64,
    a: f64,
    b: f64,
    correction: f64,
    epsilon: f64,
}

impl<'a> Step<'a> {
    /// Where it goes by kernels.
    pub(in super::super) fn of(
        parameters: &'a [Parameter<'a>],
        optimizer: Optimizer,
    ) -> Option<Result<Step<'a>>> {
        let fits = |parameter: &Parameter<'_>| run_on(parameter.value);
        let all = !parameters.is_empty() && parameters.iter().all(fits);
        all.then(|| Step::new(parameters, optimizer))
    }

    fn new(parameters: &'a [Parameter<'a>], optimizer: Optimizer) -> Result<Step<'a>> {
        let mut rows: Vec<i64> = Vec::new();
        for parameter in parameters {
            let state = |slot: Option<&Var>| slot.map_or(Ok(0), |slot| address(slot));
            let [first, second] = parameter.slots;
            let starts = [
                address(parameter.value)?,
                address(parameter.gradient)?,
                state(first)?,
                state(second)?,
            ];
            let (rate, decay) = rates(&optimizer, parameter);
            let size = parameter.value.dtype().size_in_bytes();
            let count = parameter.value.elem_count();
            for start in (0..count).step_by(PIECE) {
                let moved = |address: u64| match address {
                    0 => 0,
                    address => (address + (start * size) as u64) as i64,
                };
                rows.extend(starts.map(moved));
                rows.push(PIECE.min(count - start) as i64);
                rows.extend([rate, decay].map(|number| number.to_bits() as i64));
            }
        }
        let pieces = Tensor::from_vec(rows, ((), 7), &Device::Cpu)?;
        Ok(Step {
            parameters,
            optimizer,
            pieces: pieces.to_device(parameters[0].value.device())?,
        })
    }

    /// The norm of the gradient over all parameters.
    pub(in super::super) fn norm(&self) -> Result<f64> {
        let sums = output(self.pieces.dim(0)?, self.dtype(), self.pieces.device())?;
        self.launch("optimizer_squares", &[&sums], Sizes::default())?;
        let sum: f64 = sums.to_dtype(DType::F64)?.sum_all()?.to_scalar()?;
        Ok(sum.sqrt())
    }

    /// Updates all parameters by their gradients times `scale`, and clears these.
    pub(in super::super) fn run(&self, scale: f64) -> Result<()> {
        let sizes = match self.optimizer {
            Optimizer::Sgd { momentum, nesterov } => Sizes {
                algorithm: match (momentum == 0.0, nesterov) {
                    (true, _) => 0,
                    (false, false) => 1,
                    (false, true) => 2,
                },
                scale,
                a: momentum,
                ..Sizes::default()
            },
            Optimizer::AdamW {
                betas: (a, b),
                epsilon,
                step,
            } => Sizes {
                algorithm: 3,
                scale,
                a,
                b,
                correction: (1.0 - b.powi(after(step))).sqrt(),
                epsilon,
            },
        };
        self.launch("optimizer_step", &[], sizes)?;
        // As `Launch::run` does with the tensors that it is given.
        for parameter in self.parameters {
            let own = [parameter.value, parameter.gradient].into_iter();
            for tensor in own.chain(parameter.slots.into_iter().flatten()) {
                address(tensor)?;
            }
        }
        Ok(())
    }

    fn dtype(&self) -> DType {
        self.parameters[0].value.dtype()
    }

    #[expect(unsafe_code, reason = "a launch")]
    fn launch(&self, kernel: &'static str, writes: &[&Tensor], sizes: Sizes) -> Result<()> {
        let launch = Launch {
            file: File::Optimizer,
            kernel,
            dtype: self.dtype(),
            blocks: self.pieces.dim(0)?,
        };
        // SAFETY: the tables' addresses are of variables that live as long as the engine, and stay where
        // they are: what is set copies into them. All of a parameter's variables have its shape and type.
        unsafe { launch.run(writes, &[&self.pieces], sizes) }
    }
}

/// Number of updates with this one.
fn after(step: u64) -> i32 {
    i32::try_from(step).unwrap_or(i32::MAX).saturating_add(1)
}

/// `rate` and `decay` of a `Piece`.
fn rates(optimizer: &Optimizer, parameter: &Parameter<'_>) -> (f64, f64) {
    let Parameter { rate, decay, .. } = *parameter;
    match *optimizer {
        Optimizer::Sgd { .. } => (rate, decay),
        Optimizer::AdamW { betas, step, .. } => {
            (rate / (1.0 - betas.0.powi(after(step))), 1.0 - rate * decay)
        }
    }
}
