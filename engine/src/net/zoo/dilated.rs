//! Semantic segmentation networks of Zhou et al. 2018, "Semantic Understanding of Scenes through the ADE20K Dataset": an
//! encoder with output stride 8 and dilation (Yu and Koltun 2016), a decoder, and an auxiliary head on the encoder's
//! second-last stage, whose loss counts 0.4. The output is a map of an eighth of the image.
//!
//! Names, channels and initialisation are those of the public reference, `encoder.*` and `decoder.*`.

use super::block::convolution_norm;
use super::resnet::{self, STEM_POOL, square};
use super::{Options, mobilenet_v2};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Auxiliary, Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// Factor of the auxiliary loss.
const AUXILIARY_WEIGHT: f64 = 0.4;
/// Probability of channel dropout.
const DROPOUT: f64 = 0.1;
/// Sizes of the maps that the pyramid pooling module pools to.
const POOLED: [usize; 4] = [1, 2, 3, 6];
/// Channels of each branch of the pyramid pooling module, and behind it.
const PYRAMID_CHANNELS: usize = 512;

/// The last two stages of an encoder.
#[derive(Clone, Copy)]
struct Encoded {
    second_last: Value,
    last: Value,
}

/// MobileNetV2 without its last convolution, and the decoder C1.
pub(super) fn mobilenet_v2_c1(graph: &mut Graph, options: &Options) -> Result<()> {
    let rate = |index: usize| match index {
        0..7 => 1,
        7..14 => 2,
        _ => 4,
    };
    let values = mobilenet_v2::features(graph, options, "encoder.features", rate)?;
    let encoded = Encoded {
        second_last: values[14],
        last: values[17],
    };
    c1(graph, encoded, options.classes)
}

/// A ResNet whose first convolution is three of 3 × 3, and the decoder PPM.
pub(super) fn resnet_ppm(
    graph: &mut Graph,
    options: &Options,
    block: resnet::Block,
    blocks: [usize; 4],
) -> Result<()> {
    let mut x = graph.input();
    for (number, channels, stride) in [(1, 64, 2), (2, 64, 1), (3, 128, 1)] {
        let named = |leaf: &str| format!("encoder.{leaf}{number}");
        let layer = square(channels, 3, stride);
        x = graph.convolution(&named("conv"), x, &layer)?;
        x = graph.batch_norm(&named("bn"), x)?;
        x = graph.activation(&named("relu"), x, Activation::Relu)?;
    }
    let x = graph.max_pool("encoder.maxpool", x, STEM_POOL)?;
    let stages = resnet::stages(graph, options, "encoder.", x, block, blocks, [1, 1, 2, 4])?;
    let [.., second_last, last] = stages;
    ppm(graph, Encoded { second_last, last }, options.classes)
}

/// The decoder C1, "one convolution", with its auxiliary head.
fn c1(graph: &mut Graph, encoded: Encoded, classes: usize) -> Result<()> {
    let channels = graph.shape(encoded.last).channels / 4;
    let x = cbr(graph, "decoder.cbr", encoded.last, channels)?;
    let y = cbr(graph, "decoder.cbr_deepsup", encoded.second_last, channels)?;
    let main = classifier(graph, "decoder.conv_last", x, classes)?;
    let auxiliary = classifier(graph, "decoder.conv_last_deepsup", y, classes)?;
    finish(graph, main, auxiliary)
}

/// The pyramid pooling module (Zhao et al. 2017, section 3.2), with its auxiliary head.
fn ppm(graph: &mut Graph, encoded: Encoded, classes: usize) -> Result<()> {
    let Encoded { second_last, last } = encoded;
    let shape = graph.shape(last);
    let mut all = vec![last];
    for (number, size) in POOLED.into_iter().enumerate() {
        let named = |leaf: &str| format!("decoder.ppm.{number}.{leaf}");
        let pool = Op::AdaptiveAveragePool {
            height: size,
            width: size,
        };
        let x = graph.add(&named("0"), pool, &[last])?;
        let layer = Convolution::new(PYRAMID_CHANNELS, 1).kaiming_fan_in(shape.channels);
        let x = graph.convolution(&named("1"), x, &layer)?;
        let x = graph.batch_norm_with(&named("2"), x, NORM)?;
        let x = graph.activation(&named("3"), x, Activation::Relu)?;
        let resize = Op::Resize {
            height: shape.height,
            width: shape.width,
            align_corners: false,
        };
        all.push(graph.add(&named("resize"), resize, &[x])?);
    }
    let x = graph.add("decoder.concat", Op::Concat, &all)?;
    let dropout = Op::ChannelDropout { p: DROPOUT };
    let y = cbr(
        graph,
        "decoder.cbr_deepsup",
        second_last,
        shape.channels / 4,
    )?;
    let y = graph.add("decoder.dropout_deepsup", dropout.clone(), &[y])?;
    let x = cbr(graph, "decoder.conv_last", x, PYRAMID_CHANNELS)?;
    let x = graph.add("decoder.conv_last.3", dropout, &[x])?;
    let main = classifier(graph, "decoder.conv_last.4", x, classes)?;
    let auxiliary = classifier(graph, "decoder.conv_last_deepsup", y, classes)?;
    finish(graph, main, auxiliary)
}

/// BatchNorm of the decoders.
const NORM: BatchNorm = BatchNorm {
    epsilon: 1e-5,
    momentum: 0.1,
    beta: 1e-4,
};

/// Adds a 3 × 3 convolution, BatchNorm and ReLU.
fn cbr(graph: &mut Graph, name: &str, x: Value, out: usize) -> Result<Value> {
    let layer = Convolution::new(out, 3).padding(1);
    let layer = layer.kaiming_fan_in(graph.shape(x).channels);
    convolution_norm(graph, name, x, &layer, NORM, Some(Activation::Relu))
}

/// Adds the 1 × 1 convolution to the classes.
fn classifier(graph: &mut Graph, name: &str, x: Value, classes: usize) -> Result<Value> {
    let channels = graph.shape(x).channels;
    let bound = 1.0 / (channels as f64).sqrt();
    let layer = Convolution::new(classes, 1).kaiming_fan_in(channels);
    graph.convolution(name, x, &layer.bias(Init::Uniform { bound }))
}

fn finish(graph: &mut Graph, main: Value, auxiliary: Value) -> Result<()> {
    let auxiliary = Auxiliary {
        value: auxiliary,
        weight: AUXILIARY_WEIGHT,
    };
    graph.set_outputs(main, Some(auxiliary))
}
