//! RegNetX and RegNetY (Radosavovic et al. 2020).

use super::Options;
use super::block::{SqueezeExcitation, convolution_norm, equilibrium, small_linear};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};

/// The stages that a RegNet's parameters (w_0, w_a, w_m, depth) give.
struct Design {
    /// Blocks and channels of each stage.
    stages: [(usize, usize); 4],
    /// Channels per group.
    group: usize,
    /// Whether blocks have squeeze-and-excitation (RegNetY), with a quarter of the block's input channels.
    gated: bool,
}

/// 22 blocks, w_0 = 24, w_a = 24.48, w_m = 2.54, 16 channels per group.
pub(super) fn x_400mf(graph: &mut Graph, options: &Options) -> Result<()> {
    let design = Design {
        stages: [(1, 32), (2, 64), (7, 160), (12, 400)],
        group: 16,
        gated: false,
    };
    design.build(graph, options)
}

/// 16 blocks, w_0 = 48, w_a = 27.89, w_m = 2.09, 8 channels per group.
pub(super) fn y_400mf(graph: &mut Graph, options: &Options) -> Result<()> {
    let design = Design {
        stages: [(1, 48), (3, 104), (6, 208), (6, 440)],
        group: 8,
        gated: true,
    };
    design.build(graph, options)
}

impl Design {
    fn build(&self, graph: &mut Graph, options: &Options) -> Result<()> {
        let stem = Convolution::new(32, 3).stride(2).padding(1);
        let mut x = unit(graph, "stem", graph.input(), stem, true)?;
        for (stage, (blocks, out)) in (1..).zip(self.stages) {
            for number in 0..blocks {
                let name = format!("trunk_output.block{stage}.block{stage}-{number}");
                let stride = if number == 0 { 2 } else { 1 };
                x = self.block(graph, options, &name, x, out, stride)?;
            }
        }
        let x = graph.global_average_pool("avgpool", x)?;
        small_linear(graph, "fc", x, options.classes)?;
        Ok(())
    }

    fn block(
        &self,
        graph: &mut Graph,
        options: &Options,
        name: &str,
        input: Value,
        out: usize,
        stride: usize,
    ) -> Result<Value> {
        let named = |leaf: &str| format!("{name}.{leaf}");
        let channels = graph.shape(input).channels;
        let mut shortcut = input;
        if channels != out || stride != 1 {
            let project = Convolution::new(out, 1).stride(stride);
            shortcut = unit(graph, &named("proj"), input, project, false)?;
        }
        let grouped = Convolution::new(out, 3)
            .stride(stride)
            .padding(1)
            .groups(out / self.group);
        let x = unit(graph, &named("f.a"), input, Convolution::new(out, 1), true)?;
        let mut x = unit(graph, &named("f.b"), x, grouped, true)?;
        if self.gated {
            let gate = SqueezeExcitation {
                squeeze: channels / 4,
                activation: Activation::Relu,
                gate: Activation::Sigmoid,
                zero_bias: false,
            };
            x = gate.add(graph, &named("f.se"), x)?;
        }
        let x = unit(graph, &named("f.c"), x, Convolution::new(out, 1), false)?;
        let x = equilibrium(graph, options, &named("f.ce"), x)?;
        let x = graph.add(&named("add"), Op::Add, &[shortcut, x])?;
        graph.activation(&named("activation"), x, Activation::Relu)
    }
}

fn unit(
    graph: &mut Graph,
    name: &str,
    x: Value,
    convolution: Convolution,
    active: bool,
) -> Result<Value> {
    let activation = active.then_some(Activation::Relu);
    let convolution = convolution.kaiming_fan_out();
    let norm = BatchNorm::default();
    convolution_norm(graph, name, x, &convolution, norm, activation)
}
