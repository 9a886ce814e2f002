//! Which tensors share bytes. An edit of a γ must not reach a tensor that is no γ, and a γ that
//! several names share is edited once.

use std::collections::HashSet;

use super::super::StateDict;
use super::node::NodeId;
use super::storage::StorageId;
use super::tensor::{Reader, Reading, reading};
use super::value::{Saved, Value};
use crate::error::Result;

/// The byte ranges of every tensor and storage in a file that is not in its state dicts.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Which of the sources the file is.
    source: usize,
    others: Vec<(u64, u64, String)>,
}

/// A γ that must not be edited because another tensor lies on its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Its place: state dict, tensor.
    pub(super) gamma: (usize, usize),
    /// The other tensor, as it reads in a message.
    pub(super) with: String,
}

impl Uses {
    /// Finds the tensors outside the state dicts (an optimizer's, a callback's) and the storages
    /// that something else than a known tensor refers to.
    pub(super) fn find(
        saved: &Saved,
        reader: Reader<'_>,
        listed: &HashSet<NodeId>,
    ) -> Result<Uses> {
        let value = |id| Value {
            arena: &saved.arena,
            id,
        };
        let mut others = Vec::new();
        let mut known = HashSet::new();
        for id in saved.arena.ids() {
            let Reading::Tensor(rebuild) = reading(value(id)) else {
                continue;
            };
            if rebuild.id != id {
                continue;
            }
            known.extend(rebuild.storage().map(|storage| storage.id));
            if !listed.contains(&id) {
                let tensor = reader.read("outside the state dicts", rebuild)?;
                let label = format!("a tensor of shape {:?} outside the networks", tensor.shape);
                others.push((tensor.offset, tensor.offset + tensor.len, label));
            }
        }
        for id in saved.arena.ids().filter(|id| !known.contains(id)) {
            if let Some(Ok(storage)) = value(id).persistent_id().map(StorageId::parse) {
                let extent = storage.locate(reader.storages, reader.path, "a storage")?;
                let label = format!("storage {} as a whole", storage.key);
                others.push((extent.offset, extent.offset + extent.len, label));
            }
        }
        Ok(Uses {
            source: reader.source,
            others,
        })
    }

    /// Of `gammas` (state dict and tensor, as indices into `dicts`), those whose bytes overlap a
    /// tensor that is none of them, or one of them that does not have exactly the same bytes.
    ///
    /// Strided tensors count with the whole range that they are spread over; those of other files do
    /// not count.
    pub(super) fn conflicts(
        &self,
        dicts: &[StateDict],
        gammas: &[(usize, usize)],
    ) -> Vec<Conflict> {
        let gamma_set: HashSet<(usize, usize)> = gammas.iter().copied().collect();
        let mut spans: Vec<Span<'_>> = Vec::new();
        for (d, dict) in dicts.iter().enumerate() {
            let tensors = dict.tensors.iter().enumerate();
            for (t, tensor) in tensors.filter(|(_, tensor)| tensor.source == self.source) {
                let owner = Owner::Listed(dict, t);
                let gamma = gamma_set.contains(&(d, t));
                spans.push(Span {
                    start: tensor.offset,
                    end: tensor.offset + tensor.len,
                    gamma,
                    owner,
                });
            }
        }
        for (start, end, label) in &self.others {
            let (start, end, owner) = (*start, *end, Owner::Loose(label));
            spans.push(Span {
                start,
                end,
                gamma: false,
                owner,
            });
        }
        spans.retain(|span| span.start < span.end);
        spans.sort_by_key(|span| (span.start, span.end));
        let groups: Vec<&[Span<'_>]> = spans
            .chunk_by(|a, b| (a.start, a.end) == (b.start, b.end))
            .collect();
        // Of the groups before each, the one that reaches farthest.
        let mut farthest: Vec<Option<usize>> = Vec::with_capacity(groups.len());
        let mut best: Option<usize> = None;
        for (n, group) in groups.iter().enumerate() {
            farthest.push(best);
            if best.is_none_or(|b| groups[b][0].end < group[0].end) {
                best = Some(n);
            }
        }
        let conflict_of = |start: u64, end: u64| -> Option<String> {
            let n = groups
                .binary_search_by_key(&(start, end), |g| (g[0].start, g[0].end))
                .ok()?;
            let inside = groups[n].iter().find(|span| !span.gamma);
            let before = || {
                farthest[n]
                    .map(|b| &groups[b][0])
                    .filter(|span| span.end > start)
            };
            let after = || {
                groups
                    .get(n + 1)
                    .map(|g| &g[0])
                    .filter(|span| span.start < end)
            };
            Some(inside.or_else(before).or_else(after)?.owner.label())
        };
        let conflict = |&(d, t): &(usize, usize)| {
            let tensor = dicts.get(d)?.tensors.get(t)?;
            let with = conflict_of(tensor.offset, tensor.offset + tensor.len)?;
            Some(Conflict {
                gamma: (d, t),
                with,
            })
        };
        gammas.iter().filter_map(conflict).collect()
    }
}

struct Span<'a> {
    start: u64,
    end: u64,
    gamma: bool,
    owner: Owner<'a>,
}

enum Owner<'a> {
    Listed(&'a StateDict, usize),
    Loose(&'a str),
}

impl Owner<'_> {
    fn label(&self) -> String {
        match self {
            Owner::Loose(label) => (*label).to_owned(),
            Owner::Listed(dict, t) => {
                let name = &dict.tensors[*t].name;
                if dict.root.is_empty() {
                    name.clone()
                } else {
                    format!("{name} of {}", dict.root)
                }
            }
        }
    }
}
