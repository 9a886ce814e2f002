//! Networks that run with the CUDA kernels give what the plain engine gives: on a processor, and on a GPU
//! where there is one.

use candle_core::Device;

use super::super::Engine;
use super::super::kernels::emulator::{self, Order};
use super::operations::{for_batch_norm_and_activations, for_max_pooling};
use super::{
    Readings, SGD, assert_near, between, everything, fill, first_step, network, parts, uniform,
};
use crate::engine::plain::Plain;
use crate::engine::{Optimizer, Part, Precision, Task, Update};
use crate::net::{Auxiliary, Convolution, Graph, Init, Kind, Op, Shape, Value, Window};

/// Where the kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Emulator,
    #[cfg(feature = "cuda")]
    Gpu,
}

impl On {
    fn device(self) -> Device {
        match self {
            On::Emulator => Device::Cpu,
            #[cfg(feature = "cuda")]
            On::Gpu => Device::new_cuda(0).unwrap(),
        }
    }

    /// Runs `work` with kernels.
    fn with<T>(self, order: Order, work: impl FnOnce() -> T) -> T {
        match self {
            On::Emulator => emulator::with(order, work),
            #[cfg(feature = "cuda")]
            On::Gpu => work(),
        }
    }

    /// In f32 a GPU's sums are in an order of its own.
    fn limit(self) -> f64 {
        if self == On::Emulator { 1e-5 } else { 1e-4 }
    }

    /// Compares the engines on a network of [`between`].
    fn check(
        self,
        name: &str,
        input: Shape,
        images: usize,
        build: impl Fn(&mut Graph, Value) -> Value,
    ) {
        self.compare(&between(name, input, build), Task::Classification, images);
    }

    /// Compares one step with kernels, in f64 in either order of their threads and in f32, with the plain
    /// engine's.
    fn compare(self, graph: &Graph, task: Task, images: usize) {
        let step = |order, precision| {
            let engine = Engine::with_task(graph.clone(), task, &self.device(), precision);
            let mut engine = engine.unwrap();
            self.with(order, || first_step(&mut engine, images))
        };
        let plain = Plain::<f64>::with_task(graph.clone(), task);
        let plain = first_step(&mut plain.unwrap(), images);
        let rising = step(Order::Rising, Precision::F64);
        assert_near(graph.name(), &rising, &plain, 1e-10);
        let falling = step(Order::Falling, Precision::F64);
        let name = format!("{}, threads in falling order", graph.name());
        assert_near(&name, &falling, &rising, 0.0);
        let name = format!("{}, f32", graph.name());
        let single = step(Order::Rising, Precision::F32);
        assert_near(&name, &single, &plain, self.limit());
    }
}

/// A depthwise convolution on sizes where loops go wrong.
fn depthwise(on: On) {
    let plain = |channels, kernel| Convolution::new(channels, kernel).groups(channels);
    let cases = [
        (
            "odd sizes",
            Shape::new(21, 4, 5),
            3,
            plain(21, 3).padding(1),
        ),
        ("one image", Shape::new(2, 7, 3), 1, plain(2, 3).padding(1)),
        ("no padding", Shape::new(3, 5, 4), 2, plain(3, 3)),
        (
            "stride 2",
            Shape::new(5, 7, 6),
            2,
            plain(5, 3).stride(2).padding(1),
        ),
        (
            "stride 2, even",
            Shape::new(5, 8, 6),
            2,
            plain(5, 3).stride(2).padding(1),
        ),
        (
            "5 × 5, stride 2",
            Shape::new(17, 6, 9),
            2,
            plain(17, 5).stride(2).padding(2),
        ),
        ("7 × 7", Shape::new(3, 5, 9), 2, plain(3, 7).padding(3)),
        (
            "stride 3, kernel 2",
            Shape::new(4, 8, 5),
            1,
            plain(4, 2).stride(3),
        ),
        ("1 × 1", Shape::new(6, 3, 4), 2, plain(6, 1)),
        (
            "1 × 1, stride 2, padding",
            Shape::new(3, 4, 5),
            2,
            plain(3, 1).stride(2).padding(1),
        ),
        (
            "dilation 2",
            Shape::new(5, 9, 8),
            2,
            plain(5, 3).padding(2).dilation(2),
        ),
        (
            "dilation 3, stride 2",
            Shape::new(4, 9, 8),
            2,
            plain(4, 3).stride(2).padding(3).dilation(3),
        ),
        (
            "more padding than map",
            Shape::new(2, 1, 2),
            2,
            plain(2, 5).padding(3),
        ),
        ("1 × 1 map", Shape::new(3, 1, 1), 2, plain(3, 3).padding(1)),
        (
            "more than a block",
            Shape::new(3, 17, 19),
            2,
            plain(3, 3).padding(1),
        ),
        (
            "bias",
            Shape::new(4, 3, 3),
            2,
            plain(4, 3).padding(1).bias(Init::Constant(0.0)),
        ),
    ];
    for (name, shape, images, layer) in cases {
        on.check(&format!("depthwise, {name}"), shape, images, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
    }
    let window = Window {
        kernel: (2, 4),
        stride: (3, 2),
        before: (1, 0),
        after: (0, 3),
        dilation: (2, 1),
        ceil: false,
    };
    on.check("depthwise, axes", Shape::new(3, 6, 9), 2, |graph, x| {
        let weight = graph.add_tensor(
            "weight",
            vec![3, 1, 2, 4],
            Kind::Parameter(Init::Constant(0.0)),
        );
        let op = Op::Convolution {
            weight: weight.unwrap(),
            bias: None,
            window,
            groups: 3,
        };
        graph.add("layer", op, &[x]).unwrap()
    });
}

/// A label for each pixel, some of which do not count, and more classes than a warp has threads; an
/// auxiliary head.
fn dense_labels(on: On) {
    for classes in [2, 7, 70] {
        let mut graph = Graph::new("dense", Shape::new(2, 3, 7));
        let layer = Convolution::new(classes, 1).bias(Init::Constant(0.0));
        let x = graph.batch_norm("bn", graph.input()).unwrap();
        let main = graph.convolution("classes", x, &layer).unwrap();
        let value = graph.convolution("auxiliary", x, &layer).unwrap();
        graph
            .set_outputs(main, Some(Auxiliary { value, weight: 0.4 }))
            .unwrap();
        on.compare(&graph, Task::DenseLabels { ignored: 255 }, 3);
    }
}

/// Several steps by every optimizer, of tensors of one piece and of more.
fn optimizers(on: On) {
    let mut graph = network();
    let (input, images) = (graph.output(), 4);
    let x = graph.linear("wide", input, 700, true).unwrap();
    graph.linear("classes", x, 7, true).unwrap();
    let engine =
        |device: &Device, precision| Engine::new(graph.clone(), device, precision).unwrap();
    let steps = |order| {
        let mut engine = engine(&on.device(), Precision::F64);
        on.with(order, || everything(&mut engine, images))
    };
    let plain = everything(&mut Plain::<f64>::new(graph.clone()).unwrap(), images);
    let rising = steps(Order::Rising);
    assert_near("optimizers", &rising, &plain, 1e-10);
    assert_near("optimizers, falling", &steps(Order::Falling), &rising, 0.0);
    let composed = everything(&mut engine(&Device::Cpu, Precision::F64), images);
    assert_near("optimizers, composed", &composed, &plain, 1e-10);
    // In f32, which has its own entry points, from gradients that are given.
    let mut single = engine(&on.device(), Precision::F32);
    let single = on.with(Order::Rising, || updates(&mut single));
    let plain = updates(&mut Plain::<f64>::new(graph.clone()).unwrap());
    assert_near("optimizers, f32", &single, &plain, 1e-5);
}

/// All parameters and the optimizer's state after each of some updates by gradients of a rule.
fn updates(engine: &mut dyn crate::engine::Engine) -> Readings {
    let graph = engine.graph().clone();
    fill(engine);
    let mut all = Readings::new();
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        nesterov: false,
    };
    let heavy = Optimizer::Sgd {
        momentum: 0.9,
        nesterov: false,
    };
    let adam = |step| Optimizer::AdamW {
        betas: (0.9, 0.99),
        epsilon: 1e-8,
        step,
    };
    for (step, optimizer) in [plain, heavy, SGD, SGD, adam(0), adam(1)]
        .into_iter()
        .enumerate()
    {
        let when = format!("update {step}");
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            if !spec.is_parameter() {
                continue;
            }
            let gradient = uniform(&format!("{step} {}", spec.name), spec.len());
            engine.write(id, Part::Gradient, &gradient);
            if optimizer == adam(0) {
                engine.write(id, Part::Slot(0), &vec![0.0; spec.len()]);
            }
        }
        let norm = engine.update(&Update {
            optimizer,
            learning_rate: 0.1,
            weight_decay: 5e-2,
            decoder_factor: 3.0,
            spare_vectors: step % 2 == 0,
            clip_norm: (step > 2).then_some(1.5),
        });
        all.push((format!("norm, {when}"), vec![norm / 100.0]));
        for part in [Part::Value, Part::Slot(0), Part::Slot(1), Part::Gradient] {
            parts(engine, &mut all, part, &when);
        }
    }
    all
}

fn everything_that_has_a_kernel(on: On) {
    depthwise(on);
    for_batch_norm_and_activations(|name, shape, images, build| {
        on.check(name, shape, images, build)
    });
    for_max_pooling(|name, shape, images, build| on.check(name, shape, images, build));
    dense_labels(on);
    optimizers(on);
}

#[test]
fn every_kernel_gives_what_the_plain_engine_gives() {
    if !emulator::is_there() {
        return;
    }
    everything_that_has_a_kernel(On::Emulator);
    let launched = emulator::launched();
    for path in emulator::sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for kernel in text.split("\nKERNEL(").skip(1) {
            let name = kernel.split(',').next().unwrap();
            assert!(
                launched.contains(name),
                "{}: {name} has not been run",
                path.display()
            );
        }
    }
}

#[cfg(feature = "cuda")]
#[test]
fn every_kernel_gives_what_the_plain_engine_gives_on_a_gpu() {
    match Device::new_cuda(0) {
        Ok(_) => everything_that_has_a_kernel(On::Gpu),
        Err(err) => crate::skip::skip("CUDA kernels on a GPU", &err.to_string()),
    }
}
