//! DeepLabV3 (Chen et al. 2017) on MobileNetV3-large, as torchvision has it with its auxiliary head: names `backbone.*`,
//! `classifier.*`, `aux_classifier.*`. The output is as large as the image.

use super::block::convolution_norm;
use super::{Options, mobilenet_v3};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Auxiliary, Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// Factor of the auxiliary loss in torchvision's training script.
const AUXILIARY_WEIGHT: f64 = 0.5;
/// Dilations of atrous spatial pyramid pooling.
const RATES: [usize; 3] = [12, 24, 36];
/// Channels of each of its branches, and behind it.
const PYRAMID_CHANNELS: usize = 256;
/// The block whose value, with a stride of 8, the auxiliary head reads.
const AUXILIARY_BLOCK: usize = 4;

pub(super) fn mobilenet_v3_large(graph: &mut Graph, options: &Options) -> Result<()> {
    let values = mobilenet_v3::dilated_large(graph, options, "backbone")?;
    let x = pyramid(graph, "classifier.0", values[values.len() - 1])?;
    let layer = Convolution::new(PYRAMID_CHANNELS, 3).padding(1);
    let x = graph.convolution("classifier.1", x, &layer)?;
    let x = graph.batch_norm("classifier.2", x)?;
    let x = graph.activation("classifier.3", x, Activation::Relu)?;
    let x = classes(graph, "classifier.4", x, options.classes)?;
    let main = resize(graph, "out", x, graph.input())?;
    let x = values[AUXILIARY_BLOCK];
    let layer = Convolution::new(graph.shape(x).channels / 4, 3).padding(1);
    let x = cbr(graph, "aux_classifier", x, &layer)?;
    let x = graph.add("aux_classifier.3", Op::Dropout { p: 0.1 }, &[x])?;
    let x = classes(graph, "aux_classifier.4", x, options.classes)?;
    let value = resize(graph, "aux", x, graph.input())?;
    let weight = AUXILIARY_WEIGHT;
    graph.set_outputs(main, Some(Auxiliary { value, weight }))
}

/// Adds atrous spatial pyramid pooling (Chen et al. 2017, section 3.3).
fn pyramid(graph: &mut Graph, name: &str, input: Value) -> Result<Value> {
    let pointwise = Convolution::new(PYRAMID_CHANNELS, 1);
    let mut all = vec![cbr(graph, &format!("{name}.convs.0"), input, &pointwise)?];
    for rate in RATES {
        let layer = Convolution::new(PYRAMID_CHANNELS, 3);
        let layer = layer.padding(rate).dilation(rate);
        let name = format!("{name}.convs.{}", all.len());
        all.push(cbr(graph, &name, input, &layer)?);
    }
    let named = |leaf: &str| format!("{name}.convs.{}.{leaf}", all.len());
    let x = graph.global_average_pool(&named("0"), input)?;
    let x = graph.convolution(&named("1"), x, &pointwise)?;
    let x = graph.batch_norm(&named("2"), x)?;
    let x = graph.activation(&named("3"), x, Activation::Relu)?;
    let x = resize(graph, &named("resize"), x, input)?;
    all.push(x);
    let x = graph.add(&format!("{name}.concat"), Op::Concat, &all)?;
    let x = cbr(graph, &format!("{name}.project"), x, &pointwise)?;
    let dropout = Op::Dropout { p: 0.5 };
    graph.add(&format!("{name}.project.3"), dropout, &[x])
}

/// Adds a convolution, BatchNorm and ReLU.
fn cbr(graph: &mut Graph, name: &str, x: Value, layer: &Convolution) -> Result<Value> {
    let (norm, relu) = (BatchNorm::default(), Some(Activation::Relu));
    convolution_norm(graph, name, x, layer, norm, relu)
}

/// Adds the 1 × 1 convolution to the classes.
fn classes(graph: &mut Graph, name: &str, x: Value, classes: usize) -> Result<Value> {
    let bound = 1.0 / (graph.shape(x).channels as f64).sqrt();
    let layer = Convolution::new(classes, 1).bias(Init::Uniform { bound });
    graph.convolution(name, x, &layer)
}

/// Adds a bilinear resize of `x` to the height and width of `like`.
fn resize(graph: &mut Graph, name: &str, x: Value, like: Value) -> Result<Value> {
    let shape = graph.shape(like);
    let op = Op::Resize {
        height: shape.height,
        width: shape.width,
        align_corners: false,
    };
    graph.add(name, op, &[x])
}
