//! The backward part of a program: the order of gradients, which values are recomputed, and which gradients share a
//! buffer.

use crate::cpu::kernels::activation::Function;
use crate::cpu::kernels::layout::{padded_len, pixel_stride};
use crate::cpu::plan::liveness::{Buffer, Time};
use crate::cpu::plan::program::{ActionKind, Builder, GradientTarget, reserve};
use crate::cpu::plan::step::{Algorithm, Convolution, Step, StepInput, StepKind};

impl Builder<'_> {
    /// The buffer of a value in backward: its own if it is kept, else one into which it is recomputed.
    fn restored(&mut self, value: usize) -> usize {
        let Some(number) = self.makers[value].filter(|_| self.depths[value] > 0) else {
            return value;
        };
        if let Some((segment, buffer)) = self.recomputed[value]
            && segment == self.segments.len() - 1
        {
            return buffer;
        }
        let inputs = self.steps[number].inputs.iter();
        let x: Vec<usize> = inputs.map(|input| self.restored(input.value)).collect();
        let y = self.buffers.len();
        self.buffers.push(Buffer::new(self.buffers[value].len));
        let buffers: Vec<usize> = x.iter().copied().chain([y]).collect();
        let prepared = match &self.steps[number].kind {
            StepKind::Convolution(layer) => layer.prepared_len(false),
            _ => 0,
        };
        self.push(number, &buffers, false, |segment| ActionKind::Forward {
            x,
            y,
            filters: reserve(&mut segment.prepared, prepared),
        });
        self.recomputed[value] = Some((self.segments.len() - 1, y));
        y
    }

    /// Adds the segments of backward, which start from the gradients of `outputs`.
    pub(in crate::cpu) fn backward(&mut self, outputs: &[usize]) {
        let mut needed = vec![false; self.buffers.len()];
        outputs.iter().for_each(|output| needed[*output] = true);
        for step in self.steps.iter().rev() {
            if needed[step.output] {
                for input in step.inputs.iter().filter(|input| input.value > 0) {
                    self.pending[input.value] += 1;
                    needed[input.value] = true;
                }
            }
        }
        // They are written before the first segment, and nothing else contributes to them.
        for output in outputs {
            let buffer = self.buffers.len();
            self.buffers.push(Buffer::new(self.buffers[*output].len));
            self.buffers[buffer].keep_all_images();
            self.buffers[buffer].use_at(Time {
                segment: self.segments.len() - 1,
                action: 0,
            });
            self.gradients[*output] = Some(buffer);
        }
        outputs.iter().for_each(|output| self.complete(*output));
        for number in (0..self.steps.len()).rev() {
            // A value that nothing reads has no gradient, and its step is skipped.
            if let Some(dy) = self.gradients[self.steps[number].output] {
                self.backward_step(number, dy);
            }
        }
    }

    /// Adds backward of a step, given the buffer of its value's gradient.
    fn backward_step(&mut self, number: usize, dy: usize) {
        let steps = self.steps;
        let step = &steps[number];
        match &step.kind {
            StepKind::Norm(_) | StepKind::Whitening(_) if step.inputs[0].value > 0 => {
                self.wait_for_sums(number);
            }
            StepKind::Convolution(layer) => {
                if layer.fused.is_some() {
                    self.norm_gradient(number, step.output, dy);
                }
                let len = layer.geometry.filters().len();
                let channels = step.inputs[0].shape.channels + step.shape.channels;
                let rows = self.images * step.shape.pixels();
                // Up to a gradient twice as large as the values it is computed from, partial gradients are as fast:
                // they stay in the cache from block to block, and the values are read once.
                let partial =
                    matches!(layer.algorithm, Algorithm::Grouped(_)) || len <= 2 * rows * channels;
                self.weight_gradient(number, layer, partial || layer.fused.is_some(), dy);
                if layer.fused.is_some() {
                    self.summed[number] = self.segments.len() - 1;
                }
            }
            _ => {}
        }
        // The input that a BatchNorm adds has its gradient already, see `pass_on`.
        let own = match step.kind {
            StepKind::Norm(_) => &step.inputs[..1],
            _ => &step.inputs[..],
        };
        let inputs = || own.iter().map(|input| input.value);
        if inputs().any(|value| value > 0) {
            let values: Vec<usize> = match &step.kind {
                StepKind::Activation(function) if function.gradient_follows_from_output() => {
                    vec![self.restored(step.output)]
                }
                StepKind::Norm(_)
                | StepKind::Whitening(_)
                | StepKind::MaxPool(_)
                | StepKind::Activation(_)
                | StepKind::Gate => inputs().map(|value| self.restored(value)).collect(),
                _ => Vec::new(),
            };
            let into = self.targets(number, own, dy);
            let mut targets = into.iter().flatten();
            if targets.any(|target| target.buffer != dy || target.add)
                || matches!(step.kind, StepKind::Activation(_))
            {
                let targets = into.iter().flatten().map(|target| target.buffer);
                let buffers: Vec<usize> =
                    values.iter().copied().chain([dy]).chain(targets).collect();
                let prepared = match &step.kind {
                    StepKind::Convolution(layer) => layer.prepared_len(true),
                    _ => 0,
                };
                self.push(number, &buffers, false, |segment| {
                    ActionKind::InputGradients {
                        values,
                        dy,
                        into,
                        filters: reserve(&mut segment.prepared, prepared),
                    }
                });
            }
        }
        if step.fused_pointwise().is_some() {
            self.statistics_term(number);
        }
        for value in inputs().filter(|value| *value > 0) {
            self.pending[value] -= 1;
            if self.pending[value] == 0 {
                self.complete(value);
            }
        }
    }

    /// Adds the BatchNorm-statistics term of a fused pointwise convolution's input gradient, which needs the sums of all
    /// images.
    fn statistics_term(&mut self, number: usize) {
        self.wait_for_sums(number);
        let value = self.steps[number].inputs[0].value;
        let x = self.restored(value);
        if let Some(dx) = self.gradients[value] {
            self.push(number, &[x, dx], false, |_| {
                ActionKind::StatisticsGradient { x, dx }
            });
        }
    }

    /// Adds the filter and bias gradients of a convolution; `partial` if each shard sums up its own.
    fn weight_gradient(&mut self, number: usize, layer: &Convolution, partial: bool, dy: usize) {
        let x = self.restored(self.steps[number].inputs[0].value);
        if !partial {
            // They are read at the end of the segment.
            self.buffers[x].keep_all_images();
            self.buffers[dy].keep_all_images();
        }
        let channels = pixel_stride(layer.geometry.output.channels);
        self.push(number, &[x, dy], false, |segment| {
            ActionKind::WeightGradient {
                x,
                dy,
                at: partial.then(|| reserve(&mut segment.partials, layer.filter_len())),
                bias: layer.bias.map(|_| reserve(&mut segment.partials, channels)),
            }
        });
    }

    /// Where the gradients of a step's inputs go; `None` for the images, whose gradient is not needed.
    fn targets(
        &mut self,
        number: usize,
        inputs: &[StepInput],
        dy: usize,
    ) -> Vec<Option<GradientTarget>> {
        let shares = match &self.steps[number].kind {
            StepKind::Add => self.shares(number),
            StepKind::Activation(_) => vec![true],
            _ => vec![false; inputs.len()],
        };
        let inputs = inputs.iter().zip(shares);
        let targets = inputs.map(|(input, shares)| {
            (input.value > 0).then(|| self.target(input, shares.then_some(dy)))
        });
        targets.collect()
    }

    /// Where the gradient of an input goes: into the buffer that other readers of the input have used, else into the one
    /// that it may share, else into a new one.
    fn target(&mut self, input: &StepInput, shared: Option<usize>) -> GradientTarget {
        let buffer = self.gradients[input.value];
        let add = buffer.is_some();
        let buffer = buffer.or(shared).unwrap_or_else(|| {
            self.buffers.push(Buffer::new(padded_len(input.shape)));
            self.buffers.len() - 1
        });
        self.gradients[input.value] = Some(buffer);
        GradientTarget { buffer, add }
    }

    /// Which inputs of a sum may share the buffer of the sum's gradient: one of them; or both, if the gradient of one is
    /// only read from then on, and for the last time before anything is added to the other's. Contributions of
    /// [`Builder::pass_on`] may come at any time.
    fn shares(&self, number: usize) -> Vec<bool> {
        let inputs = || self.steps[number].inputs.iter().map(|input| input.value);
        let fresh = |value: usize| value > 0 && self.gradients[value].is_none();
        let only_reads = |maker| self.only_reads(maker);
        let may_share = |read: usize, other: usize| {
            let (Some(maker), Some(from)) = (self.makers[read], self.makers[other]) else {
                return false;
            };
            let readers = self.readers[other].iter().copied();
            let mut later = readers.filter(|reader| *reader < number);
            let last = later.clone().max();
            read != other
                && self.pending[read] == 1
                && only_reads(maker)
                && from < maker
                // One missing contribution is that of this sum.
                && match self.pending[other] {
                    1 => only_reads(from),
                    _ => {
                        last.is_some_and(|last| last < maker)
                            && !later.any(|reader| self.passes_on(reader, other))
                    }
                }
        };
        let all: Vec<usize> = inputs().collect();
        if let [a, b] = all[..]
            && fresh(a)
            && fresh(b)
            && (may_share(a, b) || may_share(b, a))
        {
            return vec![true, true];
        }
        let first = inputs().position(fresh);
        (0..all.len()).map(|at| Some(at) == first).collect()
    }

    /// Whether backward of a step does not change the gradient of its value, nor pass it on to another value.
    fn only_reads(&self, number: usize) -> bool {
        let step = &self.steps[number];
        match &step.kind {
            StepKind::Norm(norm) => norm.function == Function::Identity && step.inputs.len() == 1,
            kind => matches!(kind, StepKind::Noise { .. } | StepKind::Whitening(_)),
        }
    }

    /// Handles a complete gradient: if a normalisation computed the value, adds its gradient sums; a BatchNorm passes the
    /// gradient on to the value that it adds.
    fn complete(&mut self, value: usize) {
        if let (Some(number), Some(dy)) = (self.makers[value], self.gradients[value])
            && let StepKind::Whitening(norm) = &self.steps[number].kind
        {
            let len = norm.gradients_len();
            let x = self.restored(self.steps[number].inputs[0].value);
            self.push(number, &[x, dy], true, |segment| ActionKind::NormGradient {
                x,
                y: None,
                dy,
                at: reserve(&mut segment.sums, len),
            });
            self.summed[number] = self.segments.len() - 1;
            return;
        }
        let mut complete = Some(value);
        while let Some(value) = complete.take()
            && let (Some(number), Some(dy)) = (self.makers[value], self.gradients[value])
            && matches!(self.steps[number].kind, StepKind::Norm(_))
        {
            self.norm_gradient(number, self.steps[number].inputs[0].value, dy);
            self.summed[number] = self.segments.len() - 1;
            complete = self.pass_on(number, dy);
        }
    }

    /// Whether a step is a BatchNorm that adds this value, and so passes its gradient on as soon as that is complete.
    fn passes_on(&self, number: usize, value: usize) -> bool {
        let step = &self.steps[number];
        let added = step.inputs.get(1).map(|input| input.value);
        matches!(step.kind, StepKind::Norm(_)) && added == Some(value)
    }

    /// Passes the gradient before a BatchNorm's activation on to the value that it adds. Returns that value if its gradient
    /// is complete now.
    fn pass_on(&mut self, number: usize, dy: usize) -> Option<usize> {
        let steps = self.steps;
        let input = steps[number].inputs.get(1)?;
        let value = input.value;
        if value == 0 {
            return None;
        }
        // Backward of the BatchNorm reads it once more. They may share a buffer if whatever adds to it, or changes it, comes
        // later.
        let mut readers = self.readers[value].iter().copied();
        let add_later = readers
            .all(|reader| reader == number || reader < number && !self.passes_on(reader, value));
        let is_norm = |maker: usize| matches!(steps[maker].kind, StepKind::Norm(_));
        let changes_now = self.pending[value] == 1
            && self.makers[value].is_some_and(|maker| is_norm(maker) && !self.only_reads(maker));
        let target = self.target(input, (add_later && !changes_now).then_some(dy));
        if target.buffer != dy {
            self.push(number, &[dy, target.buffer], false, |_| {
                ActionKind::InputGradients {
                    values: Vec::new(),
                    dy,
                    into: vec![None, Some(target)],
                    filters: 0,
                }
            });
        }
        self.pending[value] -= 1;
        (self.pending[value] == 0).then_some(value)
    }

    /// Adds the gradient sums of a BatchNorm; `value` is its input, or the output of a fused pointwise convolution.
    fn norm_gradient(&mut self, number: usize, value: usize, dy: usize) {
        let step = &self.steps[number];
        let len = 2 * pixel_stride(step.shape.channels);
        let inside = step.inputs.len() > 1;
        let given = step
            .norm()
            .filter(|norm| inside && norm.function != Function::Identity);
        let y = given.map(|_| self.restored(self.steps[number].output));
        let x = self.restored(value);
        let buffers: Vec<usize> = [x, dy].into_iter().chain(y).collect();
        self.push(number, &buffers, true, |segment| ActionKind::NormGradient {
            x,
            y,
            dy,
            at: reserve(&mut segment.sums, len),
        });
    }
}

/// Longest chain of recomputed steps: a BatchNorm and the sums of four residual blocks after it. Longer chains would
/// recompute much of a network repeatedly.
const MAX_DEPTH: usize = 5;

/// For each value, the number of steps that recompute it from kept values; 0 if it is kept.
///
/// Recomputed are BatchNorms, gates and fused pointwise convolutions, whose gradients need their inputs anyway; and sums,
/// BatchNorms with a residual sum, activations, channel dropout and stochastic depth, if no input is kept for them alone and the map has
/// more than one pixel.
pub(in crate::cpu) fn depths(steps: &[Step], values: usize) -> Vec<usize> {
    let read_by_gradients = read_by_gradients(steps, values);
    let mut depths = vec![0; values];
    for step in steps {
        let inputs = || step.inputs.iter().map(|input| input.value);
        let recomputed = match step.kind {
            StepKind::Norm(_) if step.inputs.len() == 1 => true,
            StepKind::Gate => true,
            StepKind::Convolution(ref layer) => layer.fused.is_some(),
            StepKind::Norm(_)
            | StepKind::Add
            | StepKind::Activation(_)
            | StepKind::Noise { run: 2.., .. } => {
                step.shape.pixels() > 1 && inputs().all(|x| depths[x] > 0 || read_by_gradients[x])
            }
            _ => false,
        };
        let depth = 1 + inputs().map(|x| depths[x]).max().unwrap_or(0);
        if recomputed && depth <= MAX_DEPTH {
            depths[step.output] = depth;
        }
    }
    depths
}

/// For each value, whether the gradient of a step is computed from it.
fn read_by_gradients(steps: &[Step], values: usize) -> Vec<bool> {
    let mut needed = vec![false; values];
    needed[0] = true;
    for step in steps {
        match step.kind {
            StepKind::Activation(function) if function.gradient_follows_from_output() => {
                needed[step.output] = true;
            }
            StepKind::Norm(ref norm) => {
                needed[step.inputs[0].value] = true;
                if step.inputs.len() > 1 && norm.function != Function::Identity {
                    needed[step.output] = true;
                }
            }
            StepKind::Convolution(_)
            | StepKind::Whitening(_)
            | StepKind::Gate
            | StepKind::MaxPool(_)
            | StepKind::Activation(_) => {
                for input in &step.inputs {
                    needed[input.value] = true;
                }
            }
            StepKind::Add
            | StepKind::ChannelCopy(_)
            | StepKind::Resample(_)
            | StepKind::Noise { .. }
            | StepKind::Flatten => {}
        }
    }
    needed
}
