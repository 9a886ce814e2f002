//! Training steps of a network on the processor: forward, loss, backward, SGD with Nesterov. With
//! --evaluate, forward only, as a trained network is used.
//!
//! cargo bench --bench train_step -- [--model mobilenet_v2] [--batch 128] [--resolution 32]
//!     [--stem native|cifar] [--threads 2] [--isa avx512|avx2|portable] [--steps 20] [--evaluate]
//!
//! Prints one JSON object: images a second (of the fastest step, the median one and the mean), the arithmetic
//! of a step, the losses of the first three steps on one batch, what the network said of its first
//! images in the first, and the peak memory. Weights and images follow from names by the
//! rule of fixtures/golden/generate.py, so that another program can check the losses.
#![expect(clippy::print_stdout, reason = "a benchmark's result")]

use std::time::Instant;

use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::engine::{Batch, Engine, Optimizer, Part, Task, Training, Update};
use ckpt_regen::net::{Kind, Op, zoo};

fn main() {
    // cargo bench adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let option = |name: &str, default: &str| {
        let value = args
            .iter()
            .position(|arg| arg == name)
            .and_then(|at| args.get(at + 1));
        value.map_or_else(|| default.to_owned(), String::clone)
    };
    let number = |name: &str, default: usize| -> usize {
        option(name, &default.to_string())
            .parse()
            .expect("a number")
    };
    let name = option("--model", "mobilenet_v2");
    let images = number("--batch", 128);
    let options = zoo::Options {
        classes: number("--classes", 100),
        resolution: number("--resolution", 32).into(),
        stem: match &option("--stem", "native")[..] {
            "cifar" => zoo::Stem::Cifar,
            _ => zoo::Stem::Native,
        },
        width: 1.0,
        norm: zoo::Norm::Batch,
    };
    let isa = option("--isa", Isa::best().name());
    let isa = Isa::ALL
        .into_iter()
        .find(|known| known.name() == isa)
        .expect("a known --isa");
    assert!(isa.is_available(), "this processor has no {}", isa.name());

    let evaluate = args.iter().any(|arg| arg == "--evaluate");

    let graph = zoo::build(&name, &options)
        .expect("a network of the zoo")
        .without_noise();
    let cost = graph.cost().expect("a cost");
    // Backward there are two products for each one forward.
    let passes = if evaluate { 1 } else { 3 };
    let flops = 2 * cost.multiply_adds * passes * images as u64;
    // A segmentation network has a label for each pixel of its output.
    let pixels = graph.output_shape().pixels();
    let task = match pixels {
        1 => Task::Classification,
        _ => Task::DenseLabels { ignored: u32::MAX },
    };
    let threads = number("--threads", 2);
    let mut engine = Cpu::with_task(graph, task, isa, threads).expect("an engine");
    fill(&mut engine);
    let len = images * engine.graph().input_shape().len();
    let input = draws("input", len).map(|u| ((2.0 * u - 1.0) * 3_f64.sqrt()) as f32);
    let input: Vec<f32> = input.collect();
    let labels = integers("labels")
        .take(images * pixels)
        .map(|draw| (draw % options.classes as u64) as u32);
    let labels: Vec<u32> = labels.collect();
    let batch = Batch {
        images: &input,
        labels: &labels,
    };
    let update = Update {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        learning_rate: 1e-5,
        weight_decay: 5e-4,
        decoder_factor: 1.0,
        spare_vectors: false,
        clip_norm: None,
    };
    let mut losses = Vec::new();
    let mut outputs = Vec::new();
    let mut seconds = Vec::new();
    for _ in 0..number("--steps", 20) + 3 {
        let begin = Instant::now();
        let outcome = if evaluate {
            engine.evaluate(&batch)
        } else {
            engine.differentiate(&batch, &Training::default())
        };
        if !evaluate {
            engine.update(&update);
        }
        seconds.push(begin.elapsed().as_secs_f64());
        losses.push(outcome.expect("a step").loss);
        if outputs.is_empty() {
            engine.output(&mut outputs);
        }
    }
    let mut steady = seconds.split_off(3);
    let mean = steady.iter().sum::<f64>() / steady.len() as f64;
    steady.sort_by(f64::total_cmp);
    let result = serde_json::json!({
        "model": name,
        "evaluate": evaluate,
        "isa": isa.name(),
        "images_per_s": images as f64 / steady[steady.len() / 2],
        "mean_images_per_s": images as f64 / mean,
        "best_images_per_s": images as f64 / steady[0],
        "flops_per_step": flops,
        "losses": &losses[..3],
        "outputs": outputs.chunks(options.classes).take(OUTPUTS).collect::<Vec<_>>(),
        "peak_mib": peak_mib(),
    });
    println!("{result}");
}

/// Rows of the outputs, of as many numbers as there are classes, that are printed.
const OUTPUTS: usize = 4;

/// Weights by the fill rule.
fn fill(engine: &mut Cpu) {
    let graph = engine.graph().clone();
    let mut norms = vec![false; graph.tensors().len()];
    for node in graph.nodes() {
        if let Op::BatchNorm { gamma, .. } = &node.op {
            norms[gamma.index()] = true;
        }
    }
    for ((id, spec), norm) in graph.tensor_ids().zip(graph.tensors()).zip(norms) {
        let fan_in: usize = spec.shape.iter().skip(1).product();
        let bound = (6.0 / fan_in as f64).sqrt();
        let value = |u: f64| match spec.kind {
            Kind::BatchCount => 0.0,
            Kind::RunningVariance => 0.5 + u,
            Kind::Parameter(_) if norm => 0.5 + u,
            Kind::Parameter(_) if spec.shape.len() > 1 => (2.0 * u - 1.0) * bound,
            _ => (u - 0.5) * 0.2,
        };
        let values: Vec<f64> = draws(&spec.name, spec.len()).map(value).collect();
        engine.write(id, Part::Value, &values);
    }
}

/// A sequence of 40-bit integers that follows from a name.
fn integers(name: &str) -> impl Iterator<Item = u64> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    let mut state = name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) >> 40
    })
}

/// The same in [0, 1).
fn draws(name: &str, len: usize) -> impl Iterator<Item = f64> {
    integers(name)
        .take(len)
        .map(|draw| draw as f64 / f64::from(1 << 24))
}

/// Peak memory of this process, where the system says.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}
