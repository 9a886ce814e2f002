//! ShuffleNetV2 (Ma et al. 2018).

use super::block::equilibrium;
use super::{Options, Stem};
use crate::error::Result;
use crate::net::build::{Convolution, Pool};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};

/// Builds the network; `channels` are the output channels of the stages.
pub(super) fn build(graph: &mut Graph, options: &Options, channels: [usize; 3]) -> Result<()> {
    let cifar = options.stem == Stem::Cifar;
    let stride = if cifar { 1 } else { 2 };
    let stem = Convolution::new(24, 3).stride(stride).padding(1);
    let mut x = convolution(graph, "conv1", 0, graph.input(), &stem, true)?;
    if !cifar {
        let pool = Pool {
            kernel: 3,
            stride: 2,
            padding: 1,
        };
        x = graph.max_pool("maxpool", x, pool)?;
    }
    for (stage, (out, blocks)) in (2..).zip(channels.into_iter().zip([4, 8, 4])) {
        let name = |number| format!("stage{stage}.{number}");
        x = downsampling_block(graph, options, &name(0), x, out)?;
        for number in 1..blocks {
            x = block(graph, options, &name(number), x)?;
        }
    }
    let x = convolution(graph, "conv5", 0, x, &Convolution::new(1024, 1), true)?;
    let x = graph.global_average_pool("avgpool", x)?;
    graph.linear("fc", x, options.classes, true)?;
    Ok(())
}

/// Adds the first block of a stage: both branches read all channels, and halve height and width.
fn downsampling_block(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    input: Value,
    out: usize,
) -> Result<Value> {
    let branch = format!("{name}.branch1");
    let channels = graph.shape(input).channels;
    let first = convolution(graph, &branch, 0, input, &depthwise(channels, 2), false)?;
    let half = Convolution::new(out / 2, 1);
    let first = convolution(graph, &branch, 2, first, &half, true)?;
    let second = second_branch(graph, options, name, input, out / 2, 2)?;
    join(graph, name, first, second)
}

/// Adds a block in which one half of the channels is passed through.
fn block(graph: &mut Graph, options: &Options, name: &str, input: Value) -> Result<Value> {
    let len = graph.shape(input).channels / 2;
    let mut half = |number: usize| {
        let start = number * len;
        let slice = Op::Slice { start, len };
        graph.add(&format!("{name}.chunk.{number}"), slice, &[input])
    };
    let (first, second) = (half(0)?, half(1)?);
    let second = second_branch(graph, options, name, second, len, 1)?;
    join(graph, name, first, second)
}

/// Adds the branch with 1 × 1, depthwise 3 × 3 and 1 × 1 convolutions.
fn second_branch(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    x: Value,
    channels: usize,
    stride: usize,
) -> Result<Value> {
    let branch = format!("{name}.branch2");
    let pointwise = Convolution::new(channels, 1);
    let x = convolution(graph, &branch, 0, x, &pointwise, true)?;
    let x = convolution(graph, &branch, 3, x, &depthwise(channels, stride), false)?;
    let x = convolution(graph, &branch, 5, x, &pointwise, false)?;
    let x = equilibrium(graph, options, &format!("{branch}.ce"), x)?;
    graph.activation(&format!("{branch}.7"), x, Activation::Relu)
}

/// Adds concatenation and channel shuffle.
fn join(graph: &mut Graph, name: &str, first: Value, second: Value) -> Result<Value> {
    let x = graph.add(&format!("{name}.concat"), Op::Concat, &[first, second])?;
    graph.add(&format!("{name}.shuffle"), Op::Shuffle { groups: 2 }, &[x])
}

fn depthwise(channels: usize, stride: usize) -> Convolution {
    Convolution::new(channels, 3)
        .stride(stride)
        .padding(1)
        .groups(channels)
}

/// Adds a convolution with its BatchNorm, and with ReLU if `active`, named by numbers from `index` on.
fn convolution(
    graph: &mut Graph,
    name: &str,
    index: usize,
    x: Value,
    layer: &Convolution,
    active: bool,
) -> Result<Value> {
    let named = |offset: usize| format!("{name}.{}", index + offset);
    let x = graph.convolution(&named(0), x, layer)?;
    let x = graph.batch_norm(&named(1), x)?;
    if active {
        graph.activation(&named(2), x, Activation::Relu)
    } else {
        Ok(x)
    }
}
