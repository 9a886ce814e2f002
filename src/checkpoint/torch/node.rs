//! What a pickle describes, as an arena of nodes. Nothing is ever run: a call stays a record of
//! what would have been called, and with what.

use std::fmt;

/// Nodes in one arena, whatever the pickle's length: 2²⁴ of them take about half a gigabyte.
const MAX_NODES: usize = 1 << 24;

/// The place of a node in its [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

/// One value of a pickle. Nodes refer to each other by [`NodeId`], so that a cycle is possible
/// and dropping a deep structure needs no stack.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that needs more than 64 bits, as it is written: two's complement from the least
    /// significant byte up, or (protocol 0) decimal digits.
    BigInt(Box<[u8]>),
    Float(f64),
    /// Text; bytes that are no UTF-8 became U+FFFD.
    Str(Box<str>),
    /// Where they stand in the pickle.
    #[cfg_attr(
        not(feature = "train"),
        expect(dead_code, reason = "only data sets are in them")
    )]
    Bytes {
        at: usize,
        len: usize,
    },
    Tuple(Box<[NodeId]>),
    List(Vec<NodeId>),
    /// Key and value in the order they were set. A key may occur twice: Python keeps the last.
    Dict(Vec<(NodeId, NodeId)>),
    Set(Vec<NodeId>),
    /// A class or function, by the nodes of its module and name.
    Global {
        module: NodeId,
        name: NodeId,
    },
    /// The result of a call that was not made.
    Object(Box<Object>),
    /// Something stored outside the pickle, by the node that identifies it.
    Persistent(NodeId),
}

/// A call that was not made, and what would have been done to its result.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) callable: NodeId,
    pub(super) args: NodeId,
    /// The argument of `__setstate__`.
    pub(super) state: Option<NodeId>,
    /// `object[key] = value`, in order.
    pub(super) entries: Vec<(NodeId, NodeId)>,
    /// `object.append(value)` or `object.add(value)`, in order.
    pub(super) elements: Vec<NodeId>,
}

/// The nodes of one pickle.
pub(crate) struct Arena {
    nodes: Vec<Node>,
    /// Nodes of 0..=255, made when first wanted: nearly every integer of a pickle is one of them.
    small: Box<[Option<NodeId>; 256]>,
}

impl Arena {
    pub(super) const NONE: NodeId = NodeId(0);
    pub(super) const FALSE: NodeId = NodeId(1);
    pub(super) const TRUE: NodeId = NodeId(2);
    pub(super) const EMPTY_TUPLE: NodeId = NodeId(3);

    pub(super) fn new() -> Arena {
        let empty = Node::Tuple(Box::default());
        let nodes = vec![Node::None, Node::Bool(false), Node::Bool(true), empty];
        let small = Box::new([None; 256]);
        Arena { nodes, small }
    }

    /// Adds a node; `None` when the arena is full.
    pub(super) fn push(&mut self, node: Node) -> Option<NodeId> {
        if let Node::Int(value @ 0..=255) = node {
            if let Some(id) = self.small[value as usize] {
                return Some(id);
            }
            let id = self.append(node)?;
            self.small[value as usize] = Some(id);
            return Some(id);
        }
        self.append(node)
    }

    fn append(&mut self, node: Node) -> Option<NodeId> {
        if self.nodes.len() >= MAX_NODES {
            return None;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        Some(id)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} nodes)", self.nodes.len())
    }
}

impl Node {
    /// What the node is, with its article, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) | Node::BigInt(_) => "an integer",
            Node::Float(_) => "a float",
            Node::Str(_) => "a string",
            Node::Bytes { .. } => "bytes",
            Node::Tuple(_) => "a tuple",
            Node::List(_) => "a list",
            Node::Dict(_) => "a dict",
            Node::Set(_) => "a set",
            Node::Global { .. } => "a class or function",
            Node::Object(_) => "an object",
            Node::Persistent(_) => "a persistent id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_at_most_32_bytes() {
        assert!(size_of::<Node>() <= 32);
    }

    #[test]
    fn small_integers_are_kept_once() {
        let mut arena = Arena::new();
        let first = arena.push(Node::Int(7));
        assert_eq!(arena.push(Node::Int(7)), first);
        assert_ne!(arena.push(Node::Int(300)), arena.push(Node::Int(300)));
    }
}
