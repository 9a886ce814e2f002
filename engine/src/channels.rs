//! The channel copies that concatenation, slice, channel shuffle and channel padding consist of.

use crate::net::{Graph, Node, Op, Shape};

/// A contiguous run of channels: channels `from..from + len` of an input are channels `to..to + len` of the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) len: usize,
}

/// The runs of a channel shuffle: channel g · (C / groups) + i goes to i · groups + g.
pub(super) fn shuffle(channels: usize, groups: usize) -> impl Iterator<Item = Run> {
    let each = channels / groups;
    (0..channels).map(move |from| Run {
        from,
        to: from % each * groups + from / each,
        len: 1,
    })
}

/// The run of channels that is copied from each input of a concatenation, slice or channel padding.
pub(super) fn runs<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = Run> + 'a {
    let mut next = 0;
    node.inputs.iter().map(move |input| {
        let Shape { channels, .. } = graph.shape(*input);
        let (from, to, len) = match node.op {
            Op::Slice { start, len } => (start, 0, len),
            Op::PadChannels { before, .. } => (0, before, channels),
            _ => (0, next, channels),
        };
        next += channels;
        Run { from, to, len }
    })
}
