//! Runs a network on made-up images and takes the time.

use std::time::Instant;

use candle_core::DType;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};

use super::super::output;
use crate::engine::cpu::{Cpu, PlanReport, StepTime};
use crate::engine::{Batch, Engine as _, Optimizer, Training, Update};
use crate::error::Result;
use crate::weights;

/// Batches before any time counts: the first touches all memory, and after it the optimizer has
/// what it keeps.
const WARM_UP: usize = 2;
/// Who waits longer than this, in seconds, is told so.
const PATIENCE: f64 = 3.0;

/// How long batches took.
pub(super) struct Times {
    pub(super) plan: PlanReport,
    pub(super) isa: &'static str,
    pub(super) threads: usize,
    /// Seconds of each batch, the fastest first.
    pub(super) batches: Vec<f64>,
    /// Seconds of all updates together; 0 in evaluation.
    pub(super) update: f64,
    /// Seconds of all batches together for each step of the plan.
    pub(super) steps: Vec<StepTime>,
}

impl Times {
    /// Seconds of all batches.
    pub(super) fn total(&self) -> f64 {
        self.batches.iter().sum()
    }

    /// Seconds of the median batch.
    pub(super) fn median(&self) -> f64 {
        self.batches[self.batches.len() / 2]
    }
}

/// Times so many batches of so many images: forward, loss, backward and SGD with Nesterov; without
/// `training` only forward.
///
/// # Errors
/// As [`Cpu::plan`] and [`Engine::differentiate`](crate::engine::Engine::differentiate).
pub(super) fn measure(
    engine: &mut Cpu,
    images: usize,
    training: bool,
    batches: usize,
) -> Result<Times> {
    let plan = engine.plan(images, training)?;
    let vars = weights::initialize(engine.graph(), 0, DType::F32)?;
    weights::to_engine(&vars, engine)?;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let len = images * engine.graph().input_shape().len();
    let pixels: Vec<f32> = StandardNormal.sample_iter(&mut random).take(len).collect();
    let output = engine.graph().output_shape();
    let labels = images * engine.task().labels(output);
    let labels = (0..labels).map(|label| (label % output.channels) as u32);
    let labels: Vec<u32> = labels.collect();
    let batch = Batch {
        images: &pixels,
        labels: &labels,
    };
    let mut times = Times {
        plan,
        isa: engine.isa().name(),
        threads: engine.threads(),
        batches: Vec::with_capacity(batches),
        update: 0.0,
        steps: Vec::new(),
    };
    for number in 0..WARM_UP + batches {
        if number == WARM_UP {
            engine.clear_times();
        }
        let begin = Instant::now();
        let mut update = 0.0;
        if training {
            let training = Training {
                seed: number as u64,
                ..Training::default()
            };
            engine.differentiate(&batch, &training)?;
            let begin = Instant::now();
            engine.update(&UPDATE);
            update = begin.elapsed().as_secs_f64();
        } else {
            engine.evaluate(&batch)?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        if number >= WARM_UP {
            times.batches.push(seconds);
            times.update += update;
        } else if number + 1 == WARM_UP && seconds * batches as f64 > PATIENCE {
            let whole = seconds * batches as f64;
            let batches = output::plural(batches, "step");
            output::note(&format!("{batches} of about {seconds:.1} s: {whole:.0} s"));
        }
    }
    times.batches.sort_by(f64::total_cmp);
    times.steps = engine.times();
    Ok(times)
}

/// Small, so that numbers stay what they are in training, however many steps are asked for.
const UPDATE: Update = Update {
    optimizer: Optimizer::Sgd {
        momentum: 0.9,
        nesterov: true,
    },
    learning_rate: 1e-5,
    weight_decay: 5e-4,
    decoder_factor: 1.0,
    spare_vectors: false,
    clip_norm: None,
};
