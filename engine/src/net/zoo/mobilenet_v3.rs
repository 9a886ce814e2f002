//! MobileNetV3 (Howard et al. 2019).

use super::Options;
use super::block::{SqueezeExcitation, convolution_norm, equilibrium, scaled, small_linear};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;

/// A row of the paper's tables, as a block: kernel size, expanded channels, output channels, squeeze-and-excitation,
/// activation, stride.
type Row = (usize, usize, usize, bool, Activation, usize);

const NORM: BatchNorm = BatchNorm {
    epsilon: 1e-3,
    momentum: 0.01,
    beta: 0.0,
};

/// Table 2 of the paper.
pub(super) fn small(graph: &mut Graph, options: &Options) -> Result<()> {
    let rows = [
        (3, 16, 16, true, RE, 2),
        (3, 72, 24, false, RE, 2),
        (3, 88, 24, false, RE, 1),
        (5, 96, 40, true, HS, 2),
        (5, 240, 40, true, HS, 1),
        (5, 240, 40, true, HS, 1),
        (5, 120, 48, true, HS, 1),
        (5, 144, 48, true, HS, 1),
        (5, 288, 96, true, HS, 2),
        (5, 576, 96, true, HS, 1),
        (5, 576, 96, true, HS, 1),
    ];
    build(graph, options, &rows, 1024)
}

/// Table 1 of the paper.
const LARGE: [Row; 15] = [
    (3, 16, 16, false, RE, 1),
    (3, 64, 24, false, RE, 2),
    (3, 72, 24, false, RE, 1),
    (5, 72, 40, true, RE, 2),
    (5, 120, 40, true, RE, 1),
    (5, 120, 40, true, RE, 1),
    (3, 240, 80, false, HS, 2),
    (3, 200, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 480, 112, true, HS, 1),
    (3, 672, 112, true, HS, 1),
    (5, 672, 160, true, HS, 2),
    (5, 960, 160, true, HS, 1),
    (5, 960, 160, true, HS, 1),
];

pub(super) fn large(graph: &mut Graph, options: &Options) -> Result<()> {
    build(graph, options, &LARGE, 1280)
}

/// Adds all of the large network but its classifier, with a dilation of 2 in place of its last stride, as torchvision's
/// segmentation networks use it. Returns the values of the first convolution, the blocks and the last convolution.
pub(super) fn dilated_large(
    graph: &mut Graph,
    options: &Options,
    name: &str,
) -> Result<Vec<Value>> {
    let last_stride = LARGE.iter().rposition(|row| row.5 > 1);
    features(graph, options, name, &LARGE, last_stride)
}

/// Builds the network from its rows; `last` is the number of channels before the last linear layer.
fn build(graph: &mut Graph, options: &Options, rows: &[Row], last: usize) -> Result<()> {
    let width = options.width;
    let values = features(graph, options, "features", rows, None)?;
    let x = values[values.len() - 1];
    let x = graph.global_average_pool("avgpool", x)?;
    let x = small_linear(graph, "classifier.0", x, scaled(last, width))?;
    let x = graph.activation("classifier.1", x, HS)?;
    let x = graph.add("classifier.2", Op::Dropout { p: 0.2 }, &[x])?;
    small_linear(graph, "classifier.3", x, options.classes)?;
    Ok(())
}

/// Adds the first convolution, a block for each row and the last convolution, and returns their values. The rows from
/// number `dilated` on have a dilation of 2 and no stride.
fn features(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    rows: &[Row],
    dilated: Option<usize>,
) -> Result<Vec<Value>> {
    let first = Convolution::new(scaled(16, options.width), 3)
        .stride(2)
        .padding(1);
    let name = |index: usize| format!("{name}.{index}");
    let mut x = unit(graph, &name(0), graph.input(), first, Some(HS))?;
    let mut values = vec![x];
    for (number, row) in rows.iter().enumerate() {
        let dilated = dilated.is_some_and(|first| number >= first);
        x = block(graph, options, &name(number + 1), x, row, dilated)?;
        values.push(x);
    }
    let last = Convolution::new(6 * graph.shape(x).channels, 1);
    values.push(unit(graph, &name(rows.len() + 1), x, last, Some(HS))?);
    Ok(values)
}

/// Adds an inverted residual block; with `dilated` its depthwise convolution has a dilation of 2 and no stride.
fn block(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    input: Value,
    row: &Row,
    dilated: bool,
) -> Result<Value> {
    let &(kernel, expanded, out, gated, activation, stride) = row;
    let (expanded, out) = (scaled(expanded, options.width), scaled(out, options.width));
    let (moved, dilation) = if dilated { (1, 2) } else { (stride, 1) };
    let channels = graph.shape(input).channels;
    let mut names = (0..).map(|index| format!("{name}.block.{index}"));
    let mut next = || names.next().unwrap_or_default();
    let mut x = input;
    if expanded != channels {
        let expand = Convolution::new(expanded, 1);
        x = unit(graph, &next(), x, expand, Some(activation))?;
    }
    let depthwise = Convolution::new(expanded, kernel)
        .stride(moved)
        .padding(kernel / 2 * dilation)
        .dilation(dilation)
        .groups(expanded);
    x = unit(graph, &next(), x, depthwise, Some(activation))?;
    if gated {
        let gate = SqueezeExcitation {
            squeeze: scaled(expanded / 4, 1.0),
            activation: Activation::Relu,
            gate: Activation::HardSigmoid,
            zero_bias: true,
        };
        x = gate.add(graph, &next(), x)?;
    }
    x = unit(graph, &next(), x, Convolution::new(out, 1), None)?;
    x = equilibrium(graph, options, &next(), x)?;
    if stride == 1 && channels == out {
        graph.add(&format!("{name}.add"), Op::Add, &[input, x])
    } else {
        Ok(x)
    }
}

/// Adds a convolution with BatchNorm and optionally an activation.
fn unit(
    graph: &mut Graph,
    name: &str,
    x: Value,
    convolution: Convolution,
    activation: Option<Activation>,
) -> Result<Value> {
    let convolution = convolution.kaiming_fan_out();
    convolution_norm(graph, name, x, &convolution, NORM, activation)
}
