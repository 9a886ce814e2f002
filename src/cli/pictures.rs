//! `--html`, `--svg` and `--png`: renderers that write files.

use std::path::{Path, PathBuf};

use super::args::PictureArgs;
use super::output;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::file::{same_file, same_place};
use crate::inspect::{Html, Render, Report, Svg};
use crate::record::record_path;
use crate::storage;

impl PictureArgs {
    /// Every picture that is asked for.
    fn all(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = [
            ("--html", &self.html),
            ("--svg", &self.svg),
            ("--png", &self.png),
        ];
        all.into_iter()
            .filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }

    pub(super) fn any(&self) -> bool {
        self.all().next().is_some()
    }

    /// Refuses what cannot be meant, before anything is read.
    pub(super) fn check(&self, paths: usize) -> Result<()> {
        let Some((option, _)) = self.all().next() else {
            return Ok(());
        };
        if paths != 1 {
            let message = format!("{option} shows one checkpoint, not {paths}: name one PATH");
            return Err(Error::Usage(message));
        }
        if self.png.is_some() && cfg!(not(feature = "png")) {
            let message = "this build writes no PNG: --svg does; or build with --features png";
            return Err(Error::Usage(message.to_owned()));
        }
        let mut seen: Vec<&Path> = Vec::new();
        for (option, path) in self.all() {
            if seen.iter().any(|seen| same_place(seen, path)) {
                let message = format!("{option} {} is another picture's file", path.display());
                return Err(Error::Usage(message));
            }
            seen.push(path);
        }
        Ok(())
    }

    /// Writes them.
    pub(super) fn write(&self, checkpoint: &Checkpoint, report: &Report) -> Result<()> {
        for (option, path) in self.all() {
            refuse_checkpoint(checkpoint, option, path)?;
        }
        for (option, path) in self.all() {
            match option {
                "--html" => write(&Html, report, path)?,
                "--svg" => write(&Svg, report, path)?,
                #[cfg(feature = "png")]
                _ => write(&crate::inspect::Png, report, path)?,
                #[cfg(not(feature = "png"))]
                _ => self.check(1)?,
            }
        }
        Ok(())
    }
}

/// A picture must not replace what it shows, nor what takes its last edit back.
pub(super) fn refuse_checkpoint(checkpoint: &Checkpoint, option: &str, path: &Path) -> Result<()> {
    let what = if checkpoint.files().any(|file| same_file(file, path)) {
        "the checkpoint itself"
    } else if same_file(&record_path(checkpoint.anchor()), path) {
        "the record that undo needs"
    } else {
        return Ok(());
    };
    let message = format!("{option} {} is {what}", path.display());
    Err(Error::Usage(message))
}

/// The same for several checkpoints. One that cannot be opened is left to who reads it to refuse.
pub(super) fn refuse_checkpoints(paths: &[PathBuf], option: &str, path: &Path) -> Result<()> {
    let open = paths.iter().filter_map(|path| Checkpoint::open(path).ok());
    open.into_iter()
        .try_for_each(|checkpoint| refuse_checkpoint(&checkpoint, option, path))
}

/// Renders into a file, which is replaced as a whole.
pub(super) fn write<View: ?Sized>(
    renderer: &dyn Render<View>,
    view: &View,
    path: &Path,
) -> Result<()> {
    let mut bytes = Vec::new();
    let rendered = renderer.render(view, &mut bytes);
    rendered.map_err(Error::io("draw", path))?;
    storage::replace_file(path, &bytes)?;
    output::talk_plainly(&format!("wrote {}", path.display()));
    Ok(())
}
