//! ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017). As in torchvision, a bottleneck block has its stride in the 3 × 3
//! convolution.

use super::block::{dilated, equilibrium};
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

/// The pooling behind the first convolutions.
pub(super) const STEM_POOL: Pool = Pool {
    kernel: 3,
    stride: 2,
    padding: 1,
};

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
        x = graph.max_pool("maxpool", x, STEM_POOL)?;
    }
    let [.., x] = stages(graph, options, "", x, block, blocks, [1; 4])?;
    let x = graph.global_average_pool("avgpool", x)?;
    graph.linear("fc", x, options.classes, true)?;
    Ok(())
}

/// Adds the four stages, whose names begin with `prefix`, and returns their values. `blocks` is the number of blocks of each,
/// `rates` their dilation, see [`dilated`].
pub(super) fn stages(
    graph: &mut Graph,
    options: &Options,
    prefix: &str,
    input: Value,
    block: Block,
    blocks: [usize; 4],
    rates: [usize; 4],
) -> Result<[Value; 4]> {
    let (mut x, mut values) = (input, [input; 4]);
    for (stage, value) in values.iter_mut().enumerate() {
        for number in 0..blocks[stage] {
            let place = Place {
                channels: 64 << stage,
                stride: if stage > 0 && number == 0 { 2 } else { 1 },
                rate: rates[stage],
            };
            let name = format!("{prefix}layer{}.{number}", stage + 1);
            x = block.add(graph, options, &name, x, place)?;
        }
        *value = x;
    }
    Ok(values)
}

/// What a block has from its place in the network.
#[derive(Clone, Copy)]
struct Place {
    /// Channels of the stage.
    channels: usize,
    /// Stride without dilation.
    stride: usize,
    /// Dilation of the stage.
    rate: usize,
}

impl Block {
    /// Adds a block.
    fn add(
        self,
        graph: &mut Graph,
        options: &Options,
        name: &str,
        input: Value,
        place: Place,
    ) -> Result<Value> {
        let Place {
            channels,
            stride,
            rate,
        } = place;
        let three = |channels: usize, stride: usize| {
            let (stride, dilation) = dilated(stride, rate);
            let layer = square(channels, 3, stride);
            layer.padding(dilation).dilation(dilation)
        };
        let named = |leaf: &str| format!("{name}.{leaf}");
        let (out, convolutions) = match self {
            Block::Basic => {
                let (first, second) = (three(channels, stride), three(channels, 1));
                (channels, vec![first, second])
            }
            Block::Bottleneck {
                groups,
                group_width,
            } => {
                let width = channels * group_width / 64 * groups;
                let out = channels * 4;
                let grouped = three(width, stride).groups(groups);
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
            let project = square(out, 1, if rate > 1 { 1 } else { stride });
            shortcut = graph.convolution(&named("downsample.0"), input, &project)?;
            shortcut = graph.batch_norm(&named("downsample.1"), shortcut)?;
        }
        x = graph.add(&named("add"), Op::Add, &[x, shortcut])?;
        graph.activation(&named(&format!("relu{last}")), x, Activation::Relu)
    }
}

/// A convolution with a square kernel and "same" padding.
pub(super) fn square(channels: usize, kernel: usize, stride: usize) -> Convolution {
    Convolution::new(channels, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .kaiming_fan_out()
}
