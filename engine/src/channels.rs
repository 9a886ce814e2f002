//! What only moves channels: concat, slice, shuffle and padding. Each is a list of runs of channels
//! that go from one value to another.

use crate::net::{Graph, Node, Op, Shape};

/// `len` channels from `from` of one value are those from `to` on of another.
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

/// Where the channels of each input go, for a concatenation, slice or padding.
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
