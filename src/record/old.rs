//! The bytes that an edit replaced.

use serde::{Deserialize, Serialize};

use super::TensorName;

/// Unchanged bytes between two changed ones that are kept rather than starting another range.
const BRIDGED: usize = 32;

/// A tensor that changed, as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldBytes {
    #[serde(flatten)]
    pub(crate) tensor: TensorName,
    /// All of its bytes, or those of the ranges.
    #[serde(with = "crate::file::base64_bytes")]
    pub(crate) bytes: Vec<u8>,
    /// Where they stood, each as first byte and length, in ascending order; none where they are all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ranges: Vec<(usize, usize)>,
}

impl OldBytes {
    /// A tensor that is kept as a whole.
    pub(super) fn whole(tensor: TensorName, before: &[u8]) -> OldBytes {
        OldBytes {
            tensor,
            bytes: before.to_vec(),
            ranges: Vec::new(),
        }
    }

    /// A tensor of which only what changes is kept.
    pub(super) fn changed(tensor: TensorName, before: &[u8], after: &[u8]) -> OldBytes {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        let both = before.iter().zip(after).enumerate();
        for (at, _) in both.filter(|(_, (before, after))| before != after) {
            match ranges.last_mut() {
                Some((start, len)) if at - (*start + *len) <= BRIDGED => *len = at + 1 - *start,
                _ => ranges.push((at, 1)),
            }
        }
        let kept = ranges.iter().map(|(start, len)| &before[*start..][..*len]);
        OldBytes {
            tensor,
            bytes: kept.collect::<Vec<_>>().concat(),
            ranges,
        }
    }

    /// The bytes of the tensor before the edit, given those that it has now; `None` where these are
    /// not as many.
    pub(crate) fn in_place_of(&self, mut now: Vec<u8>) -> Option<Vec<u8>> {
        if self.ranges.is_empty() {
            return (now.len() == self.bytes.len()).then(|| self.bytes.clone());
        }
        let mut rest = &self.bytes[..];
        for (start, len) in &self.ranges {
            let (old, behind) = rest.split_at_checked(*len)?;
            now.get_mut(*start..start.checked_add(*len)?)?
                .copy_from_slice(old);
            rest = behind;
        }
        rest.is_empty().then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_kept_in_few_ranges_and_put_back() {
        let name = || TensorName {
            dict: String::new(),
            name: "conv.weight".to_owned(),
        };
        let before: Vec<u8> = (0..200).collect();
        let mut after = before.clone();
        for at in [0, 3, 100, 199] {
            after[at] = 255;
        }
        let old = OldBytes::changed(name(), &before, &after);
        assert_eq!(old.ranges, [(0, 4), (100, 1), (199, 1)]);
        assert_eq!(old.bytes, [0, 1, 2, 3, 100, 199]);
        assert_eq!(old.in_place_of(after.clone()), Some(before.clone()));
        assert_eq!(old.in_place_of(after[..150].to_vec()), None);
        let whole = OldBytes::whole(name(), &before);
        assert_eq!(whole.in_place_of(after), Some(before));
        assert_eq!(whole.in_place_of(vec![0; 3]), None);
    }
}
