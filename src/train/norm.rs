//! How the network of a run normalises.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::net::{Graph, Node, Op, Whitening, zoo};

/// A normalisation by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormName {
    /// BatchNorm, as the network is defined.
    #[default]
    Batch,
    /// Iterative normalisation (IterNorm) in place of every BatchNorm.
    Itn,
    /// BatchNorm, and Channel Equilibrium at the end of each block's residual branch.
    Ce,
}

/// A normalisation, and what is not as it is by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NormChoice {
    /// Which.
    pub name: NormName,
    /// Channels of a group, halved until they divide those of a layer.
    pub group: Option<usize>,
    /// Newton iterations.
    pub iterations: Option<usize>,
    /// Factor by which Channel Equilibrium's instance branch reduces the channels.
    pub reduction: Option<usize>,
}

/// Channel Equilibrium's default reduction.
const REDUCTION: usize = 4;

impl NormChoice {
    /// As the zoo has it.
    ///
    /// # Errors
    /// Something that this normalisation does not have, or that is 0.
    pub fn norm(&self) -> Result<zoo::Norm> {
        let NormChoice {
            name,
            group,
            iterations,
            reduction,
        } = *self;
        let whitens = name != NormName::Batch;
        let given = [
            (
                "norm_group",
                group,
                whitens,
                "BatchNorm has no groups: it goes with the norms itn and ce",
            ),
            (
                "norm_iterations",
                iterations,
                whitens,
                "BatchNorm does not iterate: it goes with the norms itn and ce",
            ),
            (
                "ce_reduction",
                reduction,
                name == NormName::Ce,
                "it goes with the norm ce",
            ),
        ];
        for (argument, value, fits, reason) in given {
            match value {
                Some(value) if !fits => return Err(Error::argument(argument, value, reason)),
                Some(0) => return Err(Error::argument(argument, 0, "expected at least 1")),
                _ => {}
            }
        }
        let with = |whitening: Whitening| Whitening {
            group: group.unwrap_or(whitening.group),
            iterations: iterations.unwrap_or(whitening.iterations),
            ..whitening
        };
        Ok(match name {
            NormName::Batch => zoo::Norm::Batch,
            NormName::Itn => zoo::Norm::Iterative(with(Whitening::ITER_NORM)),
            NormName::Ce => zoo::Norm::Equilibrium {
                whitening: with(Whitening::EQUILIBRIUM),
                reduction: reduction.unwrap_or(REDUCTION),
            },
        })
    }
}

/// What to know of batches of so many images before such a network is trained: groups of channels whose covariance is
/// estimated from too few samples.
pub(super) fn notes(graph: &Graph, batch_size: usize) -> Vec<String> {
    let layers: Vec<Layer<'_>> = graph.nodes().iter().filter_map(Layer::of).collect();
    let name = graph.name();
    let mut notes = Vec::new();
    let samples = |layer: &Layer<'_>| batch_size.saturating_mul(layer.node.shape.pixels());
    let few = |layer: &&Layer<'_>| samples(layer) < layer.whitening.group;
    let short: Vec<&Layer<'_>> = layers.iter().filter(few).collect();
    if let Some(Layer { node, whitening }) = short.iter().min_by_key(|layer| samples(layer)) {
        notes.push(format!(
            "{name}: in {} of {} layers of {} a batch has fewer samples than a group has channels, so that most \
             directions of the group are noise: {} sees {batch_size} images × {} × {} pixels = {} samples in groups of \
             {}; a larger batch or resolution, or smaller groups, would do",
            short.len(),
            layers.len(),
            node.op.name(),
            node.name,
            node.shape.height,
            node.shape.width,
            samples(&Layer { node, whitening: *whitening }),
            whitening.group
        ));
        return notes;
    }
    let one_pixel = layers.iter().filter(|layer| layer.node.shape.pixels() == 1);
    let one_pixel: Vec<&Layer<'_>> = one_pixel.collect();
    if let Some(Layer { node, whitening }) =
        one_pixel.iter().max_by_key(|layer| layer.whitening.group)
    {
        notes.push(format!(
            "{name}: {} of {} layers of {} have maps of 1 × 1, so that each image is one sample: {} decorrelates {} \
             channels by the {batch_size} images of a batch; a larger resolution gives it more",
            one_pixel.len(),
            layers.len(),
            node.op.name(),
            node.name,
            whitening.group,
        ));
    }
    notes
}

/// That some blocks go without Channel Equilibrium, in a sentence.
///
/// # Errors
/// As [`zoo::build`].
pub(super) fn one_pixel_note(name: &str, options: &zoo::Options) -> Result<Option<String>> {
    let (missing, all) = zoo::one_pixel_blocks(name, options)?;
    Ok(missing.first().map(|first| {
        let stem = zoo::models().iter().any(|model| model.name == name && model.cifar_stem);
        let stem = stem && options.stem == zoo::Stem::Native;
        format!(
            "{name}: {} of {all} blocks ({first}, …) go without Channel Equilibrium: at {} their maps have one pixel, whose \
             variance is 0; a larger resolution{} gives them more",
            missing.len(),
            options.resolution,
            if stem { " or the stem cifar" } else { "" },
        )
    }))
}

/// A layer that decorrelates channels.
struct Layer<'g> {
    node: &'g Node,
    whitening: Whitening,
}

impl Layer<'_> {
    fn of(node: &Node) -> Option<Layer<'_>> {
        let whitening = match &node.op {
            Op::IterNorm(layer) => layer.whitening,
            Op::ChannelEquilibrium(layer) => layer.whitening,
            _ => return None,
        };
        Some(Layer { node, whitening })
    }
}

/// What to know of running matrices that are as they started: no batch has moved them, so that evaluation decorrelates
/// nothing. None where there are none.
pub(super) fn untrained(engine: &dyn Engine) -> Option<String> {
    let graph = engine.graph();
    let mut values = Vec::new();
    let untouched = graph.nodes().iter().find(|node| {
        let id = match &node.op {
            Op::IterNorm(layer) => layer.matrix,
            Op::ChannelEquilibrium(layer) => layer.matrix,
            _ => return false,
        };
        engine.read(id, Part::Value, &mut values);
        graph
            .tensor(id)
            .initial_statistic()
            .is_some_and(|start| start == values)
    })?;
    Some(format!(
        "{}: the running matrix of {} is the identity, as before training: evaluation decorrelates nothing by it, and \
         accuracy means little; train first, or estimate the statistics (recalibrate)",
        graph.name(),
        untouched.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plain::Plain;
    use crate::engine::{Batch, Training};

    fn network(resolution: usize, norm: NormName) -> Graph {
        let options = zoo::Options {
            classes: 4,
            resolution: resolution.into(),
            width: 0.25,
            norm: NormChoice {
                name: norm,
                ..NormChoice::default()
            }
            .norm()
            .unwrap(),
            ..zoo::defaults("mobilenet_v2").unwrap()
        };
        zoo::build("mobilenet_v2", &options).unwrap()
    }

    #[test]
    fn too_few_samples_are_named_with_numbers() {
        let graph = network(32, NormName::Itn);
        let [few] = &notes(&graph, 8)[..] else {
            panic!("{:?}", notes(&graph, 8));
        };
        assert!(
            few.contains("sees 8 images × 1 × 1 pixels = 8 samples in groups of"),
            "{few}"
        );
        let [one_pixel] = &notes(&graph, 128)[..] else {
            panic!("{:?}", notes(&graph, 128));
        };
        assert!(
            one_pixel.contains("decorrelates 64 channels by the 128 images"),
            "{one_pixel}"
        );
        assert!(notes(&network(96, NormName::Itn), 128).is_empty());
        assert!(notes(&network(32, NormName::Batch), 2).is_empty());
    }

    #[test]
    fn a_network_is_untrained_until_a_batch_moves_its_matrices() {
        let mut engine = Plain::<f32>::new(network(64, NormName::Ce)).unwrap();
        let weights =
            crate::weights::initialize(engine.graph(), 1, candle_core::DType::F32).unwrap();
        crate::weights::to_engine(&weights, &mut engine).unwrap();
        assert!(
            untrained(&engine)
                .unwrap()
                .contains("features.1.conv.3 is the identity")
        );
        let images: Vec<f32> = (0..2 * 3 * 64 * 64)
            .map(|at| (at % 11) as f32 - 5.0)
            .collect();
        let batch = Batch {
            images: &images,
            labels: &[0, 3],
        };
        engine.differentiate(&batch, &Training::default()).unwrap();
        assert_eq!(untrained(&engine), None);
    }

    #[test]
    fn settings_that_a_normalisation_does_not_have_are_refused() {
        let refused = |choice: NormChoice| choice.norm().unwrap_err().to_string();
        let group = NormChoice {
            group: Some(8),
            ..NormChoice::default()
        };
        assert!(refused(group).contains("BatchNorm has no groups"));
        let reduction = NormChoice {
            name: NormName::Itn,
            reduction: Some(8),
            ..NormChoice::default()
        };
        assert!(refused(reduction).contains("goes with the norm ce"));
        let zero = NormChoice {
            name: NormName::Itn,
            iterations: Some(0),
            ..NormChoice::default()
        };
        assert!(refused(zero).contains("at least 1"));
    }
}
