//! The networks of the zoo are those of torchvision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use crate::common::*;
use ckpt_regen::net::zoo::{self, Options, Stem};
use ckpt_regen::net::{Graph, Init, Kind, NormKind, Op, Shape, TensorId, Whitening};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// What `fixtures/golden/generate.py` and `generate_more.py` say of a network.
#[derive(Deserialize)]
struct Golden {
    /// Or height and width, on which no tensor depends.
    resolution: Option<usize>,
    classes: usize,
    tensors: StateDict,
}

/// Names and shapes, in the file's order.
#[derive(Debug, PartialEq)]
struct StateDict(Vec<(String, Vec<usize>)>);

impl<'de> Deserialize<'de> for StateDict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StateDict, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = StateDict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a state dict")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StateDict, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(StateDict(all))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn tensors(graph: &Graph) -> StateDict {
    let tensors = graph.tensors().iter();
    StateDict(tensors.map(|t| (t.name.clone(), t.shape.clone())).collect())
}

#[test]
fn every_reference_network_has_the_same_state_dict_in_the_same_order() {
    let mut seen = 0;
    for entry in fs::read_dir(repository("fixtures/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        let is_golden = name != "shifts.json" && text(Path::new(name)).ends_with(".json");
        if !is_golden {
            continue;
        }
        let file = BufReader::new(File::open(&path).unwrap());
        let golden: Golden = serde_json::from_reader(file).unwrap();
        let key = path.file_stem().unwrap().to_str().unwrap();
        let (name, stem, norm) = golden_network(key);
        let options = Options {
            classes: golden.classes,
            resolution: golden.resolution.unwrap_or(65).into(),
            stem,
            width: 1.0,
            norm,
        };
        let graph = zoo::build(name, &options).unwrap();
        assert_eq!(tensors(&graph), golden.tensors, "{key}");
        seen += 1;
    }
    assert_eq!(seen, 22);
}

/// What `fixtures/torchvision/generate.py` says of all networks.
#[derive(Deserialize)]
struct Facts {
    networks: BTreeMap<String, Network>,
    cifar_resnets: BTreeMap<String, CifarResNet>,
    cifar_stem: BTreeMap<String, Variant>,
    widths: Vec<Width>,
}

#[derive(Deserialize)]
struct Network {
    parameters: u64,
    multiply_adds: u64,
    /// Thousand millions of multiply-adds, as torchvision documents them.
    published: f64,
    epsilon: f64,
    momentum: f64,
    channels: usize,
    /// Dropout and stochastic depth by name, with their probability.
    noise: BTreeMap<String, f64>,
    /// How each parameter but those of BatchNorm starts.
    init: BTreeMap<String, (String, f64)>,
    tensors: StateDict,
}

#[derive(Deserialize)]
struct CifarResNet {
    parameters: u64,
    multiply_adds: u64,
    tensors: StateDict,
}

#[derive(Deserialize)]
struct Variant {
    multiply_adds: u64,
    tensors: StateDict,
}

#[derive(Deserialize)]
struct Width {
    name: String,
    width: f64,
    #[serde(flatten)]
    variant: Variant,
}

fn facts() -> Facts {
    let path = repository("fixtures/torchvision/networks.json");
    serde_json::from_reader(BufReader::new(File::open(path).unwrap())).unwrap()
}

/// Every network of torchvision's in the zoo, as it is by default, with what is known of it.
fn networks() -> Vec<(Graph, Network)> {
    let facts = facts();
    assert_eq!(facts.networks.len(), 14);
    let networks = facts.networks.into_iter();
    networks
        .map(|(name, network)| (default_graph(&name), network))
        .collect()
}

fn default_graph(name: &str) -> Graph {
    zoo::build(name, &zoo::defaults(name).unwrap()).unwrap()
}

fn multiply_adds(graph: &Graph) -> u64 {
    graph.cost().unwrap().multiply_adds
}

#[test]
fn every_network_has_torchvisions_state_dict_parameters_and_multiply_adds() {
    for (graph, network) in networks() {
        let name = graph.name();
        assert_eq!(tensors(&graph), network.tensors, "{name}");
        let cost = graph.cost().unwrap();
        assert_eq!(cost.parameters, network.parameters, "{name}");
        assert_eq!(cost.multiply_adds, network.multiply_adds, "{name}");
        let published = (cost.multiply_adds as f64 / 1e6).round() / 1e3;
        assert_eq!(published, network.published, "{name}");
    }
}

#[test]
fn cifar_resnets_are_those_of_the_reference_script() {
    let facts = facts();
    assert_eq!(facts.cifar_resnets.len(), 5);
    for (name, expected) in facts.cifar_resnets {
        let graph = default_graph(&name);
        assert_eq!(tensors(&graph), expected.tensors, "{name}");
        let cost = graph.cost().unwrap();
        assert_eq!(cost.parameters, expected.parameters, "{name}");
        assert_eq!(cost.multiply_adds, expected.multiply_adds, "{name}");
    }
}

#[test]
fn the_cifar_stem_is_that_of_the_reference_script_and_others_have_none() {
    let facts = facts();
    for model in zoo::models() {
        let options = Options {
            classes: 100,
            resolution: 32.into(),
            stem: Stem::Cifar,
            width: 1.0,
            norm: zoo::Norm::Batch,
        };
        let built = zoo::build(model.name, &options);
        assert_eq!(built.is_ok(), model.cifar_stem, "{}", model.name);
        match facts.cifar_stem.get(model.name) {
            Some(expected) => {
                let graph = built.unwrap();
                assert_eq!(tensors(&graph), expected.tensors, "{}", model.name);
                assert_eq!(multiply_adds(&graph), expected.multiply_adds);
            }
            None => {
                let err = built.unwrap_err();
                assert_eq!(err.exit_code(), 2);
                assert!(err.to_string().contains("CIFAR"), "{err}");
            }
        }
    }
}

#[test]
fn width_multipliers_scale_as_in_torchvision() {
    let facts = facts();
    assert_eq!(facts.widths.len(), 10);
    for Width {
        name,
        width,
        variant,
    } in facts.widths
    {
        let options = Options {
            classes: 100,
            resolution: 64.into(),
            stem: Stem::Native,
            width,
            norm: zoo::Norm::Batch,
        };
        let graph = zoo::build(&name, &options).unwrap();
        assert_eq!(tensors(&graph), variant.tensors, "{name} {width}");
        assert_eq!(multiply_adds(&graph), variant.multiply_adds);
    }
}

#[test]
fn every_network_can_normalise_by_iternorm_or_with_channel_equilibrium() {
    let blocks = |name: &str| match name {
        "mobilenet_v2" | "mobilenetv2dilated-c1_deepsup" => 17,
        "mobilenet_v3_small" => 11,
        "mobilenet_v3_large" | "deeplabv3_mobilenet_v3_large" => 15,
        "regnet_x_400mf" => 22,
        "resnet18" | "resnet18dilated-ppm_deepsup" => 8,
        "resnet20" => 9,
        "resnet32" => 15,
        "resnet44" => 21,
        "resnet56" => 27,
        "resnet110" => 54,
        _ => 16,
    };
    for name in zoo::names() {
        let of = |norm| {
            let defaults = zoo::defaults(name).unwrap();
            zoo::build(name, &Options { norm, ..defaults }).unwrap()
        };
        let (batch, itn) = (
            of(zoo::Norm::Batch),
            of(zoo::Norm::Iterative(Whitening::ITER_NORM)),
        );
        let layers = |graph: &Graph, kind: NormKind| -> Vec<String> {
            let norms = graph.norms().into_iter().filter(|norm| norm.kind == kind);
            norms.map(|norm| norm.layer.to_owned()).collect()
        };
        assert_eq!(
            layers(&itn, NormKind::IterNorm),
            layers(&batch, NormKind::BatchNorm),
            "{name}"
        );
        assert!(layers(&itn, NormKind::BatchNorm).is_empty(), "{name}");
        let parameters = |graph: &Graph| graph.cost().unwrap().parameters;
        assert_eq!(parameters(&itn), parameters(&batch), "{name}");
        assert!(itn.outputs().eq(batch.outputs()), "{name}");
        assert_eq!(itn.auxiliary(), batch.auxiliary(), "{name}");
        let equilibrium = of(zoo::Norm::Equilibrium {
            whitening: Whitening::EQUILIBRIUM,
            reduction: 4,
        });
        let nodes = equilibrium.nodes();
        let placed = nodes
            .iter()
            .filter(|node| matches!(node.op, Op::ChannelEquilibrium(_)));
        let placed: Vec<_> = placed.collect();
        assert_eq!(placed.len(), blocks(name), "{name}");
        for node in placed {
            let before = &nodes[node.inputs[0].index()];
            assert!(
                matches!(before.op, Op::BatchNorm { .. }),
                "{name}: {}",
                node.name
            );
        }
        // The other tensors are called as they were.
        let names = |graph: &Graph| -> BTreeSet<String> {
            graph
                .tensors()
                .iter()
                .map(|tensor| tensor.name.clone())
                .collect()
        };
        assert!(names(&equilibrium).is_superset(&names(&batch)), "{name}");
    }
}

#[test]
fn blocks_with_maps_of_one_pixel_go_without_channel_equilibrium() {
    let options = |resolution: usize| Options {
        resolution: resolution.into(),
        norm: zoo::Norm::Equilibrium {
            whitening: Whitening::EQUILIBRIUM,
            reduction: 4,
        },
        ..zoo::defaults("mobilenet_v2").unwrap()
    };
    let (missing, all) = zoo::one_pixel_blocks("mobilenet_v2", &options(32)).unwrap();
    assert_eq!(
        (&missing[..], all),
        (
            &["features.14", "features.15", "features.16", "features.17"]
                .map(|block| format!("{block}.conv.4"))[..],
            17
        )
    );
    assert_eq!(
        zoo::one_pixel_blocks("mobilenet_v2", &options(64)).unwrap(),
        (Vec::new(), 17)
    );
    let refused = zoo::build("mobilenet_v2", &options(1))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("the maps of every block have one pixel"),
        "{refused}"
    );
}

#[test]
fn batch_norm_has_torchvisions_constants() {
    for (graph, network) in networks() {
        let mut channels = 0;
        for node in graph.nodes() {
            let Op::BatchNorm {
                epsilon, momentum, ..
            } = node.op
            else {
                continue;
            };
            let expected = (network.epsilon, network.momentum);
            assert_eq!((epsilon, momentum), expected, "{}", node.name);
            channels += node.shape.channels;
        }
        assert_eq!(channels, network.channels, "{}", graph.name());
    }
}

#[test]
fn dropout_and_stochastic_depth_are_where_torchvision_has_them_until_taken_out() {
    let noise = |graph: &Graph| -> BTreeMap<String, f64> {
        let nodes = graph.nodes().iter();
        nodes
            .filter_map(|node| match node.op {
                Op::Dropout { p } | Op::StochasticDepth { p } => Some((node.name.clone(), p)),
                _ => None,
            })
            .collect()
    };
    for (graph, network) in networks() {
        let name = graph.name().to_owned();
        let found = noise(&graph);
        assert!(found.keys().eq(network.noise.keys()), "{name}: {found:?}");
        for (node, p) in &found {
            assert!(
                (p - network.noise[node]).abs() < 1e-15,
                "{name}: {node} {p}"
            );
        }
        let quiet = graph.without_noise();
        assert!(noise(&quiet).values().all(|p| *p == 0.0), "{name}");
        assert_eq!(tensors(&quiet), network.tensors, "{name}");
    }
}

#[test]
fn every_parameter_starts_as_in_torchvision() {
    for (graph, mut network) in networks() {
        let name = graph.name();
        let norms: Vec<TensorId> = graph
            .nodes()
            .iter()
            .filter_map(|node| match node.op {
                Op::BatchNorm { gamma, beta, .. } => Some([gamma, beta]),
                _ => None,
            })
            .flatten()
            .collect();
        for (index, id) in norms.iter().enumerate() {
            let start = 1.0 - (index % 2) as f64;
            let kind = Kind::Parameter(Init::Constant(start));
            assert_eq!(graph.tensor(*id).kind, kind, "{name}");
        }
        let others = (graph.tensors().iter())
            .filter(|tensor| !norms.iter().any(|id| graph.tensor(*id).name == tensor.name));
        for tensor in others {
            let Kind::Parameter(init) = tensor.kind else {
                continue;
            };
            let found = match init {
                Init::Constant(value) => ("constant", value),
                Init::Normal { deviation } => ("normal", deviation),
                Init::Uniform { bound } => ("uniform", bound),
            };
            let (kind, value) = network.init.remove(&tensor.name).unwrap();
            let message = format!("{name}: {}: {found:?}, {kind} {value}", tensor.name);
            assert!(found.0 == kind, "{message}");
            assert!((found.1 - value).abs() <= 1e-12 * value, "{message}");
        }
        assert!(network.init.is_empty(), "{name}: {:?}", network.init);
    }
}

/// He et al. 2015 by fan-out in the encoder, by fan-in in the decoder, whose β starts at 1e-4.
#[test]
fn dilated_networks_start_as_their_reference_does_and_drop_channels() {
    let graph = default_graph("resnet18dilated-ppm_deepsup");
    let start = |name: &str| {
        let mut tensors = graph.tensors().iter();
        match tensors.find(|tensor| tensor.name == name).unwrap().kind {
            Kind::Parameter(Init::Normal { deviation }) => ("normal", deviation),
            Kind::Parameter(Init::Uniform { bound }) => ("uniform", bound),
            Kind::Parameter(Init::Constant(value)) => ("constant", value),
            kind => panic!("{name}: {kind:?}"),
        }
    };
    let normal = |fan: f64| ("normal", (2.0 / fan).sqrt());
    for (name, expected) in [
        ("encoder.conv1.weight", normal(64.0 * 9.0)),
        ("encoder.layer4.1.conv2.weight", normal(512.0 * 9.0)),
        ("encoder.bn1.bias", ("constant", 0.0)),
        ("decoder.ppm.3.1.weight", normal(512.0)),
        ("decoder.ppm.3.2.weight", ("constant", 1.0)),
        ("decoder.ppm.3.2.bias", ("constant", 1e-4)),
        ("decoder.cbr_deepsup.0.weight", normal(256.0 * 9.0)),
        ("decoder.cbr_deepsup.1.bias", ("constant", 1e-4)),
        ("decoder.conv_last.0.weight", normal(2560.0 * 9.0)),
        ("decoder.conv_last.4.weight", normal(512.0)),
        ("decoder.conv_last.4.bias", ("uniform", 512_f64.powf(-0.5))),
    ] {
        let found = start(name);
        assert_eq!(found.0, expected.0, "{name}");
        assert!((found.1 - expected.1).abs() < 1e-15, "{name}: {found:?}");
    }
    let nodes = graph.nodes().iter();
    let dropped: Vec<(&str, f64)> = nodes
        .filter_map(|node| match node.op {
            Op::ChannelDropout { p } => Some((&node.name[..], p)),
            _ => None,
        })
        .collect();
    let expected = ["decoder.dropout_deepsup", "decoder.conv_last.3"];
    assert_eq!(dropped, expected.map(|name| (name, 0.1)));
}

#[test]
fn nodes_have_names_of_their_own() {
    for name in zoo::names() {
        let graph = default_graph(name);
        let mut seen = BTreeSet::new();
        for node in graph.nodes() {
            assert!(seen.insert(&node.name), "{name}: {}", node.name);
        }
    }
}

#[test]
fn every_network_takes_a_single_pixel_and_refuses_none_at_its_first_layer() {
    for name in zoo::names() {
        let at = |side: usize| {
            let options = Options {
                resolution: side.into(),
                ..zoo::defaults(name).unwrap()
            };
            zoo::build(name, &options)
        };
        let classes = zoo::defaults(name).unwrap().classes;
        assert_eq!(at(1).unwrap().output_shape(), Shape::new(classes, 1, 1));
        let err = at(0).unwrap_err();
        let first = default_graph(name).nodes()[1].name.clone();
        assert!(err.to_string().starts_with(&format!("{name}: {first}: ")));
        assert!(err.to_string().contains("resolution is too small"), "{err}");
        assert_eq!(err.exit_code(), 2);
    }
}

#[test]
fn absurd_numbers_are_refused_and_nothing_panics() {
    for name in zoo::names() {
        let defaults = zoo::defaults(name).unwrap();
        let change = |change: &dyn Fn(&mut Options)| {
            let mut options = defaults;
            change(&mut options);
            zoo::build(name, &options)
        };
        for classes in [0, usize::MAX / 2, usize::MAX] {
            let built = change(&|options| options.classes = classes);
            assert_eq!(built.unwrap_err().exit_code(), 2, "{name} {classes}");
        }
        for resolution in [1_usize << 31, usize::MAX / 2, usize::MAX] {
            let built = change(&|options| options.resolution = resolution.into());
            assert_eq!(built.unwrap_err().exit_code(), 2, "{name} {resolution}");
        }
        for width in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let built = change(&|options| options.width = width);
            assert_eq!(built.unwrap_err().exit_code(), 2, "{name} {width}");
        }
        for width in [1e-300, 100.0] {
            let model = zoo::models().iter().find(|model| model.name == name);
            let built = change(&|options| options.width = width);
            assert_eq!(built.is_ok(), model.unwrap().width, "{name} {width}");
        }
    }
}

#[test]
fn an_unknown_name_suggests_near_ones_or_lists_all() {
    for (typed, meant) in [
        ("mobilenetv2", "mobilenet_v2"),
        ("MobileNet_V2", "mobilenet_v2"),
        ("resnet-18", "resnet18"),
        ("shufflenet_v2_1_0", "shufflenet_v2_x1_0"),
        ("efficientnet-b0", "efficientnet_b0"),
    ] {
        let err = zoo::defaults(typed).unwrap_err();
        let text = err.to_string();
        assert!(text.contains(&format!("did you mean {meant}")), "{text}");
        assert_eq!(err.exit_code(), 2);
    }
    let text = zoo::defaults("vit").unwrap_err().to_string();
    for name in zoo::names() {
        assert!(text.contains(name), "{text}");
    }
}
