//! What to regenerate, and to what: the options of the algorithm and their spelling.

use std::fmt;
use std::str::FromStr;

use crate::near::near;

/// Which channels are regenerated, given the threshold t.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rule {
    /// γ ≤ t; the new γ is positive or negative as the target is (Algorithm 1).
    #[default]
    Paper,
    /// |γ| < t; the new γ is the target.
    Reference,
    /// |γ| < t; the new γ is the target with the sign of γ, + for 0.
    KeepSign,
}

/// How the threshold t is found in the sorted list L of γ (`paper`) or |γ| (the other rules), of
/// length N.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Below {
    /// `L[(N-1)/2]` for `paper` (what `torch.median` gives), `L[floor(N/2)]` for the others.
    #[default]
    Median,
    /// `L[floor(N*q)]`, 0 ≤ q < 1.
    Quantile(f64),
    /// This number.
    Value(f64),
}

/// The new γ, from the same list L before the edit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum To {
    /// The threshold itself.
    #[default]
    Threshold,
    /// The median of L, as [`Below::Median`] has it.
    Median,
    /// The mean of L.
    Mean,
    /// The largest of L.
    Max,
    /// `L[floor(N*q)]`, 0 ≤ q < 1.
    Quantile(f64),
    /// This number.
    Value(f64),
}

/// Over which γ a threshold is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// One threshold for all layers together, as in the paper.
    #[default]
    Network,
    /// Each module by itself: the layers of one first component of a name, behind wrappers such as
    /// `module.` (a generator and a discriminator in one state dict).
    Each,
    /// Each layer by itself.
    Layer,
}

/// Everything that decides a plan. The default is the paper's algorithm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// Which channels.
    pub rule: Rule,
    /// The threshold.
    pub below: Below,
    /// The new γ.
    pub to: To,
    /// One threshold, or one a layer.
    pub scope: Scope,
    /// Leave γ that are exactly 0 alone, and out of L.
    pub keep_zeros: bool,
}

impl Rule {
    /// All of them, the default first.
    pub const ALL: [Rule; 3] = [Rule::Paper, Rule::Reference, Rule::KeepSign];

    /// Whether a channel of this γ is regenerated when the threshold is `threshold`.
    pub fn selects(self, gamma: f64, threshold: f64) -> bool {
        match self {
            Rule::Paper => gamma <= threshold,
            Rule::Reference | Rule::KeepSign => gamma.abs() < threshold,
        }
    }
}

impl From<Rule> for Options {
    /// The rule, and else the paper's algorithm.
    fn from(rule: Rule) -> Options {
        Options {
            rule,
            ..Options::default()
        }
    }
}

impl From<&Rule> for Options {
    fn from(rule: &Rule) -> Options {
        (*rule).into()
    }
}

impl From<&Options> for Options {
    fn from(options: &Options) -> Options {
        *options
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Rule::ALL
            .into_iter()
            .find(|rule| rule.to_string() == text)
            .ok_or_else(|| {
                let names = Rule::ALL.map(|rule| rule.to_string());
                let meant = match near(text, names.iter().map(|name| &name[..]))[..] {
                    [] => String::new(),
                    [nearest, ..] => format!("; did you mean {nearest}?"),
                };
                format!("expected paper, reference or keep-sign{meant}")
            })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Paper => "paper",
            Rule::Reference => "reference",
            Rule::KeepSign => "keep-sign",
        })
    }
}

impl FromStr for Below {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "median" => Ok(Below::Median),
            _ => match quantile(text)? {
                Some(q) => Ok(Below::Quantile(q)),
                None => number(text, "median, quantile:Q or a number").map(Below::Value),
            },
        }
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Below::Median => f.write_str("median"),
            Below::Quantile(q) => write!(f, "quantile:{q}"),
            Below::Value(value) => write!(f, "{value}"),
        }
    }
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "threshold" => Ok(To::Threshold),
            "median" => Ok(To::Median),
            "mean" => Ok(To::Mean),
            "max" => Ok(To::Max),
            _ => match quantile(text)? {
                Some(q) => Ok(To::Quantile(q)),
                None => number(text, "median, mean, max, quantile:Q or a number").map(To::Value),
            },
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Threshold => f.write_str("threshold"),
            To::Median => f.write_str("median"),
            To::Mean => f.write_str("mean"),
            To::Max => f.write_str("max"),
            To::Quantile(q) => write!(f, "quantile:{q}"),
            To::Value(value) => write!(f, "{value}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "network" => Ok(Scope::Network),
            "each" => Ok(Scope::Each),
            "layer" => Ok(Scope::Layer),
            _ => Err("expected network or layer".to_owned()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Network => "network",
            Scope::Each => "each",
            Scope::Layer => "layer",
        })
    }
}

fn quantile(text: &str) -> Result<Option<f64>, String> {
    let Some(text) = text.strip_prefix("quantile:") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(q) if (0.0..1.0).contains(&q) => Ok(Some(q)),
        _ => Err(format!(
            "expected a quantile from 0 up to but not 1, found {text:?}"
        )),
    }
}

fn number(text: &str, expected: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_back() {
        for text in ["median", "quantile:0.75", "0.2", "-1"] {
            assert_eq!(text.parse::<Below>().unwrap().to_string(), text);
        }
        for text in ["threshold", "median", "mean", "max", "quantile:0", "0.2"] {
            assert_eq!(text.parse::<To>().unwrap().to_string(), text);
        }
        for text in ["paper", "reference", "keep-sign"] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for text in ["network", "each", "layer"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_quantile_of_one_a_nan_and_nonsense_are_refused() {
        for text in [
            "quantile:1",
            "quantile:-0.1",
            "quantile:nan",
            "nan",
            "inf",
            "middle",
            "",
        ] {
            assert!(text.parse::<Below>().is_err(), "{text}");
            assert!(text.parse::<To>().is_err(), "{text}");
        }
    }
}
