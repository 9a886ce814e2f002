//! Images in Parquet files, as Hugging Face's `datasets` lays them out: a column of encoded images
//! and a column of labels, the names of the classes in the file's metadata.
//!
//! A row cannot be read by itself from such a file, so all of them are held in memory, encoded.

mod columns;
mod read;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Classified, Dataset, Image, Split, decode, shards};
use crate::error::{Error, Result};

/// More than this is not taken into memory.
const MAX_BYTES: u64 = 16 << 30;

/// All rows of some files.
#[derive(Default)]
struct Rows {
    /// Of each file, its path and the number of its first row.
    files: Vec<(PathBuf, usize)>,
    /// The encoded images, one after the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    labels: Vec<u32>,
}

struct Encoded {
    rows: Rows,
    classes: Vec<String>,
    sizes: Vec<(usize, usize)>,
}

/// Opens the split in `dir`, or in `data` below it; `None` where no Parquet files are there.
pub(super) fn open(dir: &Path, split: Split) -> Option<Result<Box<dyn Classified>>> {
    let names = ["", "data/"].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(dir.join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.map(move |name| format!("{folder}{name}"))
    });
    let names: Vec<String> = names.collect();
    let files = match shards::select(&names, None, split)? {
        Ok(files) => files,
        Err(reason) => return Some(Err(Error::refused(dir, reason))),
    };
    let files: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).collect();
    Some(open_files(&files))
}

/// Opens a set that is in these files.
pub(super) fn open_files(files: &[PathBuf]) -> Result<Box<dyn Classified>> {
    let mut rows = Rows::default();
    let mut names = None;
    for file in files {
        rows.files.push((file.clone(), rows.labels.len()));
        names = read::read(file, &mut rows)?.or(names);
    }
    if rows.labels.is_empty() {
        return Err(Error::malformed(&files[0], "file", "images", "none"));
    }
    let largest = rows.labels.iter().max().map_or(0, |label| *label as usize);
    let classes = names.unwrap_or_else(|| (0..=largest).map(|class| class.to_string()).collect());
    if largest >= classes.len() {
        let row = rows
            .labels
            .iter()
            .position(|label| *label as usize >= classes.len());
        let name = rows.name(row.unwrap_or_default());
        let expected = format!("a label below {}", classes.len());
        return Err(Error::malformed(&name, "label", expected, largest));
    }
    let size = |row: usize| decode::size(std::io::Cursor::new(rows.encoded(row)), &rows.name(row));
    let sizes: Vec<Result<_>> = (0..rows.labels.len()).into_par_iter().map(size).collect();
    let sizes = sizes.into_iter().collect::<Result<_>>()?;
    Ok(Box::new(Encoded {
        rows,
        classes,
        sizes,
    }))
}

impl Rows {
    fn encoded(&self, row: usize) -> &[u8] {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[row]]
    }

    fn name(&self, row: usize) -> PathBuf {
        let file = self.files.partition_point(|(_, first)| *first <= row) - 1;
        let (path, first) = &self.files[file];
        path.join(format!("row {}", row - first))
    }
}

impl Dataset for Encoded {
    fn len(&self) -> usize {
        self.rows.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> PathBuf {
        self.rows.name(index)
    }

    fn size(&self, index: usize) -> Option<(usize, usize)> {
        Some(self.sizes[index])
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        decode::decode(self.rows.encoded(index), &self.rows.name(index), into)
    }
}

impl Classified for Encoded {
    fn class(&self, index: usize) -> u32 {
        self.rows.labels[index]
    }
}
