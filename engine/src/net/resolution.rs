//! Height and width of images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Height and width of images, in pixels. Written as one number where they are equal, else as
/// `HxW`: `224`, `192x256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Resolution {
    /// The side, where height and width are equal.
    pub fn side(self) -> Option<usize> {
        (self.height == self.width).then_some(self.height)
    }
}

impl From<usize> for Resolution {
    /// A square.
    fn from(side: usize) -> Resolution {
        Resolution {
            height: side,
            width: side,
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side() {
            Some(side) => side.fmt(f),
            None => write!(f, "{}x{}", self.height, self.width),
        }
    }
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Resolution, String> {
        let expected = |_| "expected R or HEIGHTxWIDTH".to_owned();
        let number = |text: &str| text.parse().map_err(expected);
        match text.split_once(['x', '×']) {
            None => number(text).map(Resolution::from),
            Some((height, width)) => Ok(Resolution {
                height: number(height)?,
                width: number(width)?,
            }),
        }
    }
}

impl Serialize for Resolution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.side() {
            Some(side) => side.serialize(serializer),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resolution, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number, or text as in \"192x256\"")]
        enum Written {
            Side(usize),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Side(side) => Ok(side.into()),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_is_read_as_it_is_written() {
        for (text, json, height, width) in [
            ("224", "224", 224, 224),
            ("192x256", "\"192x256\"", 192, 256),
        ] {
            let resolution: Resolution = text.parse().unwrap();
            assert_eq!(resolution, Resolution { height, width });
            assert_eq!(resolution.to_string(), text);
            assert_eq!(serde_json::to_string(&resolution).unwrap(), json);
            assert_eq!(
                serde_json::from_str::<Resolution>(json).unwrap(),
                resolution
            );
        }
        for wrong in ["", "x", "3x", "-3", "3x4x5", "a"] {
            assert!(wrong.parse::<Resolution>().is_err(), "{wrong}");
        }
    }
}
