//! What tasks have summed up of all images goes to where it is needed: to normalisations, expansions, and the
//! gradients of parameters. Tasks come in their order, so that sums have the same bits for any number of threads.

use rayon::prelude::*;

use crate::cpu::kernels::convolution::winograd;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, stride};
use crate::cpu::plan::liveness::Slot;
use crate::cpu::plan::program::Work;
use crate::cpu::plan::step::{Algorithm, Convolution, Kind, Norm, Step};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::step;
use crate::cpu::run::task::Task;
use crate::net::Op;

/// All tasks, when they are through a segment.
#[derive(Debug)]
pub(in crate::cpu) struct Collect<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) tasks: &'a [Task],
    pub(in crate::cpu) slots: &'a [Slot],
    pub(in crate::cpu) parameters: &'a mut [Parameter],
}

impl Collect<'_> {
    /// Takes what a step has summed up.
    pub(in crate::cpu) fn take(&mut self, step: &mut Step, work: &Work) {
        match *work {
            Work::Moments { at, .. } => self.moments(step, at),
            Work::Gradients { at, .. } => self.gradients(step, at),
            Work::Weight { x, dy, at, bias } => match at.filter(|_| step.expansion().is_some()) {
                Some(at) => self.expansion(step, at),
                None => self.weight(step, (x, dy), (at, bias)),
            },
            Work::Forward { .. } | Work::Backward { .. } | Work::Correct { .. } => {}
        }
    }

    /// Numbers a channel of a step's value.
    fn rows(&self, step: &Step) -> usize {
        let images = self.tasks.iter().map(|task| task.images.len());
        images.sum::<usize>() * step.shape.pixels()
    }

    /// Gives a normalisation the sums of what it, or its expansion, reads.
    fn moments(&mut self, step: &mut Step, at: usize) {
        let (rows, pixels) = (self.rows(step), step.shape.pixels());
        let stride = stride(step.inputs[0].shape.channels);
        let (norm, expansion) = match &mut step.kind {
            Kind::Norm(norm) => (norm, None),
            Kind::Convolution(layer) => match (&mut layer.norm, &mut layer.expansion) {
                (Some(norm), Some(expansion)) => (norm, Some((expansion, layer.weight))),
                _ => return,
            },
            _ => return,
        };
        let Norm { op, normal, .. } = &mut **norm;
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
        let parts = self.tasks.iter().map(|task| {
            let around = &task.around[at / 2..][..stride];
            (task.images.len() * pixels, around, &task.sums[at..])
        });
        let mut running = (
            std::mem::take(&mut parameters[mean.index()].value),
            std::mem::take(&mut parameters[variance.index()].value),
        );
        let affine = (
            &parameters[gamma.index()].value[..],
            &parameters[beta.index()].value[..],
        );
        let into = (&mut running.0[..], &mut running.1[..]);
        let rates = (*epsilon, *momentum);
        match expansion {
            Some((expansion, weight)) => {
                let filters = &parameters[weight.index()].value;
                let moments = expansion.measure(self.isa, filters, parts);
                normal.take_moments(moments, rows, affine, rates, into);
                expansion.follow(normal, filters);
            }
            None => normal.measure(self.isa, parts, affine, rates, into),
        }
        parameters[mean.index()].value = running.0;
        parameters[variance.index()].value = running.1;
        if let Some(batches) = batches {
            parameters[batches.index()].count += 1;
        }
    }

    /// Gives a normalisation, or an expansion, the sums of its gradient.
    fn gradients(&mut self, step: &mut Step, at: usize) {
        let rows = self.rows(step);
        let len = 2 * stride(step.shape.channels);
        let sums = self.tasks.iter().map(|task| &task.sums[at..][..len]);
        match &mut step.kind {
            Kind::Norm(norm) => differentiate(norm, self.isa, sums, rows, self.parameters),
            Kind::Convolution(layer) => {
                if let Some(expansion) = &mut layer.expansion {
                    expansion.take(sums);
                }
            }
            _ => {}
        }
    }

    /// Gives an expansion the products of its gradient and what it reads, and its normalisation and filters their
    /// gradients.
    fn expansion(&mut self, step: &mut Step, at: usize) {
        let rows = self.rows(step);
        let Kind::Convolution(layer) = &mut step.kind else {
            return;
        };
        let Convolution {
            norm: Some(norm),
            expansion: Some(expansion),
            weight,
            ..
        } = &mut **layer
        else {
            return;
        };
        self.add_parts(at, expansion.products());
        let filters = &self.parameters[weight.index()].value;
        let sums = std::iter::once(expansion.sums(filters));
        differentiate(norm, self.isa, sums, rows, self.parameters);
        let Parameter {
            value, gradient, ..
        } = &mut self.parameters[weight.index()];
        expansion.differentiate((self.isa, rows), &norm.normal, value, gradient);
    }

    /// Sums up the gradient of a step's filters, and bias.
    fn weight(
        &mut self,
        step: &Step,
        (x, dy): (usize, usize),
        (at, bias): (Option<usize>, Option<usize>),
    ) {
        let Kind::Convolution(layer) = &step.kind else {
            return;
        };
        let (isa, tasks) = (self.isa, self.tasks);
        let mut dw = std::mem::take(&mut self.parameters[layer.weight.index()].gradient);
        match at {
            Some(at) if matches!(layer.algorithm, Algorithm::Winograd(_)) => {
                let filters = layer.geometry.filters();
                let part = winograd::transformed(&filters).strip();
                let strips = dw.par_chunks_mut(filters.strip()).enumerate();
                strips.for_each(|(strip, dw)| {
                    let parts = tasks
                        .iter()
                        .map(|task| &task.parts[at + strip * part..][..part]);
                    let width = filters.to - strip * LANES;
                    winograd::collect(isa, parts, width.min(LANES), dw);
                });
            }
            Some(at) => self.add_parts(at, &mut dw),
            None => {
                let gradient = step::weight_gradient(layer, isa);
                let (x, dy) = (&self.slots[x], &self.slots[dy]);
                let parts = dw.par_chunks_mut(gradient.part()).enumerate();
                parts.for_each(|(number, dw)| {
                    for task in tasks {
                        gradient.add_to_part(number, (task.whole(x), task.whole(dy)), dw);
                    }
                });
            }
        }
        if let Algorithm::Grouped(narrow) = layer.algorithm {
            // Padding is multiplied like channels, whatever is in it.
            narrow.clear_padding(&mut dw);
        }
        self.parameters[layer.weight.index()].gradient = dw;
        if let (Some(at), Some(id)) = (bias, layer.bias) {
            let db = &mut self.parameters[id.index()].gradient;
            for task in tasks {
                let part = &task.parts[at..];
                db.iter_mut().zip(part).for_each(|(db, part)| *db += *part);
            }
        }
    }

    /// Adds what tasks have from a place in their parts on.
    fn add_parts(&self, at: usize, sums: &mut [f32]) {
        let chunks = sums.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(chunk, sums)| {
            self.isa.run_loops(
                #[inline(always)]
                || {
                    for task in self.tasks {
                        let part = &task.parts[at + chunk * CHUNK..];
                        for (sum, part) in sums.iter_mut().zip(part) {
                            *sum += *part;
                        }
                    }
                },
            );
        });
    }
}

/// Numbers that a thread adds up at a time.
const CHUNK: usize = 16_384;

/// Gives a normalisation sums of its gradient.
fn differentiate<'a>(
    norm: &mut Norm,
    isa: Isa,
    sums: impl Iterator<Item = &'a [f64]> + Clone,
    rows: usize,
    parameters: &mut [Parameter],
) {
    let Norm { op, normal, .. } = norm;
    let Op::BatchNorm { gamma, beta, .. } = op else {
        return;
    };
    let mut affine = (
        std::mem::take(&mut parameters[gamma.index()].gradient),
        std::mem::take(&mut parameters[beta.index()].gradient),
    );
    normal.differentiate(isa, sums, rows, (&mut affine.0, &mut affine.1));
    parameters[gamma.index()].gradient = affine.0;
    parameters[beta.index()].gradient = affine.1;
}
