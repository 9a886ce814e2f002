//! Values and gradients of operations against PyTorch's (fixtures/operations).

use std::collections::BTreeMap;

use super::{Bench, training};
use crate::net::{Activation, Graph, Op, Shape, Window};
use crate::uniform::uniform;

#[derive(serde::Deserialize)]
struct Fixture {
    cases: BTreeMap<String, Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    input: [usize; 4],
    output: [usize; 4],
    value: Vec<f64>,
    gradient: Vec<f64>,
}

fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        stride: (stride, stride),
        before: (padding, padding),
        after: (padding, padding),
        ..Window::square(kernel)
    }
}

/// The operation of a case, and the factor that its input is first multiplied by.
fn operation(name: &str) -> (Op, f64) {
    let average = |window, count_padding| Op::AveragePool {
        window,
        count_padding,
    };
    let resize = |height, width, align_corners| Op::Resize {
        height,
        width,
        align_corners,
    };
    let ceil = |window| Window {
        ceil: true,
        ..window
    };
    let op = match name {
        "max_pool_3_2_1" => Op::MaxPool(window(3, 2, 1)),
        "max_pool_3_2_ceil" => Op::MaxPool(ceil(window(3, 2, 0))),
        "max_pool_2_1_1_dilated" => Op::MaxPool(Window {
            dilation: (2, 2),
            ..window(2, 1, 1)
        }),
        "average_pool_3_2_1" => average(window(3, 2, 1), true),
        "average_pool_3_2_1_inside" => average(window(3, 2, 1), false),
        "average_pool_3_2_1_ceil" => average(ceil(window(3, 2, 1)), true),
        "adaptive_7_5_to_3_2" => Op::AdaptiveAveragePool {
            height: 3,
            width: 2,
        },
        "adaptive_2_3_to_5_7" => Op::AdaptiveAveragePool {
            height: 5,
            width: 7,
        },
        "global_pool" => Op::AdaptiveAveragePool {
            height: 1,
            width: 1,
        },
        "resize_3_4_to_7_5" => resize(7, 5, false),
        "resize_3_4_to_7_5_corners" => resize(7, 5, true),
        "resize_6_5_to_2_1" => resize(2, 1, false),
        "resize_6_5_to_2_1_corners" => resize(2, 1, true),
        "shuffle_3" => Op::Shuffle { groups: 3 },
        "pad_channels" => Op::PadChannels {
            before: 1,
            after: 2,
        },
        "slice" => Op::Slice { start: 1, len: 3 },
        "relu" => Op::Activation(Activation::Relu),
        "relu6" => return (Op::Activation(Activation::Relu6), 4.0),
        "hard_swish" => return (Op::Activation(Activation::HardSwish), 4.0),
        "hard_sigmoid" => return (Op::Activation(Activation::HardSigmoid), 4.0),
        "sigmoid" => Op::Activation(Activation::Sigmoid),
        "silu" => Op::Activation(Activation::Silu),
        _ => panic!("no operation for the case {name}"),
    };
    (op, 1.0)
}

#[test]
fn every_operation_gives_what_pytorch_gives() {
    let fixture = include_str!("../../../../fixtures/operations/operations.json");
    let fixture: Fixture = serde_json::from_str(fixture).unwrap();
    assert_eq!(fixture.cases.len(), 22);
    for (name, case) in fixture.cases {
        let [images, channels, height, width] = case.input;
        let mut graph = Graph::new(&name, Shape::new(channels, height, width));
        let (op, factor) = operation(&name);
        let y = graph.add(&name, op, &[graph.input()]).unwrap();
        let [_, channels, height, width] = case.output;
        assert_eq!(
            graph.shape(y),
            Shape::new(channels, height, width),
            "{name}"
        );
        let mut bench = Bench::new(graph, images);
        let input = uniform("input", bench.plan.values[0].len());
        bench.plan.values[0] = input.iter().map(|x| x * factor).collect();
        assert_near(&name, bench.forward(training(0)), &case.value);
        let dy = uniform("gradient", case.value.len());
        let dx: Vec<f64> = bench
            .backward(&dy, 0)
            .iter()
            .map(|dx| dx * factor)
            .collect();
        assert_near(&name, &dx, &case.gradient);
    }
}

fn assert_near(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < 1e-12,
            "{name} at {at}: {found}, PyTorch {expected}"
        );
    }
}
