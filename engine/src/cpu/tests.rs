//! Tests of the fast engine against the plain one: every operation, with every instruction set.

mod dense;
mod epilogue;
mod fused_pointwise;
mod grouped;
mod networks;
mod shortcut;
mod whitening;
mod winograd;

use super::{Cpu, Isa, Target};
use crate::error::Result;
use crate::net::{
    Activation, Auxiliary, Convolution, Graph, Init, Kind, Op, Shape, TensorId, Value, Window,
};
use crate::plain::Plain;
use crate::uniform::uniform;
use crate::{Batch, Engine, Optimizer, Part, Task, Training, Update};

/// The fast engine with plans for tiny caches, so that the small networks here are cut into blocks and segments as large
/// ones are.
fn small(graph: Graph, isa: Isa, threads: usize) -> Result<Cpu> {
    let task = task(&graph);
    let cpu = Cpu::with_task(graph, task, isa, threads)?;
    let target = Target::TINY;
    Ok(Cpu { target, ..cpu })
}

/// What a network learns here: a class for each pixel of its output, or for each image where there is one.
fn task(graph: &Graph) -> Task {
    match graph.output_shape().pixels() {
        1 => Task::Classification,
        _ => Task::DenseLabels { ignored: 255 },
    }
}

/// Fills all tensors with numbers that follow from their names.
fn fill(engine: &mut dyn Engine) {
    let graph = engine.graph().clone();
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        let values = uniform(&spec.name, spec.len());
        let fan_in: usize = spec.shape.iter().skip(1).product();
        let values: Vec<f64> = match spec.kind {
            Kind::RunningVariance | Kind::RunningScale => {
                values.iter().map(|x| x.abs() + 0.5).collect()
            }
            Kind::BatchCount => vec![3.0],
            _ => values
                .iter()
                .map(|x| x / (fan_in.max(1) as f64).sqrt())
                .collect(),
        };
        engine.write(id, Part::Value, &values);
    }
}

/// All that can be read after evaluation and training: outputs, losses, gradients, and tensors after an update.
fn everything(engine: &mut dyn Engine, images: usize) -> Vec<(String, Vec<f64>)> {
    let graph = engine.graph().clone();
    fill(engine);
    let input = uniform("input", images * graph.input_shape().len());
    let input: Vec<f32> = input.iter().map(|x| *x as f32).collect();
    let classes = graph.output_shape().channels as u32;
    let labels = images * engine.task().labels(graph.output_shape());
    let labels = (0..labels as u32).map(|at| match engine.task() {
        Task::DenseLabels { ignored } if at % 4 == 3 => ignored,
        _ => at % classes,
    });
    let labels: Vec<u32> = labels.collect();
    let batch = Batch {
        images: &input,
        labels: &labels,
    };
    let mut all = Vec::new();
    let mut values = Vec::new();
    let outcome = engine.evaluate(&batch).unwrap();
    engine.output(&mut values);
    all.push(("evaluation".to_owned(), values.clone()));
    all.push(("its loss".to_owned(), vec![outcome.loss]));
    let training = Training {
        seed: 5,
        ..Training::default()
    };
    let outcome = engine.differentiate(&batch, &training).unwrap();
    engine.output(&mut values);
    all.push(("training".to_owned(), values.clone()));
    all.push(("its loss".to_owned(), vec![outcome.loss]));
    let mut parts = |engine: &dyn Engine, part| {
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            engine.read(id, part, &mut values);
            all.push((format!("{part:?} of {}", spec.name), values.clone()));
        }
    };
    parts(engine, Part::Gradient);
    let update = Update {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        learning_rate: 0.1,
        weight_decay: 5e-4,
        decoder_factor: 3.0,
        spare_vectors: false,
        clip_norm: Some(0.5),
    };
    let norm = engine.update(&update);
    parts(engine, Part::Value);
    parts(engine, Part::Slot(0));
    // A second time, when memory holds values of the first.
    engine.differentiate(&batch, &training).unwrap();
    parts(engine, Part::Gradient);
    let norms = vec![norm, engine.update(&update)];
    all.push(("norms of the gradient".to_owned(), norms));
    all
}

/// Compares the engines on `build` between a convolution and a linear layer.
fn check(name: &str, input: Shape, images: usize, build: impl Fn(&mut Graph, Value) -> Value) {
    let mut graph = Graph::new(name, input);
    let before = Convolution::new(input.channels, 1).bias(Init::Constant(0.0));
    let x = graph.convolution("before", graph.input(), &before).unwrap();
    let x = build(&mut graph, x);
    let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
    graph.linear("after", x, 5, true).unwrap();
    compare(graph, images);
}

/// A network of `build` and a linear layer.
fn network(name: &str, input: Shape, build: impl Fn(&mut Graph, Value) -> Value) -> Graph {
    let mut graph = Graph::new(name, input);
    let x = graph.input();
    let x = build(&mut graph, x);
    let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
    graph.linear("after", x, 5, true).unwrap();
    graph
}

/// As [`check`]; returns how many steps of the plan for `build` are of a kind.
fn check_as(
    kind: &str,
    input: Shape,
    images: usize,
    build: impl Fn(&mut Graph, Value) -> Value,
) -> usize {
    let name = format!("{kind}, {input:?}");
    let found = count(&network(&name, input, &build), images, kind);
    check(&name, input, images, build);
    found
}

/// Number of steps of a kind in the plan for training.
fn count(graph: &Graph, images: usize, kind: &str) -> usize {
    let mut engine = small(graph.clone(), Isa::best(), 1).unwrap();
    let steps = engine.plan(images, true).unwrap().steps;
    steps.iter().filter(|step| step.kind == kind).count()
}

/// What the tolerance for a tensor depends on.
struct Size {
    /// Largest magnitude in the tensor.
    largest: f64,
    /// Largest magnitude in all tensors of the same part, as of all gradients.
    largest_alike: f64,
    /// Error of the plain engine in f32.
    rounding: f64,
}

impl Size {
    /// Tolerance relative to the tensor's largest number; for gradients that are 0 up to rounding, relative to their kind.
    fn relative(&self) -> f64 {
        2e-5 * self.largest + 30.0 * self.rounding + 1e-6 * self.largest_alike
    }

    /// Tolerance relative to the tensor's largest number, or to 1 if that is less.
    fn absolute(&self) -> f64 {
        2e-5 * self.largest.max(1.0)
    }
}

/// Compares the fast engine, with every instruction set, with the plain one in f64.
fn compare(graph: Graph, images: usize) {
    compare_within(|size| size.relative().min(size.absolute()), graph, images);
}

/// As [`compare`], with a tolerance that grows with the error of the plain engine in f32.
fn compare_as_f32(graph: Graph, images: usize) {
    let limit = |size: &Size| size.relative().min(size.absolute() + 30.0 * size.rounding);
    compare_within(limit, graph, images);
}

fn compare_within(limit: impl Fn(&Size) -> f64, graph: Graph, images: usize) {
    let name = graph.name().to_owned();
    let task = task(&graph);
    let exact = Plain::<f64>::with_task(graph.clone(), task);
    let exact = everything(&mut exact.unwrap(), images);
    let single = Plain::<f32>::with_task(graph.clone(), task);
    let single = everything(&mut single.unwrap(), images);
    let largest =
        |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |a: f64, b| a.max(b.abs()));
    let part = |what: &str| what.split(" of ").next().map(str::to_owned);
    let limits = exact.iter().zip(&single).map(|((what, own), (_, single))| {
        let alike = exact.iter().filter(|(other, _)| part(other) == part(what));
        limit(&Size {
            largest: largest(&mut own.iter().copied()),
            largest_alike: largest(&mut alike.flat_map(|(_, values)| values).copied()),
            rounding: largest(&mut own.iter().zip(single).map(|(a, b)| a - b)),
        })
    });
    let limits: Vec<f64> = limits.collect();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let found = everything(&mut small(graph.clone(), isa, 2).unwrap(), images);
        for (((what, expected), (_, found)), limit) in exact.iter().zip(&found).zip(&limits) {
            assert_eq!(expected.len(), found.len(), "{name}, {isa:?}: {what}");
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                assert!(
                    (expected - found).abs() <= *limit,
                    "{name}, {isa:?}: {what}, {at}: {found}, plain {expected}"
                );
            }
        }
    }
}

#[test]
fn convolutions_of_every_kind() {
    let bias = Init::Constant(0.0);
    let plain = Convolution::new;
    let cases = [
        ("1×1", Shape::new(24, 5, 7), 2, plain(17, 1)),
        ("3×3", Shape::new(19, 5, 7), 2, plain(33, 3).padding(1)),
        (
            "3×3, stride 2",
            Shape::new(16, 7, 6),
            3,
            plain(50, 3).stride(2).padding(1).bias(bias),
        ),
        (
            "1×1, stride 2",
            Shape::new(40, 5, 6),
            2,
            plain(70, 1).stride(2),
        ),
        (
            "1×1, few filters in many strips",
            Shape::new(20, 7, 9),
            3,
            plain(150, 1).bias(bias),
        ),
        ("1×1, many filters", Shape::new(75, 6, 7), 4, plain(121, 1)),
        (
            "1×1, one row behind a block",
            Shape::new(20, 11, 11),
            2,
            plain(70, 1),
        ),
        (
            "1×1, stride 2, one line",
            Shape::new(20, 1, 250),
            2,
            plain(24, 1).stride(2),
        ),
        (
            "3×3, one tap inside",
            Shape::new(30, 1, 1),
            3,
            plain(70, 3).padding(1),
        ),
        (
            "1×1, long sums",
            Shape::new(210, 5, 5),
            5,
            plain(140, 1).bias(bias),
        ),
        (
            "7×7, stride 2",
            Shape::new(3, 13, 11),
            2,
            plain(20, 7).stride(2).padding(3),
        ),
        ("no padding", Shape::new(3, 4, 5), 1, plain(4, 3)),
        (
            "dilation",
            Shape::new(5, 9, 8),
            2,
            plain(6, 3).padding(2).dilation(2),
        ),
        (
            "groups",
            Shape::new(12, 5, 4),
            2,
            plain(8, 3).padding(1).groups(4),
        ),
        (
            "groups, 20 each",
            Shape::new(40, 4, 3),
            2,
            plain(60, 3).padding(1).groups(2),
        ),
        (
            "groups of 16, stride 2",
            Shape::new(32, 6, 5),
            2,
            plain(64, 3).stride(2).padding(1).groups(2),
        ),
        (
            "depthwise",
            Shape::new(21, 5, 7),
            3,
            plain(21, 3).padding(1).groups(21),
        ),
        (
            "depthwise, stride 2",
            Shape::new(33, 6, 9),
            2,
            plain(33, 5).stride(2).padding(2).groups(33).bias(bias),
        ),
        (
            "groups of 49",
            Shape::new(34, 4, 3),
            2,
            plain(98, 3).padding(1).groups(2),
        ),
        (
            "channel multiplier",
            Shape::new(6, 5, 4),
            2,
            plain(12, 3).padding(1).groups(6),
        ),
        ("1×1 map", Shape::new(30, 1, 1), 5, plain(18, 3).padding(1)),
        (
            "one channel, one image",
            Shape::new(1, 5, 5),
            1,
            plain(1, 3).padding(1),
        ),
        (
            "stride 3, kernel 1",
            Shape::new(2, 8, 7),
            1,
            plain(3, 1).stride(3),
        ),
        (
            "many rows",
            Shape::new(8, 33, 35),
            4,
            plain(9, 3).padding(1),
        ),
    ];
    for (name, shape, images, layer) in cases {
        check(name, shape, images, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
    }
}

#[test]
fn batch_norm_alone_and_with_every_activation() {
    for (shape, images) in [
        (Shape::new(5, 3, 5), 2),
        (Shape::new(35, 1, 1), 7),
        (Shape::new(16, 19, 23), 5),
    ] {
        check("BatchNorm", shape, images, |graph, x| {
            graph.batch_norm("layer", x).unwrap()
        });
        for activation in ACTIVATIONS {
            check(activation.name(), shape, images, |graph, x| {
                let x = graph.batch_norm("layer", x).unwrap();
                graph.activation("act", x, activation).unwrap()
            });
            check("read twice", shape, images, |graph, x| {
                let x = graph.batch_norm("layer", x).unwrap();
                let y = graph.activation("act", x, activation).unwrap();
                graph.add("add", Op::Add, &[x, y]).unwrap()
            });
        }
    }
}

const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Silu,
];

#[test]
fn pooling_and_resizing() {
    let window = |kernel, stride, padding: usize, ceil| Window {
        stride: (stride, stride),
        before: (padding, padding),
        after: (padding, padding),
        ceil,
        ..Window::square(kernel)
    };
    let mut ops = Vec::new();
    for window in [
        window(3, 2, 1, false),
        window(2, 2, 0, true),
        window(1, 2, 0, false),
    ] {
        ops.push(Op::MaxPool(window));
        for count_padding in [false, true] {
            ops.push(Op::AveragePool {
                window,
                count_padding,
            });
        }
    }
    for (height, width) in [(1, 1), (3, 2), (7, 9)] {
        ops.push(Op::AdaptiveAveragePool { height, width });
        for align_corners in [false, true] {
            ops.push(Op::Resize {
                height,
                width,
                align_corners,
            });
        }
    }
    for op in ops {
        check(&format!("{op:?}"), Shape::new(18, 5, 7), 2, |graph, x| {
            graph.add("layer", op.clone(), &[x]).unwrap()
        });
    }
}

#[test]
fn joins_splits_gates_and_noise() {
    let shape = Shape::new(22, 3, 4);
    for (channels, groups) in [(32, 2), (33, 3)] {
        check("shuffle", Shape::new(channels, 3, 4), 3, |graph, x| {
            graph.add("layer", Op::Shuffle { groups }, &[x]).unwrap()
        });
    }
    let ops = [
        Op::Shuffle { groups: 2 },
        Op::Slice { start: 3, len: 17 },
        Op::PadChannels {
            before: 2,
            after: 5,
        },
        Op::Dropout { p: 0.4 },
        Op::ChannelDropout { p: 0.4 },
        Op::StochasticDepth { p: 0.4 },
    ];
    for op in ops {
        check(op.name(), shape, 3, |graph, x| {
            graph.add("layer", op.clone(), &[x]).unwrap()
        });
    }
    check("gate", shape, 3, |graph, x| {
        let gate = graph.global_average_pool("pool", x).unwrap();
        let gate = graph
            .activation("sigmoid", gate, Activation::Sigmoid)
            .unwrap();
        graph.add("layer", Op::Gate, &[x, gate]).unwrap()
    });
    check("concat, each of it twice", shape, 3, |graph, x| {
        let y = graph.activation("relu", x, Activation::Relu).unwrap();
        let z = graph
            .add("slice", Op::Slice { start: 1, len: 4 }, &[y])
            .unwrap();
        graph.add("layer", Op::Concat, &[x, z, y, z]).unwrap()
    });
    check("add to itself", shape, 3, |graph, x| {
        graph.add("layer", Op::Add, &[x, x]).unwrap()
    });
}

#[test]
fn images_are_normalised_and_what_nothing_reads_has_no_share() {
    let mut graph = Graph::new("first and dead", Shape::new(3, 4, 5));
    let x = graph.batch_norm("bn", graph.input()).unwrap();
    let y = graph.activation("relu", x, Activation::Relu).unwrap();
    let layer = Convolution::new(7, 3).padding(1);
    let y = graph.convolution("conv", y, &layer).unwrap();
    let z = graph.activation("read", y, Activation::Relu6).unwrap();
    graph.activation("dead", y, Activation::Silu).unwrap();
    let z = graph.global_average_pool("pool", z).unwrap();
    graph.linear("fc", z, 5, true).unwrap();
    compare(graph, 3);
}

#[test]
fn more_channels_than_any_table_of_zeros_holds() {
    check("wide", Shape::new(2, 1, 2), 1, |graph, x| {
        let x = graph
            .convolution("widen", x, &Convolution::new(9000, 1))
            .unwrap();
        let layer = Convolution::new(1, 3).padding(1);
        graph.convolution("layer", x, &layer).unwrap()
    });
}

#[test]
fn infinity_spoils_the_running_variance_as_in_the_plain_engine() {
    let mut graph = Graph::new("infinite", Shape::new(2, 1, 3));
    let x = graph.batch_norm("bn", graph.input()).unwrap();
    let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
    graph.linear("fc", x, 2, false).unwrap();
    let batch = Batch {
        images: &[1.0, f32::INFINITY, 2.0, 1.0, 2.0, 3.0],
        labels: &[0],
    };
    let variance = |engine: &mut dyn Engine| {
        fill(engine);
        engine.recalibrate(&batch, 0.1, 0).unwrap();
        let mut values = Vec::new();
        engine.read(TensorId(3), Part::Value, &mut values);
        values
    };
    let found = variance(&mut small(graph.clone(), Isa::best(), 1).unwrap());
    let plain = variance(&mut Plain::<f32>::new(graph).unwrap());
    assert!(
        found[0].is_nan() && plain[0].is_nan(),
        "{found:?} {plain:?}"
    );
    assert!((found[1] - plain[1]).abs() < 1e-6, "{found:?} {plain:?}");
}

#[test]
fn a_tensor_is_read_as_it_was_written() {
    let mut graph = Graph::new("layouts", Shape::new(6, 3, 3));
    let x = graph.input();
    let layer = Convolution::new(8, 3).padding(1).groups(2);
    let x = graph.convolution("groups", x, &layer).unwrap();
    let layer = Convolution::new(8, 3).padding(1).groups(8);
    let x = graph.convolution("depthwise", x, &layer).unwrap();
    let layer = Convolution::new(8, 3).padding(1).groups(2);
    let x = graph.convolution("groups of 4", x, &layer).unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
    graph.linear("fc", x, 5, true).unwrap();
    let mut engine = small(graph.clone(), Isa::best(), 1).unwrap();
    fill(&mut engine);
    let mut values = Vec::new();
    for (at, spec) in graph.tensors().iter().enumerate() {
        for part in [Part::Value, Part::Slot(1)] {
            let written: Vec<f64> = (0..spec.len()).map(|x| x as f64).collect();
            engine.write(TensorId(at), part, &written);
            engine.read(TensorId(at), part, &mut values);
            if spec.is_parameter() || part == Part::Value {
                assert_eq!(values, written, "{}", spec.name);
            }
        }
    }
}
