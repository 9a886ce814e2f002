//! What runs for one batch size, and its memory: made once.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use crate::cpu::kernels::aligned_buffer::AlignedBuffer;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{self, InputLayout, padded_len};
use crate::cpu::kernels::statistics::Affine;
use crate::cpu::plan::liveness::{ArenaSizes, allocate};
use crate::cpu::plan::passes::{channel_copy, epilogue, fused_pointwise, shortcut};
use crate::cpu::plan::program::{ActionKind, Program};
use crate::cpu::plan::step::{FusedNorm, Step, StepKind, choose_input_layout, steps};
use crate::cpu::plan::target::Target;
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::prepare::prepare;
use crate::cpu::run::reduce::Reduce;
use crate::cpu::run::shard::{Shard, Workspace, shard_ranges};
use crate::cpu::run::step::Shared;
use crate::cpu::run::whitening;
use crate::loss;
use crate::mode::Mode;
use crate::net::{Graph, Op, Shape, TensorId, Value};
use crate::{Batch, Outcome, Task, Training};

/// An output of the network, `[N, K, H, W]`.
#[derive(Debug)]
struct Output {
    value: Value,
    logits: Vec<f32>,
    gradient: Vec<f32>,
}

/// What runs for one batch size.
#[derive(Debug)]
pub(in crate::cpu) struct Plan {
    pub(in crate::cpu) images: usize,
    pub(in crate::cpu) training: bool,
    /// How the first value, the images, lies in memory.
    pub(in crate::cpu) layout: InputLayout,
    pub(in crate::cpu) steps: Vec<Step>,
    pub(in crate::cpu) program: Program,
    /// Memory of each task and thread.
    pub(in crate::cpu) extent: ArenaSizes,
    pub(in crate::cpu) tasks: Vec<Shard>,
    /// Where tasks wait for a thread while segments run, each with the number of its next.
    waiting: VecDeque<(usize, Shard)>,
    /// Of each thread that has a task to run.
    pub(in crate::cpu) workspaces: Vec<Workspace>,
    /// Filters of a segment as it reads them.
    prepared: AlignedBuffer,
    /// As many as the widest group has padded channels; never written.
    zeros: Vec<f32>,
    /// Scratch memory of normalisations that decorrelate channels.
    matrices: Vec<f64>,
    /// Those of [`Graph::outputs`], in that order.
    outputs: Vec<Output>,
    /// Seconds that each step has taken when all tasks waited for it, forward and backward.
    pub(in crate::cpu) seconds: Vec<(f64, f64)>,
}

impl Plan {
    pub(in crate::cpu) fn new(
        graph: &Graph,
        images: usize,
        training: bool,
        threads: usize,
        target: Target,
    ) -> io::Result<Plan> {
        let mut steps = steps(graph, images);
        let nodes = graph.nodes();
        let outputs: Vec<usize> = graph.outputs().map(Value::index).collect();
        channel_copy::merge(&mut steps, nodes.len(), &outputs);
        let numbers: usize = steps.iter().map(|step| padded_len(step.shape)).sum();
        let shares = || shard_ranges(images, numbers, target.shard_min_elements);
        let share = shares().next().map_or(1, |share| share.len());
        if training {
            shortcut::fuse(&mut steps, nodes.len());
            fused_pointwise::fuse(&mut steps, nodes.len(), share, &target);
        } else {
            epilogue::fuse(&mut steps, nodes.len(), target.lanes, |_, _, _| true);
        }
        let layout = choose_input_layout(&mut steps, graph.input_shape(), target.lanes);
        let matrices = steps.iter_mut().map(|step| match &mut step.kind {
            StepKind::Whitening(norm) if training => {
                norm.state.prepare_training();
                norm.state.scratch_len()
            }
            _ => 0,
        });
        let matrices = matrices.max().unwrap_or(0);
        let shapes: Vec<Shape> = nodes.iter().map(|node| node.shape).collect();
        let mut program = Program::new(&steps, layout, &shapes, &outputs, share, training, target);
        let extent = allocate(&mut program.buffers, &program.segments);
        let tasks = shares().map(|share| Shard::new(share, extent, &program.segments, steps.len()));
        let tasks: Vec<Shard> = tasks.collect::<io::Result<_>>()?;
        let workspaces =
            (0..threads.min(tasks.len())).map(|_| Workspace::new(extent, &steps, training));
        let prepared = program.segments.iter().map(|segment| segment.prepared);
        let zeros = steps.iter().map(|step| match &step.kind {
            StepKind::Convolution(layer) => {
                let filters = layer.geometry.filters();
                layout::pixel_stride(filters.in_channels.max(filters.out_channels))
            }
            _ => 0,
        });
        let outputs = graph.outputs().map(|value| {
            let len = images * graph.shape(value).len();
            Output {
                value,
                logits: vec![0.0; len],
                gradient: vec![0.0; if training { len } else { 0 }],
            }
        });
        Ok(Plan {
            images,
            training,
            layout,
            workspaces: workspaces.collect::<io::Result<_>>()?,
            waiting: VecDeque::with_capacity(tasks.len()),
            tasks,
            extent,
            prepared: AlignedBuffer::new(prepared.max().unwrap_or(0)),
            zeros: vec![0.0; zeros.max().unwrap_or(0)],
            matrices: vec![0.0; matrices],
            outputs: outputs.collect(),
            seconds: vec![(0.0, 0.0); steps.len()],
            steps,
            program,
        })
    }

    /// Bytes of what steps use while they run, and of the statistics of normalisations.
    pub(in crate::cpu) fn scratch(&self) -> usize {
        let norms = self.steps.iter().filter_map(Step::norm);
        let norms = norms.map(|norm| norm.coefficients.bytes());
        let whitening = self.steps.iter().map(|step| match &step.kind {
            StepKind::Whitening(norm) => norm.state.bytes(),
            _ => 0,
        });
        let fused = self.steps.iter().filter_map(Step::fused_pointwise);
        let fused = fused.map(|(_, fused)| fused.bytes());
        let outputs = self.outputs.iter();
        let logits = outputs.flat_map(|output| [&output.logits[..], &output.gradient]);
        let shared = logits.chain([&self.prepared[..], &self.zeros]);
        norms.sum::<usize>()
            + whitening.sum::<usize>()
            + size_of_val(&self.matrices[..])
            + fused.sum::<usize>()
            + shared.map(size_of_val).sum::<usize>()
            + self.tasks.iter().map(Shard::scratch).sum::<usize>()
            + self
                .workspaces
                .iter()
                .map(Workspace::scratch)
                .sum::<usize>()
    }

    /// The logits of the network's output.
    pub(in crate::cpu) fn logits(&self) -> &[f32] {
        &self.outputs[0].logits
    }

    /// Loss and hits of the batch.
    pub(in crate::cpu) fn outcome(&self, graph: &Graph, task: Task, labels: &[u32]) -> Outcome {
        let mut outputs = self.outputs.iter();
        loss::over_outputs(graph, |value, _| {
            let logits = outputs.next().map_or(&[][..], |output| &output.logits);
            loss::cross_entropy(task, graph.shape(value), labels, logits, 0.0, None)
        })
    }

    /// As [`Plan::outcome`], and the gradients of the logits.
    pub(in crate::cpu) fn start_backward(
        &mut self,
        graph: &Graph,
        task: Task,
        labels: &[u32],
        training: &Training,
    ) -> Outcome {
        let smoothing = training.label_smoothing;
        let mut outputs = self.outputs.iter_mut();
        loss::over_outputs(graph, |value, share| {
            let weight = training.weight * share;
            let (logits, gradient) = match outputs.next() {
                Some(output) => (&output.logits[..], Some((&mut output.gradient[..], weight))),
                None => (&[][..], None),
            };
            loss::cross_entropy(
                task,
                graph.shape(value),
                labels,
                logits,
                smoothing,
                gradient,
            )
        })
    }

    /// Computes the logits.
    pub(in crate::cpu) fn forward(
        &mut self,
        graph: &Graph,
        isa: Isa,
        parameters: &mut [Parameter],
        batch: &Batch<'_>,
        mode: Mode,
    ) {
        let images = self.tasks.iter().map(|task| task.images.len());
        assert_eq!(images.sum::<usize>(), self.images, "a task has panicked");
        if !self.training {
            self.take_statistics(parameters);
        }
        let (layout, shape) = (self.layout, graph.input_shape());
        let slot = self.program.buffers[0];
        self.tasks.par_iter_mut().for_each(|task| {
            let range = task.images.start * shape.len()..task.images.end * shape.len();
            layout.write_images(shape, &batch.images[range], task.whole_mut(&slot));
        });
        let mut next = 0;
        while next < self.program.forward {
            let segments = next..self.together(next);
            next = segments.end;
            self.run(segments, isa, parameters, mode);
        }
        for output in &mut self.outputs {
            let shape = graph.shape(output.value);
            let slot = self.program.buffers[output.value.index()];
            for task in &self.tasks {
                let range = task.images.start * shape.len()..task.images.end * shape.len();
                let mut logits = output.logits[range].iter_mut();
                layout::to_channels_first(shape, task.whole(&slot), |x| {
                    if let Some(logit) = logits.next() {
                        *logit = x;
                    }
                });
            }
        }
    }

    /// Adds to the gradients of all tensors, given those of the logits.
    pub(in crate::cpu) fn backward(
        &mut self,
        graph: &Graph,
        isa: Isa,
        parameters: &mut [Parameter],
        mode: Mode,
    ) {
        if self.program.segments.len() == self.program.forward {
            return;
        }
        for output in &self.outputs {
            let shape = graph.shape(output.value);
            let Some(slot) = self.program.gradients[output.value.index()] else {
                continue;
            };
            let slot = self.program.buffers[slot];
            for task in &mut self.tasks {
                let range = task.images.start * shape.len()..task.images.end * shape.len();
                layout::from_channels_first(shape, &output.gradient[range], task.whole_mut(&slot));
            }
        }
        for number in self.program.forward..self.program.segments.len() {
            self.run(number..number + 1, isa, parameters, mode);
        }
    }

    /// Running statistics, for evaluation.
    fn take_statistics(&mut self, parameters: &[Parameter]) {
        let value = |id: TensorId| &parameters[id.index()].value[..];
        self.steps.par_iter_mut().for_each(|step| {
            if let StepKind::Whitening(norm) = &mut step.kind {
                whitening::use_running(norm, parameters);
            }
            if let Some(FusedNorm {
                op, coefficients, ..
            }) = step.norm_mut()
                && let Op::BatchNorm {
                    gamma,
                    beta,
                    mean,
                    variance,
                    epsilon,
                    ..
                } = op
            {
                let affine = Affine {
                    gamma: value(*gamma),
                    beta: value(*beta),
                };
                coefficients.use_running(value(*mean), value(*variance), affine, *epsilon);
            }
        });
    }

    /// Where the segments end that a task goes through, from this one on, without waiting for the others: behind the first
    /// that sums something up, or before one that needs filters prepared.
    fn together(&self, first: usize) -> usize {
        let segments = &self.program.segments[first..self.program.forward];
        let pairs = segments.windows(2);
        let free = pairs.take_while(|pair| pair[0].sums == 0 && pair[1].prepared == 0);
        first + 1 + free.count()
    }

    /// Runs segments of which only the first has filters to prepare, and only the last sums something up: all tasks, and then
    /// what needs all of them.
    fn run(&mut self, numbers: Range<usize>, isa: Isa, parameters: &mut [Parameter], mode: Mode) {
        let backward = numbers.start >= self.program.forward;
        let segments = &self.program.segments;
        let (first, last) = (&segments[numbers.start], &segments[numbers.end - 1]);
        let spend = |seconds: &mut (f64, f64), begin: Instant| {
            let spent = begin.elapsed().as_secs_f64();
            match backward {
                true => seconds.1 += spent,
                false => seconds.0 += spent,
            }
        };
        for action in &first.actions {
            let StepKind::Convolution(layer) = &self.steps[action.step].kind else {
                continue;
            };
            let (filters, backward) = match action.kind {
                ActionKind::Forward { filters, .. } => (filters, false),
                ActionKind::InputGradients { filters, .. } => (filters, true),
                _ => continue,
            };
            let begin = Instant::now();
            let into = &mut self.prepared[filters..][..layer.prepared_len(backward)];
            let weight = &parameters[layer.weight.index()].value;
            prepare(layer, isa, weight, backward, into);
            spend(&mut self.seconds[action.step], begin);
        }
        let shared = Shared {
            isa,
            steps: &self.steps,
            buffers: &self.program.buffers,
            parameters,
            zeros: &self.zeros,
            prepared: &self.prepared,
            mode,
        };
        // A task that has been through a segment waits behind the others, so that a segment's filters are read by one
        // after the other.
        let tasks = self.tasks.drain(..).map(|task| (numbers.start, task));
        self.waiting.extend(tasks);
        let tasks = Mutex::new((&mut self.waiting, &mut self.tasks));
        let tasks = || tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let next = || tasks().0.pop_front();
        let workspaces = self.workspaces.par_iter_mut().with_max_len(1);
        workspaces.for_each(|workspace| {
            while let Some((number, mut task)) = next() {
                task.run(&segments[number], &shared, workspace, backward);
                let (waiting, done) = &mut *tasks();
                if numbers.contains(&(number + 1)) {
                    waiting.push_back((number + 1, task));
                } else {
                    done.push(task);
                }
            }
        });
        self.tasks.sort_unstable_by_key(|task| task.images.start);
        let mut reduce = Reduce {
            isa,
            mode,
            shards: &self.tasks,
            buffers: &self.program.buffers,
            parameters,
            matrices: &mut self.matrices,
        };
        for action in &last.actions {
            let begin = Instant::now();
            reduce.run(&mut self.steps[action.step], &action.kind);
            spend(&mut self.seconds[action.step], begin);
        }
    }
}
