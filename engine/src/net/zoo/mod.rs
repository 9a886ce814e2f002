//! Networks by name: torchvision's, with its architectures, parameter names and initialisation, so that state dicts are
//! interchangeable; the CIFAR ResNets of He et al. 2016; and segmentation networks.
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen_engine::Error> {
//! use ckpt_regen_engine::net::zoo;
//!
//! let options = zoo::Options { classes: 100, ..zoo::defaults("mobilenet_v2")? };
//! let graph = zoo::build("mobilenet_v2", &options)?;
//! assert_eq!(graph.tensors()[0].name, "features.0.0.weight");
//! # Ok(())
//! # }
//! ```

mod block;
mod cifar_resnet;
mod deeplab_v3;
mod dilated;
mod efficientnet;
mod mnasnet;
mod mobilenet_v2;
mod mobilenet_v3;
mod regnet;
mod resnet;
mod shufflenet_v2;

use super::graph::Graph;
use super::op::Op;
use super::resolution::Resolution;
use super::shape::Shape;
use super::whitening::Whitening;
use crate::error::{Error, Result};
use resnet::Block;

/// The options of a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Number of classes.
    pub classes: usize,
    /// Height and width of the images, in pixels.
    pub resolution: Resolution,
    /// The first layers.
    pub stem: Stem,
    /// Width multiplier of the channel counts, above 0 and at most 100; 1 for networks without one in torchvision.
    pub width: f64,
    /// How it normalises.
    pub norm: Norm,
}

/// How a network normalises.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Norm {
    /// By BatchNorm, as it is defined.
    #[default]
    Batch,
    /// By iterative normalisation (Huang et al. 2019) in place of every BatchNorm.
    Iterative(Whitening),
    /// By BatchNorm, and by Channel Equilibrium (Tang et al. 2020) after the last BatchNorm of each residual branch; in a
    /// block without an addition, after the last BatchNorm of its main branch. Blocks with maps of one pixel, whose variance
    /// is 0, go without: see [`one_pixel_blocks`].
    Equilibrium {
        /// Groups and iterations.
        whitening: Whitening,
        /// Factor by which the instance branch reduces the channels.
        reduction: usize,
    },
}

/// The first layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stem {
    /// As the network is defined.
    Native,
    /// For images of 32 × 32 pixels: without the strides and the pooling at the start of an ImageNet network.
    Cifar,
}

/// A network's name and the options that it supports.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// Whether it has a [`Stem::Cifar`].
    pub cifar_stem: bool,
    /// Whether it has a width multiplier.
    pub width: bool,
    designed_for: DesignedFor,
    build: Build,
}

/// The data set that a network was designed for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum DesignedFor {
    ImageNet,
    Cifar,
    /// Scenes with a class for each pixel.
    Ade20k,
    /// Objects with a class for each pixel, Pascal VOC's.
    Voc,
}

type Build = fn(&mut Graph, &Options) -> Result<()>;

impl Model {
    const fn new(name: &'static str, build: Build) -> Model {
        Model {
            name,
            designed_for: DesignedFor::ImageNet,
            cifar_stem: false,
            width: false,
            build,
        }
    }

    const fn cifar(name: &'static str, build: Build) -> Model {
        Model {
            designed_for: DesignedFor::Cifar,
            ..Model::new(name, build)
        }
    }

    const fn segmentation(name: &'static str, designed_for: DesignedFor, build: Build) -> Model {
        Model {
            designed_for,
            ..Model::new(name, build)
        }
    }

    const fn with_cifar_stem(self) -> Model {
        Model {
            cifar_stem: true,
            ..self
        }
    }

    const fn with_width(self) -> Model {
        Model {
            width: true,
            ..self
        }
    }
}

const RESNEXT: Block = Block::Bottleneck {
    groups: 32,
    group_width: 4,
};
const BOTTLENECK: Block = Block::Bottleneck {
    groups: 1,
    group_width: 64,
};

static MODELS: [Model; 23] = [
    Model::new("mobilenet_v2", mobilenet_v2::build)
        .with_cifar_stem()
        .with_width(),
    Model::new("shufflenet_v2_x0_5", |graph, options| {
        shufflenet_v2::build(graph, options, [48, 96, 192])
    })
    .with_cifar_stem(),
    Model::new("shufflenet_v2_x1_0", |graph, options| {
        shufflenet_v2::build(graph, options, [116, 232, 464])
    })
    .with_cifar_stem(),
    Model::new("mnasnet0_5", |graph, options| {
        mnasnet::build(graph, options, 0.5)
    })
    .with_width(),
    Model::new("mnasnet1_0", |graph, options| {
        mnasnet::build(graph, options, 1.0)
    })
    .with_width(),
    Model::new("mobilenet_v3_small", mobilenet_v3::small).with_width(),
    Model::new("mobilenet_v3_large", mobilenet_v3::large).with_width(),
    Model::new("efficientnet_b0", efficientnet::b0),
    Model::new("regnet_x_400mf", regnet::x_400mf),
    Model::new("regnet_y_400mf", regnet::y_400mf),
    Model::new("resnet18", |graph, options| {
        resnet::build(graph, options, Block::Basic, [2, 2, 2, 2])
    })
    .with_cifar_stem(),
    Model::new("resnet34", |graph, options| {
        resnet::build(graph, options, Block::Basic, [3, 4, 6, 3])
    })
    .with_cifar_stem(),
    Model::new("resnet50", |graph, options| {
        resnet::build(graph, options, BOTTLENECK, [3, 4, 6, 3])
    })
    .with_cifar_stem(),
    Model::new("resnext50_32x4d", |graph, options| {
        resnet::build(graph, options, RESNEXT, [3, 4, 6, 3])
    })
    .with_cifar_stem(),
    Model::cifar("resnet20", |graph, options| {
        cifar_resnet::build(graph, options, 3)
    }),
    Model::cifar("resnet32", |graph, options| {
        cifar_resnet::build(graph, options, 5)
    }),
    Model::cifar("resnet44", |graph, options| {
        cifar_resnet::build(graph, options, 7)
    }),
    Model::cifar("resnet56", |graph, options| {
        cifar_resnet::build(graph, options, 9)
    }),
    Model::cifar("resnet110", |graph, options| {
        cifar_resnet::build(graph, options, 18)
    }),
    Model::segmentation(
        "mobilenetv2dilated-c1_deepsup",
        DesignedFor::Ade20k,
        dilated::mobilenet_v2_c1,
    ),
    Model::segmentation(
        "resnet18dilated-ppm_deepsup",
        DesignedFor::Ade20k,
        |graph, options| dilated::resnet_ppm(graph, options, Block::Basic, [2, 2, 2, 2]),
    ),
    Model::segmentation(
        "resnet50dilated-ppm_deepsup",
        DesignedFor::Ade20k,
        |graph, options| dilated::resnet_ppm(graph, options, BOTTLENECK, [3, 4, 6, 3]),
    ),
    Model::segmentation(
        "deeplabv3_mobilenet_v3_large",
        DesignedFor::Voc,
        deeplab_v3::mobilenet_v3_large,
    ),
];

/// All networks, grouped by family.
pub fn models() -> &'static [Model] {
    &MODELS
}

/// The names of all networks.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|model| model.name)
}

/// The default options of a network: 1000 classes at 224 × 224 pixels, for the CIFAR ResNets 10 classes at 32 × 32, for
/// segmentation networks ADE20K's 150 classes at 512 × 512, or Pascal VOC's 21 at 520 × 520; native stem, width 1.
///
/// # Errors
/// There is no network of this name; the message suggests others.
pub fn defaults(name: &str) -> Result<Options> {
    let (classes, resolution) = match find(name)?.designed_for {
        DesignedFor::ImageNet => (1000, 224),
        DesignedFor::Cifar => (10, 32),
        DesignedFor::Ade20k => (150, 512),
        DesignedFor::Voc => (21, 520),
    };
    Ok(Options {
        classes,
        resolution: resolution.into(),
        stem: Stem::Native,
        width: 1.0,
        norm: Norm::Batch,
    })
}

/// Builds a network.
///
/// # Errors
/// There is no network of this name; it lacks the stem or the width multiplier; or the options give no valid network, as
/// with a resolution that is too small, in which case the message names the node.
pub fn build(name: &str, options: &Options) -> Result<Graph> {
    let model = find(name)?;
    let refuse = |reason: String| Err(Error::Options(format!("{name}: {reason}")));
    let &Options {
        classes,
        resolution,
        stem,
        width,
        norm,
    } = options;
    if classes == 0 {
        return refuse("0 classes: a network needs at least one".to_owned());
    }
    if stem == Stem::Cifar && !model.cifar_stem {
        return refuse(match model.designed_for {
            DesignedFor::Cifar => "its own stem is for CIFAR already".to_owned(),
            _ => "there is no CIFAR stem for it".to_owned(),
        });
    }
    if width != 1.0 && !model.width {
        return refuse(format!(
            "width {width}: there is no width multiplier for it"
        ));
    }
    // The limit is far above any use, and far below overflow.
    if !(width > 0.0 && width <= 100.0) {
        return refuse(format!("width {width}: it must be above 0 and at most 100"));
    }
    let mut graph = Graph::new(name, Shape::new(3, resolution.height, resolution.width));
    // Building fails only because of the options.
    let of_options = |err: Error| Error::Options(err.to_string());
    (model.build)(&mut graph, options).map_err(of_options)?;
    if let Norm::Iterative(whitening) = norm {
        graph = graph.with_iter_norm(whitening).map_err(of_options)?;
    }
    graph.options = Some(*options);
    match norm {
        Norm::Equilibrium { .. } => {
            let mut nodes = graph.nodes().iter();
            if !nodes.any(|node| matches!(node.op, Op::ChannelEquilibrium(_))) {
                return refuse(format!(
                    "Channel Equilibrium at {resolution}: the maps of every block have one pixel, whose variance is 0; a \
                     larger resolution gives them more"
                ));
            }
            Ok(graph)
        }
        Norm::Batch | Norm::Iterative(_) => Ok(graph),
    }
}

/// The layers of Channel Equilibrium that a network has at a higher resolution, and lacks at this one, since their maps
/// would have one pixel; and the number of all of them.
///
/// # Errors
/// As [`build`].
pub fn one_pixel_blocks(name: &str, options: &Options) -> Result<(Vec<String>, usize)> {
    let layers = |resolution| {
        let options = Options {
            resolution,
            ..*options
        };
        let graph = build(name, &options)?;
        let nodes = graph.nodes().iter();
        let equilibria = nodes.filter(|node| matches!(node.op, Op::ChannelEquilibrium(_)));
        Ok(equilibria.map(|node| node.name.clone()).collect::<Vec<_>>())
    };
    let (own, all) = (layers(options.resolution)?, layers(LARGE.into())?);
    let count = all.len();
    let missing = all.into_iter().filter(|name| !own.contains(name));
    Ok((missing.collect(), count))
}

/// A resolution at which no block of any network has maps of one pixel.
const LARGE: usize = 1024;

fn find(name: &str) -> Result<&'static Model> {
    let found = MODELS.iter().find(|model| model.name == name);
    found.ok_or_else(|| Error::Options(unknown(name)))
}

/// At most three names similar to the one typed, the most similar first.
fn near(typed: &str) -> Vec<&'static str> {
    let likeness = |name| strsim::normalized_damerau_levenshtein(&typed.to_lowercase(), name);
    let all = names().map(|name| (likeness(name), name));
    let mut near: Vec<(f64, &str)> = all.filter(|(likeness, _)| *likeness >= 0.6).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The message for an unknown name.
fn unknown(name: &str) -> String {
    let near = near(name);
    if near.is_empty() {
        let all: Vec<&str> = names().collect();
        format!(
            "no network is called {name:?}; there are {}",
            all.join(", ")
        )
    } else {
        format!(
            "no network is called {name:?}; did you mean {}?",
            near.join(" or ")
        )
    }
}
