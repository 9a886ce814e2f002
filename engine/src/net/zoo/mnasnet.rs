//! MNASNet-B1 (Tan et al. 2019).

use super::Options;
use super::block::{equilibrium, scaled};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// The stages: output channels, kernel size, stride of the first block, expansion factor, blocks.
const STAGES: [(usize, usize, usize, usize, usize); 6] = [
    (24, 3, 2, 3, 3),
    (40, 5, 2, 3, 3),
    (80, 5, 2, 6, 3),
    (96, 3, 1, 6, 2),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
];

/// TensorFlow's momentum of 0.9997, in PyTorch's convention.
const NORM: BatchNorm = BatchNorm {
    epsilon: 1e-5,
    momentum: 1.0 - 0.9997,
    beta: 0.0,
};

/// Builds the network; `alpha` is its width multiplier, which the options' multiplies further.
pub(super) fn build(graph: &mut Graph, options: &Options, alpha: f64) -> Result<()> {
    let alpha = alpha * options.width;
    let mut layers = Layers {
        graph,
        prefix: "layers".to_owned(),
        next: 0,
    };
    let (first, second) = (scaled(32, alpha), scaled(16, alpha));
    let stem = Convolution::new(first, 3).stride(2).padding(1);
    let depthwise = Convolution::new(first, 3).padding(1).groups(first);
    let x = layers.graph.input();
    let x = layers.add(x, stem, true)?;
    let x = layers.add(x, depthwise, true)?;
    let mut x = layers.add(x, Convolution::new(second, 1), false)?;
    for (out, kernel, stride, expansion, blocks) in STAGES {
        for number in 0..blocks {
            let block = Block {
                out: scaled(out, alpha),
                kernel,
                stride: if number == 0 { stride } else { 1 },
                expansion,
            };
            let name = format!("layers.{}.{number}", layers.next);
            x = block.add(layers.graph, options, &name, x)?;
        }
        layers.next += 1;
    }
    let x = layers.add(x, Convolution::new(1280, 1), true)?;
    let x = graph.global_average_pool("avgpool", x)?;
    let x = graph.add("classifier.0", Op::Dropout { p: 0.2 }, &[x])?;
    // He et al. 2015 over the fan-out with gain 1, uniform.
    let bound = (3.0 / options.classes as f64).sqrt();
    let (weight, bias) = (Init::Uniform { bound }, Init::Constant(0.0));
    graph.linear_with("classifier.1", x, options.classes, weight, Some(bias))?;
    Ok(())
}

/// An inverted residual block.
struct Block {
    out: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
}

impl Block {
    fn add(&self, graph: &mut Graph, options: &Options, name: &str, input: Value) -> Result<Value> {
        let channels = graph.shape(input).channels;
        let expanded = channels * self.expansion;
        let mut layers = Layers {
            graph,
            prefix: format!("{name}.layers"),
            next: 0,
        };
        let depthwise = Convolution::new(expanded, self.kernel)
            .stride(self.stride)
            .padding(self.kernel / 2)
            .groups(expanded);
        let x = layers.add(input, Convolution::new(expanded, 1), true)?;
        let x = layers.add(x, depthwise, true)?;
        let x = layers.add(x, Convolution::new(self.out, 1), false)?;
        let last = layers.name();
        let x = equilibrium(graph, options, &last, x)?;
        if self.stride == 1 && channels == self.out {
            graph.add(&format!("{name}.add"), Op::Add, &[x, input])
        } else {
            Ok(x)
        }
    }
}

/// Builds layers that torchvision keeps in one flat `Sequential`, numbered in order.
struct Layers<'a> {
    graph: &'a mut Graph,
    prefix: String,
    next: usize,
}

impl Layers<'_> {
    fn add(&mut self, x: Value, convolution: Convolution, active: bool) -> Result<Value> {
        let convolution = convolution.kaiming_fan_out();
        let name = self.name();
        let x = self.graph.convolution(&name, x, &convolution)?;
        let name = self.name();
        let x = self.graph.batch_norm_with(&name, x, NORM)?;
        if !active {
            return Ok(x);
        }
        let name = self.name();
        self.graph.activation(&name, x, Activation::Relu)
    }

    fn name(&mut self) -> String {
        self.next += 1;
        format!("{}.{}", self.prefix, self.next - 1)
    }
}
