//! The binary version: records of one length, labels and then pixels; names of classes as text.

use std::path::{Path, PathBuf};

use super::{IMAGE, Kind, Planes};
use crate::error::{Error, Result};
use crate::file::Source;

pub(super) fn read(kind: Kind, file: &Path, into: &mut Planes) -> Result<()> {
    // CIFAR-100 has the coarse label first.
    let labels = match kind {
        Kind::Cifar10 => 1,
        Kind::Cifar100 => 2,
    };
    let source = Source::open(file)?;
    let record = labels + IMAGE;
    if source.len() % record as u64 != 0 {
        let expected = format!("records of {record} bytes");
        let found = format!(
            "{} of them and {} bytes",
            source.len() / record as u64,
            source.len() % record as u64
        );
        return Err(Error::malformed(file, "file", expected, found));
    }
    let bytes = source.read_at(0, source.len() as usize)?;
    into.planes.reserve(bytes.len());
    for record in bytes.chunks_exact(record) {
        let (labels, planes) = record.split_at(labels);
        into.labels
            .extend(labels.last().map(|fine| u32::from(*fine)));
        into.planes.extend_from_slice(planes);
    }
    Ok(())
}

/// The names of the classes and the file they stand in, where it is there.
pub(super) fn classes(kind: Kind, dir: &Path) -> Result<Option<(PathBuf, Vec<String>)>> {
    let file = dir.join(match kind {
        Kind::Cifar10 => "batches.meta.txt",
        Kind::Cifar100 => "fine_label_names.txt",
    });
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names = names.map(str::to_owned).collect();
    Ok(Some((file, names)))
}
