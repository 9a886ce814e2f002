//! The numbers of an epoch as TensorBoard's event file.

mod events;

use std::fs::{self, File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::metrics::Metrics;
use crate::error::{Error, Result};
use events::Events;

/// An event file that is being written.
#[derive(Debug)]
pub(super) struct TensorBoard {
    path: PathBuf,
    events: Events<BufWriter<File>>,
}

impl TensorBoard {
    /// A new file in `directory`: TensorBoard shows what several files of a directory say together,
    /// and of two numbers for an epoch the later one.
    pub(super) fn create(directory: &Path) -> Result<TensorBoard> {
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        let (now, process) = (now(), std::process::id());
        let name = format!("events.out.tfevents.{}.{process}", now.as_micros());
        let path = directory.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let events = file.and_then(|file| Events::new(BufWriter::new(file), now.as_secs_f64()));
        let events = events.map_err(Error::io("create", &path))?;
        Ok(TensorBoard { path, events })
    }

    /// Adds an epoch.
    pub(super) fn write(&mut self, metrics: &Metrics) -> Result<()> {
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
        let scenes = [
            ("miou/test", metrics.test_miou),
            ("score/test", metrics.test_score),
        ];
        let scenes = scenes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let scalars: Vec<(&str, f64)> = scalars.into_iter().chain(scenes).collect();
        self.events
            .scalars(now().as_secs_f64(), metrics.epoch, &scalars)
            .map_err(Error::io("write", &self.path))
    }
}

/// Since 1970.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
