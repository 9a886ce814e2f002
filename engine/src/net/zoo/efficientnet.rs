//! EfficientNet-B0 (Tan and Le 2019).

use super::Options;
use super::block::{SqueezeExcitation, convolution_norm, equilibrium};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// Table 1 of the paper: expansion factor, kernel size, stride of the first block, output channels, blocks.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// Stochastic depth grows linearly over the blocks, from 0 towards this probability.
const STOCHASTIC_DEPTH: f64 = 0.2;

pub(super) fn b0(graph: &mut Graph, options: &Options) -> Result<()> {
    let silu = Some(Activation::Silu);
    let first = Convolution::new(32, 3).stride(2).padding(1);
    let mut x = unit(graph, "features.0", graph.input(), first, silu)?;
    let total: usize = STAGES.iter().map(|stage| stage.4).sum();
    let mut depth = 0;
    for (stage, (expansion, kernel, stride, out, blocks)) in (1..).zip(STAGES) {
        for number in 0..blocks {
            let block = Block {
                expansion,
                kernel,
                stride: if number == 0 { stride } else { 1 },
                out,
                p: STOCHASTIC_DEPTH * depth as f64 / total as f64,
            };
            x = block.add(graph, options, &format!("features.{stage}.{number}"), x)?;
            depth += 1;
        }
    }
    let x = unit(graph, "features.8", x, Convolution::new(1280, 1), silu)?;
    let x = graph.global_average_pool("avgpool", x)?;
    let x = graph.add("classifier.0", Op::Dropout { p: 0.2 }, &[x])?;
    let bound = 1.0 / (options.classes as f64).sqrt();
    let (weight, bias) = (Init::Uniform { bound }, Init::Constant(0.0));
    graph.linear_with("classifier.1", x, options.classes, weight, Some(bias))?;
    Ok(())
}

/// An inverted residual block with squeeze-and-excitation.
struct Block {
    expansion: usize,
    kernel: usize,
    stride: usize,
    out: usize,
    /// Probability of stochastic depth.
    p: f64,
}

impl Block {
    fn add(&self, graph: &mut Graph, options: &Options, name: &str, input: Value) -> Result<Value> {
        let silu = Some(Activation::Silu);
        let channels = graph.shape(input).channels;
        let expanded = channels * self.expansion;
        let mut names = (0..).map(|index| format!("{name}.block.{index}"));
        let mut next = || names.next().unwrap_or_default();
        let mut x = input;
        if self.expansion != 1 {
            x = unit(graph, &next(), x, Convolution::new(expanded, 1), silu)?;
        }
        let depthwise = Convolution::new(expanded, self.kernel)
            .stride(self.stride)
            .padding(self.kernel / 2)
            .groups(expanded);
        x = unit(graph, &next(), x, depthwise, silu)?;
        let gate = SqueezeExcitation {
            squeeze: channels / 4,
            activation: Activation::Silu,
            gate: Activation::Sigmoid,
            zero_bias: true,
        };
        x = gate.add(graph, &next(), x)?;
        x = unit(graph, &next(), x, Convolution::new(self.out, 1), None)?;
        x = equilibrium(graph, options, &next(), x)?;
        if self.stride != 1 || channels != self.out {
            return Ok(x);
        }
        let depth = Op::StochasticDepth { p: self.p };
        x = graph.add(&format!("{name}.stochastic_depth"), depth, &[x])?;
        graph.add(&format!("{name}.add"), Op::Add, &[x, input])
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
    let norm = BatchNorm::default();
    convolution_norm(graph, name, x, &convolution, norm, activation)
}
