use super::*;
use crate::net::{Activation, Convolution, Graph, Init, Kind, Pool, TensorId, Value};

fn graph(channels: usize, size: usize) -> Graph {
    Graph::new("net", Shape::new(channels, size, size))
}

/// The shape that `op` gives on the input of a new network.
fn apply(op: Op, channels: usize, size: usize) -> Result<Shape, String> {
    let mut graph = graph(channels, size);
    let x = graph.input();
    let value = graph.add("node", op, &[x]).map_err(|err| err.to_string())?;
    Ok(graph.shape(value))
}

fn refused(op: Op, channels: usize, size: usize) -> String {
    let message = apply(op, channels, size).unwrap_err();
    assert!(message.starts_with("net: node: "), "{message}");
    message
}

/// The size that PyTorch 2's `MaxPool2d` gives, floor and ceil; 0 where it refuses.
#[test]
fn windows_slide_as_in_pytorch() {
    let rows = [
        // size, kernel, stride, padding, dilation, floor, ceil
        (1, 2, 2, 0, 1, 0, 1),
        (1, 2, 2, 1, 1, 1, 1),
        (1, 5, 3, 2, 2, 0, 0),
        (2, 3, 3, 0, 1, 0, 1),
        (2, 3, 3, 1, 1, 1, 1),
        (2, 5, 3, 1, 1, 0, 1),
        (3, 1, 3, 0, 1, 1, 1),
        (3, 2, 1, 1, 2, 3, 3),
        (3, 2, 2, 1, 1, 2, 2),
        (4, 2, 3, 0, 2, 1, 2),
        (5, 2, 2, 1, 1, 3, 3),
        (6, 5, 2, 2, 1, 3, 4),
        (7, 5, 1, 0, 1, 3, 3),
        (7, 5, 2, 0, 2, 0, 0),
        (9, 1, 3, 0, 2, 3, 3),
        (9, 2, 2, 1, 1, 5, 5),
        (10, 3, 3, 0, 2, 2, 3),
        (11, 2, 2, 0, 1, 5, 6),
    ];
    for row @ (size, kernel, stride, padding, dilation, floor, ceil) in rows {
        for (mode, expected) in [(false, floor), (true, ceil)] {
            let window = Window {
                stride: (stride, stride),
                before: (padding, padding),
                after: (padding, padding),
                dilation: (dilation, dilation),
                ceil: mode,
                ..Window::square(kernel)
            };
            let found = apply(Op::MaxPool(window), 2, size).map_or(0, |shape| shape.height);
            assert_eq!(found, expected, "{row:?}, ceil {mode}");
        }
    }
}

#[test]
fn height_and_width_are_two_things() {
    let mut graph = Graph::new("net", Shape::new(1, 9, 20));
    let window = Window {
        kernel: (3, 5),
        stride: (1, 2),
        before: (1, 0),
        after: (0, 2),
        dilation: (2, 1),
        ceil: false,
    };
    let weight = vec![4, 1, 3, 5];
    let weight = graph
        .add_tensor("w", weight, Kind::Parameter(Init::Constant(0.0)))
        .unwrap();
    let op = Op::Convolution {
        weight,
        bias: None,
        window,
        groups: 1,
    };
    let x = graph.input();
    let x = graph.add("conv", op, &[x]).unwrap();
    assert_eq!(graph.shape(x), Shape::new(4, 6, 9));
}

#[test]
fn a_map_that_is_too_small_is_refused_by_the_name_of_the_node() {
    let message = refused(Op::MaxPool(Window::square(3)), 8, 2);
    assert!(message.contains("does not fit into 8×2×2"), "{message}");
    assert!(message.contains("resolution is too small"), "{message}");
}

/// A window of padding alone, for which PyTorch returns −∞.
#[test]
fn a_window_of_padding_alone_is_refused() {
    let window = |kernel: usize, padding: usize, dilation: usize| Window {
        stride: (3, 3),
        before: (padding, padding),
        after: (padding, padding),
        dilation: (dilation, dilation),
        ceil: true,
        ..Window::square(kernel)
    };
    for (kernel, padding, dilation, size, empty) in [
        (3, 1, 2, 1, true),
        (2, 1, 4, 3, true),
        (2, 1, 3, 3, false),
        (5, 2, 2, 3, false),
    ] {
        let found = apply(Op::MaxPool(window(kernel, padding, dilation)), 1, size);
        let case = (kernel, padding, dilation, size);
        if empty {
            assert!(found.unwrap_err().contains("but padding"), "{case:?}");
        } else {
            assert!(found.is_ok(), "{case:?} {found:?}");
        }
    }
}

#[test]
fn windows_of_padding_alone_are_those_that_a_search_finds() {
    let mut found = [0, 0];
    for size in 1..8 {
        for (kernel, stride, dilation) in (0..150).map(|n| (1 + n % 6, 1 + n / 6 % 5, 1 + n / 30)) {
            for before in 0..=kernel / 2 {
                let window = Window {
                    stride: (stride, stride),
                    before: (before, before),
                    after: (before, before),
                    dilation: (dilation, dilation),
                    ceil: true,
                    ..Window::square(kernel)
                };
                let Ok(shape) = window_output(&window, Shape::new(1, size, size), 1) else {
                    continue;
                };
                let sees = |at: usize| {
                    let taps = (0..kernel).map(|tap| at * stride + tap * dilation);
                    taps.into_iter()
                        .any(|tap| (before..before + size).contains(&tap))
                };
                let empty = !(0..shape.height).all(sees);
                let claimed = has_empty_window(&window, |pair| pair.0, size, shape.height);
                assert_eq!(claimed, empty, "{window:?} over {size}");
                found[usize::from(empty)] += 1;
            }
        }
    }
    assert!(found[0] > 100 && found[1] > 10, "{found:?}");
}

#[test]
fn operations_refuse_what_has_no_meaning() {
    let average = |padding: usize| Op::AveragePool {
        window: Window {
            before: (padding, 0),
            ..Window::square(3)
        },
        count_padding: true,
    };
    assert_eq!(apply(average(1), 2, 5), Ok(Shape::new(2, 4, 3)));
    let strideless = Op::MaxPool(Window {
        stride: (0, 1),
        ..Window::square(1)
    });
    let refusals = [
        (average(2), "more than half the kernel"),
        (strideless, "does not fit"),
        (Op::MaxPool(Window::square(0)), "does not fit"),
        (Op::Add, "needs 2 inputs"),
        (Op::Gate, "needs 2 inputs"),
        (Op::Input, "one input"),
        (Op::Slice { start: 5, len: 2 }, "no 2 channels from 5"),
        (Op::Slice { start: 0, len: 0 }, "no 0 channels from 0"),
        (Op::Shuffle { groups: 4 }, "4 groups"),
        (Op::Shuffle { groups: 0 }, "0 groups"),
        (Op::Dropout { p: 1.0 }, "probability of 1"),
        (Op::StochasticDepth { p: f64::NAN }, "probability of NaN"),
        (
            Op::AdaptiveAveragePool {
                height: 0,
                width: 1,
            },
            "empty",
        ),
    ];
    for (op, expected) in refusals {
        let message = refused(op, 6, 5);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn paths_that_do_not_fit_together_are_refused() {
    let mut graph = graph(4, 8);
    let x = graph.input();
    let half = graph
        .max_pool(
            "half",
            x,
            Pool {
                kernel: 2,
                stride: 2,
                padding: 0,
            },
        )
        .unwrap();
    let slice = graph.add("slice", Op::Slice { start: 0, len: 1 }, &[x]);
    let slice = slice.unwrap();
    let mut refused = |op: Op, inputs: &[Value]| graph.add("join", op, inputs).unwrap_err();
    for (op, inputs, expected) in [
        (Op::Add, [x, half], "4×8×8 and 4×4×4 cannot be added"),
        (Op::Add, [x, slice], "4×8×8 and 1×8×8 cannot be added"),
        (Op::Concat, [x, half], "4×8×8 and 4×4×4 differ"),
        (Op::Gate, [x, half], "4×4×4 cannot gate 4×8×8"),
    ] {
        let message = refused(op, &inputs).to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(
        refused(Op::Concat, &[])
            .to_string()
            .contains("needs an input")
    );
    let joined = graph.add("join", Op::Concat, &[x, slice, x]).unwrap();
    assert_eq!(graph.shape(joined), Shape::new(9, 8, 8));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let mut graph = graph(6, 5);
    let parameter = Kind::Parameter(Init::Constant(0.0));
    let mut tensor = |name: &str, shape: &[usize]| -> TensorId {
        graph.add_tensor(name, shape.to_vec(), parameter).unwrap()
    };
    let (weight, matrix) = (tensor("w", &[4, 3, 1, 1]), tensor("m", &[4, 3]));
    let short = tensor("b", &[3]);
    let convolution = |weight, bias, groups| Op::Convolution {
        weight,
        bias,
        window: Window::square(1),
        groups,
    };
    let x = graph.input();
    assert!(
        graph
            .add("fits", convolution(weight, None, 2), &[x])
            .is_ok()
    );
    let matrix_op = |bias| Op::Linear {
        weight: matrix,
        bias,
    };
    for (op, expected) in [
        (
            convolution(weight, None, 1),
            "does not fit 6 channels in 1 groups",
        ),
        (convolution(weight, None, 0), "0 groups"),
        (convolution(weight, None, 4), "4 groups"),
        (
            convolution(weight, Some(short), 2),
            "bias [3] for 4 outputs",
        ),
        (convolution(matrix, None, 1), "not four-dimensional"),
        (matrix_op(None), "takes a vector of 3, found 6×5×5"),
    ] {
        let message = graph.add("node", op, &[x]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let twice = graph.add_tensor("w", vec![1], parameter).unwrap_err();
    assert_eq!(twice.to_string(), "net: w: two tensors of this name");
}

#[test]
fn no_size_is_too_large_to_be_refused() {
    const MAX: usize = usize::MAX;
    let window = |kernel, stride, padding, dilation, ceil| Window {
        stride: (stride, stride),
        before: (padding, padding),
        after: (padding, padding),
        dilation: (dilation, dilation),
        ceil,
        ..Window::square(kernel)
    };
    let sizes = [0, 1, 2, 3, MAX / 8, MAX / 2, MAX - 1, MAX];
    let mut accepted = 0;
    for kernel in sizes {
        for stride in sizes {
            for padding in sizes {
                for dilation in sizes {
                    for ceil in [false, true] {
                        let op = Op::MaxPool(window(kernel, stride, padding, dilation, ceil));
                        accepted += usize::from(apply(op, 2, 3).is_ok());
                    }
                }
            }
        }
    }
    assert!(accepted > 0);
    for (op, channels, size) in [
        (Op::Activation(Activation::Relu), MAX, 1),
        (Op::Activation(Activation::Relu), 3, MAX),
        (Op::Flatten, 3, MAX / 2),
        (
            Op::AdaptiveAveragePool {
                height: MAX,
                width: 2,
            },
            1,
            1,
        ),
        (
            Op::PadChannels {
                before: MAX,
                after: MAX,
            },
            1,
            1,
        ),
        (
            Op::Slice {
                start: MAX,
                len: MAX,
            },
            1,
            1,
        ),
    ] {
        refused(op, channels, size);
    }
    for size in sizes {
        let mut graph = graph(3, size);
        let x = graph.input();
        for kernel in sizes {
            let _ = graph.convolution("conv", x, &Convolution::new(kernel, kernel));
            let _ = graph.linear("linear", x, kernel, true);
        }
    }
}
