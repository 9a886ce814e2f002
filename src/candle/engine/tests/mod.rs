//! Every operation gives what the plain engine gives in f64.

mod kernels;
mod operations;
mod special;

use candle_core::{DType, Device};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, Uniform};

use super::Engine;
use crate::engine::plain::Plain;
use crate::engine::{
    Batch, Engine as _, Optimizer, Outcome, Part, Precision, Task, Training, Update,
};
use crate::net::{Activation, Auxiliary, Convolution, Graph, Init, Kind, Op, Shape, Value, zoo};

/// Numbers in [−√3, √3) that follow from a name.
fn uniform(name: &str, len: usize) -> Vec<f64> {
    let seed = name.bytes().fold(7_u64, |seed, byte| {
        seed.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte)
    });
    let uniform = Uniform::new(-(3_f64.sqrt()), 3_f64.sqrt()).unwrap();
    let draws = uniform.sample_iter(ChaCha8Rng::seed_from_u64(seed));
    draws.take(len).collect()
}

fn fill(engine: &mut dyn crate::engine::Engine) {
    let graph = engine.graph().clone();
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        let values = uniform(&spec.name, spec.len());
        let fan_in: usize = spec.shape.iter().skip(1).product();
        let values: Vec<f64> = match spec.kind {
            Kind::RunningVariance | Kind::RunningScale => {
                values.iter().map(|x| x.abs() + 0.5).collect()
            }
            Kind::BatchCount => vec![3.0],
            _ => values
                .iter()
                .map(|x| x / (fan_in.max(1) as f64).sqrt())
                .collect(),
        };
        engine.write(id, Part::Value, &values);
    }
}

const SGD: Optimizer = Optimizer::Sgd {
    momentum: 0.9,
    nesterov: true,
};

/// A batch for a network: images and labels.
fn batch(engine: &dyn crate::engine::Engine, images: usize) -> (Vec<f32>, Vec<u32>) {
    let graph = engine.graph();
    let input = uniform("input", images * graph.input_shape().len());
    let classes = graph.output_shape().channels as u32;
    let labels = images * engine.task().labels(graph.output_shape());
    let labels = (0..labels as u32).map(|at| match engine.task() {
        Task::DenseLabels { ignored } if at % 4 == 3 => ignored,
        _ => at * 3 % classes,
    });
    (input.iter().map(|x| *x as f32).collect(), labels.collect())
}

/// What was read, and of what.
type Readings = Vec<(String, Vec<f64>)>;

fn parts(engine: &dyn crate::engine::Engine, all: &mut Readings, part: Part, when: &str) {
    let graph = engine.graph();
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        let mut values = Vec::new();
        engine.read(id, part, &mut values);
        all.push((format!("{part:?} of {}, {when}", spec.name), values));
    }
}

fn said(engine: &dyn crate::engine::Engine, all: &mut Readings, outcome: Outcome, when: &str) {
    let Outcome {
        loss,
        top1,
        top5,
        images,
        labels,
    } = outcome;
    let counts = [top1, top5, images, labels].map(|count| count as f64);
    all.push((format!("outcome, {when}"), [&[loss][..], &counts].concat()));
    let mut values = Vec::new();
    engine.output(&mut values);
    all.push((format!("output, {when}"), values));
    let mut predictions = Vec::new();
    engine.predictions(&mut predictions);
    let predictions = predictions.iter().map(|class| *class as f64).collect();
    all.push((format!("predictions, {when}"), predictions));
}

/// All that can be read of one batch in evaluation and one in training, with no update.
fn first_step(engine: &mut dyn crate::engine::Engine, images: usize) -> Readings {
    fill(engine);
    let (images, labels) = batch(engine, images);
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let mut all = Vec::new();
    let outcome = engine.evaluate(&batch).unwrap();
    said(engine, &mut all, outcome, "evaluated");
    let outcome = engine.differentiate(&batch, &Training::default()).unwrap();
    said(engine, &mut all, outcome, "trained");
    parts(engine, &mut all, Part::Gradient, "trained");
    parts(engine, &mut all, Part::Value, "trained");
    all
}

/// All that can be read of two steps by each optimizer, evaluation between them, and an average.
fn everything(engine: &mut dyn crate::engine::Engine, images: usize) -> Readings {
    let graph = engine.graph().clone();
    fill(engine);
    let (input, labels) = batch(engine, images);
    let batch = Batch {
        images: &input,
        labels: &labels,
    };
    let mut all = Readings::new();
    let adam = |step| Optimizer::AdamW {
        betas: (0.9, 0.99),
        epsilon: 1e-8,
        step,
    };
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        nesterov: false,
    };
    engine.begin_average();
    for (step, optimizer) in [plain, SGD, SGD, adam(0), adam(1)].into_iter().enumerate() {
        let when = format!("step {step}");
        if optimizer == adam(0) {
            // AdamW begins with averages of its own.
            for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
                if spec.is_parameter() {
                    engine.write(id, Part::Slot(0), &vec![0.0; spec.len()]);
                }
            }
        }
        let outcome = engine.evaluate(&batch).unwrap();
        said(engine, &mut all, outcome, &format!("evaluated, {when}"));
        let training = Training {
            seed: step as u64,
            label_smoothing: 0.1,
            weight: 0.5,
        };
        let outcome = engine.differentiate(&batch, &training).unwrap();
        said(engine, &mut all, outcome, &when);
        parts(engine, &mut all, Part::Gradient, &when);
        let outcome = engine.recalibrate(&batch, 0.25, 9).unwrap();
        said(engine, &mut all, outcome, &format!("recalibrated, {when}"));
        let norm = engine.update(&Update {
            optimizer,
            learning_rate: 0.01,
            weight_decay: 5e-4,
            decoder_factor: 3.0,
            spare_vectors: step % 2 == 0,
            clip_norm: (step > 0).then_some(0.5),
        });
        engine.follow_average(0.75);
        all.push((format!("norm, {when}"), vec![norm]));
        for part in [Part::Value, Part::Slot(0), Part::Slot(1), Part::Average] {
            parts(engine, &mut all, part, &when);
        }
    }
    engine.exchange_average();
    let outcome = engine.evaluate(&batch).unwrap();
    said(engine, &mut all, outcome, "averaged");
    all
}

/// Compares the engines on a network, in f64.
fn compare(graph: &Graph, task: Task, images: usize) {
    let device = Device::Cpu;
    let found = Engine::with_task(graph.clone(), task, &device, Precision::F64);
    let found = everything(&mut found.unwrap(), images);
    let expected = Plain::<f64>::with_task(graph.clone(), task);
    let expected = everything(&mut expected.unwrap(), images);
    assert_near(graph.name(), &found, &expected, 1e-10);
}

fn assert_near(
    name: &str,
    found: &[(String, Vec<f64>)],
    expected: &[(String, Vec<f64>)],
    limit: f64,
) {
    for ((what, found), (_, expected)) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{name}: {what}");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= limit * expected.abs().max(1.0),
                "{name}: {what}, {at}: {found}, plain {expected}"
            );
        }
    }
}

#[test]
fn another_image_size_is_that_of_a_network_built_for_it() {
    let name = "mobilenetv2dilated-c1_deepsup";
    let build = |resolution: &str| {
        let options = zoo::Options {
            classes: 5,
            resolution: resolution.parse().unwrap(),
            ..zoo::defaults(name).unwrap()
        };
        zoo::build(name, &options).unwrap()
    };
    let task = Task::DenseLabels { ignored: 255 };
    let new = |graph| Engine::with_task(graph, task, &Device::Cpu, Precision::F64).unwrap();
    let mut engine = new(build("16"));
    let batch = Batch {
        images: &[0.5; 3 * 16 * 16],
        labels: &[1; 4],
    };
    engine.evaluate(&batch).unwrap();
    let size = "24x16".parse().unwrap();
    engine.reshape(size).unwrap();
    let found = everything(&mut engine, 2);
    assert_near(name, &found, &everything(&mut new(build("24x16")), 2), 0.0);
}

/// Compares the engines on a network of `build` between a convolution and a linear layer.
fn check(name: &str, input: Shape, images: usize, build: impl Fn(&mut Graph, Value) -> Value) {
    compare(&between(name, input, build), Task::Classification, images);
}

/// What `build` adds between a convolution and a linear layer.
fn between(name: &str, input: Shape, build: impl Fn(&mut Graph, Value) -> Value) -> Graph {
    let mut graph = Graph::new(name, input);
    let before = Convolution::new(input.channels, 1).bias(Init::Constant(0.0));
    let x = graph.convolution("before", graph.input(), &before).unwrap();
    let x = build(&mut graph, x);
    let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
    graph.linear("after", x, 7, true).unwrap();
    graph
}

/// A network with dropout, as a run trains it.
fn network() -> Graph {
    let mut graph = Graph::new("small", Shape::new(2, 6, 5));
    let layer = Convolution::new(4, 3).padding(1);
    let x = graph.convolution("conv", graph.input(), &layer).unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.activation("act", x, Activation::Silu).unwrap();
    let x = graph.global_average_pool("pool", x).unwrap();
    let x = graph.add("drop", Op::Dropout { p: 0.3 }, &[x]).unwrap();
    graph.linear("fc", x, 7, true).unwrap();
    graph
}

#[test]
fn a_label_for_each_pixel_is_learned_as_by_the_plain_engine() {
    let mut graph = Graph::new("dense", Shape::new(2, 5, 7));
    let layer = Convolution::new(6, 3).stride(2).padding(1);
    let x = graph.convolution("conv", graph.input(), &layer).unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.activation("act", x, Activation::Relu).unwrap();
    let layer = Convolution::new(7, 1).bias(Init::Constant(0.0));
    let main = graph.convolution("classes", x, &layer).unwrap();
    compare(&graph, Task::DenseLabels { ignored: 255 }, 3);
    // And an auxiliary head, behind it.
    let value = graph.convolution("auxiliary", x, &layer).unwrap();
    let auxiliary = Auxiliary { value, weight: 0.4 };
    graph.set_outputs(main, Some(auxiliary)).unwrap();
    compare(&graph, Task::DenseLabels { ignored: 255 }, 3);
}

#[test]
fn f32_is_near_f64() {
    let engine = |precision| {
        let mut engine = Engine::new(network(), &Device::Cpu, precision).unwrap();
        everything(&mut engine, 6)
    };
    let (single, double) = (engine(Precision::F32), engine(Precision::F64));
    assert_near("f32", &single, &double, 2e-4);
    assert_ne!(single, double);
}

#[test]
fn variables_have_state_dict_names_and_are_the_engines_own() {
    let mut engine = Engine::new(network(), &Device::Cpu, Precision::F32).unwrap();
    fill(&mut engine);
    let vars = engine.var_map().clone();
    let mut names: Vec<String> = vars.data().lock().unwrap().keys().cloned().collect();
    names.sort_unstable();
    let mut expected: Vec<String> = network().tensors().iter().map(|t| t.name.clone()).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let count = vars.data().lock().unwrap()["bn.num_batches_tracked"].clone();
    assert_eq!(
        (count.dtype(), count.to_scalar::<i64>().unwrap()),
        (DType::I64, 3)
    );

    let gamma = vars.data().lock().unwrap()["bn.weight"].clone();
    gamma
        .set(&gamma.as_detached_tensor().zeros_like().unwrap())
        .unwrap();
    let layer = engine.graph().norms()[0].gamma;
    let mut values = Vec::new();
    engine.read(layer, Part::Value, &mut values);
    assert_eq!(values, [0.0; 4]);
}

#[test]
fn a_batch_that_does_not_fit_is_refused_as_by_every_engine() {
    let mut engine = Engine::new(network(), &Device::Cpu, Precision::F32).unwrap();
    let mut refused = |images: &[f32], labels: &[u32]| {
        let err = engine.evaluate(&Batch { images, labels }).unwrap_err();
        err.to_string()
    };
    assert_eq!(
        refused(&[0.0; 31], &[0]),
        "small: input: 1 images of 2×6×5 are not 31 numbers"
    );
    assert_eq!(
        refused(&[0.0; 60], &[7]),
        "small: fc: label 7 is none of 7 classes"
    );
    let mut graph = Graph::new("map", Shape::new(2, 3, 3));
    graph
        .convolution("conv", graph.input(), &Convolution::new(2, 1))
        .unwrap();
    let err = Engine::new(graph, &Device::Cpu, Precision::F32)
        .err()
        .unwrap();
    assert!(err.to_string().starts_with("map: conv: "), "{err}");
}
