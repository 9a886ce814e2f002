//! Newton's iteration for the inverse square roots of the groups' covariances, and its gradient (Huang et al. 2019,
//! Algorithms 1 and 2), in f64. Groups are independent, so that any number of threads gives the same bits.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::matmul::is_fused;

/// N = Σ / trace Σ and P_1 … P_T of each group: P_0 = I, P_k = 1.5 P_{k−1} − 0.5 P_{k−1}³ N. Matrices are padded with
/// zeros to a multiple of [`PAD`].
#[derive(Debug, Default)]
pub(super) struct InverseRoots {
    /// Channels of a group.
    order: usize,
    /// The same, padded.
    side: usize,
    iterations: usize,
    groups: Vec<Root>,
}

#[derive(Debug, Default)]
struct Root {
    trace: f64,
    normal: Vec<f64>,
    steps: Vec<Vec<f64>>,
    /// The gradient of P_T, and then of Σ: dΣ + dΣᵀ.
    gradient: Vec<f64>,
    dtrace: f64,
}

/// Columns of a tile of a product.
const PAD: usize = 16;
/// Matrices that a group needs while it is computed.
const TEMPORARIES: usize = 5;

impl InverseRoots {
    pub(super) fn new(order: usize, groups: usize, iterations: usize) -> InverseRoots {
        let side = order.next_multiple_of(PAD);
        let zeros = || vec![0.0; side * side];
        let root = || Root {
            normal: zeros(),
            steps: (0..iterations).map(|_| zeros()).collect(),
            gradient: zeros(),
            ..Root::default()
        };
        InverseRoots {
            order,
            side,
            iterations,
            groups: (0..groups).map(|_| root()).collect(),
        }
    }

    /// Bytes of all matrices.
    pub(super) fn bytes(&self) -> usize {
        self.groups.len() * (self.iterations + 2) * self.side * self.side * size_of::<f64>()
    }

    /// Elements of scratch memory that computing all groups takes.
    pub(super) fn scratch_len(&self) -> usize {
        self.groups.len() * TEMPORARIES * self.side * self.side
    }

    /// Computes all groups from the elements of their covariances.
    pub(super) fn compute(
        &mut self,
        isa: Isa,
        covariance: impl Fn(usize, usize, usize) -> f64 + Sync,
        scratch: &mut [f64],
    ) {
        let (order, side) = (self.order, self.side);
        let scratch = scratch.par_chunks_exact_mut(TEMPORARIES * side * side);
        let groups = self.groups.par_iter_mut().zip(scratch).enumerate();
        groups.for_each(|(group, (root, scratch))| {
            for row in 0..order {
                for column in 0..order {
                    root.normal[row * side + column] = covariance(group, row, column);
                }
            }
            root.iterate(isa, side, order, scratch);
        });
    }

    /// An element of P_T of a group.
    pub(super) fn last(&self, group: usize, row: usize, column: usize) -> f64 {
        let steps = &self.groups[group].steps;
        steps[steps.len() - 1][row * self.side + column]
    }

    pub(super) fn trace(&self, group: usize) -> f64 {
        self.groups[group].trace
    }

    /// Computes dΣ + dΣᵀ of all groups, given the elements of the gradients of P_T by group, trace, row and column; and,
    /// beside what follows from P_T, those of the traces.
    pub(super) fn differentiate(
        &mut self,
        isa: Isa,
        dp: impl Fn(usize, f64, usize, usize) -> f64 + Sync,
        dtrace: impl Fn(usize, f64) -> f64 + Sync,
        scratch: &mut [f64],
    ) {
        let (order, side) = (self.order, self.side);
        let scratch = scratch.par_chunks_exact_mut(TEMPORARIES * side * side);
        let groups = self.groups.par_iter_mut().zip(scratch).enumerate();
        groups.for_each(|(group, (root, scratch))| {
            for row in 0..order {
                for column in 0..order {
                    let own = |row, column| dp(group, root.trace, row, column);
                    let both = own(row, column) + own(column, row);
                    root.gradient[row * side + column] = both / 2.0;
                }
            }
            root.dtrace = dtrace(group, root.trace);
            root.differentiate(isa, side, order, scratch);
        });
    }

    /// An element of dΣ + dΣᵀ of a group.
    pub(super) fn gradient(&self, group: usize, row: usize, column: usize) -> f64 {
        self.groups[group].gradient[row * self.side + column]
    }
}

impl Root {
    fn iterate(&mut self, isa: Isa, side: usize, order: usize, scratch: &mut [f64]) {
        let diagonal = (0..order).map(|i| self.normal[i * side + i]);
        self.trace = diagonal.sum();
        self.normal.iter_mut().for_each(|x| *x /= self.trace);
        let [square, by_normal, both, ..] = matrices(scratch, side);
        for k in 0..self.steps.len() {
            let (before, now) = self.steps.split_at_mut(k);
            let now = &mut now[0];
            let Some(q) = before.last() else {
                now.iter_mut()
                    .zip(&self.normal)
                    .for_each(|(p, n)| *p = -0.5 * n);
                (0..order).for_each(|i| now[i * side + i] += 1.5);
                continue;
            };
            multiply(isa, side, q, q, square);
            multiply(isa, side, q, &self.normal, by_normal);
            multiply(isa, side, square, by_normal, both);
            let terms = q.iter().zip(&*both);
            now.iter_mut()
                .zip(terms)
                .for_each(|(p, (q, both))| *p = 1.5 * q - 0.5 * both);
        }
    }

    /// Σ is symmetric, so that only the symmetric part of a gradient counts; and the symmetric P_k and N commute. With S the
    /// symmetric part of dP_k and Q = P_{k−1}: dN −= ½ Q³ S, and dP_{k−1} = 1.5 S − ½ (S Q² + Q S Q + Q² S) N.
    fn differentiate(&mut self, isa: Isa, side: usize, order: usize, scratch: &mut [f64]) {
        let [dnormal, left, right, square, other] = matrices(scratch, side);
        dnormal.fill(0.0);
        let s = &mut self.gradient;
        for q in self.steps[..self.steps.len() - 1].iter().rev() {
            multiply(isa, side, q, s, left);
            transpose(side, left, other);
            multiply(isa, side, other, q, right);
            transpose(side, right, square);
            multiply(isa, side, q, square, other);
            dnormal
                .iter_mut()
                .zip(&*other)
                .for_each(|(d, x)| *d -= 0.5 * x);
            multiply(isa, side, left, q, other);
            let terms = right.iter().zip(&*square);
            other
                .iter_mut()
                .zip(terms)
                .for_each(|(x, (a, b))| *x += a + b);
            multiply(isa, side, other, &self.normal, right);
            let both = s.iter().zip(&*right);
            left.iter_mut()
                .zip(both)
                .for_each(|(to, (s, x))| *to = 1.5 * s - 0.5 * x);
            transpose(side, left, right);
            let both = left.iter().zip(&*right);
            s.iter_mut()
                .zip(both)
                .for_each(|(s, (a, b))| *s = 0.5 * (a + b));
        }
        // P_1 = 1.5 I − 0.5 N.
        dnormal.iter_mut().zip(&*s).for_each(|(d, s)| *d -= 0.5 * s);
        let along: f64 = dnormal.iter().zip(&self.normal).map(|(d, n)| d * n).sum();
        let dtrace = self.dtrace - along / self.trace;
        transpose(side, dnormal, right);
        let both = dnormal.iter().zip(&*right);
        s.iter_mut()
            .zip(both)
            .for_each(|(s, (a, b))| *s = (a + b) / self.trace);
        (0..order).for_each(|i| s[i * side + i] += 2.0 * dtrace);
    }
}

/// The temporaries of a group.
fn matrices(scratch: &mut [f64], side: usize) -> [&mut [f64]; TEMPORARIES] {
    let mut each = scratch.chunks_exact_mut(side * side);
    std::array::from_fn(|_| each.next().unwrap_or_default())
}

fn transpose(side: usize, from: &[f64], to: &mut [f64]) {
    for (row, to) in to.chunks_exact_mut(side).enumerate() {
        let column = from[row..].iter().step_by(side);
        to.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
    }
}

/// c = a · b.
fn multiply(isa: Isa, side: usize, a: &[f64], b: &[f64], c: &mut [f64]) {
    isa.run(Multiply { side, a, b, c });
}

struct Multiply<'a> {
    side: usize,
    a: &'a [f64],
    b: &'a [f64],
    c: &'a mut [f64],
}

/// Rows of a tile.
const ROWS: usize = 4;

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { side, a, b, c } = self;
        let vectors = side / S::F64_LANES;
        let (b, _) = S::as_simd_f64s(b);
        let rows = c
            .chunks_exact_mut(ROWS * side)
            .zip(a.chunks_exact(ROWS * side));
        for (c, a) in rows {
            let a: [&[f64]; ROWS] = std::array::from_fn(|i| &a[i * side..][..side]);
            let (c, _) = S::as_mut_simd_f64s(c);
            for column in (0..vectors).step_by(2) {
                let mut acc = [[simd.splat_f64s(0.0); 2]; ROWS];
                for (k, b) in b.chunks_exact(vectors).enumerate() {
                    let b = [b[column], b[column + 1]];
                    for (acc, a) in acc.iter_mut().zip(a) {
                        let a = simd.splat_f64s(a[k]);
                        for (acc, b) in acc.iter_mut().zip(b) {
                            *acc = if is_fused::<S>() {
                                simd.mul_add_f64s(a, b, *acc)
                            } else {
                                simd.add_f64s(simd.mul_f64s(a, b), *acc)
                            };
                        }
                    }
                }
                for (row, acc) in c.chunks_exact_mut(vectors).zip(acc) {
                    row[column..column + 2].copy_from_slice(&acc);
                }
            }
        }
    }
}
