//! Normalisations that decorrelate channels.

use super::{check, compare, everything, network, small};
use crate::cpu::Isa;
use crate::net::{Activation, Auxiliary, Convolution, Graph, Op, Shape, Value, Whitening};

fn whitening(group: usize, iterations: usize) -> Whitening {
    Whitening {
        group,
        iterations,
        epsilon: 1e-3,
        ..Whitening::ITER_NORM
    }
}

#[test]
fn iter_norm_of_every_size_of_group() {
    for (channels, group, height, width, images) in [
        (5, 5, 3, 5, 2),
        (24, 64, 5, 4, 3),
        (40, 20, 4, 4, 3),
        (32, 32, 7, 5, 2),
        (96, 48, 6, 5, 2),
        (128, 64, 5, 7, 3),
        (7, 1, 3, 3, 2),
        (16, 16, 1, 1, 19),
    ] {
        let shape = Shape::new(channels, height, width);
        let iterations = if channels == 24 { 1 } else { 5 };
        let name = format!("IterNorm of {channels} in {group}, {iterations}");
        check(&name, shape, images, |graph, x| {
            let whitening = whitening(group, iterations);
            graph.iter_norm("layer", x, whitening).unwrap()
        });
        if channels > 40 {
            continue;
        }
        check("IterNorm, ReLU, read twice", shape, images, |graph, x| {
            let x = graph.iter_norm("layer", x, whitening(group, 3)).unwrap();
            let y = graph.activation("act", x, Activation::Relu6).unwrap();
            graph.add("add", Op::Add, &[x, y]).unwrap()
        });
    }
}

#[test]
fn channel_equilibrium_of_every_size_of_group() {
    for (channels, group, height, width, images) in [
        (8, 16, 3, 5, 2),
        (24, 16, 5, 4, 3),
        (40, 20, 4, 4, 3),
        (64, 32, 5, 7, 3),
        (7, 1, 2, 1, 3),
    ] {
        let shape = Shape::new(channels, height, width);
        let name = format!("Channel Equilibrium of {channels} in {group}");
        check(&name, shape, images, |graph, x| {
            graph
                .channel_equilibrium("layer", x, whitening(group, 3), 4)
                .unwrap()
        });
        check(&format!("{name}, residual"), shape, images, residual);
    }
}

/// A branch as the networks of the zoo have it.
fn residual(graph: &mut Graph, x: Value) -> Value {
    let channels = graph.shape(x).channels;
    let layer = Convolution::new(channels, 3).padding(1);
    let y = graph.convolution("branch", x, &layer).unwrap();
    let y = graph.batch_norm("bn", y).unwrap();
    let y = graph
        .channel_equilibrium("ce", y, whitening(16, 3), 4)
        .unwrap();
    let y = graph.add("add", Op::Add, &[x, y]).unwrap();
    graph.activation("relu", y, Activation::Relu).unwrap()
}

#[test]
fn an_auxiliary_output_before_the_last_block() {
    let mut graph = Graph::new("two outputs", Shape::new(8, 6, 5));
    let layer = Convolution::new(16, 3).padding(2).dilation(2);
    let x = graph.convolution("first", graph.input(), &layer).unwrap();
    let x = graph.batch_norm("first bn", x).unwrap();
    let y = residual(&mut graph, x);
    let layer = Convolution::new(5, 1);
    let value = graph.convolution("auxiliary", x, &layer).unwrap();
    let main = graph.convolution("main", y, &layer).unwrap();
    let auxiliary = Auxiliary { value, weight: 0.4 };
    graph.set_outputs(main, Some(auxiliary)).unwrap();
    let iterative = graph.with_iter_norm(whitening(16, 3)).unwrap();
    assert_eq!(iterative.auxiliary(), Some(auxiliary));
    compare(graph, 3);
    compare(iterative, 3);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let build = |graph: &mut Graph, x: Value| {
        let layer = Convolution::new(48, 3).padding(1);
        let x = graph.convolution("first", x, &layer).unwrap();
        let x = graph.iter_norm("in", x, Whitening::ITER_NORM).unwrap();
        let x = graph.activation("act", x, Activation::Relu).unwrap();
        residual(graph, x)
    };
    let graph = network("threads", Shape::new(3, 6, 5), build);
    let run = |threads| {
        let mut engine = small(graph.clone(), Isa::best(), threads).unwrap();
        [(); 2].map(|()| everything(&mut engine, 37))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(4));
}
