//! The numbers of an epoch as TensorBoard's event file.

use std::fs::{self, File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use syntaxdot_summary::SummaryWriter;

use super::metrics::Metrics;
use crate::error::{Error, Result};

/// An event file that is being written.
pub(super) struct TensorBoard {
    path: PathBuf,
    writer: SummaryWriter<BufWriter<File>>,
}

impl TensorBoard {
    /// A new file in `directory`: TensorBoard shows what several files of a directory say together,
    /// and of two numbers for an epoch the later one.
    pub(super) fn create(directory: &Path) -> Result<TensorBoard> {
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_micros());
        let process = std::process::id();
        let path = directory.join(format!("events.out.tfevents.{now}.{process}"));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|file| SummaryWriter::new(BufWriter::new(file)))
            .map(|writer| TensorBoard {
                path: path.clone(),
                writer,
            })
            .map_err(Error::io("create", &path))
    }

    /// Adds an epoch.
    pub(super) fn write(&mut self, metrics: &Metrics) -> Result<()> {
        let step = i64::try_from(metrics.epoch).unwrap_or(i64::MAX);
        let scalars = [
            ("loss/train", metrics.train_loss),
            ("loss/test", metrics.test_loss),
            ("top1/train", metrics.train_top1),
            ("top1/test", metrics.test_top1),
            ("lr", metrics.lr),
            ("images_per_s", metrics.images_per_s),
            ("gamma/median", metrics.median_gamma),
            ("gamma/inhibited", metrics.inhibited as f64),
            ("gamma/regenerated", metrics.regenerated as f64),
        ];
        for (tag, value) in scalars {
            self.writer
                .write_scalar(tag, step, value as f32)
                .map_err(Error::io("write", &self.path))?;
        }
        Ok(())
    }
}
