//! Reductions over the shards of a batch: their partial sums become BatchNorm statistics and the gradients of parameters.
//! Shards are added in their order, so that sums have the same bits for any number of threads.

use rayon::prelude::*;

use crate::cpu::kernels::convolution::winograd;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, pixel_stride};
use crate::cpu::kernels::statistics::{Affine, AffineGradient, PartialMoments, Running};
use crate::cpu::kernels::whitening::BatchPart;
use crate::cpu::plan::liveness::Buffer;
use crate::cpu::plan::program::ActionKind;
use crate::cpu::plan::step::{Algorithm, Convolution, FusedNorm, Step, StepKind};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::shard::Shard;
use crate::cpu::run::step;
use crate::cpu::run::whitening;
use crate::mode::Mode;
use crate::net::Op;

/// The reduction at the end of a segment, when all shards have run it.
#[derive(Debug)]
pub(in crate::cpu) struct Reduce<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) mode: Mode,
    pub(in crate::cpu) shards: &'a [Shard],
    pub(in crate::cpu) buffers: &'a [Buffer],
    pub(in crate::cpu) parameters: &'a mut [Parameter],
    /// Scratch memory of normalisations that decorrelate channels.
    pub(in crate::cpu) matrices: &'a mut [f64],
}

impl Reduce<'_> {
    /// Reduces the partial sums of an action; does nothing for actions without sums.
    pub(in crate::cpu) fn run(&mut self, step: &mut Step, action: &ActionKind) {
        match *action {
            ActionKind::NormMoments { at, .. } => self.norm_moments(step, at),
            ActionKind::NormGradient { at, .. } => self.norm_gradient(step, at),
            ActionKind::WeightGradient { x, dy, at, bias } => {
                match at.filter(|_| step.fused_pointwise().is_some()) {
                    Some(at) => self.fused_pointwise_gradient(step, at),
                    None => {
                        match at {
                            Some(at) => self.add_partial_weight_gradients(step, at),
                            None => self.add_weight_gradient(step, x, dy),
                        }
                        if let Some(bias) = bias {
                            self.add_bias_gradient(step, bias);
                        }
                    }
                }
            }
            ActionKind::Forward { .. }
            | ActionKind::InputGradients { .. }
            | ActionKind::StatisticsGradient { .. } => {}
        }
    }

    /// Numbers per channel of a step's value, over the whole batch.
    fn rows(&self, step: &Step) -> usize {
        let images = self.shards.iter().map(|shard| shard.images.len());
        images.sum::<usize>() * step.shape.pixels()
    }

    /// Computes the statistics and forward coefficients of a BatchNorm from the moments of its input, or of the input of its
    /// fused pointwise convolution; updates the running statistics.
    fn norm_moments(&mut self, step: &mut Step, at: usize) {
        let (rows, pixels) = (self.rows(step), step.shape.pixels());
        let stride = pixel_stride(step.inputs[0].shape.channels);
        if let StepKind::Whitening(norm) = &mut step.kind {
            let shards = self.shards.iter();
            let parts = shards.map(|shard| BatchPart {
                rows: shard.images.len() * pixels,
                pivot: &shard.pivots[at / 2..][..stride],
                sums: &shard.sums[at..],
            });
            let (parameters, matrices) = (&mut *self.parameters, &mut *self.matrices);
            let images = rows / pixels;
            whitening::reduce_moments(
                norm, self.isa, self.mode, parts, images, parameters, matrices,
            );
            return;
        }
        let (norm, fused) = match &mut step.kind {
            StepKind::Norm(norm) => (norm, None),
            StepKind::Convolution(layer) => match (&mut layer.norm, &mut layer.fused) {
                (Some(norm), Some(fused)) => (norm, Some((fused, layer.weight))),
                _ => return,
            },
            _ => return,
        };
        let FusedNorm {
            op, coefficients, ..
        } = &mut **norm;
        let Op::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            batches,
            epsilon,
            momentum,
        } = op
        else {
            return;
        };
        let parameters = &mut *self.parameters;
        let parts = self.shards.iter().map(|shard| PartialMoments {
            rows: shard.images.len() * pixels,
            pivot: &shard.pivots[at / 2..][..stride],
            sums: &shard.sums[at..],
        });
        let mut running_mean = std::mem::take(&mut parameters[mean.index()].value);
        let mut running_variance = std::mem::take(&mut parameters[variance.index()].value);
        let affine = Affine {
            gamma: &parameters[gamma.index()].value,
            beta: &parameters[beta.index()].value,
        };
        let running = Running {
            mean: &mut running_mean,
            variance: &mut running_variance,
            epsilon: *epsilon,
            momentum: self.mode.momentum(*momentum),
        };
        match fused {
            Some((fused, weight)) => {
                let filters = &parameters[weight.index()].value;
                let (means, variances) = fused.output_statistics(self.isa, filters, parts);
                coefficients.use_mean_and_variance(means, variances, rows, affine, running);
                fused.set_bias(coefficients, filters);
            }
            None => coefficients.use_batch(self.isa, parts, affine, running),
        }
        parameters[mean.index()].value = running_mean;
        parameters[variance.index()].value = running_variance;
        if let Some(batches) = batches {
            parameters[batches.index()].count += 1;
        }
    }

    /// Computes the backward coefficients of a BatchNorm, and the gradients of γ and β, from its gradient sums; of a fused
    /// pointwise convolution, adds up Σ g.
    fn norm_gradient(&mut self, step: &mut Step, at: usize) {
        let (rows, pixels) = (self.rows(step), step.shape.pixels());
        if let StepKind::Whitening(norm) = &mut step.kind {
            let parts = self.shards.iter().map(|shard| BatchPart {
                rows: shard.images.len() * pixels,
                pivot: &[],
                sums: &shard.sums[at..],
            });
            let (parameters, matrices) = (&mut *self.parameters, &mut *self.matrices);
            whitening::reduce_gradient(norm, self.isa, parts, rows / pixels, parameters, matrices);
            return;
        }
        let len = 2 * pixel_stride(step.shape.channels);
        let sums = self.shards.iter().map(|shard| &shard.sums[at..][..len]);
        match &mut step.kind {
            StepKind::Norm(norm) => {
                add_affine_gradient(norm, self.isa, sums, rows, self.parameters)
            }
            StepKind::Convolution(layer) => {
                if let Some(fused) = &mut layer.fused {
                    fused.sum_gradients(sums);
                }
            }
            _ => {}
        }
    }

    /// Computes the gradients of a fused pointwise convolution's filters, γ and β, from Σ g xᵀ over all shards.
    fn fused_pointwise_gradient(&mut self, step: &mut Step, at: usize) {
        let rows = self.rows(step);
        let StepKind::Convolution(layer) = &mut step.kind else {
            return;
        };
        let Convolution {
            norm: Some(norm),
            fused: Some(fused),
            weight,
            ..
        } = &mut **layer
        else {
            return;
        };
        self.add_partials(at, fused.products());
        let filters = &self.parameters[weight.index()].value;
        let sums = std::iter::once(fused.norm_gradient_sums(filters));
        add_affine_gradient(norm, self.isa, sums, rows, self.parameters);
        let Parameter {
            value, gradient, ..
        } = &mut self.parameters[weight.index()];
        fused.differentiate(self.isa, rows, &norm.coefficients, value, gradient);
    }

    /// Adds to the filter gradient of a convolution, from the shards' partial gradients at index `at`.
    fn add_partial_weight_gradients(&mut self, step: &Step, at: usize) {
        let StepKind::Convolution(layer) = &step.kind else {
            return;
        };
        let (isa, shards) = (self.isa, self.shards);
        let mut dw = std::mem::take(&mut self.parameters[layer.weight.index()].gradient);
        if matches!(layer.algorithm, Algorithm::Winograd(_)) {
            let filters = layer.geometry.filters();
            let len = winograd::transformed_layout(&filters).strip_len();
            let strips = dw.par_chunks_mut(filters.strip_len()).enumerate();
            strips.for_each(|(strip, dw)| {
                let partials = shards
                    .iter()
                    .map(|shard| &shard.partials[at + strip * len..][..len]);
                let width = filters.out_channels - strip * LANES;
                winograd::add_filter_gradient(isa, partials, width.min(LANES), dw);
            });
        } else {
            self.add_partials(at, &mut dw);
        }
        if let Algorithm::Grouped(grouped) = layer.algorithm {
            // The kernels multiply padding channels too, whatever they hold.
            grouped.clear_padding(&mut dw);
        }
        self.parameters[layer.weight.index()].gradient = dw;
    }

    /// Adds to the filter gradient of a convolution with large filters, from the input and output gradient of all images.
    fn add_weight_gradient(&mut self, step: &Step, x: usize, dy: usize) {
        let StepKind::Convolution(layer) = &step.kind else {
            return;
        };
        let gradient = step::weight_gradient(layer, self.isa);
        let (x, dy) = (&self.buffers[x], &self.buffers[dy]);
        let dw = &mut self.parameters[layer.weight.index()].gradient;
        let parts = dw.par_chunks_mut(gradient.part_len()).enumerate();
        parts.for_each(|(number, dw)| {
            for shard in self.shards {
                gradient.add_to_part(number, shard.whole(x), shard.whole(dy), dw);
            }
        });
    }

    /// Adds to the bias gradient of a convolution, from the shards' partial gradients at index `at`.
    fn add_bias_gradient(&mut self, step: &Step, at: usize) {
        let StepKind::Convolution(layer) = &step.kind else {
            return;
        };
        if let Some(id) = layer.bias {
            let db = &mut self.parameters[id.index()].gradient;
            for shard in self.shards {
                let partial = &shard.partials[at..];
                let both = db.iter_mut().zip(partial);
                both.for_each(|(db, partial)| *db += *partial);
            }
        }
    }

    /// Adds the shards' partial sums from index `at` on.
    fn add_partials(&self, at: usize, sums: &mut [f32]) {
        let chunks = sums.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(chunk, sums)| {
            self.isa.run_loops(
                #[inline(always)]
                || {
                    for shard in self.shards {
                        let partial = &shard.partials[at + chunk * CHUNK..];
                        for (sum, partial) in sums.iter_mut().zip(partial) {
                            *sum += *partial;
                        }
                    }
                },
            );
        });
    }
}

/// Elements per parallel chunk.
const CHUNK: usize = 16_384;

/// Adds to the gradients of γ and β, and sets the backward coefficients of a BatchNorm, from its gradient sums.
fn add_affine_gradient<'a>(
    norm: &mut FusedNorm,
    isa: Isa,
    sums: impl Iterator<Item = &'a [f64]> + Clone,
    rows: usize,
    parameters: &mut [Parameter],
) {
    let FusedNorm {
        op, coefficients, ..
    } = norm;
    let Op::BatchNorm { gamma, beta, .. } = op else {
        return;
    };
    let mut dgamma = std::mem::take(&mut parameters[gamma.index()].gradient);
    let mut dbeta = std::mem::take(&mut parameters[beta.index()].gradient);
    let affine = AffineGradient {
        gamma: &mut dgamma,
        beta: &mut dbeta,
    };
    coefficients.add_affine_gradient(isa, sums, rows, affine);
    parameters[gamma.index()].gradient = dgamma;
    parameters[beta.index()].gradient = dbeta;
}
