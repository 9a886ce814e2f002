//! Backward: sums of gradients over the parts of a batch, the gradients of tensors, and that of the input.

use super::super::{Apply, CrossProducts, ImageScratch, Term};
use super::{BatchPart, WhiteningState};
use crate::cpu::kernels::destination::Destination;
use crate::cpu::kernels::isa::Isa;
use crate::instance_gate::{GateGradients, InstanceGate};

impl WhiteningState {
    /// Elements of the sums of [`WhiteningState::add_gradient_sums`]; `hidden` are those of Channel Equilibrium's instance
    /// branch.
    pub(in crate::cpu) fn gradients_len(&self, hidden: Option<usize>) -> usize {
        let of_gate = |hidden| 1 + gate_len(self.blocks.channels, hidden);
        let own = self.blocks.matrix_len() + self.stride() + hidden.map_or(0, of_gate);
        own.next_multiple_of(2)
    }

    /// Adds to `sums`: Σ dy (x − mean)ᵀ and Σ dy; for Channel Equilibrium, with its instance branch and the size of an
    /// image, also Σ dy · x · f and the gradients of the branch's weights.
    pub(in crate::cpu) fn add_gradient_sums(
        &self,
        isa: Isa,
        (x, dy): (&[f32], &[f32]),
        gate: Option<(&InstanceGate<'_, f32>, usize)>,
        sums: &mut [f64],
        scratch: &mut ImageScratch,
    ) {
        let (products, rest) = sums.split_at_mut(self.blocks.matrix_len());
        let (row_sums, rest) = rest.split_at_mut(self.stride());
        let kernel = CrossProducts {
            blocks: self.blocks,
            a: dy,
            a_pivot: None,
            b: x,
            b_pivot: Some(&self.pivot),
        };
        kernel.add(isa, products, row_sums, &mut scratch.rows);
        let Some((gate, image_len)) = gate else {
            return;
        };
        let (channels, hidden) = (self.blocks.channels, gate.weight.len());
        for (x, dy) in x.chunks_exact(image_len).zip(dy.chunks_exact(image_len)) {
            self.of_image(isa, gate, x, dy, scratch);
            let both = scratch.products.iter().zip(&scratch.gate.factors);
            rest[0] += both.map(|(product, factor)| product * factor).sum::<f64>();
            let gradients = gate_gradients(channels, hidden, &mut rest[1..]);
            self.through_gate(gate, scratch, Some(gradients));
        }
    }

    /// Computes what an image adds to the sums: statistics, factors and Σ x · dy.
    fn of_image(
        &self,
        isa: Isa,
        gate: &InstanceGate<'_, f32>,
        x: &[f32],
        dy: &[f32],
        scratch: &mut ImageScratch,
    ) {
        scratch.measure(isa, self.blocks.channels, x);
        scratch.multiply(isa, self.blocks.channels, x, dy);
        gate.forward(&scratch.variances, &mut scratch.gate);
    }

    /// The gradient of an image's variances by way of the instance branch.
    fn through_gate(
        &self,
        gate: &InstanceGate<'_, f32>,
        scratch: &mut ImageScratch,
        gradients: Option<GateGradients<'_>>,
    ) {
        let ImageScratch {
            variances,
            products,
            gate: values,
            dfactors,
            dvariances,
            ..
        } = scratch;
        let scale = (1.0 - self.mix) / self.scale;
        dfactors.clear();
        dfactors.extend(products.iter().map(|product| product * scale));
        dvariances.resize(variances.len(), 0.0);
        gate.backward(variances, values, dfactors, dvariances, gradients);
    }

    /// Adds up Σ dy (x − mean)ᵀ and Σ dy of all parts.
    fn sum_gradients<'a>(&mut self, parts: impl Iterator<Item = BatchPart<'a>> + Clone) {
        let (d, len) = (self.whitening.group, self.blocks.matrix_len());
        let blocks = self.blocks;
        for (channel, row) in self.products.chunks_exact_mut(d).enumerate() {
            for (column, sum) in row.iter_mut().enumerate() {
                let at = blocks.sum_index(channel / d, channel % d, column);
                *sum = parts.clone().map(|part| part.sums[at]).sum();
            }
        }
        for (channel, sum) in self.gradient_sums.iter_mut().enumerate() {
            *sum = parts.clone().map(|part| part.sums[len + channel]).sum();
        }
    }

    /// Adds to the gradients of γ and β, and sets what backward applies, of IterNorm. With D = Σ dy (x − mean)ᵀ:
    /// dγ_i = Σ_j W_ij D_ij, dW = γ D, dP_T = dW / √tr, dtr = −⟨dW, W⟩ / (2 tr), and
    /// dx = (γ W)ᵀ dy + (dΣ + dΣᵀ) (x − mean) / n − the mean of the first term.
    pub(in crate::cpu) fn differentiate_affine<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = BatchPart<'a>> + Clone,
        gamma: &[f32],
        (dgamma, dbeta): (&mut [f32], &mut [f32]),
        scratch: &mut [f64],
    ) {
        let n = parts.clone().map(|part| part.rows).sum::<usize>() as f64;
        self.sum_gradients(parts);
        let d = self.whitening.group;
        let (matrices, products) = (&self.matrices, &self.products);
        for (channel, (dgamma, dbeta)) in dgamma.iter_mut().zip(dbeta).enumerate() {
            let row = channel * d..(channel + 1) * d;
            let own = matrices[row.clone()].iter().zip(&products[row]);
            *dgamma += own.map(|(w, product)| w * product).sum::<f64>() as f32;
            *dbeta += self.gradient_sums[channel] as f32;
        }
        let dmatrix = |group: usize, row: usize, column: usize| {
            let channel = group * d + row;
            f64::from(gamma[channel]) * products[channel * d + column]
        };
        let dtrace = |group: usize, trace: f64| {
            let elements =
                (0..d * d).map(|at| dmatrix(group, at / d, at % d) * matrices[group * d * d + at]);
            -elements.sum::<f64>() / (2.0 * trace)
        };
        let dp = |group: usize, trace: f64, row: usize, column: usize| {
            dmatrix(group, row, column) / trace.sqrt()
        };
        self.roots.differentiate(isa, dp, dtrace, scratch);
        self.set_backward(n, |channel| f64::from(gamma[channel]));
        for (column, offset) in self.offset.iter_mut().enumerate().take(gamma.len()) {
            let group = column / d;
            let rows = group * d..(group + 1) * d;
            let sums = rows.map(|row| {
                let element = f64::from(gamma[row]) * self.matrices[row * d + column % d];
                element * self.gradient_sums[row]
            });
            *offset = (-sums.sum::<f64>() / n) as f32;
        }
    }

    /// Adds to the gradients of Channel Equilibrium's tensors, and sets what backward applies. With D' = Σ dy xᵀ,
    /// T = Σ dy · x · f and s = √(mean variance): dλ = ⟨D', P⟩ − T / s, dP = λ D', ds = −(1 − λ) T / s².
    pub(in crate::cpu) fn differentiate_mix<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = BatchPart<'a>> + Clone,
        images: usize,
        gradients: MixGradients<'_>,
        scratch: &mut [f64],
    ) {
        let n = parts.clone().map(|part| part.rows).sum::<usize>() as f64;
        self.sum_gradients(parts.clone());
        let d = self.whitening.group;
        for (channel, row) in self.products.chunks_exact_mut(d).enumerate() {
            let pivots = &self.pivot[channel / d * d..][..d];
            let sum = self.gradient_sums[channel];
            let both = row.iter_mut().zip(pivots);
            both.for_each(|(product, pivot)| *product += sum * f64::from(*pivot));
        }
        let behind = self.blocks.matrix_len() + self.stride();
        let instance: f64 = parts.clone().map(|part| part.sums[behind]).sum();
        let along = self.products.iter().zip(&self.matrices);
        let along: f64 = along.map(|(product, p)| product * p).sum();
        let mix = self.mix;
        let MixGradients {
            mix: dmix,
            reduce,
            weight,
            bias,
            expand,
        } = gradients;
        dmix[0] += ((along - instance / self.scale) * mix * (1.0 - mix)) as f32;
        let mut at = behind + 1;
        for gradient in [reduce, weight, bias, expand] {
            for (number, sum) in gradient.iter_mut().enumerate() {
                let sums = parts.clone().map(|part| part.sums[at + number]);
                *sum += sums.sum::<f64>() as f32;
            }
            at += gradient.len();
        }
        let dscale = -(1.0 - mix) * instance / (self.scale * self.scale);
        self.of_scale = dscale / (2.0 * self.scale * (images * self.blocks.channels) as f64);
        let products = &self.products;
        let dp = |group: usize, _: f64, row: usize, column: usize| {
            mix * products[(group * d + row) * d + column]
        };
        self.roots.differentiate(isa, dp, |_, _| 0.0, scratch);
        self.set_backward(n, |_| mix);
    }

    /// Sets what backward applies: the transposed matrices, with this factor of each of their rows, and
    /// (dΣ + dΣᵀ) / n.
    fn set_backward(&mut self, n: f64, scale: impl Fn(usize) -> f64) {
        let d = self.whitening.group;
        let matrices = &self.matrices;
        let element = |group: usize, row: usize, column: usize| {
            let channel = group * d + column;
            scale(channel) * matrices[channel * d + row]
        };
        self.blocks.pack(element, &mut self.transposed);
        let roots = &self.roots;
        let element =
            |group: usize, row: usize, column: usize| roots.gradient(group, row, column) / n;
        self.blocks.pack(element, &mut self.through);
    }

    /// dx of IterNorm.
    pub(in crate::cpu) fn normalised_gradient(
        &self,
        isa: Isa,
        (x, dy): (&[f32], &[f32]),
        dx: Destination<'_>,
        scratch: &mut ImageScratch,
    ) {
        let apply = Apply {
            blocks: self.blocks,
            terms: &[
                Term {
                    matrix: &self.transposed,
                    source: dy,
                    pivot: None,
                    factor: None,
                },
                Term {
                    matrix: &self.through,
                    source: x,
                    pivot: Some(&self.pivot),
                    factor: None,
                },
            ],
            constant: &self.offset,
            add: dx.add,
        };
        apply.run(isa, dx.data, &mut scratch.rows);
    }

    /// dx of Channel Equilibrium, image by image: λ Pᵀ dy + (dΣ + dΣᵀ) (x − mean) / n + (1 − λ) f / s · dy, and by way of
    /// the variances 2 dv (x − mean of the image) / pixels.
    pub(in crate::cpu) fn equilibrated_gradient(
        &self,
        isa: Isa,
        image_len: usize,
        gate: &InstanceGate<'_, f32>,
        (x, dy): (&[f32], &[f32]),
        dx: Destination<'_>,
        scratch: &mut ImageScratch,
    ) {
        let Destination { data: dx, add } = dx;
        let pixels = (image_len / self.stride()) as f64;
        let images = x.chunks_exact(image_len).zip(dy.chunks_exact(image_len));
        for (dx, (x, dy)) in dx.chunks_exact_mut(image_len).zip(images) {
            self.of_image(isa, gate, x, dy, scratch);
            self.through_gate(gate, scratch, None);
            self.set_factor(scratch);
            scratch.slope.clear();
            scratch.slope.resize(self.stride(), 0.0);
            scratch.constant.clear();
            scratch.constant.resize(self.stride(), 0.0);
            let numbers = scratch.dvariances.iter().zip(&scratch.means);
            let to = scratch.slope.iter_mut().zip(&mut scratch.constant);
            for ((slope, constant), (dvariance, mean)) in to.zip(numbers) {
                let exact = 2.0 * (dvariance + self.of_scale) / pixels;
                (*slope, *constant) = (exact as f32, (-exact * mean) as f32);
            }
            let ImageScratch {
                rows,
                factor,
                slope,
                constant,
                ..
            } = scratch;
            let apply = Apply {
                blocks: self.blocks,
                terms: &[
                    Term {
                        matrix: &self.transposed,
                        source: dy,
                        pivot: None,
                        factor: Some(factor),
                    },
                    Term {
                        matrix: &self.through,
                        source: x,
                        pivot: Some(&self.pivot),
                        factor: Some(slope),
                    },
                ],
                constant,
                add,
            };
            apply.run(isa, dx, rows);
        }
    }
}

/// The gradients of Channel Equilibrium's tensors, to be added to.
#[derive(Debug)]
pub(in crate::cpu) struct MixGradients<'a> {
    pub(in crate::cpu) mix: &'a mut [f32],
    pub(in crate::cpu) reduce: &'a mut [f32],
    pub(in crate::cpu) weight: &'a mut [f32],
    pub(in crate::cpu) bias: &'a mut [f32],
    pub(in crate::cpu) expand: &'a mut [f32],
}

/// Elements of the gradients of the instance branch's weights.
fn gate_len(channels: usize, hidden: usize) -> usize {
    2 * channels * hidden + 2 * hidden
}

/// The parts of them.
fn gate_gradients(channels: usize, hidden: usize, all: &mut [f64]) -> GateGradients<'_> {
    let (reduce, rest) = all.split_at_mut(channels * hidden);
    let (weight, rest) = rest.split_at_mut(hidden);
    let (bias, rest) = rest.split_at_mut(hidden);
    GateGradients {
        reduce,
        weight,
        bias,
        expand: &mut rest[..channels * hidden],
    }
}
