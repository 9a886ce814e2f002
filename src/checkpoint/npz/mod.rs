//! NumPy's `.npz`: a zip archive of arrays, each an `.npy` file, stored as they are.

mod header;

use super::format::{Contents, Format, FormatName, Opened, Opening};
use super::zip::{Directory, Refreshed, first_name};
use super::{Patches, StateDict, Tensor, Training, patches};
use crate::error::{Error, Result};
use crate::file::Source;
use header::Header;

const NAME: FormatName = FormatName {
    name: "npz",
    title: "NumPy",
};

/// How to write an archive that can be edited.
const SAVE_AGAIN: &str = "save it again with numpy.savez, which does not compress";

/// How the names of arrays end in the archive.
const END: &str = ".npy";

/// What the dialects call a γ.
const GAMMA: [&str; 3] = ["weight", "gamma", "scale"];

pub(super) struct Npz;

impl Format for Npz {
    fn detect(&self, source: &Source) -> Result<bool> {
        Ok(first_name(source)?.is_some_and(|name| name.ends_with(END)))
    }

    fn open(&self, file: Opening<'_>) -> Result<Opened> {
        let source = file.source;
        let zip = Directory::read(&source, SAVE_AGAIN, |_| Ok(()))?;
        let (mut tensors, mut unread) = (Vec::new(), Vec::new());
        for entry in zip.entries() {
            let Some(name) = entry.name.strip_suffix(END) else {
                unread.push(format!("{} (no array)", entry.name));
                continue;
            };
            let header = Header::read(&source, name, (entry.offset, entry.len))?;
            let Some(dtype) = header.dtype else {
                refuse_gamma(&source, name, &header)?;
                unread.push(format!("{name} ({})", header.descr));
                continue;
            };
            tensors.push(Tensor {
                name: name.to_owned(),
                dtype,
                source: file.number,
                offset: header.data,
                len: entry.offset + entry.len - header.data,
                fixed: header.fixed(),
                scattered: None,
                strides: header.strides(),
                shape: header.shape,
            });
        }
        let note = unread.first().map(|first| {
            let count = unread.len();
            let all = zip.entries().len();
            format!("not read: {count} of {all} entries, such as {first}")
        });
        Ok(Opened {
            format: NAME,
            sources: vec![source],
            // As they were given to numpy.savez.
            dicts: vec![StateDict::flat(tensors, true)],
            training: Training::default(),
            notes: note.into_iter().collect(),
            contents: Box::new(Archive {
                source: file.number,
                zip,
            }),
        })
    }
}

/// Refuses a γ whose elements are not numbers.
fn refuse_gamma(source: &Source, name: &str, header: &Header) -> Result<()> {
    let leaf = name.rsplit(crate::name::SEPARATORS).next();
    if !leaf.is_some_and(|leaf| GAMMA.contains(&leaf)) {
        return Ok(());
    }
    let found = if header.descr.contains('O') {
        "Python objects".to_owned()
    } else {
        header.descr.clone()
    };
    Err(Error::malformed(
        source.path(),
        name,
        "an array of numbers",
        found,
    ))
}

/// The archive's directory.
#[derive(Debug)]
struct Archive {
    /// Which of the sources it is.
    source: usize,
    zip: Directory,
}

impl Contents for Archive {
    fn patches(&self, sources: &[Source], changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        let mut all = patches::in_place(sources, changes)?;
        let own = &mut all.files[self.source];
        let checksums = Refreshed::new(&sources[self.source], &self.zip, own)?;
        own.extend(checksums.into_patches());
        own.sort_by_key(|patch| patch.offset);
        Ok(all)
    }
}
