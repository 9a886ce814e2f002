//! New bytes of tensors → patches of files, with the checksums and lengths that a format keeps
//! over them.

use std::collections::{HashMap, HashSet};

use super::{Checkpoint, Tensor, onnx, torch};
use crate::error::{Error, Result};
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

impl Checkpoint {
    /// The patches that give these tensors, each named once, new bytes of the same length.
    pub(crate) fn patches(&self, changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        if let Some(parts) = &self.parts.onnx {
            let edits = onnx::patches(&self.sources, &parts.checksums, changes)?;
            let mut files = vec![Vec::new(); self.sources.len()];
            for (source, patch) in edits.patches {
                files[source].push(patch);
            }
            return Ok(Patches {
                files,
                resizes: edits.resizes,
                notes: edits.notes,
            });
        }
        let mut files: Vec<Vec<Patch>> = vec![Vec::new(); self.sources.len()];
        for (tensor, new) in changes {
            let old = self.read(tensor)?;
            assert_eq!(
                old.len(),
                new.len(),
                "{}: an edit keeps the length",
                tensor.name
            );
            files[tensor.source].push(Patch {
                offset: tensor.offset,
                old,
                new: new.to_vec(),
            });
        }
        for (number, patches) in files.iter_mut().enumerate() {
            patches.sort_by_key(|patch| patch.offset);
            let overlap = patches
                .windows(2)
                .any(|pair| pair[0].offset + pair[0].old.len() as u64 > pair[1].offset);
            if overlap {
                let path = self.sources[number].path();
                let found = "two that lie on the same bytes";
                return Err(Error::malformed(
                    path,
                    "tensors to edit",
                    "disjoint ones",
                    found,
                ));
            }
            if let Some(Some(parts)) = self.parts.torch.get(number)
                && let Some(zip) = &parts.zip
                && !patches.is_empty()
            {
                let more = torch::checksum::patches(&self.sources[number], zip, patches)?;
                patches.extend(more);
                patches.sort_by_key(|patch| patch.offset);
            }
        }
        Ok(Patches {
            files,
            resizes: false,
            notes: Vec::new(),
        })
    }

    /// Of `gammas` (state dict and tensor, as indices), those whose bytes something that is none of
    /// them uses too, and what that is.
    pub(crate) fn shared_gammas(
        &self,
        gammas: &HashSet<(usize, usize)>,
    ) -> HashMap<(usize, usize), String> {
        let mut shared = HashMap::new();
        for (source, parts) in self.parts.torch.iter().enumerate() {
            let Some(parts) = parts else { continue };
            // The ranges of one file say nothing about those of another.
            let mut dicts = Vec::with_capacity(self.dicts.len());
            let mut here = HashMap::new();
            for (number, state) in self.dicts.iter().enumerate() {
                let mut kept = Vec::new();
                for (index, tensor) in state.tensors.iter().enumerate() {
                    if tensor.source == source {
                        if gammas.contains(&(number, index)) {
                            here.insert((number, kept.len()), (number, index));
                        }
                        kept.push(tensor.clone());
                    }
                }
                dicts.push(super::StateDict {
                    root: state.root.clone(),
                    tensors: kept,
                    ordered: state.ordered,
                    role: state.role,
                });
            }
            let places: Vec<(usize, usize)> = here.keys().copied().collect();
            let conflicts = parts.uses.conflicts(&dicts, &places);
            shared.extend(
                conflicts
                    .into_iter()
                    .map(|conflict| (here[&conflict.gamma], conflict.with)),
            );
        }
        shared
    }
}
