//! ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017). As in torchvision, a bottleneck block has its stride in the 3 × 3
//! convolution.

use super::block::equilibrium;
use super::{Options, Stem};
use crate::error::Result;
use crate::net::build::{Convolution, Pool};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};

/// The kind of block that all stages consist of.
#[derive(Clone, Copy)]
pub(super) enum Block {
    /// Two 3 × 3 convolutions.
    Basic,
    /// 1 × 1, 3 × 3 and 1 × 1 convolutions, the last with four times the stage's channels.
    Bottleneck {
        /// Groups of the 3 × 3 convolution.
        groups: usize,
        /// Channels per group in the first stage.
        group_width: usize,
    },
}

/// Builds the network; `blocks` is the number of blocks of each stage.
pub(super) fn build(
    graph: &mut Graph,
    options: &Options,
    block: Block,
    blocks: [usize; 4],
) -> Result<()> {
    let cifar = options.stem == Stem::Cifar;
    let stem = if cifar {
        square(64, 3, 1)
    } else {
        square(64, 7, 2)
    };
    let x = graph.convolution("conv1", graph.input(), &stem)?;
    let x = graph.batch_norm("bn1", x)?;
    let mut x = graph.activation("relu", x, Activation::Relu)?;
    if !cifar {
        let pool = Pool {
            kernel: 3,
            stride: 2,
            padding: 1,
        };
        x = graph.max_pool("maxpool", x, pool)?;
    }
    let stages = [64, 128, 256, 512].into_iter().zip(blocks);
    for (stage, (channels, blocks)) in (1..).zip(stages) {
        for number in 0..blocks {
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            let name = format!("layer{stage}.{number}");
            x = block.add(graph, options, &name, x, channels, stride)?;
        }
    }
    let x = graph.global_average_pool("avgpool", x)?;
    graph.linear("fc", x, options.classes, true)?;
    Ok(())
}

impl Block {
    /// Adds a block to a stage with this number of channels.
    fn add(
        self,
        graph: &mut Graph,
        options: &Options,
        name: &str,
        input: Value,
        channels: usize,
        stride: usize,
    ) -> Result<Value> {
        let named = |leaf: &str| format!("{name}.{leaf}");
        let (out, convolutions) = match self {
            Block::Basic => {
                let (first, second) = (square(channels, 3, stride), square(channels, 3, 1));
                (channels, vec![first, second])
            }
            Block::Bottleneck {
                groups,
                group_width,
            } => {
                let width = channels * group_width / 64 * groups;
                let out = channels * 4;
                let grouped = square(width, 3, stride).groups(groups);
                (out, vec![square(width, 1, 1), grouped, square(out, 1, 1)])
            }
        };
        let last = convolutions.len();
        let mut x = input;
        for (number, convolution) in (1..).zip(&convolutions) {
            x = graph.convolution(&named(&format!("conv{number}")), x, convolution)?;
            x = graph.batch_norm(&named(&format!("bn{number}")), x)?;
            if number < last {
                x = graph.activation(&named(&format!("relu{number}")), x, Activation::Relu)?;
            }
        }
        x = equilibrium(graph, options, &named("ce"), x)?;
        let mut shortcut = input;
        if stride != 1 || graph.shape(input).channels != out {
            let project = square(out, 1, stride);
            shortcut = graph.convolution(&named("downsample.0"), input, &project)?;
            shortcut = graph.batch_norm(&named("downsample.1"), shortcut)?;
        }
        x = graph.add(&named("add"), Op::Add, &[x, shortcut])?;
        graph.activation(&named(&format!("relu{last}")), x, Activation::Relu)
    }
}

/// A convolution with a square kernel and "same" padding.
fn square(channels: usize, kernel: usize, stride: usize) -> Convolution {
    Convolution::new(channels, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .kaiming_fan_out()
}
