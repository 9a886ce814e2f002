//! The program of a batch: segments of actions, each of which runs for a block of images before the next block, so that
//! an action reads what the one before it wrote from the cache.
//!
//! A segment ends
//!
//! - where something is needed of all images: the statistics of a BatchNorm;
//! - where maps become so much smaller or larger that another block size suits them;
//! - in evaluation, where its filters would no longer stay in the cache from block to block.
//!
//! Values that are cheap to compute from kept ones, as by BatchNorm, activation or sum, are not kept for backward but
//! recomputed.

use crate::cpu::kernels::fused_pointwise;
use crate::cpu::kernels::layout::{InputLayout, padded_len};
use crate::cpu::plan::backward::depths;
use crate::cpu::plan::liveness::{Buffer, Time};
use crate::cpu::plan::step::{Step, StepKind};
use crate::cpu::plan::target::Target;
use crate::net::Shape;

/// A sequence of actions that runs for one block of images after the other.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Segment {
    pub(in crate::cpu) actions: Vec<Action>,
    /// Images per block.
    pub(in crate::cpu) block_images: usize,
    /// Elements per shard for the sums of BatchNorms.
    pub(in crate::cpu) sums: usize,
    /// Elements per shard for partial filter and bias gradients.
    pub(in crate::cpu) partials: usize,
    /// Elements for prepared filters, shared by all shards.
    pub(in crate::cpu) prepared: usize,
    /// Elements of the filters that forward reads in it.
    filters: usize,
}

/// A part of a step: what a shard does in one go for a block of images.
#[derive(Debug)]
pub(in crate::cpu) struct Action {
    /// Index of the step.
    pub(in crate::cpu) step: usize,
    pub(in crate::cpu) kind: ActionKind,
}

/// What an action does. Values (`x`, `y`) and gradients (`dx`, `dy`) are indices of buffers; `at` is an index into the
/// shard's sums or partial gradients.
#[derive(Debug)]
pub(in crate::cpu) enum ActionKind {
    /// Computes the step's value y from its inputs x.
    Forward {
        x: Vec<usize>,
        y: usize,
        /// Index of the prepared filters, see
        /// [`Convolution::prepared_len`](super::step::Convolution::prepared_len).
        filters: usize,
    },
    /// Adds to the moments of the input of a normalisation or fused pointwise convolution.
    NormMoments { x: usize, at: usize },
    /// Replaces the gradient of a BatchNorm's value by the gradient before its activation, and adds to the sums of that; of
    /// a normalisation that decorrelates channels, only adds to the sums.
    /// `x` is the input of the BatchNorm, or the output of a fused pointwise convolution. `y` is the value itself, set
    /// where a residual sum is inside the activation.
    NormGradient {
        x: usize,
        y: Option<usize>,
        dy: usize,
        at: usize,
    },
    /// Adds to the shard's partial filter gradient. Where filters are large, `at` is `None`: their gradient is computed at
    /// the end of the segment, from all images.
    WeightGradient {
        x: usize,
        dy: usize,
        at: Option<usize>,
        /// Index of the partial bias gradient.
        bias: Option<usize>,
    },
    /// Computes the gradients of the step's inputs. `values` are those that the gradient depends on.
    InputGradients {
        values: Vec<usize>,
        dy: usize,
        into: Vec<Option<GradientTarget>>,
        /// Index of the prepared filters.
        filters: usize,
    },
    /// Adds the BatchNorm-statistics term to the input gradient of a fused pointwise convolution.
    StatisticsGradient { x: usize, dx: usize },
}

/// Where the gradient of an input goes, which may be the buffer of the output's gradient.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct GradientTarget {
    pub(in crate::cpu) buffer: usize,
    /// Whether it is added to what other readers of the input have put there.
    pub(in crate::cpu) add: bool,
}

/// The segments, and the buffers of values and gradients.
#[derive(Debug)]
pub(in crate::cpu) struct Program {
    pub(in crate::cpu) segments: Vec<Segment>,
    /// Number of segments of forward, which come first.
    pub(in crate::cpu) forward: usize,
    pub(in crate::cpu) buffers: Vec<Buffer>,
    /// The buffer of each value's gradient; `None` where no gradient is needed.
    pub(in crate::cpu) gradients: Vec<Option<usize>>,
}

impl Program {
    /// The program for shards of `images` of a network with these `outputs`.
    pub(in crate::cpu) fn new(
        steps: &[Step],
        layout: InputLayout,
        shapes: &[Shape],
        outputs: &[usize],
        images: usize,
        training: bool,
        target: Target,
    ) -> Program {
        let len = |value: usize| match value {
            0 => layout.len(shapes[0]),
            _ => padded_len(shapes[value]),
        };
        let mut readers = vec![Vec::new(); shapes.len()];
        for (number, step) in steps.iter().enumerate() {
            for input in &step.inputs {
                readers[input.value].push(number);
            }
        }
        let mut makers = vec![None; shapes.len()];
        for (number, step) in steps.iter().enumerate() {
            makers[step.output] = Some(number);
        }
        let mut builder = Builder {
            steps,
            images,
            target,
            readers,
            makers,
            segments: vec![Segment::default()],
            buffers: (0..shapes.len())
                .map(|value| Buffer::new(len(value)))
                .collect(),
            depths: depths(steps, shapes.len()),
            gradients: vec![None; shapes.len()],
            recomputed: vec![None; shapes.len()],
            pending: vec![0; shapes.len()],
            summed: vec![usize::MAX; steps.len()],
        };
        builder.buffers[0].keep_all_images();
        builder.forward(training);
        let forward = builder.finish();
        // Outputs are read at the end of forward.
        let end = builder.segments.last().map(|last| Time {
            segment: forward - 1,
            action: last.actions.len() - 1,
        });
        for output in outputs {
            builder.buffers[*output].keep_all_images();
            if let Some(end) = end {
                builder.buffers[*output].use_at(end);
            }
        }
        if training {
            builder.segments.push(Segment::default());
            builder.backward(outputs);
            builder.finish();
        }
        Program {
            segments: builder.segments,
            forward,
            buffers: builder.buffers,
            gradients: builder.gradients,
        }
    }
}

/// A program under construction.
pub(in crate::cpu) struct Builder<'a> {
    pub(in crate::cpu) steps: &'a [Step],
    pub(in crate::cpu) images: usize,
    target: Target,
    /// The steps that read each value.
    pub(in crate::cpu) readers: Vec<Vec<usize>>,
    /// The step that computes each value.
    pub(in crate::cpu) makers: Vec<Option<usize>>,
    pub(in crate::cpu) segments: Vec<Segment>,
    pub(in crate::cpu) buffers: Vec<Buffer>,
    /// Number of steps that recompute each value from kept ones; 0 if it is kept.
    pub(in crate::cpu) depths: Vec<usize>,
    /// Segment and buffer of each value's latest recomputation.
    pub(in crate::cpu) recomputed: Vec<Option<(usize, usize)>>,
    /// The buffer of each value's gradient.
    pub(in crate::cpu) gradients: Vec<Option<usize>>,
    /// Number of readers whose contribution to a value's gradient is still missing.
    pub(in crate::cpu) pending: Vec<usize>,
    /// For each step, the segment that computed the latest sums for its BatchNorm.
    pub(in crate::cpu) summed: Vec<usize>,
}

impl Builder<'_> {
    /// The current segment.
    fn current(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Ends the current segment, unless it is empty.
    fn cut(&mut self) {
        if !self.current().actions.is_empty() {
            self.segments.push(Segment::default());
        }
    }

    /// Drops the current segment if it is empty; returns the number of segments.
    fn finish(&mut self) -> usize {
        self.segments.pop_if(|last| last.actions.is_empty());
        self.segments.len()
    }

    /// Ends the current segment if it computes sums that the step needs of all images.
    pub(in crate::cpu) fn wait_for_sums(&mut self, step: usize) {
        if self.summed[step] == self.segments.len() - 1 {
            self.cut();
        }
    }

    /// Adds an action that uses these buffers; `kind` is called with its segment. Actions with `sums` never start a segment.
    pub(in crate::cpu) fn push(
        &mut self,
        step: usize,
        buffers: &[usize],
        sums: bool,
        kind: impl FnOnce(&mut Segment) -> ActionKind,
    ) {
        let elements = buffers.iter().map(|buffer| self.buffers[*buffer].len);
        let bytes = elements.sum::<usize>() * self.target.element_bytes;
        let block = (self.target.block_bytes / bytes.max(1)).clamp(1, self.images);
        // Small maps need large blocks, and large maps small ones. Sums stay with the action that computes what they sum.
        let now = self.current().block_images;
        if !sums && (block >= 4 * now || now >= 4 * block) {
            self.cut();
        }
        let segment = self.segments.len() - 1;
        let current = self.current();
        current.block_images = if current.actions.is_empty() {
            block
        } else {
            current.block_images.min(block)
        };
        let time = Time {
            segment,
            action: current.actions.len(),
        };
        let kind = kind(current);
        current.actions.push(Action { step, kind });
        for buffer in buffers {
            self.buffers[*buffer].use_at(time);
        }
    }

    /// Whether a step needs sums over its input for all images.
    fn needs_sums(&self, number: usize) -> bool {
        let step = &self.steps[number];
        let normalises = matches!(step.kind, StepKind::Norm(_) | StepKind::Whitening(_));
        normalises || step.fused_pointwise().is_some()
    }

    /// Adds the segments of forward.
    fn forward(&mut self, training: bool) {
        if training {
            self.norm_moments(0);
        }
        let mut done = vec![false; self.steps.len()];
        for number in 0..self.steps.len() {
            // A BatchNorm is computed when its value is first read, in the segment of its reader. One with a residual sum is
            // computed at once, since BatchNorms that read it update running statistics in the order of the network.
            let waits = self.needs_sums(number) && self.steps[number].inputs.len() == 1;
            if !waits || self.readers[self.steps[number].output].is_empty() {
                self.forward_step(number, training, &mut done);
            }
        }
    }

    /// Adds a step to forward, after the steps that it depends on and that are not done.
    fn forward_step(&mut self, number: usize, training: bool, done: &mut [bool]) {
        let mut open = vec![number];
        // A depth-first search.
        while let Some(&number) = open.last() {
            let step = &self.steps[number];
            let makers = step
                .inputs
                .iter()
                .filter_map(|input| self.makers[input.value]);
            let mut before = makers.filter(|maker| !done[*maker]);
            let before = before.next_back();
            if let Some(before) = before {
                open.push(before);
                continue;
            }
            open.pop();
            if done[number] {
                continue;
            }
            done[number] = true;
            if self.needs_sums(number) {
                self.wait_for_sums(number);
            }
            let x: Vec<usize> = step.inputs.iter().map(|input| input.value).collect();
            let y = step.output;
            let buffers: Vec<usize> = x.iter().copied().chain([y]).collect();
            let (prepared, read) = match &step.kind {
                StepKind::Convolution(layer) => (layer.prepared_len(false), layer.filter_len()),
                _ => (0, 0),
            };
            let before = self.current().filters;
            let many = before > 0
                && (before + read) * self.target.element_bytes > self.target.filter_bytes;
            // Not in training, where BatchNorm statistics end segments sooner.
            if !training && read > 0 && many {
                self.cut();
            }
            self.push(number, &buffers, false, |segment| {
                segment.filters += read;
                let filters = reserve(&mut segment.prepared, prepared);
                ActionKind::Forward { x, y, filters }
            });
            if training {
                self.norm_moments(step.output);
            }
        }
    }

    /// Adds the moments of a value for each normalisation that reads it.
    fn norm_moments(&mut self, value: usize) {
        for number in self.readers[value].clone() {
            let step = &self.steps[number];
            let len = match &step.kind {
                StepKind::Norm(norm) if step.inputs[0].value == value => {
                    Some(2 * norm.coefficients.mean.len())
                }
                StepKind::Whitening(norm) => Some(norm.state.moments_len()),
                StepKind::Convolution(layer) if layer.fused.is_some() => {
                    Some(fused_pointwise::moments_len(layer.geometry.input.channels))
                }
                _ => None,
            };
            if let Some(len) = len {
                self.push(number, &[value], true, |segment| {
                    let at = reserve(&mut segment.sums, len);
                    ActionKind::NormMoments { x: value, at }
                });
                self.summed[number] = self.segments.len() - 1;
            }
        }
    }
}

/// Reserves `len` elements behind the first `end`, and returns the index of the first.
pub(in crate::cpu) fn reserve(end: &mut usize, len: usize) -> usize {
    *end += len;
    *end - len
}
