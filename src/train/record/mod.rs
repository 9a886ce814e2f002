//! What a run records for figures: after each epoch γ of every channel, and how large the gradients
//! of the filters before them were (Figures 1, 3, 4 and 7 of the paper).
//!
//! A file an epoch, `records/epoch-N.safetensors`, so that a run that was killed goes on where it
//! was and nothing is ever rewritten. In it are `LAYER.gamma` and `LAYER.gradient`, f32, one number
//! a channel; the metadata holds, as JSON under `record`, the epoch, of how many updates the gradients
//! are the mean, and the names of the layers in the order in which they are computed.

mod recorder;

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::storage::replace_file;

pub(super) use recorder::Recorder;
pub use recorder::SAMPLE_EVERY;

const DIRECTORY: &str = "records";
/// The key in the metadata.
const ABOUT: &str = "record";
/// Far above what a network needs.
const MAX_BYTES: u64 = 1 << 30;

/// What is recorded of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// How many epochs are finished with it.
    pub epoch: u64,
    /// The gradients are means over so many updates.
    pub samples: u64,
    /// All BatchNorm layers in the order in which they are computed.
    pub layers: Vec<RecordedLayer>,
}

/// One BatchNorm layer in an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedLayer {
    /// Its name.
    pub name: String,
    /// γ of each channel at the end of the epoch, before any regeneration.
    pub gamma: Vec<f32>,
    /// Of each channel the mean of |∂loss/∂w| over the weights of its filter and the sampled updates,
    /// before weight decay and clipping; `None` where it was not recorded.
    pub gradient: Option<Vec<f32>>,
}

/// What the metadata of a file says.
#[derive(Serialize, Deserialize)]
struct About {
    epoch: u64,
    samples: u64,
    layers: Vec<String>,
}

/// The directory of the records of the run at `run`.
fn directory(run: &Path) -> PathBuf {
    run.join(DIRECTORY)
}

impl Record {
    /// Writes it among those of the run at `run`.
    pub(super) fn write(&self, run: &Path) -> Result<()> {
        let directory = directory(run);
        fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
        let path = directory.join(format!("epoch-{}.safetensors", self.epoch));
        let bytes = self.encode();
        let bytes = bytes.map_err(|err| Error::refused(&path, err.to_string()))?;
        replace_file(&path, &bytes)
    }

    fn encode(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let mut tensors: Vec<(String, usize, Vec<u8>)> = Vec::new();
        for layer in &self.layers {
            let gradient = layer.gradient.as_ref().map(|values| ("gradient", values));
            for (part, values) in [("gamma", &layer.gamma)].into_iter().chain(gradient) {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                let name = format!("{}.{part}", layer.name);
                tensors.push((name, values.len(), bytes.collect()));
            }
        }
        let views = tensors.iter().map(|(name, len, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![*len], bytes)?;
            Ok::<_, safetensors::SafeTensorError>((&name[..], view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>()?;
        let about = About {
            epoch: self.epoch,
            samples: self.samples,
            layers: self.layers.iter().map(|layer| layer.name.clone()).collect(),
        };
        let about = serde_json::to_string(&about).expect("numbers and names");
        // One entry alone: of several, the order would not be the same every time.
        let metadata = [(ABOUT.to_owned(), about)].into();
        safetensors::serialize(views, Some(metadata))
    }

    /// Reads one file.
    ///
    /// # Errors
    /// It cannot be read, or is no such record.
    fn read(path: &Path) -> Result<Record> {
        let wrong = |found: &dyn std::fmt::Display| {
            Error::malformed(path, "file", "the record of an epoch", found)
        };
        let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
        if size > MAX_BYTES {
            return Err(wrong(&format!("{size} bytes")));
        }
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|err| wrong(&err))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|err| wrong(&err))?;
        let metadata = header.metadata().as_ref();
        let about = metadata.and_then(|all| all.get(ABOUT));
        let about = about.ok_or_else(|| wrong(&format!("no {ABOUT:?} in its metadata")))?;
        let about: About = serde_json::from_str(about).map_err(|err| wrong(&err))?;
        let values = |name: &str| -> Result<Option<Vec<f32>>> {
            let Ok(tensor) = tensors.tensor(name) else {
                return Ok(None);
            };
            if tensor.dtype() != Dtype::F32 {
                return Err(wrong(&format!("{name} in {}", tensor.dtype())));
            }
            let (numbers, _) = tensor.data().as_chunks::<4>();
            Ok(Some(
                numbers.iter().map(|n| f32::from_le_bytes(*n)).collect(),
            ))
        };
        let layer = |name: String| {
            let gamma = values(&format!("{name}.gamma"))?
                .ok_or_else(|| wrong(&format!("no tensor {name}.gamma")))?;
            let gradient = values(&format!("{name}.gradient"))?;
            if let Some(gradient) = &gradient
                && gradient.len() != gamma.len()
            {
                let found = format!("{name} with {} γ and {}", gamma.len(), gradient.len());
                return Err(wrong(&found));
            }
            Ok(RecordedLayer {
                name,
                gamma,
                gradient,
            })
        };
        Ok(Record {
            epoch: about.epoch,
            samples: about.samples,
            layers: about.layers.into_iter().map(layer).collect::<Result<_>>()?,
        })
    }
}

/// The files of the records of the run at `run` with their epochs, ascending; none where nothing was
/// recorded.
fn files(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let directory = directory(run);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::io("list", &directory)(err)),
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let number = name.strip_prefix("epoch-")?.strip_suffix(".safetensors")?;
            Some((number.parse().ok()?, path))
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Reads the records of the run at `run`, in the order of the epochs; none where nothing was
/// recorded. All of them are of the same layers.
///
/// # Errors
/// A file cannot be read, is no record, is that of another epoch than its name says or of another
/// network than the others.
pub fn records(run: &Path) -> Result<Vec<Record>> {
    let mut all: Vec<Record> = Vec::new();
    for (epoch, path) in files(run)? {
        let record = Record::read(&path)?;
        if record.epoch != epoch {
            return Err(Error::malformed(&path, "epoch", epoch, record.epoch));
        }
        let shape = |record: &Record| -> Vec<(String, usize)> {
            let layers = record.layers.iter();
            layers
                .map(|layer| (layer.name.clone(), layer.gamma.len()))
                .collect()
        };
        if all
            .first()
            .is_some_and(|first| shape(first) != shape(&record))
        {
            let expected = "those of the epochs before it";
            return Err(Error::malformed(&path, "layers", expected, "others"));
        }
        all.push(record);
    }
    Ok(all)
}

/// Leaves the records of the first `epochs` epochs: a run that was killed may have written one more,
/// or a part of one.
pub(super) fn keep(run: &Path, epochs: u64) -> Result<()> {
    let remove = |path: &Path| fs::remove_file(path).map_err(Error::io("remove", path));
    for (epoch, path) in files(run)? {
        if epoch > epochs {
            remove(&path)?;
        }
    }
    let Ok(entries) = fs::read_dir(directory(run)) else {
        return Ok(());
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".tmp") {
            remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64) -> Record {
        let layer = |name: &str, gradient| RecordedLayer {
            name: name.to_owned(),
            gamma: vec![0.5, -0.25],
            gradient,
        };
        Record {
            epoch,
            samples: 3,
            layers: vec![
                layer("z", Some(vec![1e-3, f32::MIN_POSITIVE])),
                layer("a", None),
            ],
        }
    }

    #[test]
    fn records_come_back_as_they_were_written_with_their_layers_in_order() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(records(run.path()).unwrap(), []);
        for epoch in [2, 10, 1] {
            record(epoch).write(run.path()).unwrap();
        }
        let read = records(run.path()).unwrap();
        assert_eq!(read, [record(1), record(2), record(10)]);
    }

    #[test]
    fn what_a_killed_run_wrote_too_much_is_removed() {
        let run = tempfile::tempdir().unwrap();
        for epoch in 1..=3 {
            record(epoch).write(run.path()).unwrap();
        }
        let part = directory(run.path()).join(".tmpXYZ");
        fs::write(&part, b"half").unwrap();
        keep(run.path(), 2).unwrap();
        assert_eq!(records(run.path()).unwrap(), [record(1), record(2)]);
        assert!(!part.exists());
    }

    #[test]
    fn a_file_that_is_no_record_is_named() {
        let run = tempfile::tempdir().unwrap();
        record(1).write(run.path()).unwrap();
        let path = directory(run.path()).join("epoch-1.safetensors");
        let whole = fs::read(&path).unwrap();
        for bytes in [&[][..], &whole[..whole.len() - 1], b"{}"] {
            fs::write(&path, bytes).unwrap();
            let message = records(run.path()).unwrap_err().to_string();
            assert!(
                message.contains("epoch-1.safetensors: file: expected the record"),
                "{message}"
            );
        }
        fs::write(directory(run.path()).join("epoch-2.safetensors"), &whole).unwrap();
        fs::write(&path, &whole).unwrap();
        let message = records(run.path()).unwrap_err().to_string();
        assert!(message.contains("epoch: expected 2, found 1"), "{message}");
    }
}
