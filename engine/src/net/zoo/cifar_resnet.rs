//! The CIFAR ResNets of He et al. 2016, section 4.2, with shortcuts of option A, which have no parameters. They are
//! initialised as torchvision's ResNets.

use super::Options;
use super::block::equilibrium;
use crate::error::Result;
use crate::net::build::Convolution;
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op, Window};

/// Builds the network with `blocks` blocks per stage: 6 · `blocks` + 2 layers.
pub(super) fn build(graph: &mut Graph, options: &Options, blocks: usize) -> Result<()> {
    let x = graph.input();
    let x = graph.convolution("conv1", x, &convolution(16, 1))?;
    let x = graph.batch_norm("bn1", x)?;
    let mut x = graph.activation("relu", x, Activation::Relu)?;
    for (stage, channels) in [(1, 16), (2, 32), (3, 64)] {
        for number in 0..blocks {
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            x = block(
                graph,
                options,
                &format!("layer{stage}.{number}"),
                x,
                channels,
                stride,
            )?;
        }
    }
    let x = graph.global_average_pool("avgpool", x)?;
    graph.linear("linear", x, options.classes, true)?;
    Ok(())
}

/// A 3 × 3 convolution with "same" padding.
fn convolution(channels: usize, stride: usize) -> Convolution {
    Convolution::new(channels, 3)
        .stride(stride)
        .padding(1)
        .kaiming_fan_out()
}

/// Adds a basic block; the shortcut subsamples, and pads channels with zeros.
fn block(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    input: Value,
    channels: usize,
    stride: usize,
) -> Result<Value> {
    let named = |leaf: &str| format!("{name}.{leaf}");
    let x = graph.convolution(&named("conv1"), input, &convolution(channels, stride))?;
    let x = graph.batch_norm(&named("bn1"), x)?;
    let x = graph.activation(&named("relu1"), x, Activation::Relu)?;
    let x = graph.convolution(&named("conv2"), x, &convolution(channels, 1))?;
    let x = graph.batch_norm(&named("bn2"), x)?;
    let x = equilibrium(graph, options, &named("ce"), x)?;
    let added = channels - graph.shape(input).channels;
    let mut shortcut = input;
    if stride != 1 {
        let subsample = Op::AveragePool {
            window: Window {
                stride: (stride, stride),
                ..Window::square(1)
            },
            count_padding: false,
        };
        shortcut = graph.add(&named("shortcut.subsample"), subsample, &[shortcut])?;
    }
    if added > 0 {
        let (before, after) = (added / 2, added - added / 2);
        let pad = Op::PadChannels { before, after };
        shortcut = graph.add(&named("shortcut.pad"), pad, &[shortcut])?;
    }
    let x = graph.add(&named("add"), Op::Add, &[shortcut, x])?;
    graph.activation(&named("relu2"), x, Activation::Relu)
}
