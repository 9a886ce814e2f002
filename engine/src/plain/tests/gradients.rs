//! Gradients of every operation against finite differences, in f64, on sizes at which loops tend to go wrong.

use super::{Bench, training};
use crate::net::{Activation, Convolution, Graph, Op, Shape, Value, Whitening, Window};
use crate::uniform::uniform;

const SEED: u64 = 7;
const STEP: f64 = 1e-5;

/// Compares the gradients of Σ dy · y by every input element and every parameter with central differences. `build` adds the
/// operation to a graph whose first node is the identity.
fn check(name: &str, input: Shape, images: usize, build: impl Fn(&mut Graph, Value) -> Value) {
    let mut graph = Graph::new(name, input);
    // A convolution does not compute the gradient of the images themselves.
    let x = graph.add("pass", Op::Dropout { p: 0.0 }, &[graph.input()]);
    build(&mut graph, x.unwrap());
    let mut bench = Bench::new(graph, images);
    bench.plan.values[0] = uniform("input", bench.plan.values[0].len());
    let dy = uniform("gradient", images * bench.graph.output_shape().len());
    let objective = |bench: &mut Bench| -> f64 {
        let y = bench.forward(training(SEED));
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    objective(&mut bench);
    let dx = bench.backward(&dy, SEED).to_vec();
    let parameters: Vec<usize> = (0..bench.tensors.len())
        .filter(|at| bench.graph.tensors()[*at].is_parameter())
        .collect();
    let gradients: Vec<Vec<f64>> = parameters
        .iter()
        .map(|at| bench.tensors[*at].gradient.clone())
        .collect();
    let mut compare = |what: &str, place: &dyn Fn(&mut Bench) -> &mut f64, gradient: f64| {
        let start = *place(&mut bench);
        *place(&mut bench) = start + STEP;
        let above = objective(&mut bench);
        *place(&mut bench) = start - STEP;
        let below = objective(&mut bench);
        *place(&mut bench) = start;
        let difference = (above - below) / (2.0 * STEP);
        let scale = 1.0 + gradient.abs();
        assert!(
            (difference - gradient).abs() < 1e-7 * scale,
            "{name}: {what}: gradient {gradient}, difference {difference}"
        );
    };
    for (at, gradient) in dx.iter().enumerate() {
        compare(
            &format!("input {at}"),
            &|bench| &mut bench.plan.values[0][at],
            *gradient,
        );
    }
    for (tensor, gradients) in parameters.iter().zip(&gradients) {
        for (at, gradient) in gradients.iter().enumerate() {
            compare(
                &format!("tensor {tensor}, {at}"),
                &|bench| &mut bench.tensors[*tensor].value[at],
                *gradient,
            );
        }
    }
}

#[test]
fn convolutions_of_every_kind() {
    let bias = crate::net::Init::Constant(0.0);
    let plain = |out, kernel| Convolution::new(out, kernel);
    let cases = [
        ("odd sizes", Shape::new(3, 5, 7), 2, plain(4, 3).padding(1)),
        (
            "no padding, bias",
            Shape::new(2, 5, 3),
            2,
            plain(3, 3).bias(bias),
        ),
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
            "depthwise",
            Shape::new(5, 4, 5),
            2,
            plain(5, 3).padding(1).groups(5),
        ),
        (
            "groups",
            Shape::new(6, 5, 3),
            1,
            plain(4, 3).padding(1).groups(2),
        ),
        (
            "dilation",
            Shape::new(2, 7, 9),
            1,
            plain(3, 3).padding(2).dilation(2),
        ),
        (
            "more padding than map",
            Shape::new(2, 1, 2),
            2,
            plain(2, 5).padding(3),
        ),
        ("1×1 map", Shape::new(3, 1, 1), 2, plain(5, 3).padding(1)),
        ("1×1 kernel", Shape::new(3, 3, 5), 2, plain(2, 1).bias(bias)),
        (
            "1×1 kernel, stride 2",
            Shape::new(3, 3, 5),
            1,
            plain(2, 1).stride(2),
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
fn a_convolution_that_differs_by_axis() {
    check("axes", Shape::new(2, 6, 9), 2, |graph, x| {
        let weight = graph.add_tensor(
            "weight",
            vec![3, 2, 2, 4],
            crate::net::Kind::Parameter(crate::net::Init::Constant(0.0)),
        );
        let window = Window {
            kernel: (2, 4),
            stride: (3, 2),
            before: (1, 0),
            after: (0, 3),
            dilation: (2, 1),
            ceil: false,
        };
        let op = Op::Convolution {
            weight: weight.unwrap(),
            bias: None,
            window,
            groups: 1,
        };
        graph.add("layer", op, &[x]).unwrap()
    });
}

#[test]
fn batch_norm_by_the_statistics_of_its_batch() {
    for (shape, images) in [
        (Shape::new(3, 3, 5), 2),
        (Shape::new(2, 1, 1), 5),
        (Shape::new(1, 2, 1), 1),
    ] {
        check("BatchNorm", shape, images, |graph, x| {
            graph.batch_norm("layer", x).unwrap()
        });
    }
}

#[test]
fn activations() {
    for activation in [
        Activation::Relu,
        Activation::Relu6,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Silu,
    ] {
        check(activation.name(), Shape::new(3, 3, 5), 2, |graph, x| {
            // Spread over all pieces of the functions.
            let layer = Convolution::new(5, 1).groups(1);
            let x = graph.convolution("before", x, &layer).unwrap();
            graph.activation("layer", x, activation).unwrap()
        });
    }
}

#[test]
fn pooling() {
    let window = |kernel, stride, padding: usize, ceil| Window {
        stride: (stride, stride),
        before: (padding, padding),
        after: (padding, padding),
        ceil,
        ..Window::square(kernel)
    };
    for window in [
        window(3, 2, 1, false),
        window(2, 2, 0, true),
        window(3, 1, 1, false),
        window(1, 2, 0, false),
    ] {
        for (shape, images) in [(Shape::new(2, 5, 7), 2), (Shape::new(1, 3, 3), 1)] {
            check("max pooling", shape, images, |graph, x| {
                graph.add("layer", Op::MaxPool(window), &[x]).unwrap()
            });
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
    for (height, width) in [(1, 1), (3, 2), (7, 9)] {
        check("adaptive pooling", Shape::new(2, 5, 4), 2, |graph, x| {
            let op = Op::AdaptiveAveragePool { height, width };
            graph.add("layer", op, &[x]).unwrap()
        });
    }
}

#[test]
fn resizing() {
    for align_corners in [false, true] {
        for (height, width) in [(1, 1), (3, 2), (7, 9)] {
            check("resize", Shape::new(2, 5, 4), 2, |graph, x| {
                let op = Op::Resize {
                    height,
                    width,
                    align_corners,
                };
                graph.add("layer", op, &[x]).unwrap()
            });
        }
    }
}

#[test]
fn linear_layers() {
    for bias in [false, true] {
        check("linear", Shape::new(2, 3, 3), 3, |graph, x| {
            let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
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
    check("concat", shape, 2, |graph, x| {
        let (a, b) = (slice(graph, x, 0, 1), slice(graph, x, 2, 3));
        graph.add("layer", Op::Concat, &[a, b, a]).unwrap()
    });
    check("gate", shape, 2, |graph, x| {
        let gate = graph.global_average_pool("pool", x).unwrap();
        graph.add("layer", Op::Gate, &[x, gate]).unwrap()
    });
    check(
        "gate of a pixel by itself",
        Shape::new(3, 1, 1),
        2,
        |graph, x| graph.add("layer", Op::Gate, &[x, x]).unwrap(),
    );
    check("shuffle", Shape::new(6, 2, 3), 2, |graph, x| {
        graph.add("layer", Op::Shuffle { groups: 2 }, &[x]).unwrap()
    });
    check("pad channels", shape, 2, |graph, x| {
        let op = Op::PadChannels {
            before: 2,
            after: 1,
        };
        graph.add("layer", op, &[x]).unwrap()
    });
}

#[test]
fn noise_takes_the_same_away_forward_and_backward() {
    for op in [
        Op::Dropout { p: 0.4 },
        Op::ChannelDropout { p: 0.4 },
        Op::StochasticDepth { p: 0.4 },
    ] {
        check(op.name(), Shape::new(2, 3, 3), 4, |graph, x| {
            graph.add("layer", op.clone(), &[x]).unwrap()
        });
    }
}

#[test]
fn normalisations_that_decorrelate_channels() {
    let cases = [
        // Channels, group, height, width, images: whole groups, halved groups, fewer samples than channels, single channels.
        (6, 3, 3, 2, 3),
        (6, 4, 2, 3, 2),
        (8, 8, 1, 2, 2),
        (5, 5, 1, 3, 1),
        (4, 1, 2, 2, 2),
    ];
    for (channels, group, height, width, images) in cases {
        for iterations in [1, 3, 5] {
            let whitening = Whitening {
                group,
                iterations,
                epsilon: 1e-3,
                ..Whitening::ITER_NORM
            };
            let shape = Shape::new(channels, height, width);
            check("IterNorm", shape, images, |graph, x| {
                graph.iter_norm("layer", x, whitening).unwrap()
            });
            check("Channel Equilibrium", shape, images, |graph, x| {
                graph.channel_equilibrium("layer", x, whitening, 2).unwrap()
            });
        }
    }
    check("IterNorm of vectors", Shape::new(4, 1, 1), 7, |graph, x| {
        graph.iter_norm("layer", x, Whitening::ITER_NORM).unwrap()
    });
}
