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
pub(super) fn large(graph: &mut Graph, options: &Options) -> Result<()> {
    let rows = [
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
    build(graph, options, &rows, 1280)
}

/// Builds the network from its rows; `last` is the number of channels before the last linear layer.
fn build(graph: &mut Graph, options: &Options, rows: &[Row], last: usize) -> Result<()> {
    let width = options.width;
    let first = Convolution::new(scaled(16, width), 3).stride(2).padding(1);
    let mut x = unit(graph, "features.0", graph.input(), first, Some(HS))?;
    for (index, row) in (1..).zip(rows) {
        x = block(graph, options, &format!("features.{index}"), x, row)?;
    }
    let channels = 6 * graph.shape(x).channels;
    let name = format!("features.{}", rows.len() + 1);
    let x = unit(graph, &name, x, Convolution::new(channels, 1), Some(HS))?;
    let x = graph.global_average_pool("avgpool", x)?;
    let x = small_linear(graph, "classifier.0", x, scaled(last, width))?;
    let x = graph.activation("classifier.1", x, HS)?;
    let x = graph.add("classifier.2", Op::Dropout { p: 0.2 }, &[x])?;
    small_linear(graph, "classifier.3", x, options.classes)?;
    Ok(())
}

/// Adds an inverted residual block.
fn block(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    input: Value,
    row: &Row,
) -> Result<Value> {
    let &(kernel, expanded, out, gated, activation, stride) = row;
    let (expanded, out) = (scaled(expanded, options.width), scaled(out, options.width));
    let channels = graph.shape(input).channels;
    let mut names = (0..).map(|index| format!("{name}.block.{index}"));
    let mut next = || names.next().unwrap_or_default();
    let mut x = input;
    if expanded != channels {
        let expand = Convolution::new(expanded, 1);
        x = unit(graph, &next(), x, expand, Some(activation))?;
    }
    let depthwise = Convolution::new(expanded, kernel)
        .stride(stride)
        .padding(kernel / 2)
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
