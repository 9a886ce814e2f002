//! Accuracy without the strongest channels of a layer (Figure 6 of the paper): where a network relies
//! on few of them, it falls early.

mod html;
mod terminal;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::names::names;
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::near::no_layer;
use crate::net::{Graph, Norm};
use crate::train::{self, Examination, NewEngine, Request};

/// Steps from none of a layer's channels to all, where nothing else is asked for.
const STEPS: usize = 16;

/// Accuracies of checkpoints by how many channels are ablated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// The layer's name.
    pub layer: String,
    /// How many channels it has.
    pub channels: usize,
    /// Test images.
    pub images: usize,
    /// Numbers of ablated channels, ascending.
    pub points: Vec<usize>,
    /// The checkpoints in the order in which they were named.
    pub checkpoints: Vec<Ablated>,
}

impl Ablation {
    /// Whether it is of segmentation.
    fn is_of_scenes(&self) -> bool {
        self.checkpoints.iter().any(|one| !one.miou.is_empty())
    }
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablated {
    /// As it was named.
    pub path: String,
    /// The end of the path that tells it from the others.
    pub name: String,
    /// The network's name.
    pub network: String,
    /// The layer's channels, of the largest γ first; of equals the first.
    pub order: Vec<usize>,
    /// Percent of the test images (of segmentation: pixels) whose class was put first, by point.
    pub top1: Vec<f64>,
    /// Of segmentation: mean IoU, percent, by point; else empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub miou: Vec<f64>,
    /// Mean cross-entropy, by point.
    pub loss: Vec<f64>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct AblateOptions {
    /// The layer; the middle one if not given: number n / 2 of n, from 0.
    pub layer: Option<String>,
    /// Numbers of ablated channels; from none to all in some steps if none is given.
    pub points: Vec<usize>,
}

/// Measures each checkpoint as [`train::examine`] opens it, with weight and bias of the BatchNorm set
/// to 0 in the channels of the largest γ. Changes no file. `progress` is told how many images are done,
/// and of how many.
///
/// # Errors
/// As of [`train::examine`]; a layer that is not there, or that has another number of channels in
/// another checkpoint; different test images; more channels than there are.
///
/// # Panics
/// Without paths.
pub fn ablate(
    paths: &[PathBuf],
    request: &Request,
    engine: NewEngine<'_>,
    options: &AblateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Ablation> {
    assert!(!paths.is_empty(), "there is at least one checkpoint");
    let opened = paths
        .iter()
        .map(|path| train::examine(path, request, engine));
    let mut opened: Vec<Examination> = opened.collect::<Result<_>>()?;
    let layer = find(opened[0].engine.graph(), options.layer.as_deref())?;
    let (name, channels) = (layer.layer.to_owned(), layer.channels);
    same_task(paths, &opened, (&name, channels))?;
    let points = points(&options.points, (&name, channels))?;
    let images = opened[0].test.dataset().len();
    let total = images * points.len() * opened.len();
    let mut before = 0;
    let mut checkpoints = Vec::new();
    let named: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    for ((path, short), examination) in paths.iter().zip(names(&named)).zip(&mut opened) {
        let mut ablated = Ablated {
            path: path.display().to_string(),
            name: short,
            network: examination.engine.graph().name().to_owned(),
            order: order(&*examination.engine, &name)?,
            top1: Vec::new(),
            miou: Vec::new(),
            loss: Vec::new(),
        };
        let mut gone = 0;
        for point in &points {
            silence(
                &mut *examination.engine,
                &name,
                &ablated.order[gone..*point],
            )?;
            gone = *point;
            let Examination { engine, test, .. } = examination;
            let found = train::evaluate(&mut **engine, test, &mut |done| {
                progress(before + done, total);
            })?;
            before += images;
            ablated.top1.push(found.percent(found.top1));
            ablated.loss.push(found.loss);
            if found.is_of_scenes() {
                ablated.miou.push(found.mean_iou());
            }
        }
        checkpoints.push(ablated);
    }
    Ok(Ablation {
        layer: name,
        channels,
        images,
        points,
        checkpoints,
    })
}

/// The layer of this name, or else the middle one.
fn find<'g>(graph: &'g Graph, name: Option<&str>) -> Result<Norm<'g>> {
    let norms = graph.norms();
    let found = match name {
        Some(name) => norms.iter().find(|norm| norm.layer == name),
        None => norms.get(norms.len() / 2),
    };
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = norms.iter().map(|norm| norm.layer).collect();
        no_layer("layer", name.unwrap_or("the middle one"), &names)
    })
}

/// Whether accuracies without channels of this layer compare.
fn same_task(
    paths: &[PathBuf],
    opened: &[Examination],
    (layer, channels): (&str, usize),
) -> Result<()> {
    let first = &opened[0];
    for (path, other) in paths.iter().zip(opened) {
        let there = find(other.engine.graph(), Some(layer)).ok();
        let there = there.map(|norm| norm.channels);
        if there != Some(channels) {
            let found = match there {
                Some(channels) => format!("{channels} channels"),
                None => "no such layer".to_owned(),
            };
            return Err(Error::Usage(format!(
                "{}, a {}: {layer}: expected {channels} channels, as in {}, a {}; found {found}",
                path.display(),
                other.engine.graph().name(),
                paths[0].display(),
                first.engine.graph().name(),
            )));
        }
        let (one, two) = (first.test.dataset(), other.test.dataset());
        if one.classes() != two.classes() || one.len() != two.len() {
            return Err(Error::Usage(format!(
                "{} is tested on {} images of {} classes and {} on {} of {}: their accuracies do not \
                 compare",
                paths[0].display(),
                one.len(),
                one.classes().len(),
                path.display(),
                two.len(),
                two.classes().len()
            )));
        }
    }
    Ok(())
}

/// Ascending, each once.
fn points(asked: &[usize], (layer, channels): (&str, usize)) -> Result<Vec<usize>> {
    if let Some(most) = asked.iter().max()
        && *most > channels
    {
        let reason = format!("{layer} has {channels} channels");
        return Err(Error::argument("points", most, reason));
    }
    let mut points: Vec<usize> = match asked {
        [] => {
            let step = channels.div_ceil(STEPS).max(1);
            (0..channels).step_by(step).chain([channels]).collect()
        }
        asked => asked.to_vec(),
    };
    points.sort_unstable();
    points.dedup();
    Ok(points)
}

/// The channels of a layer, of the largest γ first.
fn order(engine: &dyn Engine, layer: &str) -> Result<Vec<usize>> {
    let gamma = find(engine.graph(), Some(layer))?.gamma;
    let mut values = Vec::new();
    engine.read(gamma, Part::Value, &mut values);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    Ok(order)
}

/// Sets γ and β of channels to 0.
fn silence(engine: &mut dyn Engine, layer: &str, channels: &[usize]) -> Result<()> {
    let Norm { gamma, beta, .. } = find(engine.graph(), Some(layer))?;
    let mut values = Vec::new();
    for tensor in [gamma, beta] {
        engine.read(tensor, Part::Value, &mut values);
        for channel in channels {
            values[*channel] = 0.0;
        }
        engine.write(tensor, Part::Value, &values);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_from_none_to_all_in_steps() {
        let all = points(&[], ("bn", 96)).unwrap();
        assert_eq!((all[0], all[1], all.len()), (0, 6, 17));
        assert_eq!(all.last(), Some(&96));
        assert_eq!(points(&[], ("bn", 3)).unwrap(), [0, 1, 2, 3]);
        assert_eq!(points(&[5, 0, 5], ("bn", 8)).unwrap(), [0, 5]);
        let message = points(&[9], ("bn", 8)).unwrap_err().to_string();
        assert_eq!(message, "points 9: bn has 8 channels");
    }
}
