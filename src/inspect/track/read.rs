//! Reading the γ of a series, one checkpoint at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Save, TrackOptions};
use crate::batchnorm::{self, Network};
use crate::checkpoint::{Checkpoint, FormatName};
use crate::error::{Error, Result};
use crate::inspect::masked;
use crate::record;
use crate::regen::Mask;

/// The checkpoints of a run, all of one network.
pub(super) struct Run {
    pub(super) root: String,
    /// Names and channels, in order.
    pub(super) layers: Vec<(String, usize)>,
    pub(super) saves: Vec<Read>,
    pub(super) warnings: Vec<String>,
}

/// One checkpoint.
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) format: FormatName,
    pub(super) epoch: Option<u64>,
    /// Its place in time; known once the series is in order.
    pub(super) at: u64,
    /// The γ of all layers, one after another.
    pub(super) gamma: Vec<f64>,
    /// The γ before an edit that a record tells of.
    pub(super) before: Option<Vec<f64>>,
    /// Which of them are pruned, in ascending order.
    pub(super) pruned: Vec<usize>,
}

impl Read {
    pub(super) fn into_save(self) -> Save {
        Save {
            path: self.path.to_string_lossy().into_owned(),
            format: self.format.name(),
            epoch: self.epoch,
            at: self.at,
        }
    }
}

pub(super) fn read(paths: &[PathBuf], options: &TrackOptions) -> Result<Run> {
    let mut run = Run {
        root: String::new(),
        layers: Vec::new(),
        saves: Vec::with_capacity(paths.len()),
        warnings: Vec::new(),
    };
    for path in paths {
        let checkpoint = Checkpoint::open(path)?;
        let networks = batchnorm::locate(&checkpoint, &options.schema)?;
        if networks.is_empty() {
            return Err(batchnorm::nothing_found(&checkpoint));
        }
        masked::check(&checkpoint, &networks, options.mask.as_ref())?;
        let network = batchnorm::select(&checkpoint, &networks, options.root.as_deref())?;
        let (given, record) = (options.mask.as_ref(), options.record.as_deref());
        let mask = masked::of_network(&checkpoint, &network, given, record)?;
        let layers = read_layers(&checkpoint, &network, record)?;
        if run.saves.is_empty() {
            run.begin(&network, &layers);
        }
        let save = run.add(&checkpoint, path, layers, &mask)?;
        run.saves.push(save);
    }
    if run.layers.is_empty() {
        let found = "none that can be read";
        return Err(Error::malformed(
            &paths[0],
            "network",
            "layers with γ",
            found,
        ));
    }
    Ok(run)
}

/// One layer of a checkpoint.
struct LayerGamma {
    name: String,
    /// Now, and before the edit of a record; `None` where they cannot be read.
    values: Option<(Vec<f64>, Option<Vec<f64>>)>,
}

fn read_layers(
    checkpoint: &Checkpoint,
    network: &Network,
    record: Option<&Path>,
) -> Result<Vec<LayerGamma>> {
    let replaced: HashMap<(String, String), Vec<u8>> = record::replaced(checkpoint, record)?
        .into_iter()
        .flatten()
        .map(|old| ((old.dict, old.tensor), old.bytes))
        .collect();
    let mut layers = Vec::with_capacity(network.layers.len());
    for layer in &network.layers {
        let values = match (layer.gamma(checkpoint)?, layer.tensor(checkpoint)) {
            (Some((dtype, bytes)), Some(tensor)) => {
                let root = checkpoint.dicts()[layer.dict].root.clone();
                let old = replaced.get(&(root, tensor.name.clone()));
                let old = old.filter(|old| old.len() == bytes.len());
                Some((dtype.decode(&bytes), old.map(|old| dtype.decode(old))))
            }
            _ => None,
        };
        layers.push(LayerGamma {
            name: layer.name.clone(),
            values,
        });
    }
    Ok(layers)
}

impl Run {
    /// Takes the layers of the first checkpoint as those of the series.
    fn begin(&mut self, network: &Network, layers: &[LayerGamma]) {
        self.root.clone_from(&network.root);
        let mut unread = Vec::new();
        for layer in layers {
            match &layer.values {
                Some((values, _)) => self.layers.push((layer.name.clone(), values.len())),
                None => unread.push(&layer.name[..]),
            }
        }
        if let Some(first) = unread.first() {
            let count = unread.len();
            self.warnings.push(format!(
                "{count} layers have γ that cannot be read here and are left out ({first}, …)"
            ));
        }
    }

    /// The γ of a checkpoint in the order of the series.
    fn add(
        &self,
        checkpoint: &Checkpoint,
        path: &Path,
        layers: Vec<LayerGamma>,
        mask: &Mask,
    ) -> Result<Read> {
        let first = self.saves.first().map_or(path, |save| &save.path);
        let as_in = |what: String| format!("{what}, as in {}", first.display());
        let mut by_name: HashMap<String, _> = layers
            .into_iter()
            .map(|layer| (layer.name, layer.values))
            .collect();
        let (mut gamma, mut before, mut edited) = (Vec::new(), Vec::new(), false);
        let mut pruned = Vec::new();
        for (name, channels) in &self.layers {
            let found = |found: String| {
                let expected = as_in(format!("a BatchNorm layer of {channels} channels"));
                Error::malformed(path, name, expected, found)
            };
            let (now, old) = match by_name.remove(name) {
                None => return Err(found("no layer of that name".to_owned())),
                Some(None) => return Err(found("γ that cannot be read".to_owned())),
                Some(Some((now, _))) if now.len() != *channels => {
                    return Err(found(format!("{} channels", now.len())));
                }
                Some(Some(values)) => values,
            };
            edited |= old.is_some();
            let start = gamma.len();
            pruned.extend(mask.pruned(name).iter().map(|channel| start + channel));
            before.extend(old.as_ref().unwrap_or(&now));
            gamma.extend(now);
        }
        let mut others: Vec<String> = by_name
            .into_iter()
            .filter(|(_, values)| values.is_some())
            .map(|(name, _)| name)
            .collect();
        others.sort();
        if let Some(name) = others.first() {
            let expected = as_in("no such layer".to_owned());
            return Err(Error::malformed(path, name, expected, "a BatchNorm layer"));
        }
        Ok(Read {
            path: path.to_owned(),
            format: checkpoint.format(),
            epoch: checkpoint.training().epoch(),
            at: 0,
            gamma,
            pruned,
            before: edited.then_some(before),
        })
    }
}
