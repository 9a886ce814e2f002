//! The loss of a network with an auxiliary output, and channel dropout.

use super::{Bench, training};
use crate::net::{Auxiliary, Convolution, Graph, Init, Op, Shape};
use crate::plain::Plain;
use crate::uniform::uniform;
use crate::{Batch, Engine, Part, Task, Training};

const IGNORED: u32 = 9;

/// Two heads on one convolution, and with `weight` the second as auxiliary output.
fn network(weight: Option<f64>) -> Graph {
    let mut graph = Graph::new("heads", Shape::new(2, 4, 3));
    let layer = |out| {
        Convolution::new(out, 3)
            .padding(1)
            .bias(Init::Constant(0.0))
    };
    let x = graph.convolution("stem", graph.input(), &layer(4)).unwrap();
    let main = graph.convolution("main", x, &layer(3)).unwrap();
    let value = graph.convolution("second", x, &layer(3)).unwrap();
    let auxiliary = weight.map(|weight| Auxiliary { value, weight });
    graph.set_outputs(main, auxiliary).unwrap();
    graph
}

fn engine(graph: Graph) -> Plain<f64> {
    let task = Task::DenseLabels { ignored: IGNORED };
    let mut engine = Plain::with_task(graph.clone(), task).unwrap();
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        engine.write(id, Part::Value, &uniform(&spec.name, spec.len()));
    }
    engine
}

fn images() -> (Vec<f32>, Vec<u32>) {
    let images = uniform("images", 2 * 24);
    let labels = (0..24).map(|at| if at % 5 == 4 { IGNORED } else { at % 3 });
    (images.iter().map(|x| *x as f32).collect(), labels.collect())
}

#[test]
fn its_loss_is_added_by_its_weight_and_hits_are_those_of_the_output() {
    let (images, labels) = images();
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let evaluate = |graph| engine(graph).evaluate(&batch).unwrap();
    let alone = evaluate(network(None));
    let mut second = network(None);
    let value = second.outputs().next().unwrap();
    let other = second.nodes().iter().position(|node| node.name == "second");
    assert_ne!(other, Some(value.index()));
    second
        .set_outputs(crate::net::Value(other.unwrap()), None)
        .unwrap();
    let second = evaluate(second);
    let both = evaluate(network(Some(0.4)));
    let expected = alone.loss + 0.4 * second.loss;
    assert!((both.loss - expected).abs() < 1e-14, "{both:?}");
    assert_eq!(
        (both.top1, both.top5, both.labels),
        (alone.top1, alone.top5, alone.labels)
    );
    assert_ne!(alone.top1, second.top1);
}

#[test]
fn gradients_are_those_of_the_whole_loss() {
    let (images, labels) = images();
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let mut engine = engine(network(Some(0.4)));
    let training = Training {
        label_smoothing: 0.1,
        ..Training::default()
    };
    engine.differentiate(&batch, &training).unwrap();
    let graph = engine.graph().clone();
    let all: Vec<(crate::net::TensorId, Vec<f64>)> = graph
        .tensor_ids()
        .map(|id| {
            let mut gradient = Vec::new();
            engine.read(id, Part::Gradient, &mut gradient);
            (id, gradient)
        })
        .collect();
    let mut objective = |id, values: &[f64]| {
        engine.write(id, Part::Value, values);
        engine.differentiate(&batch, &training).unwrap().loss
    };
    for (id, gradients) in all {
        let spec = graph.tensor(id);
        let start = uniform(&spec.name, spec.len());
        for (at, gradient) in gradients.iter().enumerate() {
            let mut moved = start.clone();
            moved[at] += 1e-5;
            let above = objective(id, &moved);
            moved[at] = start[at] - 1e-5;
            let below = objective(id, &moved);
            let difference = (above - below) / 2e-5;
            assert!(
                (difference - gradient).abs() < 1e-8,
                "{}, {at}: gradient {gradient}, difference {difference}",
                spec.name
            );
        }
        objective(id, &start);
    }
}

#[test]
fn channel_dropout_takes_whole_channels_of_single_images_away() {
    let (images, shape) = (50, Shape::new(4, 3, 2));
    let mut graph = Graph::new("drop", shape);
    let op = Op::ChannelDropout { p: 0.25 };
    graph.add("drop", op, &[graph.input()]).unwrap();
    let mut bench = Bench::new(graph, images);
    bench.plan.values[0].fill(3.0);
    let y = bench.forward(training(1)).to_vec();
    let channels: Vec<f64> = y
        .chunks(shape.pixels())
        .map(|channel| {
            assert!(channel.iter().all(|y| *y == channel[0]), "{channel:?}");
            channel[0]
        })
        .collect();
    let kept = channels.iter().filter(|y| **y == 3.0 / 0.75).count();
    let gone = channels.iter().filter(|y| **y == 0.0).count();
    assert_eq!(kept + gone, images * shape.channels);
    assert!((35..=65).contains(&gone), "{gone} of 200");
    // Not whole images.
    let images = channels.chunks(shape.channels);
    let mixed = images.filter(|image| image.contains(&0.0) && image.contains(&4.0));
    assert!(mixed.count() > 20);
    let y = bench.forward(crate::mode::Mode::Evaluation);
    assert!(y.iter().all(|y| *y == 3.0));
}
