//! A shard of a batch: some of its images, with their memory. Shards run segments on one thread each.

use std::io;
use std::ops::Range;
use std::time::Instant;

use crate::cpu::kernels::aligned_buffer::AlignedBuffer;
use crate::cpu::kernels::batch_norm;
use crate::cpu::kernels::destination::Destination;
use crate::cpu::kernels::fused_pointwise;
use crate::cpu::kernels::layout::pixel_stride;
use crate::cpu::kernels::whitening::ImageScratch;
use crate::cpu::plan::liveness::{ArenaSizes, Buffer};
use crate::cpu::plan::program::{ActionKind, Segment};
use crate::cpu::plan::step::{Algorithm, FusedNorm, Step, StepKind};
use crate::cpu::run::memory::{Arena, ShardMemory};
use crate::cpu::run::step::{self, Shared};
use crate::cpu::run::whitening;

/// Some images of a batch, and the memory for their values and gradients.
///
/// The cut into shards depends on sizes alone, so that sums over shards have the same bits for any number of threads.
#[derive(Debug)]
pub(in crate::cpu) struct Shard {
    /// The images' numbers in the batch.
    pub(in crate::cpu) images: Range<usize>,
    /// The buffers that hold all images of the shard.
    memory: Arena,
    /// Sums over the shard's images, for BatchNorm: two per channel for each BatchNorm that a segment sums for, and
    /// [`fused_pointwise::moments_len`] for a fused pointwise convolution.
    pub(in crate::cpu) sums: Vec<f64>,
    /// The pivots of the moments, see [`batch_norm::moments`]; those of the sums at index `i` are at `i / 2`.
    pub(in crate::cpu) pivots: Vec<f32>,
    /// Filter and bias gradients summed over the shard's images.
    pub(in crate::cpu) partials: AlignedBuffer,
    /// Seconds spent in each step so far, (forward, backward).
    pub(in crate::cpu) seconds: Vec<(f64, f64)>,
}

/// Images per shard, at most.
const MAX_IMAGES: usize = 16;
/// Shards per batch, unless [`MAX_IMAGES`] asks for more: the more there are, the less time threads wait for the last one
/// at the end of a segment.
const SHARDS: usize = 16;
/// Shards per batch where images are small: kernels are faster on many of them at a time.
const SHARDS_OF_SMALL_IMAGES: usize = 8;

/// The images of each shard of a batch. `elements` is the size of all values of one image, `min_elements` the size of all
/// values of a shard from which on a batch is cut into [`SHARDS`].
pub(in crate::cpu) fn shard_ranges(
    images: usize,
    elements: usize,
    min_elements: usize,
) -> impl Iterator<Item = Range<usize>> {
    let shards = if images.div_ceil(SHARDS) * elements < min_elements {
        SHARDS_OF_SMALL_IMAGES
    } else {
        SHARDS
    };
    let share = images.div_ceil(shards).min(MAX_IMAGES);
    (0..images)
        .step_by(share)
        .map(move |first| first..images.min(first + share))
}

/// Memory of a thread. Its content lives within one segment of one shard, so that it stays in the core's cache from shard
/// to shard.
#[derive(Debug)]
pub(in crate::cpu) struct Workspace {
    /// The buffers that hold the images of one block.
    block: Arena,
    /// Scratch memory of kernels.
    scratch: Scratch,
}

/// Scratch memory of the kernels of a thread.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Scratch {
    pub(in crate::cpu) numbers: Vec<f32>,
    /// Of normalisations that decorrelate channels; grows in the first step.
    pub(in crate::cpu) images: ImageScratch,
}

impl Workspace {
    pub(in crate::cpu) fn new(
        sizes: ArenaSizes,
        steps: &[Step],
        training: bool,
    ) -> io::Result<Workspace> {
        let scratch = steps.iter().filter_map(|step| match &step.kind {
            StepKind::Convolution(layer) => match &layer.algorithm {
                Algorithm::Winograd(winograd) => Some(winograd.scratch_len(training)),
                Algorithm::Direct => {
                    let channels = layer.geometry.input.channels;
                    layer
                        .fused
                        .as_ref()
                        .map(|_| fused_pointwise::scratch_len(channels))
                }
                Algorithm::Grouped(_) => None,
            },
            _ => None,
        });
        Ok(Workspace {
            block: Arena::new(sizes.block)?,
            scratch: Scratch {
                numbers: vec![0.0; scratch.max().unwrap_or(0)],
                images: ImageScratch::default(),
            },
        })
    }

    /// Bytes of scratch memory.
    pub(in crate::cpu) fn scratch(&self) -> usize {
        size_of_val(&self.scratch.numbers[..]) + self.scratch.images.bytes()
    }
}

impl Shard {
    pub(in crate::cpu) fn new(
        images: Range<usize>,
        sizes: ArenaSizes,
        segments: &[Segment],
        steps: usize,
    ) -> io::Result<Shard> {
        let largest = |of: fn(&Segment) -> usize| segments.iter().map(of).max().unwrap_or(0);
        let sums = largest(|segment| segment.sums);
        Ok(Shard {
            memory: Arena::new(images.len() * sizes.shard)?,
            images,
            sums: vec![0.0; sums],
            pivots: vec![0.0; sums / 2],
            partials: AlignedBuffer::new(largest(|segment| segment.partials)),
            seconds: vec![(0.0, 0.0); steps],
        })
    }

    /// Bytes of sums and partial gradients.
    pub(in crate::cpu) fn scratch(&self) -> usize {
        size_of_val(&self.sums[..])
            + size_of_val(&self.pivots[..])
            + size_of_val(&self.partials[..])
    }

    /// All images of a buffer that holds them.
    pub(in crate::cpu) fn whole(&self, buffer: &Buffer) -> &[f32] {
        debug_assert!(buffer.holds_all_images());
        let images = self.images.len();
        &self.memory.numbers()[buffer.range(images, &(0..images))]
    }

    /// As [`Shard::whole`], to be written.
    pub(in crate::cpu) fn whole_mut(&mut self, buffer: &Buffer) -> &mut [f32] {
        debug_assert!(buffer.holds_all_images());
        let images = self.images.len();
        &mut self.memory.numbers_mut()[buffer.range(images, &(0..images))]
    }

    /// Runs a segment for all images, block by block.
    pub(in crate::cpu) fn run(
        &mut self,
        segment: &Segment,
        shared: &Shared<'_>,
        workspace: &mut Workspace,
        backward: bool,
    ) {
        self.sums[..segment.sums].fill(0.0);
        self.partials[..segment.partials].fill(0.0);
        for first in (0..self.images.len()).step_by(segment.block_images) {
            let block = first..self.images.len().min(first + segment.block_images);
            for action in &segment.actions {
                let begin = Instant::now();
                let step = &shared.steps[action.step];
                self.run_action(step, &action.kind, shared, workspace, block.clone());
                let seconds = &mut self.seconds[action.step];
                let spent = begin.elapsed().as_secs_f64();
                if backward {
                    seconds.1 += spent;
                } else {
                    seconds.0 += spent;
                }
            }
        }
    }

    /// Runs one action of a step for a block of images.
    fn run_action(
        &mut self,
        step: &Step,
        action: &ActionKind,
        shared: &Shared<'_>,
        workspace: &mut Workspace,
        block: Range<usize>,
    ) {
        let buffer = |number: usize| &shared.buffers[number];
        let mut memory = ShardMemory {
            images: self.images.len(),
            shard: self.memory.numbers_mut(),
            block: workspace.block.numbers_mut(),
        };
        let scratch = &mut workspace.scratch;
        match *action {
            ActionKind::Forward { ref x, y, filters } => {
                let first = self.images.start + block.start;
                let (y, others) = memory.split(buffer(y), &block);
                let x = |number: usize| others.get(buffer(x[number]), &block);
                let forward = step::Forward {
                    step,
                    first,
                    filters,
                };
                forward.run(shared, x, y, scratch);
            }
            ActionKind::NormMoments { x, at } => {
                let stride = pixel_stride(step.inputs[0].shape.channels);
                let x = memory.get(buffer(x), &block);
                let pivot = &mut self.pivots[at / 2..][..stride];
                if block.start == 0 {
                    pivot.copy_from_slice(&x[..stride]);
                }
                let sums = &mut self.sums[at..];
                if let StepKind::Whitening(norm) = &step.kind {
                    let sums = (&*pivot, &mut sums[..norm.state.moments_len()]);
                    whitening::moments(norm, step.shape, shared.isa, x, sums, &mut scratch.images);
                } else if let Some((layer, _)) = step.fused_pointwise() {
                    let layer = layer.pointwise();
                    let sums =
                        &mut sums[..fused_pointwise::moments_len(layer.geometry.input.channels)];
                    let scratch = &mut scratch.numbers[..];
                    fused_pointwise::add_moments(shared.isa, layer, x, pivot, sums, scratch);
                } else {
                    batch_norm::moments(shared.isa, x, pivot, &mut sums[..2 * stride]);
                }
            }
            ActionKind::NormGradient { x, y, dy, at } => {
                if let StepKind::Whitening(norm) = &step.kind {
                    let sums = &mut self.sums[at..][..norm.gradients_len()];
                    let values = (
                        memory.get(buffer(x), &block),
                        memory.get(buffer(dy), &block),
                    );
                    let images = &mut scratch.images;
                    whitening::gradient_sums(norm, step.shape, shared, values, sums, images);
                    return;
                }
                let Some(FusedNorm {
                    coefficients,
                    function,
                    ..
                }) = step.norm()
                else {
                    return;
                };
                let sums = &mut self.sums[at..][..2 * coefficients.mean.len()];
                let (dy, others) = memory.split(buffer(dy), &block);
                let x = others.get(buffer(x), &block);
                let y = y.map(|y| others.get(buffer(y), &block));
                if step.fused_pointwise().is_some() {
                    fused_pointwise::gradient_sums(shared.isa, *function, x, dy, sums);
                } else {
                    coefficients.gradient_sums(shared.isa, *function, x, y, dy, sums);
                }
            }
            ActionKind::StatisticsGradient { x, dx } => {
                let (dx, others) = memory.split(buffer(dx), &block);
                if let Some((layer, fused)) = step.fused_pointwise() {
                    let x = others.get(buffer(x), &block);
                    fused.add_statistics_term(shared.isa, layer.pointwise(), shared.zeros, x, dx);
                }
            }
            ActionKind::WeightGradient { x, dy, at, bias } => {
                let get = |number: usize| memory.get(buffer(number), &block);
                let (x, dy) = (get(x), get(dy));
                if let Some(at) = at {
                    let dw = &mut self.partials[at..];
                    step::add_weight_gradient(step, shared, x, dy, dw, &mut scratch.numbers);
                }
                if let Some(at) = bias {
                    step::add_bias_gradient(step, dy, &mut self.partials[at..]);
                }
            }
            ActionKind::InputGradients {
                ref values,
                dy,
                ref into,
                filters,
            } => {
                for (number, target) in into.iter().enumerate() {
                    let Some(target) = target else {
                        continue;
                    };
                    let (dx, others) = memory.split(buffer(target.buffer), &block);
                    let value = |number: usize| others.get(buffer(values[number]), &block);
                    if target.buffer == dy {
                        step::backward_in_place(step, shared, value, dx, target.add);
                        continue;
                    }
                    let backward = step::Backward {
                        step,
                        first: self.images.start + block.start,
                        filters,
                        dy: others.get(buffer(dy), &block),
                        input: number,
                    };
                    let dx = Destination {
                        data: dx,
                        add: target.add,
                    };
                    backward.run(shared, value, dx, scratch);
                }
            }
        }
    }
}
