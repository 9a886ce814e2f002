//! Networks whose output is a map, with a label for each of its pixels.

use super::*;

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

/// An encoder with dilation, pyramid pooling, and an auxiliary head that is not the last node, as segmentation networks have
/// them; the map is of 5 × 7.
fn segmenter() -> Graph {
    let mut graph = Graph::new("segmenter", Shape::new(3, 9, 13));
    let layer = |out: usize, kernel: usize, rate: usize| {
        let layer = Convolution::new(out, kernel).dilation(rate);
        layer.padding(kernel / 2 * rate)
    };
    let unit = |graph: &mut Graph, name: &str, x: Value, layer: Convolution| {
        let x = graph
            .convolution(&format!("{name}.conv"), x, &layer)
            .unwrap();
        let x = graph.batch_norm(&format!("{name}.bn"), x).unwrap();
        graph
            .activation(&format!("{name}.relu"), x, Activation::Relu)
            .unwrap()
    };
    let x = graph.input();
    let x = unit(&mut graph, "stem", x, layer(17, 3, 1).stride(2));
    let early = unit(&mut graph, "depthwise", x, layer(17, 3, 2).groups(17));
    let x = unit(&mut graph, "dilated", early, layer(18, 3, 4));
    let mut all = vec![x];
    for (height, width) in [(1, 1), (2, 3), (6, 6)] {
        let pool = Op::AdaptiveAveragePool { height, width };
        let name = format!("pool {height}");
        let y = graph.add(&name, pool, &[x]).unwrap();
        let y = unit(&mut graph, &format!("{name} unit"), y, layer(16, 1, 1));
        let resize = Op::Resize {
            height: 5,
            width: 7,
            align_corners: false,
        };
        all.push(graph.add(&format!("{name} resize"), resize, &[y]).unwrap());
    }
    let x = graph.add("concat", Op::Concat, &all).unwrap();
    let x = unit(&mut graph, "last", x, layer(33, 3, 1));
    let dropout = Op::ChannelDropout { p: 0.3 };
    let x = graph.add("dropout", dropout.clone(), &[x]).unwrap();
    let classes = layer(5, 1, 1).bias(Init::Constant(0.0));
    let main = graph.convolution("classes", x, &classes).unwrap();
    let y = unit(&mut graph, "auxiliary", early, layer(9, 3, 1));
    let y = graph.add("auxiliary dropout", dropout, &[y]).unwrap();
    let value = graph.convolution("auxiliary classes", y, &classes).unwrap();
    let auxiliary = Auxiliary { value, weight: 0.4 };
    graph.set_outputs(main, Some(auxiliary)).unwrap();
    graph
}

#[test]
fn a_segmentation_network_is_computed_as_by_the_plain_engine() {
    for images in [2, 5, 18] {
        compare_as_f32(segmenter(), images);
    }
}

/// Adds a head to a value.
type Head = fn(&mut Graph, Value) -> Value;

#[test]
fn an_auxiliary_output_may_be_any_kind_of_step() {
    let shape = Shape::new(17, 5, 3);
    let heads: [(&str, Head); 5] = [
        ("BatchNorm", |graph, x| graph.batch_norm("y", x).unwrap()),
        ("activation", |graph, x| {
            graph.activation("y", x, Activation::Silu).unwrap()
        }),
        ("sum", |graph, x| {
            let y = graph.batch_norm("bn", x).unwrap();
            graph.add("y", Op::Add, &[x, y]).unwrap()
        }),
        ("slice", |graph, x| {
            let y = graph.add(
                "pad",
                Op::PadChannels {
                    before: 1,
                    after: 0,
                },
                &[x],
            );
            let op = Op::Slice { start: 1, len: 17 };
            graph.add("y", op, &[y.unwrap()]).unwrap()
        }),
        ("dropout", |graph, x| {
            let op = Op::ChannelDropout { p: 0.5 };
            graph.add("y", op, &[x]).unwrap()
        }),
    ];
    for (name, head) in heads {
        for is_main in [false, true] {
            let mut graph = Graph::new(name, shape);
            let layer = Convolution::new(17, 3).padding(1);
            let x = graph.convolution("before", graph.input(), &layer).unwrap();
            let x = graph.batch_norm("norm", x).unwrap();
            let y = head(&mut graph, x);
            let z = graph.convolution("after", x, &layer).unwrap();
            let (main, value) = if is_main { (y, z) } else { (z, y) };
            let auxiliary = Auxiliary { value, weight: 0.7 };
            graph.set_outputs(main, Some(auxiliary)).unwrap();
            compare_as_f32(graph, 3);
        }
    }
}
