//! Operations on sizes where loops go wrong.

use candle_core::{Device, Tensor};

use super::super::convolution::{self, Geometry};
use super::super::number::to_host;
use super::check;
use crate::net::{Activation, Convolution, Graph, Init, Kind, Op, Shape, Value, Whitening, Window};

/// Adds the layers of a network to a value.
type Build<'a> = &'a dyn Fn(&mut Graph, Value) -> Value;

const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Silu,
];

#[test]
fn convolutions_of_every_kind() {
    let bias = Init::Constant(0.0);
    let plain = Convolution::new;
    let cases = [
        ("odd sizes", Shape::new(3, 5, 7), 2, plain(4, 3).padding(1)),
        ("bias", Shape::new(2, 5, 3), 2, plain(3, 3).bias(bias)),
        (
            "stride 2",
            Shape::new(3, 7, 6),
            2,
            plain(2, 3).stride(2).padding(1),
        ),
        (
            "stride 3, kernel 2",
            Shape::new(2, 8, 5),
            1,
            plain(2, 2).stride(3),
        ),
        (
            "7×7, stride 2",
            Shape::new(3, 13, 11),
            2,
            plain(5, 7).stride(2).padding(3),
        ),
        (
            "depthwise",
            Shape::new(21, 4, 5),
            3,
            plain(21, 3).padding(1).groups(21),
        ),
        (
            "depthwise, stride 2",
            Shape::new(17, 6, 9),
            2,
            plain(17, 5).stride(2).padding(2).groups(17).bias(bias),
        ),
        (
            "groups",
            Shape::new(6, 5, 3),
            1,
            plain(4, 3).padding(1).groups(2),
        ),
        (
            "groups, stride 2",
            Shape::new(32, 6, 5),
            2,
            plain(64, 3).stride(2).padding(1).groups(4),
        ),
        (
            "dilation",
            Shape::new(5, 9, 8),
            2,
            plain(6, 3).padding(2).dilation(2),
        ),
        (
            "dilation, stride",
            Shape::new(4, 9, 8),
            2,
            plain(6, 3).stride(2).padding(1).dilation(3).groups(2),
        ),
        (
            "more padding than map",
            Shape::new(2, 1, 2),
            2,
            plain(2, 5).padding(3),
        ),
        ("1×1 map", Shape::new(3, 1, 1), 2, plain(5, 3).padding(1)),
        ("1×1 kernel", Shape::new(19, 3, 5), 2, plain(33, 1)),
        (
            "1×1 kernel, stride 2",
            Shape::new(3, 4, 5),
            3,
            plain(2, 1).stride(2),
        ),
        (
            "1×1 kernel, padding",
            Shape::new(3, 4, 5),
            1,
            plain(2, 1).stride(3).padding(2),
        ),
        (
            "one channel, one image",
            Shape::new(1, 3, 3),
            1,
            plain(1, 3).padding(1),
        ),
        (
            "channel multiplier",
            Shape::new(3, 3, 4),
            1,
            plain(6, 3).padding(1).groups(3),
        ),
    ];
    for (name, shape, images, layer) in cases {
        check(name, shape, images, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
    }
}

#[test]
fn convolutions_that_differ_by_axis() {
    let window = Window {
        kernel: (2, 4),
        stride: (3, 2),
        before: (1, 0),
        after: (0, 3),
        dilation: (2, 1),
        ceil: false,
    };
    let line = Window {
        kernel: (1, 5),
        before: (0, 4),
        ..Window::square(1)
    };
    for window in [window, line] {
        check("axes", Shape::new(2, 6, 9), 2, |graph, x| {
            let (height, width) = window.kernel;
            let weight = graph.add_tensor(
                "weight",
                vec![3, 2, height, width],
                Kind::Parameter(Init::Constant(0.0)),
            );
            let op = Op::Convolution {
                weight: weight.unwrap(),
                bias: None,
                window,
                groups: 1,
            };
            graph.add("layer", op, &[x]).unwrap()
        });
    }
}

#[test]
fn a_batch_taken_a_few_images_at_a_time_gives_the_same() {
    let mut graph = Graph::new("pieces", Shape::new(4, 5, 6));
    let layer = Convolution::new(6, 3).stride(2).padding(1).groups(2);
    graph.convolution("layer", graph.input(), &layer).unwrap();
    let whole = Geometry::of(&graph, &graph.nodes()[1]).unwrap();
    let tensor = |name: &str, shape: [usize; 4]| {
        let values = super::uniform(name, shape.iter().product());
        Tensor::from_vec(values, &shape[..], &Device::Cpu).unwrap()
    };
    let w = tensor("w", [6, 2, 3, 3]);
    let (x, dy) = (tensor("x", [5, 4, 5, 6]), tensor("dy", [5, 6, 3, 3]));
    let all = |geometry: &Geometry| {
        let results = [
            convolution::forward(geometry, &w, None, &x),
            convolution::backward_input(geometry, &w, &dy),
            convolution::backward_weight(geometry, &x, &dy),
        ];
        results.map(|result| to_host(&result.unwrap()).unwrap())
    };
    // Two images at once, and then one.
    for columns in [2 * 4 * 9 * 9, 1] {
        let pieces = all(&Geometry { columns, ..whole });
        for (found, expected) in pieces.iter().zip(all(&whole)) {
            assert_eq!(found.len(), expected.len());
            let gaps = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            assert!(gaps.fold(0.0, f64::max) < 1e-12);
        }
    }
}

#[test]
fn batch_norm_alone_and_with_every_activation() {
    for_batch_norm_and_activations(|name, shape, images, build| check(name, shape, images, build));
}

/// Calls `check` with the name of a network, the shape and number of its images, and what adds its layers.
pub(super) fn for_batch_norm_and_activations(check: impl Fn(&str, Shape, usize, Build<'_>)) {
    for (shape, images) in [
        (Shape::new(3, 3, 5), 2),
        (Shape::new(17, 1, 1), 5),
        (Shape::new(2, 19, 15), 3),
    ] {
        check("BatchNorm", shape, images, &|graph, x| {
            graph.batch_norm("layer", x).unwrap()
        });
        for activation in ACTIVATIONS {
            check(activation.name(), shape, images, &|graph, x| {
                let x = graph.batch_norm("layer", x).unwrap();
                let y = graph.activation("act", x, activation).unwrap();
                graph.add("read twice", Op::Add, &[x, y]).unwrap()
            });
        }
    }
}

#[test]
fn pooling() {
    for_max_pooling(|name, shape, images, build| check(name, shape, images, build));
    for window in windows() {
        for (shape, images) in [(Shape::new(2, 5, 7), 2), (Shape::new(1, 3, 3), 1)] {
            for count_padding in [false, true] {
                let op = Op::AveragePool {
                    window,
                    count_padding,
                };
                check("average pooling", shape, images, |graph, x| {
                    graph.add("layer", op.clone(), &[x]).unwrap()
                });
            }
        }
    }
}

/// As [`for_batch_norm_and_activations`].
pub(super) fn for_max_pooling(check: impl Fn(&str, Shape, usize, Build<'_>)) {
    let shapes = [(3, 5, 7), (1, 3, 3), (1, 18, 17)];
    for window in windows() {
        for ((channels, height, width), images) in shapes.into_iter().zip([2, 1, 1]) {
            let shape = Shape::new(channels, height, width);
            check("max pooling", shape, images, &|graph, x| {
                graph.add("layer", Op::MaxPool(window), &[x]).unwrap()
            });
        }
    }
}

fn windows() -> [Window; 6] {
    let window = |kernel, stride, padding: usize, ceil| Window {
        stride: (stride, stride),
        before: (padding, padding),
        after: (padding, padding),
        ceil,
        ..Window::square(kernel)
    };
    [
        window(3, 2, 1, false),
        window(2, 2, 0, true),
        window(3, 1, 1, false),
        window(1, 2, 0, false),
        window(2, 3, 0, false),
        Window {
            kernel: (2, 3),
            stride: (1, 2),
            before: (1, 0),
            after: (0, 1),
            dilation: (2, 1),
            ceil: true,
        },
    ]
}

#[test]
fn adaptive_pooling_and_resizing() {
    for (height, width) in [(1, 1), (3, 2), (7, 9), (5, 1)] {
        let resize = |align_corners| Op::Resize {
            height,
            width,
            align_corners,
        };
        let pool = Op::AdaptiveAveragePool { height, width };
        for op in [pool, resize(false), resize(true)] {
            check(&format!("{op:?}"), Shape::new(3, 5, 4), 2, |graph, x| {
                graph.add("layer", op.clone(), &[x]).unwrap()
            });
        }
    }
}

#[test]
fn linear_layers() {
    for bias in [false, true] {
        check("linear", Shape::new(2, 3, 3), 3, |graph, x| {
            let x = graph.add("flatten before", Op::Flatten, &[x]).unwrap();
            graph.linear("layer", x, 5, bias).unwrap()
        });
    }
}

#[test]
fn joins_and_splits_also_of_a_value_with_itself() {
    let slice = |graph: &mut Graph, x, start, len| {
        let op = Op::Slice { start, len };
        graph.add(&format!("slice {start}"), op, &[x]).unwrap()
    };
    let shape = Shape::new(5, 3, 2);
    check("add", shape, 2, |graph, x| {
        let (a, b) = (slice(graph, x, 0, 3), slice(graph, x, 2, 3));
        graph.add("layer", Op::Add, &[a, b]).unwrap()
    });
    check("add to itself", shape, 2, |graph, x| {
        graph.add("layer", Op::Add, &[x, x]).unwrap()
    });
    check("concat, each of it twice", shape, 2, |graph, x| {
        let (a, b) = (slice(graph, x, 0, 1), slice(graph, x, 2, 3));
        graph.add("layer", Op::Concat, &[a, b, a, b]).unwrap()
    });
    check("gate", shape, 2, |graph, x| {
        let gate = graph.global_average_pool("pool", x).unwrap();
        graph.add("layer", Op::Gate, &[x, gate]).unwrap()
    });
    check("gate by itself", Shape::new(3, 1, 1), 2, |graph, x| {
        graph.add("layer", Op::Gate, &[x, x]).unwrap()
    });
    for (channels, groups) in [(6, 2), (12, 3)] {
        check("shuffle", Shape::new(channels, 2, 3), 2, |graph, x| {
            graph.add("layer", Op::Shuffle { groups }, &[x]).unwrap()
        });
    }
    for (before, after) in [(2, 1), (0, 3), (4, 0)] {
        check("pad channels", shape, 2, |graph, x| {
            let op = Op::PadChannels { before, after };
            graph.add("layer", op, &[x]).unwrap()
        });
    }
}

#[test]
fn noise_takes_away_what_the_plain_engine_takes_away() {
    for op in [
        Op::Dropout { p: 0.4 },
        Op::ChannelDropout { p: 0.4 },
        Op::StochasticDepth { p: 0.4 },
        Op::Dropout { p: 0.0 },
    ] {
        check(op.name(), Shape::new(2, 3, 3), 4, |graph, x| {
            graph.add("layer", op.clone(), &[x]).unwrap()
        });
    }
}

#[test]
fn what_nothing_reads_has_no_share() {
    check("dead", Shape::new(3, 4, 5), 3, |graph, x: Value| {
        let layer = Convolution::new(4, 3).padding(1);
        let dead = graph.convolution("dead", x, &layer).unwrap();
        graph.activation("too", dead, Activation::Silu).unwrap();
        graph.activation("read", x, Activation::Relu6).unwrap()
    });
}

#[test]
fn normalisations_that_decorrelate_channels() {
    for (channels, group, height, width, images) in
        [(6, 3, 3, 2, 3), (8, 8, 1, 2, 2), (4, 1, 2, 3, 2)]
    {
        let shape = Shape::new(channels, height, width);
        for iterations in [1, 4] {
            let whitening = Whitening {
                group,
                iterations,
                epsilon: 1e-2,
                ..Whitening::ITER_NORM
            };
            check("IterNorm", shape, images, |graph, x| {
                graph.iter_norm("layer", x, whitening).unwrap()
            });
            check("Channel Equilibrium", shape, images, |graph, x| {
                graph.channel_equilibrium("layer", x, whitening, 2).unwrap()
            });
        }
    }
}
