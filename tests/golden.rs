//! The networks of the zoo beside PyTorch's: outputs, losses, gradients, running statistics and updates
//! (fixtures/golden, by generate.py and generate_more.py there), in f64 and in f32.
#![cfg(feature = "train")]

mod common;

use std::collections::BTreeMap;

use ckpt_regen::candle;
use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::engine::plain::Plain;
use ckpt_regen::engine::{Batch, Engine, Optimizer, Part, Precision, Task, Training, Update};
use ckpt_regen::net::{Graph, Kind, Op, Resolution, TensorId, zoo};
use common::{golden_network, is_thorough};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Golden {
    model: String,
    batch: usize,
    #[serde(flatten)]
    resolution: Side,
    classes: usize,
    eval: Run,
    train: Train,
    sgd: Option<Sgd>,
    steps: Option<Steps>,
    torch_f32_error: Gaps,
    /// Shapes of the state dict, of files by generate_more.py.
    tensors: Option<BTreeMap<String, Vec<usize>>>,
    parameters: Option<u64>,
}

/// Of the images, as generate.py and generate_more.py write it.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Side {
    Square { resolution: usize },
    Other { height: usize, width: usize },
}

impl From<Side> for Resolution {
    fn from(side: Side) -> Resolution {
        match side {
            Side::Square { resolution } => resolution.into(),
            Side::Other { height, width } => Resolution { height, width },
        }
    }
}

#[derive(Deserialize)]
struct Run {
    logits: Summary,
    /// Logits of the auxiliary head.
    auxiliary: Option<Summary>,
    loss: f64,
    /// Of the labels that count.
    correct: Option<usize>,
}

#[derive(Deserialize)]
struct Train {
    logits: Summary,
    loss: f64,
    grads: BTreeMap<String, Summary>,
    running: BTreeMap<String, Summary>,
}

#[derive(Deserialize)]
struct Sgd {
    lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    updates: usize,
    change: BTreeMap<String, Summary>,
}

#[derive(Deserialize)]
struct Steps {
    lr: f64,
    losses: Vec<f64>,
}

impl Sgd {
    fn update(&self, learning_rate: f64) -> Update {
        Update {
            optimizer: Optimizer::Sgd {
                momentum: self.momentum,
                nesterov: self.nesterov,
            },
            learning_rate,
            weight_decay: self.weight_decay,
            decoder_factor: 1.0,
            spare_vectors: false,
            clip_norm: None,
        }
    }
}

/// Largest relative differences, by part.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default)]
struct Gaps {
    eval: f64,
    train_logits: f64,
    grads: f64,
    running: f64,
    step_losses: f64,
    sgd_change: f64,
}

#[derive(Deserialize)]
struct Summary {
    l2: f64,
    /// A random projection: an error anywhere in the tensor shows in it.
    dot: f64,
    head: Vec<f64>,
}

impl Summary {
    /// Of the tensor `name`.
    fn of(name: &str, values: &[f64]) -> Summary {
        let mut draws = Draws::new(&format!("{name}.probe"));
        let probed = values.iter().map(|x| x * (2.0 * draws.unit() - 1.0));
        Summary {
            l2: values.iter().map(|x| x * x).sum::<f64>().sqrt(),
            dot: probed.sum(),
            head: values.iter().copied().take(4).collect(),
        }
    }

    /// The largest difference, relative to the norm or to `floor`, as generate.py's `gap` has it; `probed`, or
    /// without what the projection shows.
    fn gap(&self, found: &Summary, floor: f64, probed: bool) -> f64 {
        assert_eq!(self.head.len(), found.head.len());
        let heads = self
            .head
            .iter()
            .zip(&found.head)
            .map(|(a, b)| (a - b).abs());
        let dot = if probed { self.dot - found.dot } else { 0.0 };
        let worst = heads.fold((self.l2 - found.l2).abs().max(dot.abs()), f64::max);
        let gap = worst / self.l2.max(floor).max(1e-300);
        if gap.is_nan() { f64::INFINITY } else { gap }
    }
}

/// The largest gap over many tensors; all of them must be there.
fn gap(
    expected: &BTreeMap<String, Summary>,
    found: &BTreeMap<String, Summary>,
    probed: bool,
) -> f64 {
    let names = |map: &BTreeMap<String, Summary>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found));
    let floor = 1e-3
        * expected
            .values()
            .map(|summary| summary.l2)
            .fold(0.0, f64::max);
    let gaps = expected
        .iter()
        .map(|(name, summary)| summary.gap(&found[name], floor, probed));
    gaps.fold(0.0, f64::max)
}

fn relative(expected: f64, found: f64) -> f64 {
    (expected - found).abs() / expected.abs().max(1e-12)
}

/// A sequence that follows from a name (generate.py, "Fill rule").
struct Draws(u64);

impl Draws {
    fn new(name: &str) -> Draws {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        Draws(name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) >> 40
    }

    /// The next draw, in [0, 1).
    fn unit(&mut self) -> f64 {
        self.next() as f64 / f64::from(1 << 24)
    }

    /// Numbers that `of` makes of a draw in [0, 1), rounded to f32.
    fn values(name: &str, len: usize, of: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut draws = Draws::new(name);
        (0..len)
            .map(|_| f64::from(of(draws.unit()) as f32))
            .collect()
    }
}

/// The values of every tensor by the fill rule.
fn fill(graph: &Graph) -> Vec<Vec<f64>> {
    let mut norms = vec![false; graph.tensors().len()];
    for node in graph.nodes() {
        match &node.op {
            Op::BatchNorm { gamma, .. } => norms[gamma.index()] = true,
            Op::IterNorm(layer) => norms[layer.gamma.index()] = true,
            Op::ChannelEquilibrium(layer) => norms[layer.weight.index()] = true,
            _ => {}
        }
    }
    let fill = |(spec, norm): (&ckpt_regen::net::TensorSpec, bool)| {
        let fan_in: usize = spec.shape.iter().skip(1).product();
        let values = |of: &dyn Fn(f64) -> f64| Draws::values(&spec.name, spec.len(), of);
        match spec.kind {
            Kind::BatchCount => vec![0.0],
            Kind::RunningMean => values(&|u| (u - 0.5) * 0.2),
            Kind::RunningVariance | Kind::RunningScale => values(&|u| 0.5 + u),
            Kind::RunningMatrix => spec.initial_statistic().unwrap(),
            Kind::Parameter(_) | Kind::Affine(_) if norm => values(&|u| 0.5 + u),
            Kind::Parameter(_) if spec.shape.is_empty() => values(&|_| 0.3),
            Kind::Parameter(_) | Kind::Affine(_) if spec.is_vector() => {
                values(&|u| (u - 0.5) * 0.2)
            }
            Kind::Parameter(_) | Kind::Affine(_) => {
                let bound = (6.0 / fan_in as f64).sqrt();
                values(&|u| (2.0 * u - 1.0) * bound)
            }
        }
    };
    graph.tensors().iter().zip(norms).map(fill).collect()
}

fn reset(engine: &mut dyn Engine, ids: &[TensorId], values: &[Vec<f64>]) {
    for (id, values) in ids.iter().zip(values) {
        engine.write(*id, Part::Value, values);
        if engine.graph().tensor(*id).is_parameter() {
            engine.write(*id, Part::Gradient, &vec![0.0; values.len()]);
            engine.write(*id, Part::Slot(0), &vec![0.0; values.len()]);
        }
    }
}

/// The network of a golden file, without dropout.
fn network(golden: &Golden) -> Graph {
    let (name, stem, norm) = golden_network(&golden.model);
    let options = zoo::Options {
        classes: golden.classes,
        resolution: golden.resolution.into(),
        stem,
        width: 1.0,
        norm,
    };
    zoo::build(name, &options).unwrap().without_noise()
}

/// The label that does not count, -1 in generate_more.py.
const IGNORED: u32 = u32::MAX;

/// What a network learns: a class for each image, or for each pixel of its output.
fn task(graph: &Graph) -> Task {
    match graph.output_shape().pixels() {
        1 => Task::Classification,
        _ => Task::DenseLabels { ignored: IGNORED },
    }
}

/// The labels of a batch.
fn labels(golden: &Golden, graph: &Graph) -> Vec<u32> {
    let mut draws = Draws::new("labels");
    let classes = golden.classes as u64;
    let mut draw = || match task(graph) {
        Task::DenseLabels { ignored } => match draws.next() % (classes + 1) {
            0 => ignored,
            label => label as u32 - 1,
        },
        _ => (draws.next() % classes) as u32,
    };
    let each = task(graph).labels(graph.output_shape());
    (0..golden.batch * each).map(|_| draw()).collect()
}

/// How far numbers are moved, in roundings of f32, and which of three draws, by the name of their
/// tensor, says which way.
#[derive(Clone, Copy)]
struct Nudge {
    roundings: u32,
    draw: u32,
}

impl Nudge {
    fn signs(self, name: &str) -> impl Iterator<Item = f64> {
        let mut draws = Draws::new(&format!("{name}.nudge.{}", self.draw));
        std::iter::from_fn(move || Some(if draws.unit() < 0.5 { -1.0 } else { 1.0 }))
    }

    /// Half of a unit in the last place, which is what rounding a number to f32 can move it by.
    fn weights(self, name: &str, values: &mut [f64]) {
        for (value, sign) in values.iter_mut().zip(self.signs(name)) {
            *value *= 1.0 + sign * f64::from(self.roundings) * 2_f64.powi(-24);
        }
    }

    /// Images are f32, so that the least move is a unit.
    fn images(self, values: &mut [f32]) {
        for (value, sign) in values.iter_mut().zip(self.signs("input")) {
            for _ in 0..self.roundings {
                *value = if sign < 0.0 {
                    value.next_down()
                } else {
                    value.next_up()
                };
            }
        }
    }
}

/// How far each part of what a golden file holds is from it.
struct Off {
    gaps: Gaps,
    /// Without what the random projections show.
    unprobed: Gaps,
}

/// Runs everything that a golden file holds; the losses of the single runs count with their logits.
fn run(golden: &Golden, new: impl Fn(Graph, Task) -> Box<dyn Engine>, nudge: Option<Nudge>) -> Off {
    let graph = network(golden);
    let ids: Vec<TensorId> = graph.tensor_ids().collect();
    let mut start = fill(&graph);
    for (values, spec) in start.iter_mut().zip(graph.tensors()) {
        if let (Some(nudge), false) = (nudge, spec.kind == Kind::BatchCount) {
            nudge.weights(&spec.name, values);
        }
    }
    let mut engine = new(graph.clone(), task(&graph));
    let engine = &mut *engine;
    reset(engine, &ids, &start);

    let len = golden.batch * graph.input_shape().len();
    let images = Draws::values("input", len, |u| (2.0 * u - 1.0) * 3_f64.sqrt());
    let mut images: Vec<f32> = images.iter().map(|x| *x as f32).collect();
    if let Some(nudge) = nudge {
        nudge.images(&mut images);
    }
    let labels = labels(golden, &graph);
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let training = Training::default();
    let mut values = Vec::new();
    let mut output = |engine: &dyn Engine, name: &str| {
        engine.output(&mut values);
        Summary::of(name, &values)
    };

    let auxiliary = graph.auxiliary().map(|auxiliary| {
        let mut graph = graph.clone();
        graph.set_outputs(auxiliary.value, None).unwrap();
        let mut engine = new(graph, task(engine.graph()));
        reset(&mut *engine, &ids, &start);
        engine.evaluate(&batch).unwrap();
        output(&*engine, "auxiliary")
    });
    let evaluated = engine.evaluate(&batch).unwrap();
    let eval_logits = output(engine, "logits");
    let outcome = engine.differentiate(&batch, &training).unwrap();
    let train_logits = output(engine, "logits");
    let (eval, train) = (&golden.eval, &golden.train);
    let read = |engine: &dyn Engine, part, wanted: &dyn Fn(&Kind) -> bool| {
        let tensors = ids.iter().filter(|id| wanted(&graph.tensor(**id).kind));
        let summary = tensors.map(|id| {
            let mut values = Vec::new();
            engine.read(*id, part, &mut values);
            (graph.tensor(*id).name.clone(), values)
        });
        summary.collect::<BTreeMap<_, _>>()
    };
    let summaries = |values: &BTreeMap<String, Vec<f64>>| {
        let each = values
            .iter()
            .map(|(name, values)| (name.clone(), Summary::of(name, values)));
        each.collect::<BTreeMap<_, _>>()
    };
    let parameter = |kind: &Kind| kind.init().is_some();
    let statistic = |kind: &Kind| kind.init().is_none() && *kind != Kind::BatchCount;
    let gradients = read(engine, Part::Gradient, &parameter);
    let running = read(engine, Part::Value, &statistic);

    let write_gradients = |engine: &mut dyn Engine| {
        for id in &ids {
            if let Some(gradient) = gradients.get(&graph.tensor(*id).name) {
                engine.write(*id, Part::Gradient, gradient);
            }
        }
    };
    let change = golden.sgd.as_ref().map(|sgd| {
        for _ in 0..sgd.updates {
            write_gradients(engine);
            engine.update(&sgd.update(sgd.lr));
        }
        let mut change = read(engine, Part::Value, &parameter);
        for (id, start) in ids.iter().zip(&start) {
            if let Some(change) = change.get_mut(&graph.tensor(*id).name) {
                change
                    .iter_mut()
                    .zip(start)
                    .for_each(|(now, start)| *now -= start);
            }
        }
        (summaries(&change), &sgd.change)
    });
    let step_losses = match (&golden.steps, &golden.sgd) {
        (Some(steps), Some(sgd)) => {
            // The first step starts where the run above did.
            reset(engine, &ids, &start);
            write_gradients(engine);
            let update = sgd.update(steps.lr);
            engine.update(&update);
            let [first, later @ ..] = &steps.losses[..] else {
                panic!("no losses of steps");
            };
            let first = relative(*first, outcome.loss);
            let losses = later.iter().map(|expected| {
                let outcome = engine.differentiate(&batch, &training).unwrap();
                engine.update(&update);
                relative(*expected, outcome.loss)
            });
            losses.fold(first, f64::max)
        }
        _ => 0.0,
    };
    let (gradients, running) = (summaries(&gradients), summaries(&running));
    if let Some(correct) = eval.correct
        && nudge.is_none()
    {
        assert_eq!(evaluated.top1, correct, "{}", golden.model);
    }
    assert_eq!(auxiliary.is_some(), eval.auxiliary.is_some());
    let gaps = |probed| {
        let of_logits = |expected: &Summary, found| expected.gap(found, 0.0, probed);
        let pairs = eval.auxiliary.iter().zip(&auxiliary);
        let auxiliary = pairs.map(|(expected, found)| of_logits(expected, found));
        Gaps {
            eval: of_logits(&eval.logits, &eval_logits)
                .max(relative(eval.loss, evaluated.loss))
                .max(auxiliary.fold(0.0, f64::max)),
            train_logits: of_logits(&train.logits, &train_logits)
                .max(relative(train.loss, outcome.loss)),
            grads: gap(&train.grads, &gradients, probed),
            running: gap(&train.running, &running, probed),
            step_losses,
            sgd_change: change
                .as_ref()
                .map_or(0.0, |(found, expected)| gap(expected, found, probed)),
        }
    };
    Off {
        gaps: gaps(true),
        unprobed: gaps(false),
    }
}

impl Gaps {
    fn parts(&self) -> [(&'static str, f64); 6] {
        [
            ("eval", self.eval),
            ("train logits", self.train_logits),
            ("gradients", self.grads),
            ("running statistics", self.running),
            ("step losses", self.step_losses),
            ("SGD changes", self.sgd_change),
        ]
    }

    #[expect(clippy::print_stdout, reason = "seen with --show-output")]
    fn print(&self, name: &str, precision: &str) {
        let parts = self.parts().map(|(part, gap)| format!("{part} {gap:.1e}"));
        println!("{name}, {precision}: {}", parts.join(", "));
    }
}

/// Networks that have every operation between them, and are run in f64 every time.
const ALWAYS_IN_F64: [&str; 7] = [
    "mobilenet_v2_cifar_itn",
    "mobilenet_v2_cifar_ce",
    "mobilenetv2dilated-c1_deepsup",
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0_cifar",
    "resnet20_cifar",
    "regnet_y_400mf",
];

type NewEngine = fn(Graph, Task) -> Box<dyn Engine>;

/// candle's tensors on the processor, or on the first GPU with `CKPT_REGEN_DEVICE=cuda`.
fn candle(graph: Graph, task: Task, precision: Precision) -> Box<dyn Engine> {
    let device = match std::env::var("CKPT_REGEN_DEVICE").as_deref() {
        Ok("cuda") => candle_core::Device::new_cuda(0).unwrap(),
        _ => candle_core::Device::Cpu,
    };
    Box::new(candle::Engine::with_task(graph, task, &device, precision).unwrap())
}

/// The plain engine and candle's in f64 within 1e-8; the fast engine in f32, with every set of
/// instructions, within [`limits`]. The plain one in f32 too, where everything is run. candle's in f32
/// only up to the loss: it rounds where the others sum in f64, and puts other units on the other side of
/// their kink; its backward is the one that f64 has checked.
fn reproduces(text: &str) {
    let golden: Golden = serde_json::from_str(text).unwrap();
    let name = &golden.model;
    has_the_tensors(&golden);
    let limits = limits(&golden);
    limits.print(name, "limits");
    if is_thorough() || ALWAYS_IN_F64.contains(&&name[..]) {
        let engines: [(&str, NewEngine); 2] = [
            ("plain f64", |graph, task| {
                Box::new(Plain::<f64>::with_task(graph, task).unwrap())
            }),
            ("candle f64", |graph, task| {
                candle(graph, task, Precision::F64)
            }),
        ];
        for (engine, new) in engines {
            let double = run(&golden, new, None);
            double.gaps.print(name, engine);
            for (part, gap) in double.gaps.parts() {
                assert!(gap < 1e-8, "{name}, {engine}, {part}: {gap:.1e}");
            }
        }
        let candle = |graph, task| candle(graph, task, Precision::F32);
        let single = run(&golden, candle, None);
        single.gaps.print(name, "candle f32");
        let forward = |gaps: Gaps| [gaps.eval, gaps.train_logits, gaps.running];
        for (gap, limit) in forward(single.gaps).iter().zip(forward(limits)) {
            assert!(*gap <= limit, "{name}, candle f32: {gap:.1e}, {limit:.1e}");
        }
    }
    if is_thorough() {
        let plain = run(
            &golden,
            |graph, task| Box::new(Plain::<f32>::with_task(graph, task).unwrap()),
            None,
        );
        near(&golden, "plain f32", &plain, &limits);
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let fast = run(
            &golden,
            |graph, task| Box::new(Cpu::with_task(graph, task, isa, 1).unwrap()),
            None,
        );
        near(&golden, isa.name(), &fast, &limits);
    }
}

/// Names, shapes and number of parameters are PyTorch's.
fn has_the_tensors(golden: &Golden) {
    let graph = network(golden);
    if let Some(tensors) = &golden.tensors {
        let own = graph.tensors().iter();
        let own = own.map(|spec| (spec.name.clone(), spec.shape.clone()));
        assert_eq!(*tensors, own.collect(), "{}", golden.model);
    }
    if let Some(parameters) = golden.parameters {
        assert_eq!(
            graph.cost().unwrap().parameters,
            parameters,
            "{}",
            golden.model
        );
    }
}

/// How far f32 may be off: four times what PyTorch's own f32 is off by, or what the numbers themselves move
/// by in f64 when weights and images move by [`roundings`] of f32 (shifts.json), and at least 1e-5. Where a
/// unit sits on a ReLU's kink, a rounding puts it on the other side.
fn limits(golden: &Golden) -> Gaps {
    let shifts: BTreeMap<String, Gaps> =
        serde_json::from_str(include_str!("../fixtures/golden/shifts.json")).unwrap();
    let (torch, shift) = (&golden.torch_f32_error, &shifts[&golden.model]);
    let limit = |part: fn(&Gaps) -> f64| (4.0 * part(torch).max(part(shift))).max(1e-5);
    Gaps {
        eval: limit(|gaps| gaps.eval),
        train_logits: limit(|gaps| gaps.train_logits),
        grads: limit(|gaps| gaps.grads),
        running: limit(|gaps| gaps.running),
        step_losses: limit(|gaps| gaps.step_losses),
        sgd_change: limit(|gaps| gaps.sgd_change),
    }
}

/// Without the projections, a unit on its kink shows little: never more than 2 % where gradients are, nor
/// than four times PyTorch's own error elsewhere.
fn near(golden: &Golden, engine: &str, off: &Off, limits: &Gaps) {
    let name = &golden.model;
    off.gaps.print(name, engine);
    off.unprobed
        .print(name, &format!("{engine} without projections"));
    for ((part, gap), (_, limit)) in off.gaps.parts().iter().zip(limits.parts()) {
        assert!(
            *gap <= limit,
            "{name}, {engine}, {part}: {gap:.1e}, limit {limit:.1e}"
        );
    }
    let torch = golden.torch_f32_error.parts();
    for ((part, gap), (_, torch)) in off.unprobed.parts().iter().zip(torch) {
        let least = match *part {
            "gradients" | "SGD changes" | "step losses" => 2e-2,
            _ => 1e-5,
        };
        let limit = (4.0 * torch).max(least);
        assert!(
            *gap < limit,
            "{name}, {engine}, {part} without projections: {gap:.1e}, limit {limit:.1e}"
        );
    }
}

/// Roundings that numbers are moved by. Winograd's transforms, which compute most of these networks, make
/// roundings so much larger than those of a sum, and put other units on the other side of their kink.
fn roundings(network: &str) -> u32 {
    let by_winograd = [
        "resnet18",
        "resnet18_cifar",
        "resnet34",
        "resnet34_cifar",
        "resnet18dilated-ppm_deepsup",
    ];
    if by_winograd.contains(&network) { 8 } else { 1 }
}

/// How far a draw moves what is computed in f64: by candle's engine, which is much faster than the plain one
/// and within 1e-8 of it.
fn moved(golden: &Golden, draw: u32) -> Gaps {
    let nudge = Nudge {
        roundings: roundings(&golden.model),
        draw,
    };
    let engine = |graph, task| candle(graph, task, Precision::F64);
    run(golden, engine, Some(nudge)).gaps
}

/// Where [`limits`] are.
fn shifts_file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/shifts.json")
}

/// What shifts.json holds is the largest of three moves. `CKPT_REGEN_SHIFTS=write` writes it anew, in some
/// ten minutes; with names of networks, separated by commas, only theirs, and keeps the others.
#[test]
fn golden_shifts() {
    let asked = std::env::var("CKPT_REGEN_SHIFTS").unwrap_or_default();
    if asked.is_empty() {
        // One network, one move: as it is written there.
        let is_small = |golden: &Golden| golden.model == "resnet20_cifar";
        let mut all = FILES.iter().map(|text| serde_json::from_str(text).unwrap());
        let golden: Golden = all.find(is_small).unwrap();
        let (moved, limits) = (moved(&golden, 0), limits(&golden));
        for ((part, gap), (_, limit)) in moved.parts().iter().zip(limits.parts()) {
            assert!(
                4.0 * gap <= limit * (1.0 + 1e-6),
                "{part}: {gap:.1e}, limit {limit:.1e}"
            );
        }
        return;
    }
    let largest = |golden: &Golden| {
        let draws = (0..3).map(|draw| moved(golden, draw));
        draws.fold(Gaps::default(), |a, b| Gaps {
            eval: a.eval.max(b.eval),
            train_logits: a.train_logits.max(b.train_logits),
            grads: a.grads.max(b.grads),
            running: a.running.max(b.running),
            step_losses: a.step_losses.max(b.step_losses),
            sgd_change: a.sgd_change.max(b.sgd_change),
        })
    };
    let all = asked == "write";
    let wanted = |golden: &Golden| all || asked.split(',').any(|name| name == golden.model);
    let written: BTreeMap<String, Gaps> = FILES
        .par_iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .filter(wanted)
        .map(|golden: Golden| {
            let largest = largest(&golden);
            (golden.model, largest)
        })
        .collect();
    assert!(all || written.len() == asked.split(',').count(), "{asked}");
    let mut shifts: BTreeMap<String, Gaps> = if all {
        BTreeMap::new()
    } else {
        serde_json::from_slice(&std::fs::read(shifts_file()).unwrap()).unwrap()
    };
    shifts.extend(written);
    let json = serde_json::to_string_pretty(&shifts).unwrap();
    std::fs::write(shifts_file(), json + "\n").unwrap();
}

macro_rules! golden {
    ($($test:ident $file:literal)*) => {
        const FILES: &[&str] = &[$(include_str!(concat!("../fixtures/golden/", $file, ".json"))),*];
        $(
        #[test]
        fn $test() {
            reproduces(include_str!(concat!("../fixtures/golden/", $file, ".json")));
        }
        )*
    };
}

golden! {
    golden_efficientnet_b0 "efficientnet_b0"
    golden_mnasnet1_0 "mnasnet1_0"
    golden_mobilenet_v2 "mobilenet_v2"
    golden_mobilenet_v2_cifar "mobilenet_v2_cifar"
    golden_mobilenet_v2_cifar_ce "mobilenet_v2_cifar_ce"
    golden_mobilenet_v2_cifar_itn "mobilenet_v2_cifar_itn"
    golden_mobilenet_v3_small "mobilenet_v3_small"
    golden_mobilenetv2dilated_c1_deepsup "mobilenetv2dilated-c1_deepsup"
    golden_regnet_x_400mf "regnet_x_400mf"
    golden_regnet_y_400mf "regnet_y_400mf"
    golden_resnet18 "resnet18"
    golden_resnet18_cifar "resnet18_cifar"
    golden_resnet18dilated_ppm_deepsup "resnet18dilated-ppm_deepsup"
    golden_resnet20_cifar "resnet20_cifar"
    golden_resnet34 "resnet34"
    golden_resnet34_cifar "resnet34_cifar"
    golden_resnet50 "resnet50"
    golden_resnet50dilated_ppm_deepsup "resnet50dilated-ppm_deepsup"
    golden_resnet56_cifar "resnet56_cifar"
    golden_resnext50_32x4d "resnext50_32x4d"
    golden_shufflenet_v2_x1_0 "shufflenet_v2_x1_0"
    golden_shufflenet_v2_x1_0_cifar "shufflenet_v2_x1_0_cifar"
}
