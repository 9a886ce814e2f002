//! An engine makes its memory in the first step of a kind, and never allocates again.
use ckpt_regen::engine::cpu::{Cpu, Isa};
use ckpt_regen::engine::plain::Plain;
use ckpt_regen::engine::{Batch, Engine, Optimizer, Training, Update};
use ckpt_regen::net::zoo;

use crate::ALONE;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Bytes of all blocks that a second step allocates.
fn second_step(engine: &mut dyn Engine) -> u64 {
    let images = vec![0.5; 2 * engine.graph().input_shape().len()];
    let batch = Batch {
        images: &images,
        labels: &[0, 1],
    };
    let mut step = || {
        engine.evaluate(&batch).unwrap();
        engine.differentiate(&batch, &Training::default()).unwrap();
        engine.update(&Update {
            optimizer: Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
            },
            learning_rate: 0.1,
            weight_decay: 5e-4,
            decoder_factor: 1.0,
            spare_vectors: false,
            clip_norm: None,
        });
    };
    step();
    let before = dhat::HeapStats::get().total_bytes;
    step();
    dhat::HeapStats::get().total_bytes - before
}

#[test]
fn no_step_after_the_first_makes_memory() {
    let _alone = ALONE.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    for name in [
        "shufflenet_v2_x0_5",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "resnet20",
    ] {
        let options = zoo::Options {
            classes: 10,
            resolution: 32.into(),
            ..zoo::defaults(name).unwrap()
        };
        let graph = zoo::build(name, &options).unwrap();
        let plain = second_step(&mut Plain::<f32>::new(graph.clone()).unwrap());
        assert_eq!(plain, 0, "{name}: bytes allocated");
        let fast = second_step(&mut Cpu::new(graph, Isa::best(), 2).unwrap());
        assert_eq!(fast, 0, "{name}: bytes allocated by the fast engine");
    }
    // Maps so large that what its first layers compute is not kept.
    let options = zoo::Options {
        classes: 10,
        resolution: 64.into(),
        stem: zoo::Stem::Cifar,
        width: 0.5,
        norm: zoo::Norm::Batch,
    };
    let graph = zoo::build("mobilenet_v2", &options).unwrap();
    let fast = second_step(&mut Cpu::new(graph, Isa::best(), 2).unwrap());
    assert_eq!(fast, 0, "large maps: bytes allocated by the fast engine");
}
