//! Where a kernel writes its result.

/// The result of a kernel, which is overwritten, or added to where several gradients meet.
#[derive(Debug)]
pub(in crate::cpu) struct Destination<'a> {
    pub(in crate::cpu) data: &'a mut [f32],
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
}

impl Destination<'_> {
    /// A result that overwrites what is there.
    pub(in crate::cpu) fn overwrite(data: &mut [f32]) -> Destination<'_> {
        Destination { data, add: false }
    }
}
