//! New bytes of tensors → patches of files.

use std::collections::{HashMap, HashSet};

use super::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;

/// What an edit writes.
#[derive(Debug)]
pub(crate) struct Patches {
    /// One list for each of [`Checkpoint::sources`], by offset and disjoint.
    pub(crate) files: Vec<Vec<Patch>>,
    /// Whether a patch changes the length of its file.
    pub(crate) resizes: bool,
    /// Facts that a user should hear of.
    pub(crate) notes: Vec<String>,
}

impl Patches {
    pub(super) fn none(sources: usize) -> Patches {
        Patches {
            files: vec![Vec::new(); sources],
            resizes: false,
            notes: Vec::new(),
        }
    }

    fn extend(&mut self, other: Patches) {
        for (all, more) in self.files.iter_mut().zip(other.files) {
            all.extend(more);
        }
        self.resizes |= other.resizes;
        self.notes.extend(other.notes);
    }
}

/// The patches that give these tensors, each in one piece, new bytes of the same length.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn in_place(sources: &[Source], changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
    let mut all = Patches::none(sources.len());
    for (tensor, new) in changes {
        let old = tensor.piece(&sources[tensor.source])?;
        assert_eq!(
            old.len(),
            new.len(),
            "{}: an edit keeps the length",
            tensor.name
        );
        all.files[tensor.source].push(Patch {
            offset: tensor.offset,
            old,
            new: new.to_vec(),
        });
    }
    for patches in &mut all.files {
        patches.sort_by_key(|patch| patch.offset);
    }
    Ok(all)
}

impl Checkpoint {
    /// The patches that give these tensors, each named once, new bytes of the same length.
    ///
    /// # Errors
    /// A file that cannot be read; two of the tensors lie on the same bytes.
    pub(crate) fn patches(&self, changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        self.check_disjoint(changes)?;
        let mut all = Patches::none(self.sources.len());
        for part in &self.parts {
            let own = changes.iter().copied();
            let own: Vec<_> = own
                .filter(|(t, _)| part.sources.contains(&t.source))
                .collect();
            if !own.is_empty() {
                all.extend(part.contents.patches(&self.sources, &own)?);
            }
        }
        Ok(all)
    }

    fn check_disjoint(&self, changes: &[(&Tensor, &[u8])]) -> Result<()> {
        let tensors = changes.iter().map(|(tensor, _)| *tensor);
        // Those that a format keeps in pieces lie in them alone.
        let mut whole: Vec<&Tensor> = tensors.filter(|t| t.scattered.is_none()).collect();
        whole.sort_by_key(|tensor| (tensor.source, tensor.offset));
        let overlap = whole.windows(2).find(|pair| {
            pair[0].source == pair[1].source && pair[0].offset + pair[0].len > pair[1].offset
        });
        match overlap {
            None => Ok(()),
            Some(pair) => Err(Error::malformed(
                self.sources[pair[0].source].path(),
                "tensors to edit",
                "disjoint ones",
                format!("{} and {} on the same bytes", pair[0].name, pair[1].name),
            )),
        }
    }

    /// Of `gammas` (state dict and tensor, as indices), those whose bytes something that is none of
    /// them uses too, and what that is.
    pub(crate) fn shared_gammas(
        &self,
        gammas: &HashSet<(usize, usize)>,
    ) -> HashMap<(usize, usize), String> {
        let parts = self.parts.iter();
        parts
            .flat_map(|part| part.contents.shared(&self.dicts, gammas))
            .collect()
    }
}
