//! Newton's iteration for the inverse square roots of covariance matrices (Huang et al. 2019, Algorithms 1 and 2):
//! of all groups at once, `[groups, d, d]`, in the wide type.

use candle_core::{Result, Tensor};

/// P_0 … P_T: N = Σ / trace Σ, P_0 = I, P_k = 1.5 P_{k−1} − 0.5 P_{k−1}³ N.
#[derive(Debug, Clone)]
pub(super) struct InverseRoot {
    /// `[groups, 1, 1]`.
    pub(super) trace: Tensor,
    normal: Tensor,
    steps: Vec<Tensor>,
}

impl InverseRoot {
    pub(super) fn of(sigma: &Tensor, iterations: usize) -> Result<InverseRoot> {
        let identity = identity(sigma)?;
        let trace = (sigma * &identity)?.sum_keepdim((1, 2))?;
        let normal = sigma.broadcast_div(&trace)?;
        let mut steps = vec![identity];
        for k in 0..iterations {
            let p = &steps[k];
            let cube = p.matmul(p)?.matmul(p)?;
            let next = ((p * 1.5)? - (cube.matmul(&normal)? * 0.5)?)?;
            steps.push(next);
        }
        Ok(InverseRoot {
            trace,
            normal,
            steps,
        })
    }

    /// P_T.
    pub(super) fn last(&self) -> &Tensor {
        &self.steps[self.steps.len() - 1]
    }

    /// dΣ + dΣᵀ, given the gradient of P_T and, beside what follows from P_T, that of the traces.
    ///
    /// Σ is symmetric, so that only the symmetric part of a gradient counts; and the symmetric P_k and N commute. With
    /// S the symmetric part of dP_k and Q = P_{k−1}: dN −= ½ Q³ S, and dP_{k−1} = 1.5 S − ½ (S Q² + Q S Q + Q² S) N.
    pub(super) fn backward(&self, dp: &Tensor, dtrace: Option<&Tensor>) -> Result<Tensor> {
        let mut dp = symmetric(dp)?;
        let mut dnormal = dp.zeros_like()?;
        for q in self.steps[..self.steps.len() - 1].iter().rev() {
            let left = q.matmul(&dp)?;
            let right = transposed(&left)?.matmul(q)?;
            let square = transposed(&right)?;
            let all = ((&right + left.matmul(q)?)? + &square)?;
            dnormal = (dnormal - (q.matmul(&square)? * 0.5)?)?;
            dp = symmetric(&((dp * 1.5)? - (all.matmul(&self.normal)? * 0.5)?)?)?;
        }
        let own = (&dnormal * &self.normal)?.sum_keepdim((1, 2))?;
        let own = own.broadcast_div(&self.trace)?.neg()?;
        let dtrace = match dtrace {
            Some(dtrace) => (dtrace + own)?,
            None => own,
        };
        let dsigma = dnormal.broadcast_div(&self.trace)?;
        let dsigma = (dsigma + identity(&self.normal)?.broadcast_mul(&dtrace)?)?;
        symmetric(&dsigma)? * 2.0
    }
}

/// The identity in place of each matrix.
pub(super) fn identity(like: &Tensor) -> Result<Tensor> {
    let (_, d, _) = like.dims3()?;
    let one = Tensor::eye(d, like.dtype(), like.device())?;
    one.broadcast_as(like.shape())?.contiguous()
}

pub(super) fn transposed(matrices: &Tensor) -> Result<Tensor> {
    matrices.transpose(1, 2)?.contiguous()
}

fn symmetric(matrices: &Tensor) -> Result<Tensor> {
    (matrices + transposed(matrices)?)? * 0.5
}
