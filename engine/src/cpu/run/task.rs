//! A share of a batch: its images' memory, what a thread computes in, and how images go through a segment.

use std::io;
use std::ops::Range;
use std::time::Instant;

use crate::cpu::kernels::expand;
use crate::cpu::kernels::layout::stride;
use crate::cpu::kernels::lines::Lines;
use crate::cpu::kernels::norm;
use crate::cpu::plan::liveness::{Extent, Slot};
use crate::cpu::plan::program::{Segment, Work};
use crate::cpu::plan::step::{Algorithm, Kind, Norm, Step};
use crate::cpu::run::memory::{Memory, Room};
use crate::cpu::run::step::{self, Shared};

/// Some images of a batch. Which ones follows from sizes alone, so that sums over the parts of a batch
/// have the same bits for any number of threads.
#[derive(Debug)]
pub(in crate::cpu) struct Task {
    /// Of the batch.
    pub(in crate::cpu) images: Range<usize>,
    /// The slots that hold all of them.
    memory: Memory,
    /// For each normalisation that a segment sums for, two sums a channel; more for an expansion, see
    /// [`expand::moments`].
    pub(in crate::cpu) sums: Vec<f64>,
    /// Half as long: around which numbers they are taken, for sums from a place on at half of that.
    pub(in crate::cpu) around: Vec<f32>,
    /// Gradients of filters and biases that a segment sums up.
    pub(in crate::cpu) parts: Lines,
    /// Seconds that each step has taken so far, forward and backward.
    pub(in crate::cpu) seconds: Vec<(f64, f64)>,
}

/// Images of a batch that a task should have, and how many tasks there should be before it has more: the more there
/// are, the less threads wait for the last at the end of a segment.
const IMAGES: usize = 16;
const TASKS: usize = 16;
/// How many there should be where an image's values are small, which want many images at a time.
const FEWER: usize = 8;

/// Which images of a batch its tasks have, given how many numbers the values of an image are together, and
/// how many those of a task's images have to be at least where there are [`TASKS`].
pub(in crate::cpu) fn shares(
    images: usize,
    numbers: usize,
    least: usize,
) -> impl Iterator<Item = Range<usize>> {
    let tasks = match images.div_ceil(TASKS) * numbers < least {
        true => FEWER,
        false => TASKS,
    };
    let share = images.div_ceil(tasks).min(IMAGES);
    (0..images)
        .step_by(share)
        .map(move |first| first..images.min(first + share))
}

/// What a thread computes in. Nothing in it outlives a segment of a task, so that it stays in the core's cache
/// from task to task.
#[derive(Debug)]
pub(in crate::cpu) struct Workspace {
    /// The slots that hold a block of images.
    near: Memory,
    /// What a step computes with.
    scratch: Vec<f32>,
}

impl Workspace {
    pub(in crate::cpu) fn new(
        extent: Extent,
        steps: &[Step],
        training: bool,
    ) -> io::Result<Workspace> {
        let scratch = steps.iter().filter_map(|step| match &step.kind {
            Kind::Convolution(layer) => match &layer.algorithm {
                Algorithm::Winograd(winograd) => Some(winograd.scratch(training)),
                Algorithm::Product => {
                    let channels = layer.geometry.input.channels;
                    layer.expansion.as_ref().map(|_| expand::scratch(channels))
                }
                Algorithm::Grouped(_) => None,
            },
            _ => None,
        });
        Ok(Workspace {
            near: Memory::new(extent.near)?,
            scratch: vec![0.0; scratch.max().unwrap_or(0)],
        })
    }

    /// Bytes of what steps compute with.
    pub(in crate::cpu) fn scratch(&self) -> usize {
        size_of_val(&self.scratch[..])
    }
}

impl Task {
    pub(in crate::cpu) fn new(
        images: Range<usize>,
        extent: Extent,
        segments: &[Segment],
        steps: usize,
    ) -> io::Result<Task> {
        let most = |of: fn(&Segment) -> usize| segments.iter().map(of).max().unwrap_or(0);
        let sums = most(|segment| segment.sums);
        Ok(Task {
            memory: Memory::new(images.len() * extent.whole)?,
            images,
            sums: vec![0.0; sums],
            around: vec![0.0; sums / 2],
            parts: Lines::new(most(|segment| segment.parts)),
            seconds: vec![(0.0, 0.0); steps],
        })
    }

    /// Bytes of what segments sum up.
    pub(in crate::cpu) fn scratch(&self) -> usize {
        size_of_val(&self.sums[..]) + size_of_val(&self.around[..]) + size_of_val(&self.parts[..])
    }

    /// All images of a slot that holds them.
    pub(in crate::cpu) fn whole(&self, slot: &Slot) -> &[f32] {
        debug_assert!(slot.is_whole());
        let images = self.images.len();
        &self.memory.numbers()[slot.range(images, &(0..images))]
    }

    /// The same, to be written.
    pub(in crate::cpu) fn whole_mut(&mut self, slot: &Slot) -> &mut [f32] {
        debug_assert!(slot.is_whole());
        let images = self.images.len();
        &mut self.memory.numbers_mut()[slot.range(images, &(0..images))]
    }

    /// Takes all images through a segment.
    pub(in crate::cpu) fn run(
        &mut self,
        segment: &Segment,
        shared: &Shared<'_>,
        workspace: &mut Workspace,
        backward: bool,
    ) {
        self.sums[..segment.sums].fill(0.0);
        self.parts[..segment.parts].fill(0.0);
        for first in (0..self.images.len()).step_by(segment.block) {
            let block = first..self.images.len().min(first + segment.block);
            for action in &segment.actions {
                let begin = Instant::now();
                let step = &shared.steps[action.step];
                self.act(step, &action.work, shared, workspace, block.clone());
                let seconds = &mut self.seconds[action.step];
                let spent = begin.elapsed().as_secs_f64();
                match backward {
                    true => seconds.1 += spent,
                    false => seconds.0 += spent,
                }
            }
        }
    }

    fn act(
        &mut self,
        step: &Step,
        work: &Work,
        shared: &Shared<'_>,
        workspace: &mut Workspace,
        block: Range<usize>,
    ) {
        let slot = |number: usize| &shared.slots[number];
        let mut room = Room {
            images: self.images.len(),
            whole: self.memory.numbers_mut(),
            near: workspace.near.numbers_mut(),
        };
        let scratch = &mut workspace.scratch[..];
        match *work {
            Work::Forward { ref x, y, filters } => {
                let first = self.images.start + block.start;
                let (y, others) = room.write(slot(y), &block);
                let x = |number: usize| others.get(slot(x[number]), &block);
                let forward = step::Forward {
                    step,
                    first,
                    filters,
                };
                forward.run(shared, x, y, scratch);
            }
            Work::Moments { x, at } => {
                let stride = stride(step.inputs[0].shape.channels);
                let x = room.get(slot(x), &block);
                let around = &mut self.around[at / 2..][..stride];
                if block.start == 0 {
                    around.copy_from_slice(&x[..stride]);
                }
                let sums = &mut self.sums[at..];
                if let Some((layer, _)) = step.expansion() {
                    let layer = layer.pointwise();
                    let sums = &mut sums[..expand::moments(layer.geometry.input.channels)];
                    expand::add_moments((shared.isa, layer), x, around, sums, scratch);
                } else {
                    norm::moments(shared.isa, x, around, &mut sums[..2 * stride]);
                }
            }
            Work::Gradients { x, y, dy, at } => {
                let Some(Norm {
                    normal, function, ..
                }) = step.norm()
                else {
                    return;
                };
                let sums = &mut self.sums[at..][..2 * normal.mean.len()];
                let (dy, others) = room.write(slot(dy), &block);
                let x = others.get(slot(x), &block);
                let y = y.map(|y| others.get(slot(y), &block));
                match step.expansion() {
                    Some(_) => expand::gradients((shared.isa, *function), x, dy, sums),
                    None => normal.gradients((shared.isa, *function), (x, y), dy, sums),
                }
            }
            Work::Correct { x, dx } => {
                let (dx, others) = room.write(slot(dx), &block);
                if let Some((layer, expansion)) = step.expansion() {
                    let x = others.get(slot(x), &block);
                    expansion.correct((shared.isa, layer.pointwise()), shared.zeros, x, dx);
                }
            }
            Work::Weight { x, dy, at, bias } => {
                let get = |number: usize| room.get(slot(number), &block);
                let (x, dy) = (get(x), get(dy));
                if let Some(at) = at {
                    let dw = &mut self.parts[at..];
                    step::weight(step, shared, (x, dy), dw, scratch);
                }
                if let Some(at) = bias {
                    step::bias(step, dy, &mut self.parts[at..]);
                }
            }
            Work::Backward {
                ref values,
                dy,
                ref into,
                filters,
            } => {
                for (number, target) in into.iter().enumerate() {
                    let Some(target) = target else {
                        continue;
                    };
                    let (dx, others) = room.write(slot(target.slot), &block);
                    let value = |number: usize| others.get(slot(values[number]), &block);
                    if target.slot == dy {
                        step::backward_in_place(step, shared, value, dx, target.add);
                        continue;
                    }
                    let backward = step::Backward {
                        step,
                        first: self.images.start + block.start,
                        filters,
                        dy: others.get(slot(dy), &block),
                        input: number,
                    };
                    backward.run(shared, value, (dx, target.add), scratch);
                }
            }
        }
    }
}
