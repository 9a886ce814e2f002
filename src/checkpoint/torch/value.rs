//! Looking into what a pickle describes: typed views of the nodes of an [`Arena`].

use super::node::{Arena, Node, NodeId};

/// What `torch.save` was given: the nodes of its pickle and which of them is the whole.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(super) arena: Arena,
    pub(super) root: NodeId,
}

impl Saved {
    /// The whole object.
    pub(crate) fn root(&self) -> Value<'_> {
        Value {
            arena: &self.arena,
            id: self.root,
        }
    }
}

/// One value of a pickle. Asking for what it is not gives `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(super) arena: &'a Arena,
    pub(super) id: NodeId,
}

impl<'a> Value<'a> {
    pub(super) fn node(self) -> &'a Node {
        self.arena.node(self.id)
    }

    /// What it is, with its article, for error messages.
    pub(crate) fn kind(self) -> &'static str {
        self.node().kind()
    }

    fn at(self, id: NodeId) -> Value<'a> {
        Value {
            arena: self.arena,
            id,
        }
    }

    /// Whether it is Python's `None`.
    pub(crate) fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// An integer of at most 64 bits.
    pub(crate) fn as_i64(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> Option<&'a str> {
        match self.node() {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, tuple or set, or what was appended to an object.
    pub(crate) fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'a>>> {
        let ids: &'a [NodeId] = match self.node() {
            Node::Tuple(ids) => ids,
            Node::List(ids) | Node::Set(ids) => ids,
            Node::Object(object) if !object.elements.is_empty() => &object.elements,
            _ => return None,
        };
        Some(ids.iter().map(move |id| self.at(*id)))
    }

    /// The `n`th item of a list or tuple.
    pub(crate) fn item(self, n: usize) -> Option<Value<'a>> {
        self.items()?.nth(n)
    }

    /// The entries of a dict, or of an object that is filled like one (an OrderedDict, also one
    /// that is made from a list of pairs). A key that was set twice comes twice.
    pub(crate) fn entries(self) -> Option<impl Iterator<Item = (Value<'a>, Value<'a>)>> {
        let (made_from, first, then): (&[NodeId], &[_], &[_]) = match self.node() {
            Node::Dict(entries) => (&[], entries, &[]),
            Node::Object(object) if self.is_ordered_dict() => {
                let argument = self.at(object.args).item(0).map(Value::node);
                match argument {
                    Some(Node::List(pairs)) => (pairs, &[], &object.entries),
                    Some(Node::Tuple(pairs)) => (pairs, &[], &object.entries),
                    Some(Node::Dict(entries)) => (&[], entries, &object.entries),
                    _ => (&[], &[], &object.entries),
                }
            }
            Node::Object(object) if !object.entries.is_empty() => (&[], &[], &object.entries),
            _ => return None,
        };
        let pairs = made_from.iter().filter_map(move |id| {
            let pair = self.at(*id);
            Some((pair.item(0)?, pair.item(1)?))
        });
        let set = first.iter().chain(then);
        Some(pairs.chain(set.map(move |(key, value)| (self.at(*key), self.at(*value)))))
    }

    /// The value of a dict's entry, the last where the key was set twice.
    pub(crate) fn get(self, key: &str) -> Option<Value<'a>> {
        let matching = self.entries()?.filter(|(k, _)| k.as_str() == Some(key));
        matching.last().map(|(_, value)| value)
    }

    /// The argument of an object's `__setstate__`.
    pub(crate) fn state(self) -> Option<Value<'a>> {
        match self.node() {
            Node::Object(object) => Some(self.at(object.state?)),
            _ => None,
        }
    }

    /// The attributes of an object, as its state gives them.
    pub(crate) fn attributes(self) -> Option<Value<'a>> {
        let state = self.state()?;
        match state.node() {
            // An object with slots: its attributes first, then the slots.
            Node::Tuple(_) => state.item(0),
            _ => Some(state),
        }
    }

    /// Module and name of a class or function, also of one that is stored with its source text.
    pub(crate) fn as_global(self) -> Option<(&'a str, &'a str)> {
        match self.node() {
            Node::Global { module, name } => {
                Some((self.at(*module).as_str()?, self.at(*name).as_str()?))
            }
            Node::Persistent(id) => {
                let id = self.at(*id);
                let class = id.item(1)?;
                let is_module = id.item(0)?.as_str() == Some("module");
                let is_global = matches!(class.node(), Node::Global { .. });
                (is_module && is_global).then(|| class.as_global())?
            }
            _ => None,
        }
    }

    /// The call that would have made an object: function or class, and arguments.
    pub(crate) fn call(self) -> Option<(Value<'a>, Value<'a>)> {
        match self.node() {
            Node::Object(object) => Some((self.at(object.callable), self.at(object.args))),
            _ => None,
        }
    }

    /// The identity of something stored outside the pickle.
    pub(super) fn persistent_id(self) -> Option<Value<'a>> {
        match self.node() {
            Node::Persistent(id) => Some(self.at(*id)),
            _ => None,
        }
    }

    fn is_ordered_dict(self) -> bool {
        let class = self.call().and_then(|(callable, _)| callable.as_global());
        class == Some(("collections", "OrderedDict"))
    }
}
