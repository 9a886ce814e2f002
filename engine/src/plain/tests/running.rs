//! What a user of the engine relies on beyond single operations: training, evaluation, updates, averages.

use crate::net::{Activation, Convolution, Graph, Op, Shape};
use crate::plain::Plain;
use crate::{Batch, Engine, Optimizer, Outcome, Part, Task, Training, Update};

fn network() -> Graph {
    let mut graph = Graph::new("small", Shape::new(2, 4, 4));
    let x = graph.input();
    let x = graph
        .convolution("conv", x, &Convolution::new(4, 3))
        .unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.activation("relu", x, Activation::Relu).unwrap();
    let x = graph.add("drop", Op::Dropout { p: 0.5 }, &[x]).unwrap();
    let x = graph.global_average_pool("pool", x).unwrap();
    graph.linear("fc", x, 7, true).unwrap();
    graph
}

fn engine() -> Plain<f32> {
    let mut engine = Plain::new(network()).unwrap();
    let graph = network();
    for (at, spec) in graph.tensors().iter().enumerate() {
        let values = crate::uniform::uniform(&spec.name, spec.len());
        let values: Vec<f64> = values.iter().map(|x| x.abs()).collect();
        engine.write(crate::net::TensorId(at), Part::Value, &values);
    }
    engine
}

fn images(count: usize) -> (Vec<f32>, Vec<u32>) {
    let images = crate::uniform::uniform("images", count * 32);
    let images = images.iter().map(|x| *x as f32).collect();
    (images, (0..count as u32).map(|at| at % 7).collect())
}

fn all(engine: &Plain<f32>, part: Part) -> Vec<Vec<f64>> {
    let tensors = 0..engine.graph().tensors().len();
    tensors
        .map(|at| {
            let mut values = Vec::new();
            engine.read(crate::net::TensorId(at), part, &mut values);
            values
        })
        .collect()
}

const SGD: Update = Update {
    optimizer: Optimizer::Sgd {
        momentum: 0.9,
        nesterov: true,
    },
    learning_rate: 0.1,
    weight_decay: 5e-4,
    decoder_factor: 1.0,
    spare_vectors: false,
    clip_norm: None,
};

#[test]
fn evaluation_changes_nothing_and_does_not_depend_on_the_batch() {
    let (images, labels) = images(6);
    let mut engine = engine();
    let before = all(&engine, Part::Value);
    let whole = engine
        .evaluate(&Batch {
            images: &images,
            labels: &labels,
        })
        .unwrap();
    let mut output = Vec::new();
    engine.output(&mut output);
    let mut single = Vec::new();
    let mut loss = 0.0;
    for image in 0..6 {
        let batch = Batch {
            images: &images[image * 32..][..32],
            labels: &labels[image..=image],
        };
        loss += engine.evaluate(&batch).unwrap().loss / 6.0;
        engine.output(&mut single);
        assert_eq!(single, output[image * 7..][..7]);
    }
    assert!((loss - whole.loss).abs() < 1e-12);
    assert_eq!(before, all(&engine, Part::Value));
}

#[test]
fn two_halves_weighted_by_half_gather_the_gradient_of_the_mean() {
    let (images, labels) = images(4);
    let mut engine = engine();
    for half in 0..2 {
        let batch = Batch {
            images: &images[half * 64..][..64],
            labels: &labels[half * 2..][..2],
        };
        let training = Training {
            weight: 0.5,
            ..Training::default()
        };
        engine.differentiate(&batch, &training).unwrap();
    }
    let gathered = all(&engine, Part::Gradient);
    assert!(gathered.iter().flatten().any(|g| *g != 0.0));
    let mut sum = vec![Vec::new(); gathered.len()];
    for half in 0..2 {
        let mut engine = self::engine();
        let batch = Batch {
            images: &images[half * 64..][..64],
            labels: &labels[half * 2..][..2],
        };
        engine.differentiate(&batch, &Training::default()).unwrap();
        for (sum, one) in sum.iter_mut().zip(all(&engine, Part::Gradient)) {
            sum.resize(one.len(), 0.0);
            for (sum, one) in sum.iter_mut().zip(one) {
                *sum += one / 2.0;
            }
        }
    }
    for (a, b) in sum.iter().flatten().zip(gathered.iter().flatten()) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn recalibration_moves_the_running_statistics_as_training_does_and_nothing_else() {
    let (images, labels) = images(4);
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let (mut trained, mut measured) = (engine(), engine());
    trained.differentiate(&batch, &Training::default()).unwrap();
    measured.recalibrate(&batch, 0.1, 0).unwrap();
    assert_eq!(all(&trained, Part::Value), all(&measured, Part::Value));
    assert!(
        all(&measured, Part::Gradient)
            .iter()
            .flatten()
            .all(|g| *g == 0.0)
    );
    assert_ne!(all(&measured, Part::Value), all(&engine(), Part::Value));
}

#[test]
fn a_gradient_is_clipped_to_the_norm_asked_for() {
    let (images, labels) = images(4);
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        nesterov: false,
    };
    let mut engine = engine();
    engine.differentiate(&batch, &Training::default()).unwrap();
    let before = all(&engine, Part::Value);
    let norm = engine.update(&Update {
        optimizer: plain,
        learning_rate: 1.0,
        weight_decay: 0.0,
        clip_norm: Some(0.01),
        ..SGD
    });
    assert!(norm > 0.01);
    let after = all(&engine, Part::Value);
    let change = before.iter().flatten().zip(after.iter().flatten());
    let change: f64 = change.map(|(a, b)| (a - b).powi(2)).sum();
    assert!((change.sqrt() - 0.01).abs() < 1e-5, "{}", change.sqrt());
}

#[test]
fn one_dimensional_parameters_are_spared_decay_when_asked() {
    let mut engine = engine();
    let before = all(&engine, Part::Value);
    engine.update(&Update {
        decoder_factor: 1.0,
        spare_vectors: true,
        ..SGD
    });
    for ((before, after), spec) in before
        .iter()
        .zip(all(&engine, Part::Value))
        .zip(network().tensors())
    {
        let decays = spec.is_parameter() && spec.shape.len() > 1;
        assert_eq!(*before != after, decays, "{}", spec.name);
    }
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let (images, labels) = images(4);
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let step = |engine: &mut Plain<f32>, seed| {
        let training = Training {
            seed,
            ..Training::default()
        };
        engine.differentiate(&batch, &training).unwrap();
        engine.update(&SGD);
    };
    let mut through = engine();
    (0..4).for_each(|seed| step(&mut through, seed));
    let mut first = engine();
    (0..2).for_each(|seed| step(&mut first, seed));
    let mut second = Plain::new(network()).unwrap();
    for part in [Part::Value, Part::Slot(0)] {
        for (at, values) in all(&first, part).iter().enumerate() {
            if !values.is_empty() {
                second.write(crate::net::TensorId(at), part, values);
            }
        }
    }
    (2..4).for_each(|seed| step(&mut second, seed));
    assert_eq!(all(&through, Part::Value), all(&second, Part::Value));
}

/// Of two images, of classes 0 and 1 of 3.
fn loss(logits: &[f64], smoothing: f64) -> Outcome {
    let output = Shape::new(3, 1, 1);
    crate::loss::cross_entropy(
        Task::Classification,
        output,
        &[0, 1],
        logits,
        smoothing,
        None,
    )
}

#[test]
fn label_smoothing_is_that_of_pytorch() {
    // torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 3.], [0.5, 0., -1.]]),
    //                                   torch.tensor([0, 1]), label_smoothing=0.1)
    let logits = [1.0, 2.0, 3.0, 0.5, 0.0, -1.0];
    let outcome = loss(&logits, 0.1);
    assert!((outcome.loss - LOSS).abs() < 1e-12, "{}", outcome.loss);
    assert_eq!((outcome.top1, outcome.top5), (0, 2));
}

const LOSS: f64 = 1.714_201_618_223_888;

#[test]
fn a_network_gone_nan_is_right_about_nothing() {
    let logits = [f64::NAN; 6];
    let outcome = loss(&logits, 0.0);
    assert!(outcome.loss.is_nan());
    assert_eq!((outcome.top1, outcome.top5), (0, 0));
}

#[test]
fn wrong_batches_are_refused_with_what_was_expected() {
    let mut engine = engine();
    let mut refused = |images: &[f32], labels: &[u32]| {
        let err = engine.evaluate(&Batch { images, labels }).unwrap_err();
        err.to_string()
    };
    let message = refused(&[0.0; 31], &[0]);
    assert_eq!(
        message,
        "small: input: 1 images of 2×4×4 are not 31 numbers"
    );
    let message = refused(&[0.0; 32], &[7]);
    assert_eq!(message, "small: fc: label 7 is none of 7 classes");
    refused(&[], &[]);
}

#[test]
fn batch_norm_of_one_number_is_refused_as_in_pytorch() {
    let mut graph = Graph::new("one", Shape::new(3, 1, 1));
    let x = graph.batch_norm("bn", graph.input()).unwrap();
    graph.linear("fc", x, 2, false).unwrap();
    let mut engine = Plain::<f32>::new(graph).unwrap();
    let batch = Batch {
        images: &[0.0; 3],
        labels: &[1],
    };
    engine.evaluate(&batch).unwrap();
    let err = engine.differentiate(&batch, &Training::default());
    let message = err.unwrap_err().to_string();
    assert!(
        message.starts_with(
            "one: bn: expected more than 1 value per channel when training, got input size [1, 3, 1, 1]"
        ),
        "{message}"
    );
}

#[test]
fn adam_is_that_of_pytorch() {
    // p = torch.tensor([1., -2.]); AdamW(lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01),
    // three updates with the gradient [0.5, -3.].
    let mut graph = Graph::new("adam", Shape::new(1, 1, 1));
    graph.linear("fc", graph.input(), 2, false).unwrap();
    let mut engine = Plain::<f64>::new(graph).unwrap();
    let weight = crate::net::TensorId(0);
    engine.write(weight, Part::Value, &[1.0, -2.0]);
    for step in 0..3 {
        engine.write(weight, Part::Gradient, &[0.5, -3.0]);
        engine.update(&Update {
            optimizer: Optimizer::AdamW {
                betas: (0.9, 0.99),
                epsilon: 1e-8,
                step,
            },
            learning_rate: 0.1,
            weight_decay: 0.01,
            decoder_factor: 1.0,
            spare_vectors: false,
            clip_norm: None,
        });
    }
    let mut values = Vec::new();
    engine.read(weight, Part::Value, &mut values);
    for (found, expected) in values.iter().zip(ADAM) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

const ADAM: [f64; 2] = [0.697_302_904_994_004, -1.694_305_898_999_000_5];
