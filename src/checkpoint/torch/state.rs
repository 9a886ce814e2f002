//! Which parts of a saved object are state dicts: dicts of tensors by name, and pickled modules.
//!
//! An optimizer's state holds tensors too and is none; it is noted for
//! [`optimizer`](super::optimizer).

use std::collections::HashSet;

use super::super::{Role, StateDict, Tensor};
use super::node::NodeId;
use super::tensor::{Reader, Reading, reading};
use super::value::{Saved, Value};
use crate::error::{Error, Result};

/// Dicts within dicts; a real training file has six.
const MAX_DEPTH: usize = 64;
/// Modules within modules; the deepest networks have about fifteen.
const MAX_MODULES: usize = 128;
/// Bytes of all names together, which a pickle may repeat without repeating their text.
const MAX_TEXT: usize = 1 << 28;

/// What a saved object holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The state dicts, in the object's order, an outer one before those inside it.
    pub(super) dicts: Vec<StateDict>,
    /// The optimizers' states and where they lie.
    pub(super) optimizers: Vec<(String, NodeId)>,
    /// Tensors of a kind that is not read, as `name (function)`.
    pub(super) unread: Vec<String>,
    /// Whether some state dict is a pickled module.
    pub(super) has_module: bool,
    /// The tensors that are part of a state dict.
    pub(super) listed: HashSet<NodeId>,
}

/// Finds the state dicts and optimizers anywhere in an object.
pub(super) fn find(saved: &Saved, reader: Reader<'_>) -> Result<Found> {
    // Every container is looked into once; only what an OrderedDict was made from may be shared.
    let steps = saved.arena.len().saturating_mul(4).saturating_add(1024);
    let mut walk = Walk {
        reader,
        found: Found::default(),
        seen: HashSet::new(),
        path: String::new(),
        steps,
        text: MAX_TEXT,
    };
    walk.visit(saved.root(), 0, true)?;
    Ok(walk.found)
}

struct Walk<'a> {
    reader: Reader<'a>,
    found: Found,
    seen: HashSet<NodeId>,
    /// Keys that lead to where the walk is, joined with dots.
    path: String,
    steps: usize,
    text: usize,
}

impl Walk<'_> {
    /// Looks into a value and what it contains. Below an optimizer's or scheduler's key `listing`
    /// is false: what lies there is no network.
    fn visit(&mut self, value: Value<'_>, depth: usize, listing: bool) -> Result<()> {
        let is_leaf =
            value.entries().is_none() && value.items().is_none() && value.call().is_none();
        if is_leaf || !self.seen.insert(value.id) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(self.malformed(&format!("at most {MAX_DEPTH} levels"), "more"));
        }
        if !matches!(reading(value), Reading::NotATensor) {
            return Ok(());
        }
        if let Some(module) = self.module_of(value)? {
            if listing {
                let mut tensors = Vec::new();
                self.module(module, "", 0, &mut tensors)?;
                self.found.has_module = true;
                self.add_dict(tensors)?;
            }
            return Ok(());
        }
        if let Some(entries) = value.entries() {
            if value.get("param_groups").is_some() && value.get("state").is_some() {
                self.charge(self.path.len())?;
                self.found.optimizers.push((self.path.clone(), value.id));
                return self.own_parameters(value);
            }
            let entries = self.dict(entries, listing)?;
            for (key, value) in entries {
                let listing = listing && !is_training_state(&key);
                self.descend(&key, |walk| walk.visit(value, depth + 1, listing))?;
            }
        } else if let Some(items) = value.items() {
            for (n, item) in items.enumerate() {
                self.steps(1)?;
                self.descend(&n.to_string(), |walk| walk.visit(item, depth + 1, listing))?;
            }
        }
        match value.attributes() {
            Some(attributes) => self.visit(attributes, depth + 1, listing),
            None => Ok(()),
        }
    }

    /// An optimizer that is pickled as an object has the network's own parameters in it, not a use of
    /// their bytes by something else.
    fn own_parameters(&mut self, optimizer: Value<'_>) -> Result<()> {
        for group in optimizer
            .get("param_groups")
            .and_then(Value::items)
            .into_iter()
            .flatten()
        {
            for parameter in group
                .get("params")
                .and_then(Value::items)
                .into_iter()
                .flatten()
            {
                self.steps(1)?;
                if let Reading::Tensor(rebuild) = reading(parameter) {
                    self.found.listed.insert(rebuild.id);
                }
            }
        }
        Ok(())
    }

    /// Takes the tensors of a dict as a state dict, if it has any, and returns the other entries.
    fn dict<'v>(
        &mut self,
        entries: impl Iterator<Item = (Value<'v>, Value<'v>)>,
        listing: bool,
    ) -> Result<Vec<(String, Value<'v>)>> {
        let (mut tensors, mut others) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            self.steps(1)?;
            if let Some(name) = key.as_str() {
                if listing && self.tensor(name, value, &mut tensors)? {
                    continue;
                }
                if value.entries().is_some() || value.items().is_some() || value.call().is_some() {
                    self.charge(name.len())?;
                    others.push((name.to_owned(), value));
                }
            } else if let Some(number) = key.as_i64() {
                others.push((number.to_string(), value));
            }
        }
        self.add_dict(tensors)?;
        Ok(others)
    }

    /// Adds `value` under `name` if it is a tensor, and says whether it is one.
    fn tensor(&mut self, name: &str, value: Value<'_>, out: &mut Vec<Tensor>) -> Result<bool> {
        match reading(value) {
            Reading::NotATensor => return Ok(false),
            Reading::Unread(function) => {
                self.charge(name.len())?;
                self.charge(function.len())?;
                self.found.unread.push(format!("{name} ({function})"));
            }
            Reading::Tensor(rebuild) => {
                self.charge(name.len())?;
                out.push(self.reader.read(name, rebuild)?);
                self.found.listed.insert(rebuild.id);
            }
        }
        Ok(true)
    }

    fn add_dict(&mut self, tensors: Vec<Tensor>) -> Result<()> {
        if tensors.is_empty() {
            return Ok(());
        }
        let mut names = HashSet::with_capacity(tensors.len());
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
            let found = format!("{} twice", twice.name);
            return Err(self.malformed("every name once", &found));
        }
        self.charge(self.path.len())?;
        self.found.dicts.push(StateDict {
            role: Role::Raw,
            root: self.path.clone(),
            tensors,
            ordered: true,
        });
        Ok(())
    }

    /// Adds the tensors of a module as `state_dict()` orders and names them: its parameters, its
    /// persistent buffers, then its children's.
    fn module(
        &mut self,
        module: Module<'_>,
        prefix: &str,
        depth: usize,
        out: &mut Vec<Tensor>,
    ) -> Result<()> {
        if depth > MAX_MODULES {
            return Err(self.malformed(&format!("at most {MAX_MODULES} modules deep"), "more"));
        }
        let transient: HashSet<&str> = module.transient.into_iter().flatten().collect();
        let buffers = module
            .buffers
            .entries()
            .into_iter()
            .flatten()
            .filter(|(key, _)| !key.as_str().is_some_and(|key| transient.contains(key)));
        for (key, value) in module
            .parameters
            .entries()
            .into_iter()
            .flatten()
            .chain(buffers)
        {
            self.steps(1)?;
            if let Some(key) = key.as_str() {
                self.tensor(&format!("{prefix}{key}"), value, out)?;
            }
        }
        for (key, value) in module.children.entries().into_iter().flatten() {
            self.steps(1)?;
            if let (Some(key), Some(child)) = (key.as_str(), self.module_of(value)?) {
                let prefix = format!("{prefix}{key}.");
                self.charge(prefix.len())?;
                self.module(child, &prefix, depth + 1, out)?;
            }
        }
        Ok(())
    }

    /// Runs `visit` with `key` appended to the path.
    fn descend(&mut self, key: &str, visit: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let result = visit(self);
        self.path.truncate(len);
        result
    }

    /// The module that a value is, if it is one.
    fn module_of<'v>(&mut self, value: Value<'v>) -> Result<Option<Module<'v>>> {
        // Many objects may share one state, which is then searched for each of them.
        let entries = value.attributes().and_then(Value::entries);
        self.steps(entries.map_or(0, Iterator::count))?;
        let module = Module::of(value);
        let transient = module.as_ref().and_then(|module| module.transient.as_ref());
        self.steps(transient.map_or(0, Vec::len))?;
        Ok(module)
    }

    /// Counts values looked at.
    fn steps(&mut self, n: usize) -> Result<()> {
        self.steps = self.steps.checked_sub(n).ok_or_else(|| self.too_much())?;
        Ok(())
    }

    /// Counts bytes of text kept.
    fn charge(&mut self, len: usize) -> Result<()> {
        self.text = self.text.checked_sub(len).ok_or_else(|| self.too_much())?;
        Ok(())
    }

    fn too_much(&self) -> Error {
        self.malformed(
            "contents in proportion to the file",
            "the same values over and over",
        )
    }

    fn malformed(&self, expected: &str, found: &str) -> Error {
        let place = match &self.path[..] {
            "" => "saved object".to_owned(),
            path => format!("saved object at {}", excerpt(path)),
        };
        Error::malformed(self.reader.path, place, expected, found)
    }
}

/// The beginning of a path, for an error message.
fn excerpt(path: &str) -> &str {
    let end = path
        .char_indices()
        .nth(120)
        .map_or(path.len(), |(at, _)| at);
    &path[..end]
}

/// A key under which trainers keep what belongs to no network.
fn is_training_state(key: &str) -> bool {
    const KEYS: [&str; 14] = [
        "optimizer",
        "optimizers",
        "optimizer_states",
        "optimizer_state_dict",
        "optim",
        "lr_scheduler",
        "lr_schedulers",
        "scheduler",
        "scheduler_state_dict",
        "scaler",
        "amp_scaler",
        "rng_state",
        "rng_states",
        "random_state",
    ];
    KEYS.contains(&key)
}

/// The parts of a pickled `torch.nn.Module`.
struct Module<'a> {
    parameters: Value<'a>,
    buffers: Value<'a>,
    children: Value<'a>,
    /// Names of the buffers that `state_dict()` leaves out.
    transient: Option<Vec<&'a str>>,
}

impl<'a> Module<'a> {
    fn of(value: Value<'a>) -> Option<Module<'a>> {
        let state = value.attributes()?;
        let transient = state.get("_non_persistent_buffers_set").and_then(|set| {
            // Before protocol 4 a set is a call with a list.
            let names = set.call().map_or(Some(set), |(_, args)| args.item(0))?;
            Some(names.items()?.filter_map(Value::as_str).collect())
        });
        Some(Module {
            parameters: state.get("_parameters")?,
            buffers: state.get("_buffers")?,
            children: state.get("_modules")?,
            transient,
        })
    }
}
