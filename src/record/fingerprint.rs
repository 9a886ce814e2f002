//! SHA-256 of γ: what a plan is for, what a record has left.

use sha2::{Digest, Sha256};

use crate::dtype::Dtype;
use crate::text::hex;

/// SHA-256, in hexadecimal, of γ: tensors in order of their names, each as name, type, length and
/// bytes. It does not depend on the format of the file or on the order of its layers.
pub(crate) fn fingerprint<'g>(
    gammas: impl IntoIterator<Item = (&'g str, Dtype, &'g [u8])>,
) -> String {
    let mut gammas: Vec<_> = gammas.into_iter().collect();
    gammas.sort_by_key(|(name, ..)| *name);
    let mut hash = Sha256::new();
    for (name, dtype, bytes) in gammas {
        hash.update(name);
        hash.update([0]);
        hash.update(dtype.to_string());
        hash.update([0]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hex(&hash.finalize())
}
