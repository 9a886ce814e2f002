//! What a network is to learn of an image.

/// The truth about one image, as a [`Task`](crate::engine::Task) asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// One class: an index into [`Dataset::classes`](super::Dataset::classes).
    Class(u32),
}

impl Target {
    /// Its labels, in the order in which a batch has them.
    pub fn labels(&self) -> &[u32] {
        match self {
            Target::Class(class) => std::slice::from_ref(class),
        }
    }
}
