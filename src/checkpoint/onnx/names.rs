//! Names that differ: a graph and the bodies inside it may each have a tensor of one name.

use std::collections::{HashMap, HashSet};

/// The names given so far.
#[derive(Debug, Default)]
pub(super) struct Unique {
    taken: HashSet<String>,
    tried: HashMap<String, usize>,
}

impl Unique {
    /// `name`, or `longer` when it is taken, with a number when that is taken too.
    pub(super) fn take_either(&mut self, name: String, longer: String) -> String {
        if self.taken.contains(&name) {
            self.take(longer)
        } else {
            self.take(name)
        }
    }

    /// `name`, or with a number behind it when it is taken: `name#2`.
    pub(super) fn take(&mut self, name: String) -> String {
        if self.taken.insert(name.clone()) {
            return name;
        }
        let number = self.tried.entry(name.clone()).or_insert(1);
        loop {
            *number += 1;
            let candidate = format!("{name}#{number}");
            if self.taken.insert(candidate.clone()) {
                return candidate;
            }
        }
    }
}
