//! BatchNorm as the epilogue of a convolution, in evaluation.

use super::{ACTIVATIONS, compare, network, small};
use crate::cpu::Isa;
use crate::net::{Convolution, Graph, Init, Op, Shape};

/// Number of BatchNorm steps in the plans for evaluation and for training.
fn norms(graph: &Graph, images: usize) -> [usize; 2] {
    let mut engine = small(graph.clone(), Isa::best(), 1).unwrap();
    [false, true].map(|training| {
        let steps = engine.plan(images, training).unwrap().steps;
        steps.iter().filter(|step| step.kind == "norm").count()
    })
}

#[test]
fn every_kind_of_convolution_with_every_activation() {
    let layer = |to, kernel| Convolution::new(to, kernel).padding(kernel / 2);
    let bias = Init::Constant(0.0);
    let narrow = |width: usize| layer(24, 3).groups(24 / width);
    let cases = [
        ("1×1", (20, 5, 7), 3, layer(70, 1), 0),
        ("1×1, bias", (150, 5, 7), 3, layer(70, 1).bias(bias), 0),
        ("1×1, stride 2", (20, 5, 6), 3, layer(40, 1).stride(2), 0),
        ("1×1, several images", (20, 2, 2), 40, layer(24, 1), 0),
        ("3×3, several images", (20, 2, 2), 40, layer(24, 3), 0),
        ("1×1, more than a block", (8, 12, 13), 2, layer(16, 1), 0),
        ("1×1 map", (30, 1, 1), 5, layer(18, 3), 0),
        ("groups of 48", (32, 4, 3), 2, layer(96, 3).groups(2), 0),
        ("56 groups of 1", (56, 4, 5), 2, layer(56, 3).groups(56), 0),
        ("few channels", (3, 9, 8), 2, layer(20, 3).stride(2), 0),
        ("3×3", (19, 5, 7), 2, layer(33, 3).bias(bias), 0),
        ("long sums", (300, 5, 4), 2, layer(20, 3).stride(2), 0),
        ("groups of 16", (32, 6, 5), 2, layer(64, 3).groups(2), 0),
        ("groups of 20", (40, 4, 3), 2, layer(60, 3).groups(2), 1),
        ("winograd", (16, 12, 9), 12, layer(40, 3).bias(bias), 0),
        ("depthwise", (24, 6, 7), 2, narrow(1), 0),
        (
            "groups of 2, stride 2",
            (24, 6, 7),
            2,
            narrow(2).stride(2),
            0,
        ),
        ("groups of 4", (24, 3, 2), 20, narrow(4), 0),
        ("groups of 8", (24, 3, 5), 2, narrow(8), 0),
        ("groups of 8, bias", (24, 3, 5), 2, narrow(8).bias(bias), 1),
        (
            "9×9, groups of 2",
            (24, 10, 9),
            2,
            layer(24, 9).groups(12),
            0,
        ),
    ];
    for (name, (channels, height, width), images, layer, left) in cases {
        let activations = ACTIVATIONS.into_iter().map(Some);
        for activation in activations.chain([None]) {
            let graph = network(name, Shape::new(channels, height, width), |graph, x| {
                let x = graph.convolution("layer", x, &layer).unwrap();
                let x = graph.batch_norm("norm", x).unwrap();
                match activation {
                    Some(activation) => graph.activation("act", x, activation).unwrap(),
                    None => x,
                }
            });
            assert_eq!(norms(&graph, images), [left, 1], "{name}");
            compare(graph, images);
        }
    }
}

#[test]
fn what_else_is_read_stays() {
    let layer = Convolution::new(20, 1);
    let input = Shape::new(7, 4, 5);
    let before = network("read before the norm", input, |graph, x| {
        let x = graph.convolution("layer", x, &layer).unwrap();
        let y = graph.batch_norm("norm", x).unwrap();
        graph.add("add", Op::Add, &[x, y]).unwrap()
    });
    let twice = network("read by two norms", input, |graph, x| {
        let x = graph.convolution("layer", x, &layer).unwrap();
        let y = graph.batch_norm("one", x).unwrap();
        let z = graph.batch_norm("other", x).unwrap();
        graph.add("add", Op::Add, &[y, z]).unwrap()
    });
    let again = network("norm after norm", input, |graph, x| {
        let x = graph.convolution("layer", x, &layer).unwrap();
        let x = graph.batch_norm("one", x).unwrap();
        graph.batch_norm("other", x).unwrap()
    });
    let behind = network("read behind the norm", input, |graph, x| {
        let x = graph.convolution("layer", x, &layer).unwrap();
        let y = graph.batch_norm("norm", x).unwrap();
        let z = graph.convolution("more", y, &layer).unwrap();
        graph.add("add", Op::Add, &[y, z]).unwrap()
    });
    for (graph, left) in [(before, 1), (twice, 2), (again, 1), (behind, 0)] {
        assert_eq!(norms(&graph, 3)[0], left, "{}", graph.name());
        compare(graph, 3);
    }
}

#[test]
fn segments_of_evaluation_end_where_their_filters_are_many() {
    // With the tests' target a segment reads 4 KiB of filters: one layer of 32 channels, or four layers of 16.
    let segments = |channels: usize| {
        let layer = Convolution::new(channels, 1);
        let graph = network("four layers", Shape::new(channels, 4, 4), |graph, x| {
            (0..4).fold(x, |x, number| {
                let name = number.to_string();
                graph.convolution(&name, x, &layer).unwrap()
            })
        });
        let mut engine = small(graph.clone(), Isa::best(), 1).unwrap();
        let plan = engine.plan(2, false).unwrap();
        compare(graph, 2);
        let layers = &plan.steps[..4];
        layers
            .iter()
            .map(|step| step.segment)
            .collect::<Vec<usize>>()
    };
    assert_eq!(segments(32), [0, 1, 2, 3]);
    assert_eq!(segments(16), [0, 0, 0, 0]);
}
