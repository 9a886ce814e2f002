//! Which values of label maps are which classes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::train::text;

/// The values of a data set's label maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelValues {
    /// Those of the classes, in their order; none: 0, 1, …, one for each name of a class.
    pub classes: Option<ValueList>,
    /// Those that do not count; none: 255.
    pub ignored: Option<ValueList>,
}

/// Values from 0 to 255, as in `1-150` or `0,7-9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueList(Vec<RangeInclusive<u8>>);

impl ValueList {
    fn values(&self) -> impl Iterator<Item = u8> {
        self.0.iter().cloned().flatten()
    }
}

impl FromStr for ValueList {
    type Err = String;

    fn from_str(text: &str) -> Result<ValueList, String> {
        let number = |text: &str| {
            let value = text.trim().parse::<u8>();
            value.map_err(|_| format!("{text:?}: expected values from 0 to 255, as in 0,7-9"))
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first)?..=number(last)?;
            if range.is_empty() {
                return Err(format!("{part:?}: the first value is above the last"));
            }
            Ok(range)
        };
        text.split(',')
            .map(range)
            .collect::<Result<_, _>>()
            .map(ValueList)
    }
}

impl fmt::Display for ValueList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            write!(f, "{}", range.start())?;
            if range.start() != range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

impl Serialize for ValueList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, to)
    }
}

impl<'de> Deserialize<'de> for ValueList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ValueList, D::Error> {
        text::deserialize(from)
    }
}

/// What each value of a label map stands for.
pub(super) struct Values {
    /// A class, or [`IGNORED`]; `None` where it is unknown.
    labels: [Option<u8>; 256],
}

/// The label of pixels that do not count.
pub(in crate::train) const IGNORED: u8 = 255;
/// The value of pixels that do not count, where nothing else is said.
const USUALLY_IGNORED: u8 = 255;

impl LabelValues {
    /// The values of the classes, in their order; `names` are how many have a name.
    pub(super) fn of_classes(&self, names: Option<usize>) -> Option<Vec<u8>> {
        match (&self.classes, names) {
            (Some(list), _) => Some(list.values().collect()),
            (None, Some(names)) => Some((0..=u8::MAX).take(names).collect()),
            (None, None) => None,
        }
    }

    /// What each value stands for, given those of the classes.
    ///
    /// # Errors
    /// A value that is named twice; more than 255 classes.
    pub(super) fn table(&self, classes: &[u8]) -> Result<Values> {
        let ignored = match &self.ignored {
            Some(list) => list.values().collect(),
            None if classes.contains(&USUALLY_IGNORED) => Vec::new(),
            None => vec![USUALLY_IGNORED],
        };
        let mut labels = [None; 256];
        let classed = classes.iter().copied().zip(0..=IGNORED);
        for (value, label) in classed.chain(ignored.into_iter().map(|value| (value, IGNORED))) {
            if labels[usize::from(value)].replace(label).is_some() {
                let reason = "is named twice, as a class or as ignored";
                return Err(Error::argument("label-values", value, reason));
            }
        }
        if classes.len() > usize::from(IGNORED) {
            let reason = format!(
                "at most {IGNORED} classes fit, and these are {}",
                classes.len()
            );
            return Err(Error::argument("label-values", "", reason));
        }
        Ok(Values { labels })
    }
}

impl Values {
    /// The class of a value, or [`IGNORED`].
    pub(super) fn label(&self, value: u8) -> Option<u8> {
        self.labels[usize::from(value)]
    }

    /// All values that are known, as a list for messages.
    pub(super) fn known(&self) -> ValueList {
        let mut ranges: Vec<RangeInclusive<u8>> = Vec::new();
        for value in (0..=u8::MAX).filter(|value| self.label(*value).is_some()) {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == value => *last = *last.start()..=value,
                _ => ranges.push(value..=value),
            }
        }
        ValueList(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        for text in ["0", "1-150", "0,7-9,255"] {
            assert_eq!(text.parse::<ValueList>().unwrap().to_string(), text);
        }
        let list: ValueList = "3,0-1".parse().unwrap();
        assert!(list.values().eq([3, 0, 1]));
        for wrong in ["", "x", "256", "5-2", "1,,2", "1-2-3"] {
            assert!(wrong.parse::<ValueList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn classes_have_their_values_order_and_the_rest_is_unknown() {
        let labels = LabelValues {
            classes: Some("3,0-1".parse().unwrap()),
            ignored: Some("7".parse().unwrap()),
        };
        let classes = labels.of_classes(Some(9)).unwrap();
        let values = labels.table(&classes).unwrap();
        let found: Vec<Option<u8>> = [3, 0, 1, 7, 2, 255].map(|v| values.label(v)).to_vec();
        let expected = [Some(0), Some(1), Some(2), Some(IGNORED), None, None];
        assert_eq!(found, expected);
        assert_eq!(values.known().to_string(), "0-1,3,7");
    }

    #[test]
    fn without_values_the_names_count_from_0_and_255_does_not_count() {
        let labels = LabelValues::default();
        assert_eq!(labels.of_classes(None), None);
        let classes = labels.of_classes(Some(2)).unwrap();
        let values = labels.table(&classes).unwrap();
        assert_eq!(values.known().to_string(), "0-1,255");
    }

    #[test]
    fn a_value_that_means_two_things_is_refused() {
        let labels = LabelValues {
            classes: None,
            ignored: Some("1".parse().unwrap()),
        };
        let refused = labels.table(&[0, 1]).err().unwrap().to_string();
        assert!(
            refused.contains("1") && refused.contains("twice"),
            "{refused}"
        );
    }
}
