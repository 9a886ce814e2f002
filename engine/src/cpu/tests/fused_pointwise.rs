//! Fused pointwise convolutions: expanding 1 × 1 convolutions with BatchNorm, whose output training recomputes.

use super::{compare_as_f32, count, fill, network, small};
use crate::cpu::{Cpu, Isa};
use crate::net::{Activation, Convolution, Graph, Init, Op, Shape, Value};
use crate::{Batch, Engine, Optimizer, Part, Training, Update};

/// Number of BatchNorm steps in the plan for training.
fn norms(graph: &Graph, images: usize) -> usize {
    count(graph, images, "norm")
}

/// A convolution with its BatchNorm.
fn layer(graph: &mut Graph, name: &str, x: Value, layer: &Convolution) -> Value {
    let x = graph.convolution(name, x, layer).unwrap();
    graph.batch_norm(&format!("{name}.bn"), x).unwrap()
}

/// A 1 × 1 convolution to `to` channels with BatchNorm and activation.
fn expand(
    graph: &mut Graph,
    name: &str,
    x: Value,
    to: usize,
    activation: Option<Activation>,
) -> Value {
    let x = layer(graph, name, x, &Convolution::new(to, 1));
    match activation {
        Some(activation) => {
            let name = format!("{name}.act");
            graph.activation(&name, x, activation).unwrap()
        }
        None => x,
    }
}

/// A depthwise 3 × 3 convolution.
fn depthwise(channels: usize) -> Convolution {
    Convolution::new(channels, 3).groups(channels).padding(1)
}

/// An inverted residual block.
fn block(graph: &mut Graph, name: &str, x: Value, channels: usize, to: usize) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let y = expand(graph, &part("wide"), x, to, Some(Activation::Relu6));
    let y = layer(graph, &part("dw"), y, &depthwise(to));
    let y = graph.activation(&part("act"), y, Activation::Relu).unwrap();
    let y = layer(graph, &part("narrow"), y, &Convolution::new(channels, 1));
    graph.add(&part("add"), Op::Add, &[x, y]).unwrap()
}

#[test]
fn channels_pixels_and_images_of_any_number() {
    let cases = [
        (4, 24, 5, 7, 3),
        (3, 6, 40, 41, 1),
        (16, 96, 6, 6, 9),
        (24, 144, 5, 4, 21),
        (33, 70, 9, 8, 2),
        (17, 100, 12, 13, 3),
        (40, 250, 3, 2, 37),
        (10, 40, 1, 1, 100),
    ];
    for (from, to, height, width, images) in cases {
        for activation in [Some(Activation::Relu), Some(Activation::Relu6), None] {
            let name = format!("{from} to {to}");
            let graph = network(&name, Shape::new(3, height, width), |graph, x| {
                let x = layer(graph, "stem", x, &Convolution::new(from, 1));
                let x = expand(graph, "wide", x, to, activation);
                layer(graph, "dw", x, &depthwise(to))
            });
            assert_eq!(norms(&graph, images), 2, "{name}");
            compare_as_f32(graph, images);
        }
    }
}

#[test]
fn inverted_residual_blocks_in_a_row() {
    for (blocks, images) in [(2, 3), (4, 20), (11, 2)] {
        let name = format!("{blocks} blocks");
        let graph = network(&name, Shape::new(3, 6, 7), |graph, x| {
            let x = layer(graph, "stem", x, &Convolution::new(10, 1));
            (0..blocks).fold(x, |x, number| {
                block(graph, &format!("block {number}"), x, 10, 40)
            })
        });
        assert_eq!(norms(&graph, images), 1 + 2 * blocks);
        compare_as_f32(graph, images);
    }
}

#[test]
fn values_with_several_readers_and_fused_convolutions_in_a_row() {
    let twice = network("twice", Shape::new(3, 8, 8), |graph, x| {
        let x = layer(graph, "stem", x, &Convolution::new(12, 3));
        let one = expand(graph, "one", x, 30, Some(Activation::Relu));
        let one = layer(graph, "one.dw", one, &depthwise(30));
        let other = expand(graph, "other", x, 30, None);
        let other = layer(graph, "other.dw", other, &depthwise(30));
        let both = graph.add("both", Op::Add, &[one, other]).unwrap();
        let wide = expand(graph, "wide", both, 60, Some(Activation::Relu));
        let [a, b] = ["a", "b"].map(|name| {
            let layer = Convolution::new(9, 3).stride(2).padding(1);
            graph.convolution(name, wide, &layer).unwrap()
        });
        graph.add("sum", Op::Add, &[a, b]).unwrap()
    });
    let behind = network("one behind the other", Shape::new(3, 8, 8), |graph, x| {
        let x = layer(graph, "stem", x, &Convolution::new(6, 3));
        let x = expand(graph, "one", x, 14, Some(Activation::Relu));
        let x = expand(graph, "other", x, 40, Some(Activation::Relu6));
        graph
            .convolution("last", x, &Convolution::new(5, 1))
            .unwrap()
    });
    let concat = network("a concatenation", Shape::new(3, 8, 8), |graph, x| {
        let a = layer(graph, "a", x, &Convolution::new(7, 3));
        let b = layer(graph, "b", x, &Convolution::new(9, 3));
        let both = graph.add("concat", Op::Concat, &[a, b]).unwrap();
        let x = expand(graph, "wide", both, 50, Some(Activation::Relu));
        let narrow = Convolution::new(4, 1).bias(Init::Constant(0.0));
        graph.convolution("last", x, &narrow).unwrap()
    });
    // The last vector of each group is partly padding.
    let groups = network("groups", Shape::new(3, 8, 8), |graph, x| {
        let x = layer(graph, "stem", x, &Convolution::new(12, 3));
        let x = expand(graph, "wide", x, 40, None);
        let groups = Convolution::new(40, 3).groups(2);
        graph.convolution("groups", x, &groups).unwrap()
    });
    for (graph, left) in [(twice, 3), (behind, 1), (concat, 2), (groups, 1)] {
        for images in [5, 19] {
            assert_eq!(norms(&graph, images), left, "{}", graph.name());
            compare_as_f32(graph.clone(), images);
        }
    }
}

#[test]
fn other_convolutions_are_not_fused() {
    let graph = |name: &str, wide: Convolution, activation, from: usize, added: bool| {
        network(name, Shape::new(3, 8, 8), |graph, x| {
            let x = match from {
                0 => x,
                _ => layer(graph, "stem", x, &Convolution::new(from, 1)),
            };
            let x = layer(graph, "wide", x, &wide);
            let x = graph.activation("act", x, activation).unwrap();
            let y = graph.convolution("next", x, &Convolution::new(48, 1));
            let y = y.unwrap();
            if added {
                graph.add("add", Op::Add, &[x, y]).unwrap()
            } else {
                y
            }
        })
    };
    let wide = Convolution::new(48, 1);
    let relu = Activation::Relu;
    let bias = wide.bias(Init::Constant(0.0));
    let wider = Convolution::new(48, 3).padding(1);
    let few = Convolution::new(20, 1);
    let cases = [
        (graph("an expansion", wide, relu, 12, false), 1),
        (graph("a bias", bias, relu, 12, false), 2),
        (graph("a stride", wide.stride(2), relu, 12, false), 2),
        (graph("groups", wide.groups(3), relu, 12, false), 2),
        (graph("3 × 3", wider, relu, 12, false), 2),
        (graph("not many more", few, relu, 12, false), 2),
        (
            graph("other activation", wide, Activation::Silu, 12, false),
            2,
        ),
        (graph("read by a sum", wide, relu, 12, true), 2),
        (graph("images", wide, relu, 0, false), 1),
        (graph("many", Convolution::new(100, 1), relu, 49, false), 2),
    ];
    for (graph, left) in cases {
        assert_eq!(norms(&graph, 4), left, "{}", graph.name());
        compare_as_f32(graph, 4);
    }
    let raw = network("not of a normalisation", Shape::new(3, 8, 8), |graph, x| {
        let x = graph
            .convolution("stem", x, &Convolution::new(12, 1))
            .unwrap();
        let x = expand(graph, "wide", x, 48, Some(relu));
        graph.convolution("next", x, &few).unwrap()
    });
    assert_eq!(norms(&raw, 4), 1);
    compare_as_f32(raw, 4);
}

#[test]
fn a_batch_that_is_no_number_leaves_nothing_behind() {
    let graph = network("groups", Shape::new(3, 8, 8), |graph, x| {
        let x = layer(graph, "stem", x, &Convolution::new(12, 3));
        let x = expand(graph, "wide", x, 40, None);
        let groups = Convolution::new(40, 3).groups(2);
        graph.convolution("groups", x, &groups).unwrap()
    });
    assert_eq!(norms(&graph, 5), 1);
    let numbers = |engine: &mut Cpu, image: f32| {
        fill(engine);
        let graph = engine.graph().clone();
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            if spec.is_parameter() {
                engine.write(id, Part::Gradient, &vec![0.0; spec.len()]);
            }
        }
        let images: Vec<f32> = (0..5 * 192).map(|at| image * (at % 7) as f32).collect();
        let batch = Batch {
            images: &images,
            labels: &[0, 1, 2, 3, 4],
        };
        engine.differentiate(&batch, &Training::default()).unwrap();
        // The gradient norm includes the padding of tensors.
        engine.update(&Update {
            optimizer: Optimizer::Sgd {
                momentum: 0.0,
                nesterov: false,
            },
            learning_rate: 0.0,
            weight_decay: 0.0,
            decoder_factor: 1.0,
            spare_vectors: false,
            clip_norm: Some(1.0),
        })
    };
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let fresh = numbers(&mut small(graph.clone(), isa, 2).unwrap(), 1.0);
        let mut engine = small(graph.clone(), isa, 2).unwrap();
        assert!(numbers(&mut engine, f32::NAN).is_nan());
        assert_eq!(numbers(&mut engine, 1.0), fresh, "{isa:?}");
    }
}
