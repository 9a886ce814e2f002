//! NaN, infinity, kinks and ties: as PyTorch answers, and the plain engine.

use candle_core::{Device, Tensor};

use super::super::kernels::emulator::{self, Order};
use super::super::loss::{self, CrossEntropy};
use super::super::{activation, max_pool::Windows};
use crate::engine::Task;
use crate::net::{Activation, Shape, Window};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const SIXTH: f64 = (1.0_f32 / 6.0) as f64;

fn row(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, (1, 1, 1, values.len()), &Device::Cpu).unwrap()
}

#[track_caller]
fn same(found: &Tensor, expected: &[f64]) {
    let found: Vec<f64> = found.flatten_all().unwrap().to_vec1().unwrap();
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(equal),
        "{found:?}, expected {expected:?}"
    );
}

/// Runs `check` with candle's operations, and with kernels.
fn by_both(check: impl Fn()) {
    check();
    if emulator::is_there() {
        emulator::with(Order::Rising, check);
    }
}

#[test]
fn activations_at_their_kinks_and_beyond_all_numbers() {
    by_both(check_activations);
}

fn check_activations() {
    let x = row(&[-3.0, 0.0, 3.0, 6.0, NAN, -INF, INF]);
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
    for (function, values, gradients) in cases {
        same(&activation::forward(function, &x).unwrap(), &values);
        let one = x.ones_like().unwrap();
        same(
            &activation::backward(function, &x, &one).unwrap(),
            &gradients,
        );
        // No gradient passes, not even an infinite one.
        let infinite = (one * INF).unwrap();
        let dx = activation::backward(function, &x, &infinite).unwrap();
        same(
            &dx,
            &gradients.map(|slope| if slope == 0.0 { 0.0 } else { INF }),
        );
    }
}

#[test]
fn max_pooling_keeps_nan_and_takes_the_first_of_equals() {
    by_both(check_max_pooling);
}

fn check_max_pooling() {
    let window = Window {
        kernel: (1, 3),
        ..Window::square(1)
    };
    let cases = [
        ([2.0, 2.0, 1.0], 2.0, [1.0, 0.0, 0.0]),
        ([1.0, NAN, 5.0], NAN, [0.0, 1.0, 0.0]),
        ([-INF, -INF, -INF], -INF, [1.0, 0.0, 0.0]),
    ];
    let (input, output) = (Shape::new(1, 1, 3), Shape::new(1, 1, 1));
    let windows = Windows::new(&window, input, output, &Device::Cpu).unwrap();
    for (x, largest, gradient) in cases {
        let (y, places) = windows.forward(&row(&x)).unwrap();
        same(&y, &[largest]);
        same(&windows.backward(&places, &row(&[1.0])).unwrap(), &gradient);
    }
}

#[test]
fn what_comes_first_counts_nan_as_the_largest_and_the_first_of_equals() {
    by_both(check_order);
}

fn check_order() {
    let rows = [
        [1.0, 3.0, 3.0],
        [1.0, NAN, 5.0],
        [NAN, 0.0, NAN],
        [-INF, -INF, -INF],
        [2.0, INF, 1.0],
    ];
    let logits = Tensor::from_slice(rows.as_flattened(), (5, 3, 1, 1), &Device::Cpu).unwrap();
    assert_eq!(loss::predictions(&logits).unwrap(), [1, 1, 0, 0, 1]);
    // Label 1 of each row: equal and earlier come before it, and NaN is right about nothing.
    let loss = CrossEntropy::new(Task::Classification, &logits, &[1; 5], 0.0);
    let outcome = loss.unwrap().outcome().unwrap();
    assert!(outcome.loss.is_nan());
    assert_eq!((outcome.top1, outcome.top5), (2, 4));
}

#[test]
fn label_smoothing_is_that_of_pytorch() {
    by_both(check_smoothing);
}

fn check_smoothing() {
    // torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 3.], [0.5, 0., -1.]]),
    //                                   torch.tensor([0, 1]), label_smoothing=0.1)
    let logits = [1.0, 2.0, 3.0, 0.5, 0.0, -1.0];
    let logits = Tensor::from_slice(&logits, (2, 3, 1, 1), &Device::Cpu).unwrap();
    let loss = CrossEntropy::new(Task::Classification, &logits, &[0, 1], 0.1);
    let outcome = loss.unwrap().outcome().unwrap();
    assert!((outcome.loss - 1.714_201_618_223_888).abs() < 1e-12);
    assert_eq!((outcome.top1, outcome.top5), (0, 2));
}
