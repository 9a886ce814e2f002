//! Average pooling, adaptive average pooling and bilinear interpolation: each takes sums along the
//! columns and then along the rows of a map, and is two products with matrices that follow from sizes
//! alone.

use candle_core::{DType, Device, Result, Tensor};

use crate::engine::common::{adaptive_region, bilinear_weights, divisor, taps};
use crate::net::{Graph, Node, Op, Shape, Window};

/// y = rows · x · columnsᵀ for each plane.
#[derive(Debug)]
pub(super) struct Resample {
    /// [output height, input height].
    rows: Tensor,
    /// [output width, input width].
    columns: Tensor,
}

impl Resample {
    /// That of a node; none for other operations.
    pub(super) fn new(
        graph: &Graph,
        node: &Node,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Resample>> {
        if !matches!(
            node.op,
            Op::AveragePool { .. } | Op::AdaptiveAveragePool { .. } | Op::Resize { .. }
        ) {
            return Ok(None);
        }
        let (input, output) = (graph.shape(node.inputs[0]), node.shape);
        let matrix = |input: usize, output: usize, window: fn(&Window) -> Window| {
            let numbers = shares(&node.op, input, output, window);
            Tensor::from_vec(numbers, (output, input), &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)
        };
        Ok(Some(Resample {
            rows: matrix(input.height, output.height, |window| Window {
                kernel: (window.kernel.0, 1),
                stride: (window.stride.0, 1),
                before: (window.before.0, 0),
                after: (window.after.0, 0),
                dilation: (window.dilation.0, 1),
                ..*window
            })?,
            columns: matrix(input.width, output.width, |window| Window {
                kernel: (window.kernel.1, 1),
                stride: (window.stride.1, 1),
                before: (window.before.1, 0),
                after: (window.after.1, 0),
                dilation: (window.dilation.1, 1),
                ..*window
            })?,
        }))
    }

    /// y.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        both(x, &self.rows, &self.columns)
    }

    /// dx: the gradient goes back by the same shares.
    pub(super) fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        both(dy, &self.rows.t()?, &self.columns.t()?)
    }
}

/// The share of each of `input` pixels in each of `output` along one axis, as a matrix [output, input].
fn shares(op: &Op, input: usize, output: usize, window: fn(&Window) -> Window) -> Vec<f64> {
    let (from, to) = (Shape::new(1, input, 1), Shape::new(1, output, 1));
    let mut all = vec![0.0; output * input];
    for (pixel, row) in all.chunks_exact_mut(input).enumerate() {
        match op {
            Op::AveragePool {
                window: both,
                count_padding,
            } => {
                let window = window(both);
                let share = 1.0 / divisor(&window, *count_padding, from, to, pixel);
                taps(&window, from, to, pixel).for_each(|tap| row[tap] += share);
            }
            Op::AdaptiveAveragePool { .. } => {
                let (part, _) = adaptive_region(from, to, pixel);
                let share = 1.0 / part.len() as f64;
                row[part].fill(share);
            }
            Op::Resize { align_corners, .. } => {
                for (corner, share) in bilinear_weights(*align_corners, from, to, pixel) {
                    row[corner] += share;
                }
            }
            _ => {}
        }
    }
    all
}

fn both(x: &Tensor, rows: &Tensor, columns: &Tensor) -> Result<Tensor> {
    let x = along(x, columns)?.transpose(2, 3)?;
    along(&x, rows)?.transpose(2, 3)?.contiguous()
}

/// The product of the last axis with a matrix [output, input].
fn along(x: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (images, channels, height, width) = x.dims4()?;
    let (output, _) = matrix.dims2()?;
    x.contiguous()?
        .reshape((images * channels * height, width))?
        .matmul(&matrix.t()?)?
        .reshape((images, channels, height, output))
}
