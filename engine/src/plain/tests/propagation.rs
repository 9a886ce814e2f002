//! NaN, infinity, kinks and ties: values and gradients as in PyTorch 2.15.

use super::{Bench, training};
use crate::net::{Activation, Graph, Op, Shape, Window};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const SIXTH: f64 = (1.0_f32 / 6.0) as f64;

/// The value of `op` on one row of numbers, and the gradient of x for dy = 1.
fn run(op: Op, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut graph = Graph::new("one", Shape::new(1, 1, x.len()));
    graph.add("op", op, &[graph.input()]).unwrap();
    let mut bench = Bench::new(graph, 1);
    bench.plan.values[0].copy_from_slice(x);
    let y = bench.forward(training(0)).to_vec();
    let dx = bench.backward(&vec![1.0; y.len()], 0).to_vec();
    (y, dx)
}

fn same(found: &[f64], expected: &[f64]) {
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    assert!(
        found.iter().zip(expected).all(equal),
        "{found:?}, expected {expected:?}"
    );
}

#[test]
fn activations_at_their_kinks_and_beyond_all_numbers() {
    let x = [-3.0, 0.0, 3.0, 6.0, NAN, -INF, INF];
    let cases = [
        (
            Activation::Relu,
            [0.0, 0.0, 3.0, 6.0, NAN, 0.0, INF],
            [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0],
        ),
        (
            Activation::Relu6,
            [0.0, 0.0, 3.0, 6.0, NAN, 0.0, 6.0],
            [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0],
        ),
        (
            Activation::HardSigmoid,
            [0.0, 0.5, 1.0, 1.0, NAN, 0.0, 1.0],
            [0.0, SIXTH, 0.0, 0.0, 0.0, 0.0, 0.0],
        ),
        (
            Activation::HardSwish,
            [0.0, 0.0, 3.0, 6.0, NAN, NAN, INF],
            [0.0, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0],
        ),
    ];
    for (activation, values, gradients) in cases {
        let (y, dx) = run(Op::Activation(activation), &x);
        same(&y, &values);
        same(&dx, &gradients);
    }
    let (y, dx) = run(Op::Activation(Activation::Silu), &[NAN, -INF, INF]);
    same(&y, &[NAN, NAN, INF]);
    same(&dx, &[NAN, NAN, NAN]);
    let (y, dx) = run(Op::Activation(Activation::Sigmoid), &[NAN, -INF, INF]);
    same(&y, &[NAN, 0.0, 1.0]);
    same(&dx, &[NAN, 0.0, 0.0]);
}

#[test]
fn max_pooling_keeps_nan_and_takes_the_first_of_equals() {
    let op = || {
        Op::MaxPool(Window {
            kernel: (1, 3),
            ..Window::square(1)
        })
    };
    let (y, dx) = run(op(), &[2.0, 2.0, 1.0]);
    same(&y, &[2.0]);
    same(&dx, &[1.0, 0.0, 0.0]);
    let (y, dx) = run(op(), &[1.0, NAN, 5.0]);
    same(&y, &[NAN]);
    same(&dx, &[0.0, 1.0, 0.0]);
}

#[test]
fn one_bad_number_spoils_its_channel_and_no_other() {
    let mut graph = Graph::new("norm", Shape::new(2, 1, 3));
    graph.batch_norm("bn", graph.input()).unwrap();
    let mut bench = Bench::new(graph, 1);
    bench.plan.values[0].copy_from_slice(&[1.0, INF, 2.0, 1.0, 2.0, 3.0]);
    let y = bench.forward(training(0));
    assert!(y[..3].iter().all(|y| y.is_nan()), "{y:?}");
    assert!(y[3..].iter().all(|y| y.is_finite()), "{y:?}");
}
