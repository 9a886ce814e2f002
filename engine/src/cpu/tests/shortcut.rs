//! BatchNorm fused with a residual sum, in training.

use super::{compare_as_f32, count, network};
use crate::net::{Activation, Convolution, Graph, Op, Shape, Value};

/// A 1 × 1 convolution with its normalisation.
fn layer(graph: &mut Graph, name: &str, x: Value) -> Value {
    let channels = graph.shape(x).channels;
    let x = graph
        .convolution(name, x, &Convolution::new(channels, 1))
        .unwrap();
    graph.batch_norm(&format!("{name}.bn"), x).unwrap()
}

fn add(graph: &mut Graph, name: &str, a: Value, b: Value) -> Value {
    graph.add(name, Op::Add, &[a, b]).unwrap()
}

fn relu(graph: &mut Graph, name: &str, x: Value) -> Value {
    graph.activation(name, x, Activation::Relu).unwrap()
}

#[test]
fn blocks_in_a_row() {
    let activations = [
        None,
        Some(Activation::Relu),
        Some(Activation::Relu6),
        Some(Activation::Silu),
    ];
    // More blocks than backward computes again, whole channels and padded ones, and single pixels.
    for (activation, (channels, size, images, first)) in activations.into_iter().flat_map(|own| {
        let sizes = [(20, 5, 9, true), (16, 3, 21, false), (7, 1, 33, true)];
        sizes.map(|size| (own, size))
    }) {
        let name = format!("{activation:?}, {channels} channels");
        let graph = network(&name, Shape::new(channels, size, size), |graph, x| {
            let mut x = layer(graph, "stem", x);
            for block in 0..8 {
                let name = |part: &str| format!("{block}.{part}");
                let y = layer(graph, &name("a"), x);
                let y = relu(graph, &name("relu"), y);
                let y = layer(graph, &name("b"), y);
                let (a, b) = if first { (y, x) } else { (x, y) };
                x = add(graph, &name("add"), a, b);
                if let Some(activation) = activation {
                    x = graph.activation(&name("act"), x, activation).unwrap();
                }
            }
            x
        });
        let own = 8 * usize::from(activation == Some(Activation::Silu));
        assert_eq!(count(&graph, images, "add"), 0, "{name}");
        assert_eq!(count(&graph, images, "activation"), own, "{name}");
        compare_as_f32(graph, images);
    }
}

/// What a block may add to its normalisation, and who else reads it.
#[test]
fn whoever_reads_what_is_added() {
    type Build = fn(&mut Graph, Value) -> Value;
    let cases: [(&str, usize, Build); 13] = [
        ("two normalisations", 0, |graph, x| {
            let (a, b) = (layer(graph, "a", x), layer(graph, "b", x));
            let y = add(graph, "add", a, b);
            relu(graph, "relu", y)
        }),
        ("read behind the sum too", 0, |graph, x| {
            let a = layer(graph, "a", x);
            let y = add(graph, "add", a, x);
            let b = layer(graph, "b", x);
            let z = add(graph, "both", b, y);
            layer(graph, "c", z)
        }),
        ("read between the convolution and the sum", 0, |graph, x| {
            let a = layer(graph, "a", x);
            let between = layer(graph, "between", x);
            let y = add(graph, "add", a, x);
            let y = relu(graph, "relu", y);
            add(graph, "both", between, y)
        }),
        ("a normalisation with an activation", 0, |graph, x| {
            let a = layer(graph, "a", x);
            let y = relu(graph, "relu", a);
            let b = layer(graph, "b", x);
            add(graph, "add", b, y)
        }),
        ("a sum that only a sum reads", 0, |graph, x| {
            let (a, b) = (layer(graph, "a", x), layer(graph, "b", x));
            let y = add(graph, "first", a, x);
            let z = add(graph, "second", y, b);
            let c = layer(graph, "c", z);
            add(graph, "third", z, c)
        }),
        ("sums of sums that others read", 1, |graph, x| {
            let (a, b) = (layer(graph, "a", x), layer(graph, "b", x));
            let y = add(graph, "first", a, x);
            let z = add(graph, "second", b, y);
            let z = add(graph, "third", z, y);
            relu(graph, "relu", z)
        }),
        ("what is normalised itself", 1, |graph, x| {
            let x = layer(graph, "stem", x);
            let y = graph.batch_norm("again", x).unwrap();
            let y = add(graph, "add", x, y);
            layer(graph, "c", y)
        }),
        ("a normalisation that others read", 1, |graph, x| {
            let y = layer(graph, "a", x);
            let z = layer(graph, "b", y);
            let z = relu(graph, "relu", z);
            add(graph, "add", y, z)
        }),
        ("two sums", 1, |graph, x| {
            let (a, b) = (layer(graph, "a", x), layer(graph, "b", x));
            let y = add(graph, "first", a, x);
            let z = add(graph, "second", b, x);
            add(graph, "third", z, y)
        }),
        ("two sums, each through a layer", 0, |graph, x| {
            let (a, b) = (layer(graph, "a", x), layer(graph, "b", x));
            let y = add(graph, "first", a, x);
            let z = add(graph, "second", b, x);
            let (c, d) = (layer(graph, "c", y), layer(graph, "d", z));
            add(graph, "third", c, d)
        }),
        ("a sum that shares with noise", 1, |graph, x| {
            let a = layer(graph, "a", x);
            let y = add(graph, "first", a, x);
            let one = Convolution::new(6, 1);
            let noise = graph.convolution("b", graph.input(), &one).unwrap();
            let op = Op::StochasticDepth { p: 0.3 };
            let noise = graph.add("noise", op, &[noise]).unwrap();
            let c = layer(graph, "c", y);
            let z = add(graph, "second", noise, x);
            add(graph, "third", c, z)
        }),
        ("moved channels", 0, |graph, x| {
            let a = layer(graph, "a", x);
            let moved = graph
                .add("shuffle", Op::Shuffle { groups: 2 }, &[x])
                .unwrap();
            let y = add(graph, "add", moved, a);
            relu(graph, "relu", y)
        }),
        ("through a gate", 0, |graph, x| {
            let a = layer(graph, "a", x);
            let g = graph.global_average_pool("pool", a).unwrap();
            let g = graph.activation("sigmoid", g, Activation::Sigmoid).unwrap();
            let y = graph.add("gate", Op::Gate, &[a, g]).unwrap();
            let b = layer(graph, "b", x);
            let y = add(graph, "add", y, b);
            let y = relu(graph, "relu", y);
            graph.activation("silu", y, Activation::Silu).unwrap()
        }),
    ];
    for (name, adds, build) in cases {
        for images in [1, 9, 21] {
            // Behind the images themselves, and behind what has a gradient.
            let on_images = network(name, Shape::new(6, 4, 5), build);
            let behind = network(name, Shape::new(6, 4, 5), |graph, x| {
                let x = layer(graph, "before", x);
                let x = relu(graph, "before.relu", x);
                build(graph, x)
            });
            for graph in [on_images, behind] {
                assert_eq!(count(&graph, images, "add"), adds, "{name}");
                compare_as_f32(graph, images);
            }
        }
    }
}
