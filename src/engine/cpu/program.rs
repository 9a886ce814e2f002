//! The order in which a batch is computed. Some images go through as many steps as possible before the
//! next images do, so that what one step writes the next reads from the cache. A segment of such steps
//! ends where something of all images must be known, the sums of a normalisation; and where maps become
//! so much smaller or larger that another number of images at a time suits them.
//!
//! What a normalisation or a gate computes is not kept for backward but computed again from what is.

use super::activation::Function;
use super::layout::{Images, padded, stride};
use super::memory::Slot;
use super::steps::{Convolution, Kind, Step};
use crate::net::{Activation, Shape};

/// What images go through together.
#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) actions: Vec<Action>,
    /// Images that go through at a time.
    pub(super) block: usize,
    /// Numbers that a task needs for sums of normalisations, for gradients of filters, and that all need
    /// for transposed filters.
    pub(super) sums: usize,
    pub(super) parts: usize,
    pub(super) turned: usize,
}

/// A part of a step.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) step: usize,
    pub(super) work: Work,
}

/// What is done for some images; values and gradients are named by their slots.
#[derive(Debug)]
pub(super) enum Work {
    /// The value.
    Forward { x: Vec<usize>, y: usize },
    /// Sums of what a normalisation reads.
    Moments { x: usize, at: usize },
    /// From the gradient of a normalisation's value that of what is inside its activation, in place, and
    /// sums of it.
    Gradients { x: usize, dy: usize, at: usize },
    /// The gradient of filters: a share of it in the task's parts, or, where filters are large, all of it
    /// when all images are through.
    Weight {
        x: usize,
        dy: usize,
        at: Option<usize>,
        /// Where in the task's parts that of the bias is.
        bias: Option<usize>,
    },
    /// Gradients of the inputs.
    Backward {
        values: Vec<usize>,
        dy: usize,
        into: Vec<Option<Target>>,
        /// Where the transposed filters are.
        turned: usize,
    },
}

/// Where the gradient of an input goes; the slot may be that of the output's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) slot: usize,
    /// Whether others have put their share there already.
    pub(super) add: bool,
}

/// All segments, and the slots of the values.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) segments: Vec<Segment>,
    /// How many of them are forward.
    pub(super) forward: usize,
    pub(super) slots: Vec<Slot>,
    /// The slot of each value's gradient; `None` where nothing asks for it.
    pub(super) gradients: Vec<Option<usize>>,
}

impl Program {
    /// For tasks of this many images.
    pub(super) fn new(
        steps: &[Step],
        layout: Images,
        shapes: &[Shape],
        images: usize,
        training: bool,
    ) -> Program {
        let len = |value: usize| match value {
            0 => layout.len(shapes[0]),
            _ => padded(shapes[value]),
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
            readers,
            makers,
            segments: vec![Segment::default()],
            slots: (0..shapes.len())
                .map(|value| Slot::new(len(value)))
                .collect(),
            depths: depths(steps, shapes.len()),
            gradients: vec![None; shapes.len()],
            again: vec![None; shapes.len()],
            pending: vec![0; shapes.len()],
            summed: vec![usize::MAX; steps.len()],
        };
        builder.slots[0].keep();
        builder.forward(training);
        let forward = builder.end();
        let output = shapes.len() - 1;
        builder.slots[output].keep();
        // It is read when forward is through.
        if let Some(last) = builder.segments.last() {
            builder.slots[output].touch((forward - 1, last.actions.len() - 1));
        }
        if training {
            builder.segments.push(Segment::default());
            builder.backward(output);
            builder.end();
        }
        Program {
            segments: builder.segments,
            forward,
            slots: builder.slots,
            gradients: builder.gradients,
        }
    }
}

/// Bytes that what a block of images is computed from and to should take: a part of a core's own cache.
const NEAR: usize = 512 << 10;

struct Builder<'a> {
    steps: &'a [Step],
    images: usize,
    /// The steps that read and make each value.
    readers: Vec<Vec<usize>>,
    makers: Vec<Option<usize>>,
    segments: Vec<Segment>,
    slots: Vec<Slot>,
    /// How many steps compute each value again from what is kept; 0 where it is kept itself.
    depths: Vec<usize>,
    /// The segment in which it was computed again last, and the slot.
    again: Vec<Option<(usize, usize)>>,
    gradients: Vec<Option<usize>>,
    /// Shares in each value's gradient that are still to come.
    pending: Vec<usize>,
    /// The segment in which the sums for a normalisation were taken last.
    summed: Vec<usize>,
}

impl Builder<'_> {
    fn now(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Ends the segment.
    fn cut(&mut self) {
        if !self.now().actions.is_empty() {
            self.segments.push(Segment::default());
        }
    }

    /// Drops a segment in which nothing is done, and says how many there are.
    fn end(&mut self) -> usize {
        self.segments.pop_if(|last| last.actions.is_empty());
        self.segments.len()
    }

    /// Ends the segment where it has taken sums that a normalisation needs whole.
    fn arrive(&mut self, step: usize) {
        if self.summed[step] == self.segments.len() - 1 {
            self.cut();
        }
    }

    /// Adds an action that reads or writes these slots; `work` is made with the segment it is in.
    fn push(
        &mut self,
        step: usize,
        slots: &[usize],
        sums: bool,
        work: impl FnOnce(&mut Segment) -> Work,
    ) {
        let numbers = slots.iter().map(|slot| self.slots[*slot].len);
        let bytes = numbers.sum::<usize>() * size_of::<f32>();
        let block = (NEAR / bytes.max(1)).clamp(1, self.images);
        // Small maps want many images at a time, and large ones few. Sums follow what is summed.
        let now = self.now().block;
        if !sums && (block >= 4 * now || now >= 4 * block) {
            self.cut();
        }
        let segment = self.segments.len() - 1;
        let now = self.now();
        now.block = match now.actions.len() {
            0 => block,
            _ => now.block.min(block),
        };
        let at = (segment, now.actions.len());
        let work = work(now);
        now.actions.push(Action { step, work });
        for slot in slots {
            self.slots[*slot].touch(at);
        }
    }

    fn forward(&mut self, training: bool) {
        if training {
            self.moments(0);
        }
        let mut done = vec![false; self.steps.len()];
        for number in 0..self.steps.len() {
            // A normalisation is computed when it is needed: its reader may follow in the same segment.
            let waits = matches!(self.steps[number].kind, Kind::Norm { .. });
            if !waits || self.readers[self.steps[number].output].is_empty() {
                self.forward_step(number, training, &mut done);
            }
        }
    }

    fn forward_step(&mut self, number: usize, training: bool, done: &mut [bool]) {
        let mut open = vec![number];
        // What has to come before comes before.
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
            if matches!(step.kind, Kind::Norm { .. }) {
                self.arrive(number);
            }
            let x: Vec<usize> = step.inputs.iter().map(|input| input.value).collect();
            let y = step.output;
            let slots: Vec<usize> = x.iter().copied().chain([y]).collect();
            self.push(number, &slots, false, |_| Work::Forward { x, y });
            if training {
                self.moments(step.output);
            }
        }
    }

    /// Sums of a value for the normalisations that read it.
    fn moments(&mut self, value: usize) {
        for number in self.readers[value].clone() {
            if let Kind::Norm { normal, .. } = &self.steps[number].kind {
                let len = 2 * normal.mean.len();
                self.push(number, &[value], true, |segment| {
                    let at = take(&mut segment.sums, len);
                    Work::Moments { x: value, at }
                });
                self.summed[number] = self.segments.len() - 1;
            }
        }
    }

    /// The slot of a value in backward, where it is once more or still.
    fn restored(&mut self, value: usize) -> usize {
        let Some(number) = self.makers[value].filter(|_| self.depths[value] > 0) else {
            return value;
        };
        if let Some((segment, slot)) = self.again[value]
            && segment == self.segments.len() - 1
        {
            return slot;
        }
        let inputs = self.steps[number].inputs.iter();
        let x: Vec<usize> = inputs.map(|input| self.restored(input.value)).collect();
        let y = self.slots.len();
        self.slots.push(Slot::new(self.slots[value].len));
        let slots: Vec<usize> = x.iter().copied().chain([y]).collect();
        self.push(number, &slots, false, |_| Work::Forward { x, y });
        self.again[value] = Some((self.segments.len() - 1, y));
        y
    }

    fn backward(&mut self, output: usize) {
        let mut asked = vec![false; self.slots.len()];
        asked[output] = true;
        for step in self.steps.iter().rev() {
            if asked[step.output] {
                for input in step.inputs.iter().filter(|input| input.value > 0) {
                    self.pending[input.value] += 1;
                    asked[input.value] = true;
                }
            }
        }
        let slot = self.slots.len();
        self.slots.push(Slot::new(self.slots[output].len));
        self.slots[slot].keep();
        self.slots[slot].touch((self.segments.len() - 1, 0));
        self.gradients[output] = Some(slot);
        self.complete(output);
        for number in (0..self.steps.len()).rev() {
            // What nothing reads has no gradient, and its step no share in any.
            if let Some(dy) = self.gradients[self.steps[number].output] {
                self.backward_step(number, dy);
            }
        }
    }

    fn backward_step(&mut self, number: usize, dy: usize) {
        let steps = self.steps;
        let step = &steps[number];
        match &step.kind {
            Kind::Norm { .. } if step.inputs[0].value > 0 => self.arrive(number),
            Kind::Convolution(layer) => {
                let len = layer.geometry.filters().len();
                let channels = step.inputs[0].shape.channels + step.shape.channels;
                let rows = self.images * step.shape.pixels();
                self.weight(number, layer, len, len <= rows * channels, dy);
            }
            Kind::Depthwise(layer) => {
                let len = layer.geometry.kernel() * stride(layer.geometry.output.channels);
                self.weight(number, layer, len, true, dy);
            }
            _ => {}
        }
        let inputs = || step.inputs.iter().map(|input| input.value);
        if inputs().any(|value| value > 0) {
            let values: Vec<usize> = match &step.kind {
                Kind::Activation(function) if tells_its_gradient(*function) => vec![step.output],
                Kind::Norm { .. } | Kind::MaxPool(_) | Kind::Activation(_) | Kind::Gate => {
                    inputs().map(|value| self.restored(value)).collect()
                }
                _ => Vec::new(),
            };
            let into = self.targets(number, dy);
            let away = into.iter().flatten().filter(|to| to.slot != dy || to.add);
            if away.count() > 0 || matches!(step.kind, Kind::Activation(_)) {
                let targets = into.iter().flatten().map(|target| target.slot);
                let slots: Vec<usize> = values.iter().copied().chain([dy]).chain(targets).collect();
                let filters = match &step.kind {
                    Kind::Convolution(layer) => layer.geometry.filters().transposed().len(),
                    _ => 0,
                };
                self.push(number, &slots, false, |segment| Work::Backward {
                    values,
                    dy,
                    into,
                    turned: take(&mut segment.turned, filters),
                });
            }
        }
        for value in inputs().filter(|value| *value > 0) {
            self.pending[value] -= 1;
            if self.pending[value] == 0 {
                self.complete(value);
            }
        }
    }

    fn weight(&mut self, number: usize, layer: &Convolution, len: usize, small: bool, dy: usize) {
        let x = self.restored(self.steps[number].inputs[0].value);
        if !small {
            // They are read when all images are through.
            self.slots[x].keep();
            self.slots[dy].keep();
        }
        let channels = layer.geometry.output.channels;
        self.push(number, &[x, dy], false, |segment| Work::Weight {
            x,
            dy,
            at: small.then(|| take(&mut segment.parts, len)),
            bias: layer.bias.map(|_| take(&mut segment.parts, channels)),
        });
    }

    /// Where the gradients of a step's inputs go.
    fn targets(&mut self, number: usize, dy: usize) -> Vec<Option<Target>> {
        let steps = self.steps;
        let step = &steps[number];
        let shares = match &step.kind {
            Kind::Add => self.shares(number),
            Kind::Activation(_) => vec![true],
            _ => vec![false; step.inputs.len()],
        };
        let inputs = step.inputs.iter().zip(shares);
        let targets = inputs.map(|(input, shares)| {
            if input.value == 0 {
                return None;
            }
            let slot = self.gradients[input.value];
            let add = slot.is_some();
            let slot = slot.unwrap_or_else(|| {
                if shares {
                    return dy;
                }
                self.slots.push(Slot::new(padded(input.shape)));
                self.slots.len() - 1
            });
            self.gradients[input.value] = Some(slot);
            Some(Target { slot, add })
        });
        targets.collect()
    }

    /// Which inputs of a sum may have their gradient where that of the sum is: one of them; or both, where
    /// one of them is only read from then on, and for the last time before anything is added to the other.
    fn shares(&self, number: usize) -> Vec<bool> {
        let inputs = || self.steps[number].inputs.iter().map(|input| input.value);
        let fresh = |value: usize| value > 0 && self.gradients[value].is_none();
        let only_reads = |maker: usize| match &self.steps[maker].kind {
            Kind::Norm { function, .. } => *function == Function::Identity,
            kind => matches!(kind, Kind::Noise { .. }),
        };
        let may_share = |read: usize, other: usize| {
            let (Some(maker), Some(from)) = (self.makers[read], self.makers[other]) else {
                return false;
            };
            let later = self.readers[other]
                .iter()
                .filter(|reader| **reader < number);
            let last = later.max();
            read != other
                && self.pending[read] == 1
                && only_reads(maker)
                && from < maker
                // Of a fresh gradient one share is this sum's.
                && match self.pending[other] {
                    1 => only_reads(from),
                    _ => last.is_some_and(|last| *last < maker),
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

    /// A value's gradient is complete.
    fn complete(&mut self, value: usize) {
        let maker = self.makers[value];
        let Some((number, Kind::Norm { normal, .. })) =
            maker.map(|number| (number, &self.steps[number].kind))
        else {
            return;
        };
        let Some(dy) = self.gradients[value] else {
            return;
        };
        let len = 2 * normal.mean.len();
        let x = self.restored(self.steps[number].inputs[0].value);
        self.push(number, &[x, dy], true, |segment| Work::Gradients {
            x,
            dy,
            at: take(&mut segment.sums, len),
        });
        self.summed[number] = self.segments.len() - 1;
    }
}

/// The next `len` places.
fn take(next: &mut usize, len: usize) -> usize {
    *next += len;
    *next - len
}

/// How many steps in a row may compute something again: more would compute much of a network over and over.
const DEEP: usize = 2;

/// For each value how many steps compute it again from values that are kept; 0 where it is kept.
fn depths(steps: &[Step], values: usize) -> Vec<usize> {
    let mut depths = vec![0; values];
    for step in steps {
        if matches!(step.kind, Kind::Norm { .. } | Kind::Gate) {
            let inputs = step.inputs.iter().map(|input| depths[input.value]);
            let depth = 1 + inputs.max().unwrap_or(0);
            depths[step.output] = if depth > DEEP { 0 } else { depth };
        }
    }
    depths
}

/// Whether the gradient of an activation follows from its value.
fn tells_its_gradient(function: Function) -> bool {
    matches!(function, Function::Of(Activation::Relu | Activation::Relu6))
}
