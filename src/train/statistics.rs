//! BatchNorm's running statistics: estimated anew, and how far they can be trusted.

use super::course::Course;
use super::data::Loader;
use super::epoch::seed_of_batch;
use super::settings::Settings;
use crate::engine::{Batch, Engine, Part};
use crate::error::Result;
use crate::net::Op;

/// Resets the running statistics and replaces them by their mean over `settings.recalibrate` batches of
/// training images, each with the same weight, as PyTorch's `torch.optim.swa_utils.update_bn` does: after
/// k batches the network's momentum plays no part.
pub(super) fn recalibrate(
    engine: &mut dyn Engine,
    loader: &mut Loader,
    settings: &Settings,
    epoch: u64,
) -> Result<()> {
    reset(engine);
    let mut batches = Course::new(settings, loader, epoch)?.batches;
    batches.truncate(settings.recalibrate);
    let mut batches = loader.epoch(batches, settings.seed);
    let mut number = 0;
    while let Some(prepared) = batches.next() {
        let prepared = prepared?;
        engine.reshape(prepared.resolution)?;
        let batch = Batch {
            images: prepared.images,
            labels: prepared.labels,
        };
        let seed = seed_of_batch(settings.seed, epoch, number);
        number += 1;
        engine.recalibrate(&batch, 1.0 / number as f64, seed)?;
    }
    Ok(())
}

/// Sets all running statistics and counts to what they start as, as `reset_running_stats` of PyTorch's BatchNorm.
fn reset(engine: &mut dyn Engine) {
    let graph = engine.graph();
    let specs = graph.tensor_ids().zip(graph.tensors());
    let fresh = specs.filter_map(|(id, spec)| Some((id, spec.initial_statistic()?)));
    for (id, values) in fresh.collect::<Vec<_>>() {
        engine.write(id, Part::Value, &values);
    }
}

/// What to know of running statistics that have followed fewer than 3 / momentum batches, so that more
/// than e⁻³ = 5 % of what they began with is in them; None where they have followed more.
pub(super) fn caution(engine: &dyn Engine) -> Option<String> {
    let mut count = Vec::new();
    let young = engine.graph().nodes().iter().find_map(|node| {
        let Op::BatchNorm {
            batches: Some(batches),
            momentum,
            ..
        } = node.op
        else {
            return None;
        };
        if momentum <= 0.0 {
            // They follow nothing, however many there are.
            return None;
        }
        engine.read(batches, Part::Value, &mut count);
        let needed = (3.0 / momentum).ceil();
        (count[0] < needed).then_some((&node.name, count[0], momentum, needed))
    });
    let (name, count, momentum, needed) = young?;
    Some(format!(
        "BatchNorm's running statistics have followed {count} batches of the {needed} that momentum \
         {momentum} needs ({name}): test accuracy is too low; recalibrate estimates them anew"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::net::{BatchNorm, Graph, Kind, Shape};
    use crate::engine::plain::Plain;
    use crate::train::Recipe;
    use crate::train::data::{Normalisation, Split, Step, Transform, open};

    fn network(momentum: f64) -> Graph {
        let mut graph = Graph::new("statistics", Shape::new(3, 8, 8));
        let layer = BatchNorm {
            momentum,
            ..BatchNorm::default()
        };
        let x = graph.batch_norm_with("bn", graph.input(), layer).unwrap();
        let x = graph.add("flatten", Op::Flatten, &[x]).unwrap();
        graph.linear("fc", x, 10, true).unwrap();
        graph
    }

    fn loader() -> Loader {
        let transform = Transform {
            steps: vec![Step::RandomHorizontalFlip],
            normalisation: Normalisation::DIGITS,
        };
        let digits = open("digits", Split::Train).unwrap();
        Loader::new(digits.into(), transform, 100, 1).unwrap()
    }

    fn read(engine: &dyn Engine, name: &str) -> Vec<f64> {
        let graph = engine.graph();
        let mut ids = graph.tensor_ids().zip(graph.tensors());
        let (id, _) = ids.find(|(_, spec)| spec.name == name).unwrap();
        let mut values = Vec::new();
        engine.read(id, Part::Value, &mut values);
        values
    }

    /// Mean over batches of the mean and of the unbiased variance of each batch's first channel.
    fn expected(settings: &Settings) -> (f64, f64) {
        let mut loader = loader();
        let course = Course::new(settings, &loader, 4).unwrap();
        let mut batches = loader.epoch(course.batches[..3].to_vec(), settings.seed);
        let (mut mean, mut variance) = (0.0, 0.0);
        while let Some(batch) = batches.next() {
            let batch = batch.unwrap();
            let planes = batch.images.chunks_exact(64).step_by(3);
            let pixels: Vec<f64> = planes.flatten().map(|x| f64::from(*x)).collect();
            let n = pixels.len() as f64;
            let own = pixels.iter().sum::<f64>() / n;
            mean += own / 3.0;
            variance += pixels.iter().map(|x| (x - own).powi(2)).sum::<f64>() / (n - 1.0) / 3.0;
        }
        (mean, variance)
    }

    #[test]
    fn recalibrated_statistics_are_the_mean_over_batches_whatever_they_were_and_the_momentum() {
        let settings = Settings {
            recalibrate: 3,
            batch_size: 100,
            seed: 7,
            ..Recipe::Digits.settings()
        };
        let (mean, variance) = expected(&settings);
        for (momentum, before) in [(0.1, 5.0), (0.01, 0.0), (0.01, f64::NAN)] {
            let mut engine = Plain::<f64>::new(network(momentum)).unwrap();
            for (id, spec) in network(momentum)
                .tensor_ids()
                .zip(network(momentum).tensors())
            {
                if !spec.is_parameter() && spec.kind != Kind::BatchCount {
                    engine.write(id, Part::Value, &vec![before; spec.len()]);
                }
            }
            recalibrate(&mut engine, &mut loader(), &settings, 4).unwrap();
            let found = read(&engine, "bn.running_mean")[0];
            assert!((found - mean).abs() < 1e-12, "{found} {mean}");
            let found = read(&engine, "bn.running_var")[0];
            assert!((found - variance).abs() < 1e-12, "{found} {variance}");
            assert_eq!(read(&engine, "bn.num_batches_tracked"), [3.0]);
        }
    }

    #[test]
    fn statistics_are_young_until_they_have_followed_three_times_what_the_momentum_remembers() {
        let mut engine = Plain::<f64>::new(network(0.01)).unwrap();
        let graph = engine.graph();
        let mut ids = graph.tensor_ids().zip(graph.tensors());
        let (count, _) = ids.find(|(_, spec)| spec.kind == Kind::BatchCount).unwrap();
        engine.write(count, Part::Value, &[299.0]);
        let said = caution(&engine).unwrap();
        assert!(
            said.contains("299 batches of the 300 that momentum 0.01 needs (bn)"),
            "{said}"
        );
        engine.write(count, Part::Value, &[300.0]);
        assert_eq!(caution(&engine), None);
        // Such statistics follow nothing.
        assert_eq!(caution(&Plain::<f64>::new(network(0.0)).unwrap()), None);
    }
}
