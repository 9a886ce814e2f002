//! A pickle that is no checkpoint: what a Python program saved with `pickle.dump`.

use std::path::Path;

use super::node::Node;
use super::pickle;
use super::value::{Saved, Value};
use crate::error::Result;
use crate::file::Source;

/// A pickle that was read; nothing in it was executed.
pub(crate) struct Pickled {
    bytes: Vec<u8>,
    saved: Saved,
}

impl Pickled {
    /// Reads a file that is one pickle.
    ///
    /// # Errors
    /// The file cannot be read, or holds no pickle.
    pub(crate) fn read(path: &Path) -> Result<Pickled> {
        let source = Source::open(path)?;
        let bytes = source.read_at(0, source.len() as usize)?;
        let parsed = pickle::parse(&bytes).map_err(|fault| fault.into_error(path, "pickle", 0))?;
        let saved = Saved {
            arena: parsed.arena,
            root: parsed.root,
        };
        Ok(Pickled { bytes, saved })
    }

    /// The whole object.
    pub(crate) fn root(&self) -> Value<'_> {
        self.saved.root()
    }

    /// The bytes of a byte string: of Python 3, or of Python 2 where they are more than 255.
    pub(crate) fn bytes_of(&self, value: Value<'_>) -> Option<&[u8]> {
        match *value.node() {
            Node::Bytes { at, len } => self.bytes.get(at..)?.get(..len),
            _ => None,
        }
    }
}
