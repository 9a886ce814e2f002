//! Whole and random networks: the order of steps, and shared memory.

use super::{Size, compare, compare_within, everything, small};
use crate::cpu::Isa;
use crate::net::{Activation, Auxiliary, Convolution, Graph, Op, Shape, zoo};
use crate::uniform::uniform;
use crate::{Batch, Engine as _};

#[test]
fn whole_networks_whatever_the_threads() {
    for name in [
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
        "resnet20",
        "mobilenetv2dilated-c1_deepsup",
        "deeplabv3_mobilenet_v3_large",
    ] {
        let options = zoo::Options {
            classes: 10,
            resolution: 32.into(),
            ..zoo::defaults(name).unwrap()
        };
        let graph = zoo::build(name, &options).unwrap();
        let run = |threads| {
            let mut engine = small(graph.clone(), Isa::best(), threads).unwrap();
            // The second time, shards run on other threads.
            [(); 2].map(|()| everything(&mut engine, 6))
        };
        let one = run(1);
        assert!(one == run(2) && one == run(4) && one == run(1), "{name}");
    }
}

#[test]
fn another_image_size_is_that_of_a_network_built_for_it() {
    let name = "mobilenetv2dilated-c1_deepsup";
    let build = |resolution: &str| {
        let options = zoo::Options {
            classes: 10,
            resolution: resolution.parse().unwrap(),
            ..zoo::defaults(name).unwrap()
        };
        let graph = zoo::build(name, &options).unwrap();
        graph.with_batch_norm_momentum(0.3)
    };
    for resolution in ["40x24", "24x40", "32"] {
        let mut engine = small(build("32"), Isa::best(), 2).unwrap();
        let batch = Batch {
            images: &[0.5; 3 * 32 * 32],
            labels: &[1; 16],
        };
        engine.evaluate(&batch).unwrap();
        engine.reshape(resolution.parse().unwrap()).unwrap();
        assert_eq!(engine.graph(), &build(resolution));
        let found = everything(&mut engine, 3);
        let mut other = small(build(resolution), Isa::best(), 2).unwrap();
        assert!(found == everything(&mut other, 3), "{resolution}");
    }
    // A network that is not of the zoo has one size.
    let mut graph = Graph::new("own", Shape::new(3, 8, 8));
    let layer = Convolution::new(4, 3).padding(1);
    graph.convolution("conv", graph.input(), &layer).unwrap();
    let mut engine = small(graph, Isa::best(), 1).unwrap();
    engine.reshape(8.into()).unwrap();
    let refused = engine.reshape(16.into()).unwrap_err().to_string();
    assert!(
        refused.contains("takes images of 3×8×8 alone; found 16"),
        "{refused}"
    );
}

/// A network of random operations on random earlier values, some of which nothing reads.
fn random(number: usize) -> Graph {
    let draws = uniform(&format!("random graph {number}"), 64);
    let mut draws = draws.into_iter();
    // A number below `count`; the draws are between −√3 and √3.
    let mut draw = |count: usize| {
        let share = (draws.next().unwrap() / 3_f64.sqrt() + 1.0) / 2.0;
        ((share * count as f64) as usize).min(count - 1)
    };
    let activations = [
        Activation::Relu,
        Activation::Relu6,
        Activation::HardSwish,
        Activation::Silu,
    ];
    // On the larger maps, with many images, 3 × 3 convolutions are Winograd convolutions.
    let size = if number % 4 == 3 { 8 } else { 5 };
    let mut graph = Graph::new(format!("random {number}"), Shape::new(3, size, size));
    let layer = |to, kernel| Convolution::new(to, kernel).padding(kernel / 2);
    let first = graph
        .convolution("first", graph.input(), &layer(20, 3))
        .unwrap();
    let mut values = vec![first];
    for at in 0..12 {
        let name = |what: &str| format!("{at}.{what}");
        // Later values more often.
        let back = draw(3).min(values.len() - 1);
        let x = values[values.len() - 1 - back];
        let other = values[draw(values.len())];
        let y = match draw(12) {
            0 => graph.convolution(&name("1×1"), x, &layer(20, 1)).unwrap(),
            1 => graph.convolution(&name("3×3"), x, &layer(20, 3)).unwrap(),
            2 => {
                let layer = layer(20, 3).groups([20, 10, 5][draw(3)]);
                graph.convolution(&name("grouped"), x, &layer).unwrap()
            }
            3 | 4 => {
                let x = graph.batch_norm(&name("bn"), x).unwrap();
                let activation = activations[draw(4)];
                graph.activation(&name("act"), x, activation).unwrap()
            }
            5 => graph.batch_norm(&name("bn"), x).unwrap(),
            6 => graph.add(&name("add"), Op::Add, &[x, other]).unwrap(),
            7 => {
                let g = graph.global_average_pool(&name("pool"), other).unwrap();
                let g = graph
                    .activation(&name("g"), g, Activation::Sigmoid)
                    .unwrap();
                graph.add(&name("gate"), Op::Gate, &[x, g]).unwrap()
            }
            8 => {
                let both = graph.add(&name("concat"), Op::Concat, &[x, other]).unwrap();
                let both = graph
                    .add(&name("shuffle"), Op::Shuffle { groups: 2 }, &[both])
                    .unwrap();
                graph
                    .convolution(&name("half"), both, &layer(20, 1))
                    .unwrap()
            }
            9 => {
                let activation = activations[draw(4)];
                graph.activation(&name("act"), x, activation).unwrap()
            }
            10 => {
                let op = Op::StochasticDepth { p: 0.3 };
                graph.add(&name("depth"), op, &[x]).unwrap()
            }
            _ => graph
                .add(&name("drop"), Op::Dropout { p: 0.3 }, &[x])
                .unwrap(),
        };
        values.push(y);
    }
    let y = values[values.len() - 1];
    let y = graph.batch_norm("last", y).unwrap();
    let y = graph.global_average_pool("pool", y).unwrap();
    let main = graph.linear("fc", y, 5, true).unwrap();
    // Every third has an auxiliary head, behind the main one.
    if number % 3 == 2 {
        let y = values[values.len() / 2];
        let y = graph.global_average_pool("pool 2", y).unwrap();
        let value = graph.linear("fc 2", y, 5, true).unwrap();
        let auxiliary = Auxiliary { value, weight: 0.4 };
        graph.set_outputs(main, Some(auxiliary)).unwrap();
    }
    graph
}

#[test]
fn random_networks_and_numbers_of_images() {
    for number in 0..48 {
        // Consecutive BatchNorms, or one of a channel without variance, amplify rounding errors, and give gradients that are
        // 0 as sums of large numbers.
        let limit = |size: &Size| size.absolute() + 30.0 * size.rounding;
        compare_within(limit, random(number), [1, 9, 21, 37][number % 4]);
    }
}

#[test]
fn what_is_shared_by_a_sum_is_not_changed_too_early() {
    let mut graph = Graph::new("dead reader", Shape::new(3, 4, 4));
    let layer = Convolution::new(7, 1);
    let x = graph.convolution("a", graph.input(), &layer).unwrap();
    let x = graph.batch_norm("bn1", x).unwrap();
    let y = graph.activation("relu", x, Activation::Relu).unwrap();
    graph.activation("dead", y, Activation::Silu).unwrap();
    let x = graph.convolution("b", graph.input(), &layer).unwrap();
    let r = graph.batch_norm("bn2", x).unwrap();
    for inputs in [[y, r], [r, y]] {
        let mut graph = graph.clone();
        let z = graph.add("add", Op::Add, &inputs).unwrap();
        let z = graph.global_average_pool("pool", z).unwrap();
        graph.linear("fc", z, 5, true).unwrap();
        compare(graph, 3);
    }
}

#[test]
fn networks_that_compute_nothing() {
    let mut graph = Graph::new("images", Shape::new(5, 1, 1));
    compare(graph.clone(), 3);
    graph.add("flatten", Op::Flatten, &[graph.input()]).unwrap();
    compare(graph, 3);
}
