//! Newton's iteration for the inverse square root of a covariance matrix (Huang et al. 2019, Algorithms 1 and 2). Matrices
//! are n × n, row-major, in f64.

/// P_0 … P_T for Σ: N = Σ / trace Σ, P_0 = I, P_k = 1.5 P_{k−1} − 0.5 P_{k−1}³ N. P_T / √trace Σ ≈ Σ^(−1/2).
#[derive(Debug, Default)]
pub(super) struct InverseRoot {
    n: usize,
    pub(super) trace: f64,
    normal: Vec<f64>,
    steps: Vec<Vec<f64>>,
}

impl InverseRoot {
    pub(super) fn of(n: usize, sigma: &[f64], iterations: usize) -> InverseRoot {
        let trace: f64 = (0..n).map(|i| sigma[i * n + i]).sum();
        let normal: Vec<f64> = sigma.iter().map(|x| x / trace).collect();
        let mut steps = vec![identity(n)];
        for k in 0..iterations {
            let p = &steps[k];
            let cube = product(n, &product(n, p, p), p);
            steps.push(combine(1.5, p, -0.5, &product(n, &cube, &normal)));
        }
        InverseRoot {
            n,
            trace,
            normal,
            steps,
        }
    }

    /// P_T.
    pub(super) fn last(&self) -> &[f64] {
        &self.steps[self.steps.len() - 1]
    }

    /// dΣ, given the gradient of P_T and, beside what follows from P_T, that of the trace.
    pub(super) fn backward(&self, dp: &[f64], dtrace: f64) -> Vec<f64> {
        let (n, normal) = (self.n, &self.normal[..]);
        let mut dp = dp.to_vec();
        let mut dnormal = vec![0.0; n * n];
        for q in self.steps[..self.steps.len() - 1].iter().rev() {
            let square = product(n, q, q);
            let cube = transposed(n, &product(n, &square, q));
            dnormal = combine(1.0, &dnormal, -0.5, &product(n, &cube, &dp));
            let by_normal = transposed(n, &product(n, q, normal));
            let square_by_normal = transposed(n, &product(n, &square, normal));
            let first = product(n, &dp, &square_by_normal);
            let second = product(n, &product(n, &transposed(n, q), &dp), &by_normal);
            let third = product(n, &transposed(n, &square), &dp);
            let third = product(n, &third, &transposed(n, normal));
            let sum = combine(1.0, &combine(1.0, &first, 1.0, &second), 1.0, &third);
            dp = combine(1.5, &dp, -0.5, &sum);
        }
        let dtrace = dtrace - dot(&dnormal, normal) / self.trace;
        let mut dsigma: Vec<f64> = dnormal.iter().map(|x| x / self.trace).collect();
        (0..n).for_each(|i| dsigma[i * n + i] += dtrace);
        dsigma
    }
}

/// Σ x · y.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn identity(n: usize) -> Vec<f64> {
    let place = |at: usize| if at / n == at % n { 1.0 } else { 0.0 };
    (0..n * n).map(place).collect()
}

fn product(n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    multiply(a, n, b, n)
}

/// a · b, where `a` has rows of `depth` and `b` rows of `columns`.
pub(super) fn multiply(a: &[f64], depth: usize, b: &[f64], columns: usize) -> Vec<f64> {
    let mut c = vec![0.0; a.len() / depth * columns];
    for (c, a) in c.chunks_exact_mut(columns).zip(a.chunks_exact(depth)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
        }
    }
    c
}

/// a · bᵀ, where the rows of both have `depth` numbers.
pub(super) fn multiply_transposed(a: &[f64], depth: usize, b: &[f64]) -> Vec<f64> {
    let rows = a.chunks_exact(depth);
    let each = rows.flat_map(|a| b.chunks_exact(depth).map(|b| dot(a, b)));
    each.collect()
}

pub(super) fn transposed(n: usize, a: &[f64]) -> Vec<f64> {
    (0..n * n).map(|at| a[at % n * n + at / n]).collect()
}

/// s · a + t · b.
fn combine(s: f64, a: &[f64], t: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| s * a + t * b).collect()
}
