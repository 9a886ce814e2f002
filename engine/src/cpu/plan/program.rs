//! The order in which a batch is computed. Some images go through as many steps as possible before the
//! next images do, so that what one step writes the next reads from the cache. A segment of such steps
//! ends where something of all images must be known, the sums of a normalisation; where maps become so much
//! smaller or larger that another number of images at a time suits them; and in evaluation where its
//! filters become so many that they would not stay in the cache until the next images come.
//!
//! What is computed fast from what is kept, as by a normalisation, an activation or a sum, is not kept for
//! backward but computed again.

use crate::cpu::kernels::expand;
use crate::cpu::kernels::layout::{Images, padded};
use crate::cpu::plan::backward::depths;
use crate::cpu::plan::liveness::Slot;
use crate::cpu::plan::step::{Kind, Step};
use crate::cpu::plan::target::Target;
use crate::net::Shape;

/// What images go through together.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Segment {
    pub(in crate::cpu) actions: Vec<Action>,
    /// Images that go through at a time.
    pub(in crate::cpu) block: usize,
    /// Numbers that a task needs for sums of normalisations, for gradients of filters, and that all need
    /// for prepared filters.
    pub(in crate::cpu) sums: usize,
    pub(in crate::cpu) parts: usize,
    pub(in crate::cpu) prepared: usize,
    /// Numbers of filters that forward reads in it.
    filters: usize,
}

/// A part of a step.
#[derive(Debug)]
pub(in crate::cpu) struct Action {
    pub(in crate::cpu) step: usize,
    pub(in crate::cpu) work: Work,
}

/// What is done for some images; values and gradients are named by their slots.
#[derive(Debug)]
pub(in crate::cpu) enum Work {
    /// The value.
    Forward {
        x: Vec<usize>,
        y: usize,
        /// Where the prepared filters are, see [`Convolution::prepared`](super::step::Convolution::prepared).
        filters: usize,
    },
    /// Sums of what a normalisation, or an expansion, reads.
    Moments { x: usize, at: usize },
    /// From the gradient of a normalisation's value that of what is inside its activation, in place, and
    /// sums of it. `x` is what the normalisation reads, and of an expansion what it computes. `y` is the value
    /// itself, where a sum is inside the activation.
    Gradients {
        x: usize,
        y: Option<usize>,
        dy: usize,
        at: usize,
    },
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
        into: Vec<Option<GradientSlot>>,
        /// Where the prepared filters are.
        filters: usize,
    },
    /// Adds to the gradient of an expansion's input what follows from sums.
    Correct { x: usize, dx: usize },
}

/// Where the gradient of an input goes; the slot may be that of the output's.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct GradientSlot {
    pub(in crate::cpu) slot: usize,
    /// Whether others have put their share there already.
    pub(in crate::cpu) add: bool,
}

/// All segments, and the slots of the values.
#[derive(Debug)]
pub(in crate::cpu) struct Program {
    pub(in crate::cpu) segments: Vec<Segment>,
    /// How many of them are forward.
    pub(in crate::cpu) forward: usize,
    pub(in crate::cpu) slots: Vec<Slot>,
    /// The slot of each value's gradient; `None` where nothing asks for it.
    pub(in crate::cpu) gradients: Vec<Option<usize>>,
}

impl Program {
    /// For tasks of this many images.
    pub(in crate::cpu) fn new(
        steps: &[Step],
        layout: Images,
        shapes: &[Shape],
        images: usize,
        training: bool,
        target: Target,
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
            target,
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

/// A program that is being made.
pub(in crate::cpu) struct Builder<'a> {
    pub(in crate::cpu) steps: &'a [Step],
    pub(in crate::cpu) images: usize,
    target: Target,
    /// The steps that read and make each value.
    pub(in crate::cpu) readers: Vec<Vec<usize>>,
    pub(in crate::cpu) makers: Vec<Option<usize>>,
    pub(in crate::cpu) segments: Vec<Segment>,
    pub(in crate::cpu) slots: Vec<Slot>,
    /// How many steps compute each value again from what is kept; 0 where it is kept itself.
    pub(in crate::cpu) depths: Vec<usize>,
    /// The segment in which it was computed again last, and the slot.
    pub(in crate::cpu) again: Vec<Option<(usize, usize)>>,
    pub(in crate::cpu) gradients: Vec<Option<usize>>,
    /// Shares in each value's gradient that are still to come.
    pub(in crate::cpu) pending: Vec<usize>,
    /// The segment in which the sums for a normalisation were taken last.
    pub(in crate::cpu) summed: Vec<usize>,
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
    pub(in crate::cpu) fn arrive(&mut self, step: usize) {
        if self.summed[step] == self.segments.len() - 1 {
            self.cut();
        }
    }

    /// Adds an action that reads or writes these slots; `work` is made with the segment it is in.
    pub(in crate::cpu) fn push(
        &mut self,
        step: usize,
        slots: &[usize],
        sums: bool,
        work: impl FnOnce(&mut Segment) -> Work,
    ) {
        let numbers = slots.iter().map(|slot| self.slots[*slot].len);
        let bytes = numbers.sum::<usize>() * self.target.element_bytes;
        let block = (self.target.block_bytes / bytes.max(1)).clamp(1, self.images);
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

    /// Whether a step waits for sums of all it reads.
    fn needs_sums(&self, number: usize) -> bool {
        let step = &self.steps[number];
        matches!(step.kind, Kind::Norm(_)) || step.expansion().is_some()
    }

    fn forward(&mut self, training: bool) {
        if training {
            self.moments(0);
        }
        let mut done = vec![false; self.steps.len()];
        for number in 0..self.steps.len() {
            // A normalisation is computed when it is needed: its reader may follow in the same segment. Not with a sum:
            // normalisations that read that take their sums in the order of the network.
            let waits = self.needs_sums(number) && self.steps[number].inputs.len() == 1;
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
            if self.needs_sums(number) {
                self.arrive(number);
            }
            let x: Vec<usize> = step.inputs.iter().map(|input| input.value).collect();
            let y = step.output;
            let slots: Vec<usize> = x.iter().copied().chain([y]).collect();
            let (prepared, read) = match &step.kind {
                Kind::Convolution(layer) => (layer.prepared(false), layer.numbers()),
                _ => (0, 0),
            };
            let before = self.now().filters;
            let many = before > 0
                && (before + read) * self.target.element_bytes > self.target.filter_bytes;
            // In training sums of normalisations end segments sooner, and no speed came of it.
            if !training && read > 0 && many {
                self.cut();
            }
            self.push(number, &slots, false, |segment| {
                segment.filters += read;
                let filters = take(&mut segment.prepared, prepared);
                Work::Forward { x, y, filters }
            });
            if training {
                self.moments(step.output);
            }
        }
    }

    /// Sums of a value for the normalisations that read it.
    fn moments(&mut self, value: usize) {
        for number in self.readers[value].clone() {
            let step = &self.steps[number];
            let len = match &step.kind {
                Kind::Norm(norm) if step.inputs[0].value == value => {
                    Some(2 * norm.normal.mean.len())
                }
                Kind::Convolution(layer) if layer.expansion.is_some() => {
                    Some(expand::moments(layer.geometry.input.channels))
                }
                _ => None,
            };
            if let Some(len) = len {
                self.push(number, &[value], true, |segment| {
                    let at = take(&mut segment.sums, len);
                    Work::Moments { x: value, at }
                });
                self.summed[number] = self.segments.len() - 1;
            }
        }
    }
}

/// The next `len` places.
pub(in crate::cpu) fn take(next: &mut usize, len: usize) -> usize {
    *next += len;
    *next - len
}
