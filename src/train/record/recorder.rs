//! Gathers gradients during an epoch.

use super::{Record, RecordedLayer};
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::near::no_layer;
use crate::net::{Graph, TensorId};
use crate::regen::Gamma;

/// Gradients are read before every so many updates, from the first of an epoch on: often enough for
/// 13 samples in an epoch of CIFAR at batch 128, and seldom enough to cost about 1 % of the time.
pub const SAMPLE_EVERY: u64 = 32;

/// Gathers what is recorded of an epoch.
#[derive(Debug)]
pub(in crate::train) struct Recorder {
    layers: Vec<Watched>,
    samples: u64,
    /// What was read last.
    numbers: Vec<f64>,
}

#[derive(Debug)]
struct Watched {
    /// Where the gradients are from, if they are recorded.
    filters: Option<TensorId>,
    /// Of each channel the sum over samples.
    sums: Vec<f64>,
}

impl Recorder {
    /// For gradients of the layers named, or, where none is, of all that follow filters.
    ///
    /// # Errors
    /// A layer that is not there, or that follows no filters.
    pub(in crate::train) fn new(graph: &Graph, named: &[String]) -> Result<Recorder> {
        let norms = graph.norms();
        for name in named {
            let Some(norm) = norms.iter().find(|norm| norm.layer == name) else {
                let names: Vec<&str> = norms.iter().map(|norm| norm.layer).collect();
                return Err(no_layer("record", name, &names));
            };
            if norm.filters.is_none() {
                let reason = "this layer does not follow a convolution or linear layer, whose \
                              gradients could be recorded";
                return Err(Error::argument("record", name, reason));
            }
        }
        let is_named = |layer: &str| named.is_empty() || named.iter().any(|name| name == layer);
        let layers = norms.iter().map(|norm| Watched {
            filters: norm.filters.filter(|_| is_named(norm.layer)),
            sums: vec![0.0; norm.channels],
        });
        Ok(Recorder {
            layers: layers.collect(),
            samples: 0,
            numbers: Vec::new(),
        })
    }

    /// Reads the gradients that an engine has gathered, if it is their turn: before the epoch's
    /// update number `update`, from 0.
    pub(in crate::train) fn sample(&mut self, engine: &dyn Engine, update: u64) {
        if !update.is_multiple_of(SAMPLE_EVERY) {
            return;
        }
        self.samples += 1;
        for layer in &mut self.layers {
            let Some(filters) = layer.filters else {
                continue;
            };
            engine.read(filters, Part::Gradient, &mut self.numbers);
            let size = self.numbers.len() / layer.sums.len().max(1);
            let filters = self.numbers.chunks_exact(size.max(1));
            for (sum, filter) in layer.sums.iter_mut().zip(filters) {
                *sum += filter.iter().map(|number| number.abs()).sum::<f64>() / size as f64;
            }
        }
    }

    /// The record of an epoch that ends with these γ; the next epoch begins.
    pub(in crate::train) fn finish(&mut self, epoch: u64, gammas: &[Gamma]) -> Record {
        let samples = self.samples;
        let mean = |sums: &[f64]| -> Vec<f32> {
            let means = sums.iter().map(|sum| (sum / samples.max(1) as f64) as f32);
            means.collect()
        };
        let layers = self.layers.iter().zip(gammas);
        let layers = layers.map(|(layer, gamma)| RecordedLayer {
            name: gamma.layer.clone(),
            gamma: gamma.values.iter().map(|value| *value as f32).collect(),
            gradient: layer.filters.map(|_| mean(&layer.sums)),
        });
        let record = Record {
            epoch,
            samples,
            layers: layers.collect(),
        };
        self.begin();
        record
    }

    /// Forgets what was gathered: an epoch begins, perhaps after one that failed.
    pub(in crate::train) fn begin(&mut self) {
        self.samples = 0;
        self.layers
            .iter_mut()
            .for_each(|layer| layer.sums.fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plain::Plain;
    use crate::engine::{Batch, Training};
    use crate::net::{Convolution, Shape};

    #[test]
    fn gradients_are_means_of_magnitudes_over_each_filter_and_the_sampled_updates() {
        let mut graph = Graph::new("tiny", Shape::new(1, 3, 3));
        let x = graph.input();
        let x = graph
            .convolution("conv", x, &Convolution::new(2, 3))
            .unwrap();
        let x = graph.batch_norm("bn", x).unwrap();
        graph.linear("fc", x, 2, false).unwrap();
        let mut recorder = Recorder::new(&graph, &["bn".to_owned()]).unwrap();
        let filters = graph.norms()[0].filters.unwrap();
        let mut engine = Plain::<f64>::new(graph).unwrap();
        let ids: Vec<TensorId> = engine.graph().tensor_ids().collect();
        for id in ids {
            let len = engine.graph().tensor(id).len();
            let values: Vec<f64> = (0..len).map(|i| 1.0 + (i * i % 7) as f64).collect();
            engine.write(id, Part::Value, &values);
        }
        let images: Vec<f32> = (0..27).map(|i| (i * 5 % 11) as f32).collect();
        let batch = Batch {
            images: &images,
            labels: &[0, 1, 0],
        };
        engine.differentiate(&batch, &Training::default()).unwrap();
        recorder.sample(&engine, 0);
        let mut gradient = Vec::new();
        engine.read(filters, Part::Gradient, &mut gradient);
        engine.write(filters, Part::Gradient, &[-2.0; 18]);
        for update in 1..SAMPLE_EVERY {
            recorder.sample(&engine, update);
        }
        recorder.sample(&engine, SAMPLE_EVERY);
        let gamma = Gamma {
            layer: "bn".to_owned(),
            dtype: crate::checkpoint::Dtype::F64,
            values: vec![0.5, 2.0],
        };
        let record = recorder.finish(7, &[gamma]);
        let mean = |filter: &[f64]| filter.iter().map(|g| g.abs()).sum::<f64>() / 9.0;
        let expected = gradient
            .chunks(9)
            .map(|filter| ((mean(filter) + 2.0) / 2.0) as f32);
        let layer = &record.layers[0];
        assert_eq!(
            layer.gradient.as_deref(),
            Some(&expected.collect::<Vec<_>>()[..])
        );
        assert!(gradient.iter().any(|g| *g < 0.0) && gradient.iter().any(|g| *g > 0.0));
        assert_eq!((record.epoch, record.samples), (7, 2));
        assert_eq!((&layer.name[..], &layer.gamma[..]), ("bn", &[0.5, 2.0][..]));
        assert_eq!(recorder.samples, 0);
    }
}
