//! JSON objects in which a key that occurs twice is an error: two programs that read such a file
//! may each take another value for the true one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// The entries of an object, in order.
pub(super) fn unique_entries<'de, D, V>(deserializer: D) -> Result<Vec<(String, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    unique_entries_except(deserializer, None)
}

/// As [`unique_entries`], without the entry of key `skipped`, whose value is a map of texts or
/// null.
pub(super) fn unique_entries_except<'de, D, V>(
    deserializer: D,
    skipped: Option<&'static str>,
) -> Result<Vec<(String, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(Entries {
        skipped,
        value: PhantomData,
    })
}

struct Entries<V> {
    skipped: Option<&'static str>,
    value: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let mut skipped = 0;
        while let Some(key) = map.next_key::<String>()? {
            if Some(&key[..]) == self.skipped {
                skipped += 1;
                map.next_value::<Option<HashMap<String, String>>>()?;
                continue;
            }
            let at = |err: A::Error| A::Error::custom(format!("{key:?}: {err}"));
            let value = map.next_value().map_err(at)?;
            entries.push((key, value));
        }
        let mut seen = HashSet::with_capacity(entries.len());
        let twice = entries
            .iter()
            .map(|(key, _)| &key[..])
            .find(|key| !seen.insert(*key));
        match twice.or(self.skipped.filter(|_| skipped > 1)) {
            Some(key) => Err(A::Error::custom(format!("the key {key:?} twice"))),
            None => Ok(entries),
        }
    }
}
