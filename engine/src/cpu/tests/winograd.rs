//! Winograd convolutions: 3 × 3 kernels with enough channels and pixels.

use super::{check_as, small};
use crate::cpu::Isa;
use crate::net::{Activation, Convolution, Graph, Init, Kind, Op, Shape, Value, Window};

/// As [`check_as`].
fn check_winograd(
    input: Shape,
    images: usize,
    build: impl Fn(&mut Graph, Value) -> Value,
) -> usize {
    check_as("winograd", input, images, build)
}

#[test]
fn many_channels_on_maps_of_all_sizes() {
    let layer = |to, padding| Convolution::new(to, 3).padding(padding);
    let bias = Init::Constant(0.0);
    for (input, images, layer) in [
        (Shape::new(17, 9, 7), 18, layer(33, 1)),
        (Shape::new(32, 12, 11), 13, layer(48, 0).bias(bias)),
        (Shape::new(35, 10, 11), 8, layer(70, 2)),
        (Shape::new(64, 33, 35), 1, layer(32, 1)),
        // Filters so large that their gradient is computed at the end of a segment.
        (Shape::new(72, 4, 4), 64, layer(80, 1)),
        // Large filters, and more tiles than are taken at a time.
        (Shape::new(260, 25, 23), 2, layer(260, 1).bias(bias)),
    ] {
        let found = check_winograd(input, images, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
        assert_eq!(found, 1, "{input:?}");
    }
}

/// From 32 channels to 37, by any window.
fn windowed(graph: &mut Graph, x: Value, window: Window) -> Value {
    let constant = Init::Constant(0.0);
    let weight = graph.add_tensor("weight", vec![37, 32, 3, 3], Kind::Parameter(constant));
    let op = Op::Convolution {
        weight: weight.unwrap(),
        bias: None,
        window,
        groups: 1,
    };
    graph.add("layer", op, &[x]).unwrap()
}

#[test]
fn padding_on_one_side() {
    let window = Window {
        before: (0, 2),
        after: (2, 1),
        ..Window::square(3)
    };
    let found = check_winograd(Shape::new(32, 10, 8), 16, |graph, x| {
        windowed(graph, x, window)
    });
    assert_eq!(found, 1);
}

#[test]
fn dilations() {
    let layer = |padding, dilation| Convolution::new(33, 3).padding(padding).dilation(dilation);
    for (input, images, layer) in [
        (Shape::new(17, 23, 20), 4, layer(2, 2)),
        (Shape::new(32, 19, 22), 4, layer(3, 3)),
        (Shape::new(32, 17, 24), 4, layer(0, 2)),
        (Shape::new(32, 40, 33), 2, layer(8, 4)),
    ] {
        let found = check_winograd(input, images, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
        assert_eq!(found, 1, "{input:?}");
    }
    let window = Window {
        dilation: (3, 1),
        before: (2, 1),
        after: (4, 1),
        ..Window::square(3)
    };
    let found = check_winograd(Shape::new(32, 21, 18), 6, |graph, x| {
        windowed(graph, x, window)
    });
    assert_eq!(found, 1);
}

#[test]
fn one_behind_the_other_and_two_that_read_one_value() {
    let layer = Convolution::new(48, 3).padding(1);
    let found = check_winograd(Shape::new(48, 8, 8), 24, |graph, x| {
        let a = graph.convolution("a", x, &layer).unwrap();
        let a = graph.batch_norm("a.bn", a).unwrap();
        let a = graph.activation("a.act", a, Activation::Relu).unwrap();
        let b = graph.convolution("b", a, &layer).unwrap();
        let c = graph.convolution("c", a, &layer).unwrap();
        let sum = graph.add("add", Op::Add, &[b, c]).unwrap();
        graph.add("add input", Op::Add, &[sum, x]).unwrap()
    });
    assert_eq!(found, 3);
}

#[test]
fn filters_that_another_kind_of_convolution_has_too() {
    let found = check_winograd(Shape::new(32, 8, 8), 24, |graph, x| {
        let constant = Kind::Parameter(Init::Constant(0.0));
        let weight = graph.add_tensor("weight", vec![32, 32, 3, 3], constant);
        let weight = weight.unwrap();
        let mut layer = |name, x, step| {
            let window = Window {
                before: (1, 1),
                after: (1, 1),
                stride: (step, step),
                ..Window::square(3)
            };
            let op = Op::Convolution {
                weight,
                bias: None,
                window,
                groups: 1,
            };
            graph.add(name, op, &[x]).unwrap()
        };
        let x = layer("stride 1", x, 1);
        let x = layer("stride 2", x, 2);
        layer("again", x, 1)
    });
    // The last has too few pixels.
    assert_eq!(found, 1);
}

#[test]
fn where_it_would_not_be_faster_a_convolution_is_computed_directly() {
    let layer = |to| Convolution::new(to, 3).padding(1);
    for (input, images, layer) in [
        (Shape::new(15, 16, 16), 8, layer(64)),
        (Shape::new(64, 16, 16), 8, layer(15)),
        (Shape::new(64, 8, 8), 1, layer(64)),
        (Shape::new(64, 2, 2), 512, layer(64)),
        // Backward there would be more.
        (Shape::new(64, 4, 4), 512, layer(64).padding(0)),
        (Shape::new(64, 16, 16), 8, layer(64).padding(3)),
        (Shape::new(64, 16, 16), 8, layer(64).stride(2)),
        (Shape::new(64, 16, 16), 8, layer(64).groups(2)),
        // Nearly all taps lie in the padding.
        (
            Shape::new(64, 16, 16),
            8,
            layer(64).padding(12).dilation(12),
        ),
    ] {
        let mut graph = Graph::new("direct", input);
        let x = graph.convolution("layer", graph.input(), &layer).unwrap();
        let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
        graph.linear("after", x, 5, true).unwrap();
        let mut engine = small(graph, Isa::best(), 1).unwrap();
        let steps = engine.plan(images, true).unwrap().steps;
        assert_eq!(steps[0].kind, "convolution", "{input:?}");
    }
}
