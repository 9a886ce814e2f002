//! MobileNetV2 (Sandler et al. 2018).

use super::block::{convolution_norm, dilated, equilibrium, scaled, small_linear};
use super::{Options, Stem};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};

/// Table 2 of the paper: expansion factor, output channels, blocks, stride of the first block.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) fn build(graph: &mut Graph, options: &Options) -> Result<()> {
    let width = options.width;
    let values = features(graph, options, "features", |_| 1)?;
    let last = Convolution::new(scaled(1280, width.max(1.0)), 1);
    let (index, x) = (values.len(), values[values.len() - 1]);
    let x = unit(graph, &format!("features.{index}"), x, last)?;
    let x = graph.global_average_pool("avgpool", x)?;
    let x = graph.add("classifier.0", Op::Dropout { p: 0.2 }, &[x])?;
    small_linear(graph, "classifier.1", x, options.classes)?;
    Ok(())
}

/// Adds the first convolution and all blocks, and returns their values. `rate` is the dilation of a block, by its index,
/// see [`dilated`].
pub(super) fn features(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    rate: impl Fn(usize) -> usize,
) -> Result<Vec<Value>> {
    let &Options { stem, width, .. } = options;
    let first = scaled(32, width);
    let stride = if stem == Stem::Cifar { 1 } else { 2 };
    let conv = Convolution::new(first, 3).stride(stride).padding(1);
    let mut values = vec![unit(graph, &format!("{name}.0"), graph.input(), conv)?];
    for (expansion, channels, blocks, stride) in STAGES {
        for number in 0..blocks {
            let index = values.len();
            let block = Block {
                expansion,
                channels: scaled(channels, width),
                stride: if number == 0 { stride } else { 1 },
                rate: rate(index),
                keep_size: stem == Stem::Cifar && index == 2,
            };
            let x = values[index - 1];
            values.push(block.add(graph, options, &format!("{name}.{index}"), x)?);
        }
    }
    Ok(values)
}

/// An inverted residual block.
struct Block {
    expansion: usize,
    channels: usize,
    stride: usize,
    rate: usize,
    /// Whether the depthwise convolution has stride 1 whatever `stride` is, which still decides about the shortcut.
    keep_size: bool,
}

impl Block {
    fn add(&self, graph: &mut Graph, options: &Options, name: &str, input: Value) -> Result<Value> {
        let channels = graph.shape(input).channels;
        let hidden = channels * self.expansion;
        let mut x = input;
        let mut index = 0;
        if self.expansion != 1 {
            x = unit(
                graph,
                &format!("{name}.conv.0"),
                x,
                Convolution::new(hidden, 1),
            )?;
            index = 1;
        }
        let stride = if self.keep_size { 1 } else { self.stride };
        let (stride, dilation) = dilated(stride, self.rate);
        let depthwise = Convolution::new(hidden, 3)
            .stride(stride)
            .padding(dilation)
            .dilation(dilation)
            .groups(hidden);
        x = unit(graph, &format!("{name}.conv.{index}"), x, depthwise)?;
        let project = Convolution::new(self.channels, 1).kaiming_fan_out();
        x = graph.convolution(&format!("{name}.conv.{}", index + 1), x, &project)?;
        x = graph.batch_norm(&format!("{name}.conv.{}", index + 2), x)?;
        x = equilibrium(graph, options, &format!("{name}.conv.{}", index + 3), x)?;
        if self.stride == 1 && channels == self.channels {
            graph.add(&format!("{name}.add"), Op::Add, &[input, x])
        } else {
            Ok(x)
        }
    }
}

/// Adds a convolution with BatchNorm and ReLU6.
fn unit(graph: &mut Graph, name: &str, x: Value, convolution: Convolution) -> Result<Value> {
    convolution_norm(
        graph,
        name,
        x,
        &convolution.kaiming_fan_out(),
        BatchNorm::default(),
        Some(Activation::Relu6),
    )
}
