//! Backward: which gradients are computed when, which values again, and where gradients may lie in one
//! place.

use crate::cpu::kernels::activation::Function;
use crate::cpu::kernels::layout::{padded, stride};
use crate::cpu::plan::liveness::Slot;
use crate::cpu::plan::program::{Builder, GradientSlot, Work, take};
use crate::cpu::plan::step::{Algorithm, Convolution, Input, Kind, Step};

impl Builder<'_> {
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
        let prepared = match &self.steps[number].kind {
            Kind::Convolution(layer) => layer.prepared(false),
            _ => 0,
        };
        self.push(number, &slots, false, |segment| Work::Forward {
            x,
            y,
            filters: take(&mut segment.prepared, prepared),
        });
        self.again[value] = Some((self.segments.len() - 1, y));
        y
    }

    /// The segments from the gradient of the last value on.
    pub(in crate::cpu) fn backward(&mut self, output: usize) {
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
            Kind::Norm(_) if step.inputs[0].value > 0 => self.arrive(number),
            Kind::Convolution(layer) => {
                if layer.expansion.is_some() {
                    self.gradients(number, step.output, dy);
                }
                let len = layer.geometry.filters().len();
                let channels = step.inputs[0].shape.channels + step.shape.channels;
                let rows = self.images * step.shape.pixels();
                // Twice as many numbers of a gradient as of what it is made from take no longer: the gradient
                // is in the cache from block to block, and that need not be read again.
                let small =
                    matches!(layer.algorithm, Algorithm::Grouped(_)) || len <= 2 * rows * channels;
                self.weight(number, layer, small || layer.expansion.is_some(), dy);
                if layer.expansion.is_some() {
                    self.summed[number] = self.segments.len() - 1;
                }
            }
            _ => {}
        }
        // What is added to a normalisation has its gradient already.
        let own = match step.kind {
            Kind::Norm(_) => &step.inputs[..1],
            _ => &step.inputs[..],
        };
        let inputs = || own.iter().map(|input| input.value);
        if inputs().any(|value| value > 0) {
            let values: Vec<usize> = match &step.kind {
                Kind::Activation(function) if function.tells_its_gradient() => {
                    vec![self.restored(step.output)]
                }
                Kind::Norm(_) | Kind::MaxPool(_) | Kind::Activation(_) | Kind::Gate => {
                    inputs().map(|value| self.restored(value)).collect()
                }
                _ => Vec::new(),
            };
            let into = self.targets(number, own, dy);
            let away = into.iter().flatten().filter(|to| to.slot != dy || to.add);
            if away.count() > 0 || matches!(step.kind, Kind::Activation(_)) {
                let targets = into.iter().flatten().map(|target| target.slot);
                let slots: Vec<usize> = values.iter().copied().chain([dy]).chain(targets).collect();
                let prepared = match &step.kind {
                    Kind::Convolution(layer) => layer.prepared(true),
                    _ => 0,
                };
                self.push(number, &slots, false, |segment| Work::Backward {
                    values,
                    dy,
                    into,
                    filters: take(&mut segment.prepared, prepared),
                });
            }
        }
        if step.expansion().is_some() {
            self.correct(number);
        }
        for value in inputs().filter(|value| *value > 0) {
            self.pending[value] -= 1;
            if self.pending[value] == 0 {
                self.complete(value);
            }
        }
    }

    /// What waits for the sums of an expansion.
    fn correct(&mut self, number: usize) {
        self.arrive(number);
        let value = self.steps[number].inputs[0].value;
        let x = self.restored(value);
        if let Some(dx) = self.gradients[value] {
            self.push(number, &[x, dx], false, |_| Work::Correct { x, dx });
        }
    }

    fn weight(&mut self, number: usize, layer: &Convolution, small: bool, dy: usize) {
        let x = self.restored(self.steps[number].inputs[0].value);
        if !small {
            // They are read when all images are through.
            self.slots[x].keep();
            self.slots[dy].keep();
        }
        let channels = stride(layer.geometry.output.channels);
        self.push(number, &[x, dy], false, |segment| Work::Weight {
            x,
            dy,
            at: small.then(|| take(&mut segment.parts, layer.numbers())),
            bias: layer.bias.map(|_| take(&mut segment.parts, channels)),
        });
    }

    /// Where the gradients of a step's inputs go.
    fn targets(&mut self, number: usize, inputs: &[Input], dy: usize) -> Vec<Option<GradientSlot>> {
        let shares = match &self.steps[number].kind {
            Kind::Add => self.shares(number),
            Kind::Activation(_) => vec![true],
            _ => vec![false; inputs.len()],
        };
        let inputs = inputs.iter().zip(shares);
        let targets = inputs.map(|(input, shares)| {
            (input.value > 0).then(|| self.target(input, shares.then_some(dy)))
        });
        targets.collect()
    }

    /// Where the gradient of an input goes: where others have put theirs, else into the slot that it may share, else
    /// into one of its own.
    fn target(&mut self, input: &Input, shared: Option<usize>) -> GradientSlot {
        let slot = self.gradients[input.value];
        let add = slot.is_some();
        let slot = slot.or(shared).unwrap_or_else(|| {
            self.slots.push(Slot::new(padded(input.shape)));
            self.slots.len() - 1
        });
        self.gradients[input.value] = Some(slot);
        GradientSlot { slot, add }
    }

    /// Which inputs of a sum may have their gradient where that of the sum is: one of them; or both, where
    /// one of them is only read from then on, and for the last time before anything is added to the other.
    /// What [`Builder::pass_on`] adds may come at any time.
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
                // Of a fresh gradient one share is this sum's.
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

    /// Whether a step leaves the gradient of its value as it is, and nobody else gets it from it.
    fn only_reads(&self, number: usize) -> bool {
        let step = &self.steps[number];
        match &step.kind {
            Kind::Norm(norm) => norm.function == Function::Identity && step.inputs.len() == 1,
            kind => matches!(kind, Kind::Noise { .. }),
        }
    }

    /// A value's gradient is complete.
    fn complete(&mut self, value: usize) {
        let mut complete = Some(value);
        while let Some(value) = complete.take()
            && let (Some(number), Some(dy)) = (self.makers[value], self.gradients[value])
            && matches!(self.steps[number].kind, Kind::Norm(_))
        {
            self.gradients(number, self.steps[number].inputs[0].value, dy);
            self.summed[number] = self.segments.len() - 1;
            complete = self.pass_on(number, dy);
        }
    }

    /// Whether a step gives a value, which is added to what it normalises, its gradient as soon as it has its own.
    fn passes_on(&self, number: usize, value: usize) -> bool {
        let step = &self.steps[number];
        let added = step.inputs.get(1).map(|input| input.value);
        matches!(step.kind, Kind::Norm(_)) && added == Some(value)
    }

    /// The gradient of what is added to a normalisation, which is that of what is inside its activation. Returns the
    /// value whose gradient that completes.
    fn pass_on(&mut self, number: usize, dy: usize) -> Option<usize> {
        let steps = self.steps;
        let input = steps[number].inputs.get(1)?;
        let value = input.value;
        if value == 0 {
            return None;
        }
        // The normalisation reads it once more. They may share it if whoever adds to it, or changes it, comes later.
        let mut readers = self.readers[value].iter().copied();
        let add_later = readers
            .all(|reader| reader == number || reader < number && !self.passes_on(reader, value));
        let is_norm = |maker: usize| matches!(steps[maker].kind, Kind::Norm(_));
        let changes_now = self.pending[value] == 1
            && self.makers[value].is_some_and(|maker| is_norm(maker) && !self.only_reads(maker));
        let target = self.target(input, (add_later && !changes_now).then_some(dy));
        if target.slot != dy {
            self.push(number, &[dy, target.slot], false, |_| Work::Backward {
                values: Vec::new(),
                dy,
                into: vec![None, Some(target)],
                filters: 0,
            });
        }
        self.pending[value] -= 1;
        (self.pending[value] == 0).then_some(value)
    }

    /// Sums of the gradient of a step that normalises.
    fn gradients(&mut self, number: usize, value: usize, dy: usize) {
        let step = &self.steps[number];
        let len = 2 * stride(step.shape.channels);
        let inside = step.inputs.len() > 1;
        let given = step
            .norm()
            .filter(|norm| inside && norm.function != Function::Identity);
        let y = given.map(|_| self.restored(self.steps[number].output));
        let x = self.restored(value);
        let slots: Vec<usize> = [x, dy].into_iter().chain(y).collect();
        self.push(number, &slots, true, |segment| Work::Gradients {
            x,
            y,
            dy,
            at: take(&mut segment.sums, len),
        });
    }
}

/// How many steps in a row may compute something again: a normalisation and the sums of four residual blocks behind
/// it. More would compute much of a network over and over.
const DEEP: usize = 5;

/// For each value how many steps compute it again from values that are kept; 0 where it is kept.
///
/// A normalisation or an expansion is, since its gradient needs what it reads anyway. Sums, normalisations with sums, and
/// their like are where nothing is kept for them alone; for a single pixel it is not worth the trouble.
pub(in crate::cpu) fn depths(steps: &[Step], values: usize) -> Vec<usize> {
    let needed = needed(steps, values);
    let mut depths = vec![0; values];
    for step in steps {
        let inputs = || step.inputs.iter().map(|input| input.value);
        let again = match step.kind {
            Kind::Norm(_) if step.inputs.len() == 1 => true,
            Kind::Gate => true,
            Kind::Convolution(ref layer) => layer.expansion.is_some(),
            Kind::Norm(_) | Kind::Add | Kind::Activation(_) | Kind::Noise { whole: true, .. } => {
                step.shape.pixels() > 1 && inputs().all(|x| depths[x] > 0 || needed[x])
            }
            _ => false,
        };
        let depth = 1 + inputs().map(|x| depths[x]).max().unwrap_or(0);
        if again && depth <= DEEP {
            depths[step.output] = depth;
        }
    }
    depths
}

/// For each value whether a step's gradient follows from it.
fn needed(steps: &[Step], values: usize) -> Vec<bool> {
    let mut needed = vec![false; values];
    needed[0] = true;
    for step in steps {
        match step.kind {
            Kind::Activation(function) if function.tells_its_gradient() => {
                needed[step.output] = true;
            }
            Kind::Norm(ref norm) => {
                needed[step.inputs[0].value] = true;
                if step.inputs.len() > 1 && norm.function != Function::Identity {
                    needed[step.output] = true;
                }
            }
            Kind::Convolution(_) | Kind::Gate | Kind::MaxPool(_) | Kind::Activation(_) => {
                for input in &step.inputs {
                    needed[input.value] = true;
                }
            }
            Kind::Add | Kind::Move(_) | Kind::Mix(_) | Kind::Noise { .. } | Kind::Flatten => {}
        }
    }
    needed
}
