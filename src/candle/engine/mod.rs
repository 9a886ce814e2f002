//! An engine on candle's tensors, on any of candle's devices.
//!
//! Forward and backward are composed of candle's own operations, [N, C, H, W] throughout; the backward of
//! each operation is written out, and candle's tape stays unused. On a CUDA device, kernels of our own take
//! the place of some compositions.

mod activation;
mod batch_norm;
mod channels;
mod convolution;
mod equilibrium;
mod iter_norm;
mod kernels;
mod linear;
mod loss;
mod max_pool;
mod newton;
mod noise;
mod number;
mod optimizer;
mod resample;
mod step;
mod tensors;
#[cfg(test)]
mod tests;
mod whitening;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;

use crate::engine::common::{Mode, check};
use crate::engine::{Batch, Outcome, Part, Precision, Result, Task, Training, Update};
use crate::net::{Auxiliary, Graph, Resolution, TensorId, Value};
use loss::CrossEntropy;
use step::{Network, Pass, Sizes};
use tensors::Tensors;

/// A network on a candle device, in f32 or f64.
///
/// Its parameters and BatchNorm's buffers are candle variables under their state-dict names, and can be
/// read, changed and saved as such between two steps:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use candle_core::Device;
/// use ckpt_regen::engine::{Batch, Engine as _, Optimizer, Precision, Training, Update};
/// use ckpt_regen::net::zoo;
/// use ckpt_regen::regen::Rule;
/// use ckpt_regen::{candle, weights};
///
/// let options = zoo::Options { classes: 10, resolution: 8.into(), width: 0.1, ..zoo::defaults("mobilenet_v2")? };
/// let graph = zoo::build("mobilenet_v2", &options)?;
/// let mut engine = candle::Engine::new(graph, &Device::Cpu, Precision::F32)?;
/// weights::to_engine(&weights::initialize(engine.graph(), 0, candle_core::DType::F32)?, &mut engine)?;
///
/// let images: Vec<f32> = (0..4 * 3 * 8 * 8).map(|at| (at % 7) as f32 - 3.0).collect();
/// let outcome = engine.differentiate(
///     &Batch { images: &images, labels: &[3, 1, 4, 1] },
///     &Training::default(),
/// )?;
/// engine.update(&Update {
///     optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
///     learning_rate: 0.1,
///     weight_decay: 5e-4,
///     decoder_factor: 1.0,
///     spare_vectors: false,
///     clip_norm: None,
/// });
/// assert!(outcome.loss > 0.0);
///
/// // The variables are the engine's own: what changes here, changes there.
/// candle::regenerate(engine.var_map(), Rule::Paper)?;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("model.safetensors");
/// engine.var_map().save(&path)?;
/// # Ok(())
/// # }
/// ```
///
/// [`Engine::update`](crate::engine::Engine::update), `read`, `write` and what moves the average have no
/// error to return: they panic where the device fails.
pub struct Engine {
    graph: Graph,
    task: Task,
    precision: Precision,
    device: Device,
    tensors: Tensors,
    sizes: Vec<Sizes>,
    /// The last node that reads each node.
    readers: Vec<usize>,
    /// Logits of the last batch, `[N, K, H, W]`, of [`Graph::outputs`]; none before the first.
    outputs: Vec<Tensor>,
}

impl Engine {
    /// A classifier with all its tensors 0; [`write`](crate::engine::Engine::write) gives them their
    /// values.
    ///
    /// # Errors
    /// The network's output is no vector of classes; the device fails, or has no numbers of this
    /// precision.
    pub fn new(graph: Graph, device: &Device, precision: Precision) -> Result<Engine> {
        Self::with_task(graph, Task::Classification, device, precision)
    }

    /// As [`Engine::new`], for any task.
    ///
    /// # Errors
    /// The network's output does not fit the task; as [`Engine::new`].
    pub fn with_task(
        graph: Graph,
        task: Task,
        device: &Device,
        precision: Precision,
    ) -> Result<Engine> {
        task.check_output(&graph)?;
        let dtype = match precision {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        };
        let tensors = Tensors::new(&graph, dtype, device)
            .map_err(|err| graph.error("tensors", err.to_string()))?;
        let sizes = sizes(&graph, &tensors)?;
        let mut readers = vec![usize::MAX; graph.nodes().len()];
        for (at, node) in graph.nodes().iter().enumerate() {
            for input in &node.inputs {
                readers[input.index()] = at;
            }
        }
        // What is read at the end.
        graph
            .outputs()
            .for_each(|output| readers[output.index()] = usize::MAX);
        Ok(Engine {
            tensors,
            sizes,
            readers,
            graph,
            task,
            precision,
            device: device.clone(),
            outputs: Vec::new(),
        })
    }

    /// Parameters and buffers under their state-dict names; counts of batches are I64.
    pub fn var_map(&self) -> &VarMap {
        self.tensors.values.map()
    }

    fn network(&self) -> Network<'_> {
        Network {
            graph: &self.graph,
            tensors: &self.tensors,
            sizes: &self.sizes,
        }
    }

    /// Runs the batch forward. Without `keep` nothing can go backward from there.
    fn forward(&mut self, batch: &Batch<'_>, mode: Mode, keep: bool) -> Result<Pass> {
        let training = mode.is_training();
        let images = check(&self.graph, self.task, batch, training)?;
        let input = self.graph.input_shape();
        let shape = (images, input.channels, input.height, input.width);
        let images = Tensor::from_slice(batch.images, shape, &self.device);
        let images = images.and_then(|images| images.to_dtype(self.tensors.values.dtype()));
        let images = images.map_err(|err| self.error(0, &err))?;
        let nodes = self.graph.nodes();
        let mut pass = Pass::new(nodes.len(), images, mode);
        for (at, node) in nodes.iter().enumerate().skip(1) {
            pass.forward(self.network(), at)
                .map_err(|err| self.error(at, &err))?;
            let done = |input: &usize| !keep && self.readers[*input] == at;
            for input in node.inputs.iter().map(|input| input.index()).filter(done) {
                pass.forget(input);
            }
        }
        let outputs = self.graph.outputs().map(|output| {
            let value = pass.value(output.index()).cloned();
            value.map_err(|err| self.error(output.index(), &err))
        });
        self.outputs = outputs.collect::<Result<_>>()?;
        Ok(pass)
    }

    /// Loss and hits of the last batch; with `pass` also the gradients of the logits.
    fn outcome(
        &self,
        labels: &[u32],
        training: &Training,
        mut pass: Option<&mut Pass>,
    ) -> Result<Outcome> {
        let mut of = |logits: &Tensor, value: Value, share: f64| {
            let loss = CrossEntropy::new(self.task, logits, labels, training.label_smoothing)?;
            if let Some(pass) = &mut pass {
                let gradient = loss.gradient(logits, training.weight * share)?;
                pass.give(value.index(), gradient)?;
            }
            loss.outcome()
        };
        let mut of = |logits: &Tensor, value: Value, share: f64| {
            of(logits, value, share).map_err(|err| self.error(value.index(), &err))
        };
        let output = self.graph.output();
        let [main, others @ ..] = &self.outputs[..] else {
            let node = self.graph.output_node();
            return Err(self.graph.error(&node.name, "no batch has been run"));
        };
        let mut outcome = of(main, output, 1.0)?;
        for (logits, auxiliary) in others.iter().zip(self.graph.auxiliary()) {
            let Auxiliary { value, weight } = auxiliary;
            outcome.loss += weight * of(logits, value, weight)?.loss;
        }
        Ok(outcome)
    }

    /// Runs the pass backward from the loss.
    fn backward(&self, mut pass: Pass, labels: &[u32], training: &Training) -> Result<Outcome> {
        let outcome = self.outcome(labels, training, Some(&mut pass))?;
        for at in (1..self.graph.nodes().len()).rev() {
            pass.backward(self.network(), at)
                .map_err(|err| self.error(at, &err))?;
        }
        Ok(outcome)
    }

    /// candle's error at a node.
    fn error(&self, node: usize, err: &candle_core::Error) -> crate::engine::Error {
        let node = &self.graph.nodes()[node];
        self.graph
            .error(&node.name, format!("{}: {err}", node.op.name()))
    }

    /// What came of something that has no error to return.
    fn sure<T>(&self, result: candle_core::Result<T>) -> T {
        result.unwrap_or_else(|err| {
            panic!("{}: {:?}: {err}", self.graph.name(), self.device.location())
        })
    }
}

fn sizes(graph: &Graph, tensors: &Tensors) -> Result<Vec<Sizes>> {
    let sizes = graph.nodes().iter().map(|node| {
        Sizes::new(graph, node, tensors).map_err(|err| graph.error(&node.name, err.to_string()))
    });
    sizes.collect()
}

impl crate::engine::Engine for Engine {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn task(&self) -> Task {
        self.task
    }

    fn reshape(&mut self, resolution: Resolution) -> Result<()> {
        if self.graph.resolution() != resolution {
            let graph = self.graph.at(resolution)?;
            self.sizes = sizes(&graph, &self.tensors)?;
            self.graph = graph;
            self.outputs.clear();
        }
        Ok(())
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome> {
        self.forward(batch, Mode::Evaluation, false)?;
        self.outcome(batch.labels, &Training::default(), None)
    }

    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome> {
        let seed = training.seed;
        let mode = Mode::Training {
            seed,
            momentum: None,
        };
        let pass = self.forward(batch, mode, true)?;
        self.backward(pass, batch.labels, training)
    }

    fn recalibrate(&mut self, batch: &Batch<'_>, momentum: f64, seed: u64) -> Result<Outcome> {
        let mode = Mode::Training {
            seed,
            momentum: Some(momentum),
        };
        self.forward(batch, mode, false)?;
        self.outcome(batch.labels, &Training::default(), None)
    }

    fn update(&mut self, update: &Update) -> f64 {
        let result = optimizer::step(&self.graph, &mut self.tensors, update);
        self.sure(result)
    }

    fn begin_average(&mut self) {
        let result = self.tensors.begin_average(&self.graph);
        self.sure(result);
    }

    fn follow_average(&mut self, decay: f64) {
        let result = self.tensors.follow_average(&self.graph, decay);
        self.sure(result);
    }

    fn exchange_average(&mut self) {
        let result = self.tensors.exchange_average(&self.graph);
        self.sure(result);
    }

    fn predictions(&self, into: &mut Vec<usize>) {
        into.clear();
        if let Some(output) = self.outputs.first() {
            let classes = self.sure(loss::predictions(output));
            into.extend(classes.iter().map(|class| *class as usize));
        }
    }

    fn output(&self, into: &mut Vec<f64>) {
        into.clear();
        if let Some(output) = self.outputs.first() {
            into.extend(self.sure(number::to_host(output)));
        }
    }

    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>) {
        *into = self.sure(self.tensors.part(part).read(tensor));
    }

    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]) {
        let spec = self.graph.tensor(tensor);
        assert_eq!(values.len(), spec.len(), "{}", spec.name);
        let result = self.tensors.part_mut(part).write(tensor, spec, values);
        self.sure(result);
    }
}
