//! The plain engine allocates in its first step of a kind, and never again.
#![cfg(feature = "train")]

use ckpt_regen::engine::plain::Plain;
use ckpt_regen::engine::{Batch, Engine, Optimizer, Training, Update};
use ckpt_regen::net::zoo;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn no_step_after_the_first_allocates() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for name in [
        "shufflenet_v2_x0_5",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "resnet20",
    ] {
        let options = zoo::Options {
            classes: 10,
            resolution: 32,
            ..zoo::defaults(name).unwrap()
        };
        let mut engine = Plain::<f32>::new(zoo::build(name, &options).unwrap()).unwrap();
        let images = vec![0.5; 2 * 3 * 32 * 32];
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
                spare_vectors: false,
                clip_norm: None,
            });
        };
        step();
        let before = dhat::HeapStats::get().total_blocks;
        step();
        let after = dhat::HeapStats::get().total_blocks;
        assert_eq!(before, after, "{name}: blocks allocated");
    }
}
