//! Channel Equilibrium (Tang et al. 2020): y = λ · P · x + (1 − λ) · x · f / s, see [`ChannelEquilibrium`]. What is one
//! number a channel or less is in the [`wide`] type.

use candle_core::{Result, Tensor};

use super::newton::transposed;
use super::number::wide;
use super::tensors::Tensors;
use super::whitening::{Groups, apply, centred, follow, from_rows, products, rows};
use crate::net::{ChannelEquilibrium, TensorId};

/// What backward needs of training.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    groups: Groups,
    /// s, a scalar.
    scale: Tensor,
}

/// LayerNorm's ε, PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Training where `momentum` is the weight of the batch in the running statistics, else evaluation.
pub(super) fn forward(
    layer: &ChannelEquilibrium,
    tensors: &Tensors,
    momentum: Option<f64>,
    x: &Tensor,
) -> Result<(Tensor, Option<Batch>)> {
    let values = &tensors.values;
    let (_, variances) = moments(x)?;
    let (matrix, scale, batch) = match momentum {
        None => {
            let scale = wide_of(values.value(layer.scale)?)?;
            (values.value(layer.matrix)?, scale, None)
        }
        Some(momentum) => {
            let groups = Groups::measure(x, layer.whitening)?;
            let matrix = groups.root.last().clone();
            let scale = variances.mean_all()?.sqrt()?;
            follow(values.var(layer.matrix)?, &matrix, momentum)?;
            follow(values.var(layer.scale)?, &scale, momentum)?;
            let batch = Batch {
                groups,
                scale: scale.clone(),
            };
            (matrix, scale, Some(batch))
        }
    };
    let mix = mix(layer, tensors)?;
    let gate = Gate::of(layer, tensors, &variances)?;
    let decorrelated = apply(
        &matrix.broadcast_mul(&mix.to_dtype(matrix.dtype())?)?,
        &rows(x, layer.whitening.group)?,
    )?;
    let factors = gate
        .factors
        .broadcast_div(&scale)?
        .broadcast_mul(&one_minus(&mix)?)?;
    let instance = x.broadcast_mul(&per_map(&factors, x)?)?;
    Ok(((from_rows(&decorrelated, x)? + instance)?, batch))
}

/// Adds to the gradients of the tensors; returns that of x.
pub(super) fn backward(
    layer: &ChannelEquilibrium,
    tensors: &Tensors,
    batch: &Batch,
    x: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let d = layer.whitening.group;
    let (_, _, height, width) = x.dims4()?;
    let Batch { groups, scale } = batch;
    let (mean, variances) = moments(x)?;
    let gate = Gate::of(layer, tensors, &variances)?;
    let mix = mix(layer, tensors)?;
    let rest = one_minus(&mix)?;
    // Of each image and channel, Σ dy · x.
    let sums = (dy * x)?
        .flatten_from(2)?
        .to_dtype(wide(x.device()))?
        .sum(2)?;
    let instance = (&sums * &gate.factors)?.sum_all()?.div(scale)?;
    let matrix = groups.root.last();
    let (values, gradient) = (rows(x, d)?, rows(dy, d)?);
    let dmatrix = products(&gradient, &values)?;
    let dmix = ((&dmatrix * matrix)?.sum_all()? - &instance)?;
    let dmix = ((dmix * &mix)? * &rest)?;
    add(tensors, layer.mix, &dmix)?;
    let dfactors = sums.broadcast_mul(&rest)?.broadcast_div(scale)?;
    let dvariances = gate.backward(layer, tensors, &variances, &dfactors)?;
    // s = √(mean of all variances).
    let dscale = ((instance * &rest)?.neg()? / scale)?;
    let of_scale = ((dscale / scale)? / (2 * variances.elem_count()) as f64)?;
    let dvariances = dvariances.broadcast_add(&of_scale)?;
    let slope = (dvariances * (2.0 / (height * width) as f64))?;
    let factors = gate.factors.broadcast_div(scale)?.broadcast_mul(&rest)?;
    let by_image = (dy.broadcast_mul(&per_map(&factors, x)?)?
        + x.broadcast_sub(&mean)?
            .broadcast_mul(&per_map(&slope, x)?)?)?;
    let dp = dmatrix.broadcast_mul(&mix)?;
    let dsigma = (groups.root.backward(&dp, None)? / values.dim(2)? as f64)?;
    let through = apply(&dsigma, &centred(&values, &groups.mean)?)?;
    let decorrelated = apply(&transposed(&matrix.broadcast_mul(&mix)?)?, &gradient)?;
    from_rows(&(decorrelated + through)?, x)? + by_image
}

/// The instance branch: from variances [N, C] to factors [N, C].
struct Gate {
    normal: Tensor,
    /// 1 / √(variance + ε) of LayerNorm, [N, 1].
    inverse_deviation: Tensor,
    hidden: Tensor,
    factors: Tensor,
}

impl Gate {
    fn of(layer: &ChannelEquilibrium, tensors: &Tensors, variances: &Tensor) -> Result<Gate> {
        let value = |id: TensorId| wide_of(tensors.values.value(id)?);
        let reduced = variances.matmul(&value(layer.reduce)?.t()?)?;
        let centred = reduced.broadcast_sub(&reduced.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let inverse_deviation = (variance + EPSILON)?.sqrt()?.recip()?;
        let normal = centred.broadcast_mul(&inverse_deviation)?;
        let hidden = normal
            .broadcast_mul(&value(layer.weight)?)?
            .broadcast_add(&value(layer.bias)?)?
            .relu()?;
        let factors = sigmoid(&hidden.matmul(&value(layer.expand)?.t()?)?)?;
        Ok(Gate {
            normal,
            inverse_deviation,
            hidden,
            factors,
        })
    }

    /// Adds to the gradients of the branch's weights; returns that of the variances.
    fn backward(
        &self,
        layer: &ChannelEquilibrium,
        tensors: &Tensors,
        variances: &Tensor,
        dfactors: &Tensor,
    ) -> Result<Tensor> {
        let value = |id: TensorId| wide_of(tensors.values.value(id)?);
        let slope = (&self.factors * (1.0 - &self.factors)?)?;
        let dlogits = (dfactors * slope)?;
        add(tensors, layer.expand, &dlogits.t()?.matmul(&self.hidden)?)?;
        let dhidden = dlogits.matmul(&value(layer.expand)?)?;
        let positive = self.hidden.gt(0.0)?.to_dtype(dhidden.dtype())?;
        let dhidden = (dhidden * positive)?;
        add(tensors, layer.weight, &(&dhidden * &self.normal)?.sum(0)?)?;
        add(tensors, layer.bias, &dhidden.sum(0)?)?;
        let dnormal = dhidden.broadcast_mul(&value(layer.weight)?)?;
        let along = (&dnormal * &self.normal)?.mean_keepdim(1)?;
        let dreduced = dnormal
            .broadcast_sub(&dnormal.mean_keepdim(1)?)?
            .sub(&self.normal.broadcast_mul(&along)?)?
            .broadcast_mul(&self.inverse_deviation)?;
        add(tensors, layer.reduce, &dreduced.t()?.matmul(variances)?)?;
        dreduced.matmul(&value(layer.reduce)?)
    }
}

/// λ = sigmoid(mix), a scalar.
fn mix(layer: &ChannelEquilibrium, tensors: &Tensors) -> Result<Tensor> {
    sigmoid(&wide_of(tensors.values.value(layer.mix)?)?)
}

fn one_minus(x: &Tensor) -> Result<Tensor> {
    1.0 - x
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

fn wide_of(x: Tensor) -> Result<Tensor> {
    let wide = wide(x.device());
    x.to_dtype(wide)
}

/// Mean [N, C, 1, 1], in the type of `x`, and biased variance [N, C] over the pixels of each map.
fn moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (images, channels, height, width) = x.dims4()?;
    let pixels = (height * width) as f64;
    let flat = (images, channels, height * width);
    let sums = |x: &Tensor| wide_of(x.reshape(flat)?.sum(2)?);
    let mean = (sums(x)? / pixels)?;
    let mean = mean
        .to_dtype(x.dtype())?
        .reshape((images, channels, 1, 1))?;
    let variances = sums(&x.broadcast_sub(&mean)?.sqr()?)? / pixels;
    Ok((mean, variances?))
}

/// Numbers [N, C], as they are put beside values `like` [N, C, H, W].
fn per_map(numbers: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (images, channels) = numbers.dims2()?;
    let numbers = numbers.to_dtype(like.dtype())?;
    numbers.reshape((images, channels, 1, 1))
}

fn add(tensors: &Tensors, id: TensorId, gradient: &Tensor) -> Result<()> {
    let dtype = tensors.values.dtype();
    tensors.add_gradient(id, &gradient.to_dtype(dtype)?)
}
