//! What a normalisation that decorrelates channels knows of a batch: from the sums over its parts to the matrices that are
//! applied.

mod gradients;

pub(in crate::cpu) use gradients::MixGradients;

use super::newton::InverseRoots;
use super::{Apply, Blocks, CrossProducts, ImageScratch, Term};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::pixel_stride;
use crate::instance_gate::InstanceGate;
use crate::net::Whitening;

/// The state of one layer for one batch size.
#[derive(Debug)]
pub(in crate::cpu) struct WhiteningState {
    pub(in crate::cpu) blocks: Blocks,
    whitening: Whitening,
    /// Mean of each channel in the batch.
    pub(in crate::cpu) mean: Vec<f64>,
    /// The same in f32, one per padded channel: what is taken from a pixel.
    pivot: Vec<f32>,
    /// Of training only.
    roots: InverseRoots,
    /// The matrix of each group, `[groups, d, d]`: W of IterNorm, P of Channel Equilibrium.
    pub(in crate::cpu) matrices: Vec<f64>,
    /// What is applied to pixels, packed: a multiple of the matrices; in backward, that transposed, and (dΣ + dΣᵀ) / n.
    forward: Vec<f32>,
    transposed: Vec<f32>,
    through: Vec<f32>,
    /// Constants of forward and backward, one per padded channel.
    constant: Vec<f32>,
    offset: Vec<f32>,
    /// Sums over all parts: Σ dy (x − mean)ᵀ `[groups, d, d]`, and Σ dy.
    products: Vec<f64>,
    gradient_sums: Vec<f64>,
    /// λ of Channel Equilibrium.
    mix: f64,
    /// s of Channel Equilibrium.
    pub(in crate::cpu) scale: f64,
    /// What s adds to the gradient of each variance.
    of_scale: f64,
}

/// The sums of a part of a batch.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct BatchPart<'a> {
    /// Pixels.
    pub(in crate::cpu) rows: usize,
    /// One number per padded channel.
    pub(in crate::cpu) pivot: &'a [f32],
    /// See [`WhiteningState::add_moments`] and [`WhiteningState::add_gradient_sums`].
    pub(in crate::cpu) sums: &'a [f64],
}

impl WhiteningState {
    pub(in crate::cpu) fn new(channels: usize, whitening: Whitening) -> WhiteningState {
        let blocks = Blocks::new(channels, whitening.group);
        let row = || vec![0.0; pixel_stride(channels)];
        WhiteningState {
            blocks,
            whitening,
            mean: vec![0.0; channels],
            pivot: row(),
            roots: InverseRoots::default(),
            matrices: vec![0.0; channels * whitening.group],
            forward: vec![0.0; blocks.matrix_len()],
            transposed: Vec::new(),
            through: Vec::new(),
            constant: row(),
            offset: Vec::new(),
            products: Vec::new(),
            gradient_sums: Vec::new(),
            mix: 0.0,
            scale: 1.0,
            of_scale: 0.0,
        }
    }

    /// Makes room for what training needs beside evaluation.
    pub(in crate::cpu) fn prepare_training(&mut self) {
        let (whitening, len) = (self.whitening, self.blocks.matrix_len());
        self.roots = InverseRoots::new(whitening.group, self.blocks.groups(), whitening.iterations);
        self.transposed = vec![0.0; len];
        self.through = vec![0.0; len];
        self.offset = vec![0.0; self.stride()];
        self.products = vec![0.0; self.matrices.len()];
        self.gradient_sums = vec![0.0; self.blocks.channels];
    }

    /// Elements of the scratch memory of its reductions.
    pub(in crate::cpu) fn scratch_len(&self) -> usize {
        self.roots.scratch_len()
    }

    /// Bytes of all its memory.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let wide = [
            &self.mean,
            &self.matrices,
            &self.products,
            &self.gradient_sums,
        ];
        let narrow = [&self.pivot, &self.forward, &self.transposed, &self.through];
        let narrow = narrow.into_iter().chain([&self.constant, &self.offset]);
        wide.map(|numbers| size_of_val(&numbers[..]))
            .iter()
            .sum::<usize>()
            + narrow
                .map(|numbers| size_of_val(&numbers[..]))
                .sum::<usize>()
            + self.roots.bytes()
    }

    fn stride(&self) -> usize {
        self.pivot.len()
    }

    /// Elements of the sums of [`WhiteningState::add_moments`].
    pub(in crate::cpu) fn moments_len(&self) -> usize {
        // An even number, and at least two for each padded channel, as pivots are kept for half as many.
        (self.blocks.matrix_len() + self.stride() + 1)
            .max(2 * self.stride())
            .next_multiple_of(2)
    }

    /// Adds to `sums`: Σ (x − pivot) (x − pivot)ᵀ; Σ (x − pivot); with `variances`, Σ of the variances of all images and
    /// channels.
    pub(in crate::cpu) fn add_moments(
        &self,
        isa: Isa,
        x: &[f32],
        (pivot, sums): (&[f32], &mut [f64]),
        image_len: Option<usize>,
        scratch: &mut ImageScratch,
    ) {
        let (products, rest) = sums.split_at_mut(self.blocks.matrix_len());
        let (row_sums, rest) = rest.split_at_mut(self.stride());
        let kernel = CrossProducts {
            blocks: self.blocks,
            a: x,
            a_pivot: Some(pivot),
            b: x,
            b_pivot: Some(pivot),
        };
        kernel.add(isa, products, row_sums, &mut scratch.rows);
        for x in image_len.into_iter().flat_map(|len| x.chunks_exact(len)) {
            scratch.measure(isa, self.blocks.channels, x);
            rest[0] += scratch.variances.iter().sum::<f64>();
        }
    }

    /// Computes mean, covariance and its inverse root from the moments of all parts, and with `images`, the scale.
    pub(in crate::cpu) fn use_batch<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = BatchPart<'a>> + Clone + Sync,
        images: Option<usize>,
        scratch: &mut [f64],
    ) {
        let (d, stride, len) = (
            self.whitening.group,
            self.stride(),
            self.blocks.matrix_len(),
        );
        let n = parts.clone().map(|part| part.rows).sum::<usize>() as f64;
        for (channel, mean) in self.mean.iter_mut().enumerate() {
            let each = parts.clone();
            let sums = each.map(|part| {
                part.rows as f64 * f64::from(part.pivot[channel]) + part.sums[len + channel]
            });
            *mean = sums.sum::<f64>() / n;
            self.pivot[channel] = *mean as f32;
        }
        let (blocks, means, epsilon) = (self.blocks, &self.mean, self.whitening.epsilon);
        // Products of differences from the mean of the batch: those from the mean of the part, and the distance of that
        // (Chan et al. 1983).
        let covariance = |group: usize, row: usize, column: usize| {
            let (i, j) = (group * d + row, group * d + column);
            let each = parts.clone().map(|part| {
                let rows = part.rows as f64;
                let own = part.sums[blocks.sum_index(group, row, column)];
                let (a, b) = (part.sums[len + i], part.sums[len + j]);
                let distance =
                    |at: usize, sum: f64| f64::from(part.pivot[at]) + sum / rows - means[at];
                own - a * b / rows + rows * distance(i, a) * distance(j, b)
            });
            let own = if row == column { epsilon } else { 0.0 };
            each.sum::<f64>() / n + own
        };
        self.roots.compute(isa, covariance, scratch);
        if let Some(images) = images {
            let variances: f64 = parts.map(|part| part.sums[len + stride]).sum();
            self.scale = (variances / (images * blocks.channels) as f64).sqrt();
        }
    }

    /// Sets the matrices to P_T, or with `divide` to W = P_T / √trace, as IterNorm has them.
    pub(in crate::cpu) fn set_matrices(&mut self, divide: bool) {
        let d = self.whitening.group;
        for (group, matrix) in self.matrices.chunks_exact_mut(d * d).enumerate() {
            let scale = if divide {
                1.0 / self.roots.trace(group).sqrt()
            } else {
                1.0
            };
            for (at, element) in matrix.iter_mut().enumerate() {
                *element = self.roots.last(group, at / d, at % d) * scale;
            }
        }
    }

    /// Sets what was measured to running statistics, for evaluation.
    pub(in crate::cpu) fn use_running(&mut self, mean: Option<&[f32]>, matrices: &[f32]) {
        if let Some(mean) = mean {
            for (to, mean) in self.mean.iter_mut().zip(mean) {
                *to = f64::from(*mean);
            }
            self.pivot[..mean.len()].copy_from_slice(mean);
        }
        let elements = self.matrices.iter_mut().zip(matrices);
        elements.for_each(|(to, element)| *to = f64::from(*element));
    }

    /// Sets what forward applies for IterNorm: γ · W and β.
    pub(in crate::cpu) fn set_affine(&mut self, gamma: &[f32], beta: &[f32]) {
        self.set_forward(|channel| f64::from(gamma[channel]));
        self.constant[..beta.len()].copy_from_slice(beta);
    }

    /// Sets what forward applies for Channel Equilibrium: λ · P.
    pub(in crate::cpu) fn set_mix(&mut self, mix: f64) {
        self.set_forward(|_| mix);
        self.mix = mix;
    }

    /// Sets what forward applies: the matrices, with this factor of each row.
    fn set_forward(&mut self, scale: impl Fn(usize) -> f64) {
        let (d, matrices) = (self.whitening.group, &self.matrices);
        let element = |group: usize, row: usize, column: usize| {
            let channel = group * d + row;
            scale(channel) * matrices[channel * d + column]
        };
        self.blocks.pack(element, &mut self.forward);
    }

    /// y = γ · W · (x − mean) + β, of IterNorm.
    pub(in crate::cpu) fn normalise(
        &self,
        isa: Isa,
        x: &[f32],
        y: &mut [f32],
        scratch: &mut ImageScratch,
    ) {
        let apply = Apply {
            blocks: self.blocks,
            terms: &[Term {
                matrix: &self.forward,
                source: x,
                pivot: Some(&self.pivot),
                factor: None,
            }],
            constant: &self.constant,
            add: false,
        };
        apply.run(isa, y, &mut scratch.rows);
    }

    /// y = λ · P · x + (1 − λ) · x · f / s, of Channel Equilibrium, image by image.
    pub(in crate::cpu) fn equilibrate(
        &self,
        isa: Isa,
        image_len: usize,
        gate: &InstanceGate<'_, f32>,
        (x, y): (&[f32], &mut [f32]),
        scratch: &mut ImageScratch,
    ) {
        for (x, y) in x.chunks_exact(image_len).zip(y.chunks_exact_mut(image_len)) {
            scratch.measure(isa, self.blocks.channels, x);
            gate.forward(&scratch.variances, &mut scratch.gate);
            self.set_factor(scratch);
            let apply = Apply {
                blocks: self.blocks,
                terms: &[Term {
                    matrix: &self.forward,
                    source: x,
                    pivot: None,
                    factor: Some(&scratch.factor),
                }],
                constant: &self.constant,
                add: false,
            };
            apply.run(isa, y, &mut scratch.rows);
        }
    }

    /// (1 − λ) · f / s of an image.
    fn set_factor(&self, scratch: &mut ImageScratch) {
        scratch.factor.clear();
        scratch.factor.resize(self.stride(), 0.0);
        for (to, factor) in scratch.factor.iter_mut().zip(&scratch.gate.factors) {
            *to = ((1.0 - self.mix) * factor / self.scale) as f32;
        }
    }
}
