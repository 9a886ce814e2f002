//! Networks whose output is a map, with a label for each of its pixels.

use super::*;
use crate::Task;

const IGNORED: u32 = 255;

/// `[5, 3, 4]` from images of 5 × 7.
fn network() -> Graph {
    let mut graph = Graph::new("dense", Shape::new(2, 5, 7));
    let x = graph.input();
    let layer = Convolution::new(17, 3).stride(2).padding(1);
    let x = graph.convolution("conv", x, &layer).unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.activation("relu", x, Activation::Relu).unwrap();
    let classes = Convolution::new(5, 1).bias(Init::Constant(0.0));
    graph.convolution("classes", x, &classes).unwrap();
    graph
}

/// Logits, losses, gradients and predictions of a batch of three.
fn run(mut engine: Box<dyn Engine>) -> Vec<(String, Vec<f64>)> {
    fill(&mut *engine);
    let graph = engine.graph().clone();
    let images = uniform("input", 3 * graph.input_shape().len());
    let images: Vec<f32> = images.iter().map(|x| *x as f32).collect();
    let label = |at: u32| if at % 4 == 3 { IGNORED } else { at % 5 };
    let labels: Vec<u32> = (0..3 * 12).map(label).collect();
    let batch = Batch {
        images: &images,
        labels: &labels,
    };
    let (mut values, mut predictions, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let evaluated = engine.evaluate(&batch).unwrap();
    assert_eq!((evaluated.images, evaluated.labels), (3, 27));
    engine.output(&mut values);
    engine.predictions(&mut predictions);
    all.push(("logits".to_owned(), values.clone()));
    let hits = predictions.iter().zip(&labels);
    let hits = hits.filter(|(class, label)| **class == **label as usize);
    assert_eq!((predictions.len(), hits.count()), (36, evaluated.top1));
    let trained = engine.differentiate(&batch, &Training::default()).unwrap();
    all.push(("losses".to_owned(), vec![evaluated.loss, trained.loss]));
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        engine.read(id, Part::Gradient, &mut values);
        all.push((spec.name.clone(), values.clone()));
    }
    all
}

#[test]
fn a_label_for_each_pixel_is_learned_as_by_the_plain_engine() {
    let task = Task::DenseLabels { ignored: IGNORED };
    let expected = run(Box::new(Plain::<f64>::with_task(network(), task).unwrap()));
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let found = run(Box::new(Cpu::with_task(network(), task, isa, 2).unwrap()));
        for ((what, expected), (_, found)) in expected.iter().zip(&found) {
            assert_eq!(expected.len(), found.len(), "{what}");
            for (expected, found) in expected.iter().zip(found) {
                let difference = (expected - found).abs();
                assert!(
                    difference < 2e-5,
                    "{isa:?}: {what}: {found}, plain {expected}"
                );
            }
        }
    }
}

#[test]
fn labels_that_do_not_fit_the_output_are_refused() {
    let images = vec![0.0; 70];
    let fails = |task, labels: &[u32]| {
        let mut engine = Plain::<f64>::with_task(network(), task).unwrap();
        let images = &images;
        engine
            .evaluate(&Batch { images, labels })
            .unwrap_err()
            .to_string()
    };
    let dense = Task::DenseLabels { ignored: IGNORED };
    let message = fails(dense, &[0; 13]);
    assert!(
        message.contains("13 labels are not 12 for each image"),
        "{message}"
    );
    let message = fails(dense, &[5; 12]);
    assert!(
        message.contains("label 5 is none of 5 classes"),
        "{message}"
    );
    let message = Plain::<f64>::new(network()).unwrap_err().to_string();
    assert!(
        message.contains("is 5×3×4, not a vector of classes"),
        "{message}"
    );
}
