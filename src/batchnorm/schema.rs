//! A schema file: which tensors are γ where names or structure do not say it. The format is
//! documented in `docs/schema.md`.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use regex_lite::Regex;
use serde::Deserialize;

use super::find::{Finder, Finding};
use super::pattern::{Pattern, Template, dialects};
use super::{Layer, Network, Role, copies, locate};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::file::Source;
use crate::name::SEPARATORS;

/// How BatchNorm layers are named, what is left out, and which prefixes are networks of their own.
#[derive(Debug, Clone)]
pub struct Schema {
    patterns: Vec<Pattern>,
    networks: Vec<(String, Role)>,
    exclude: Vec<Regex>,
    default: bool,
}

impl Default for Schema {
    /// The built-in dialects.
    fn default() -> Schema {
        Schema {
            patterns: dialects(),
            networks: Vec::new(),
            exclude: Vec::new(),
            default: true,
        }
    }
}

/// A schema file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    batchnorm: Vec<WrittenPattern>,
    #[serde(default)]
    network: Vec<WrittenNetwork>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPattern {
    gamma: String,
    beta: Option<String>,
    mean: Option<String>,
    variance: Option<String>,
    counter: Option<String>,
    layers: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNetwork {
    prefix: String,
    role: WrittenRole,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenRole {
    Raw,
    Ema,
    Teacher,
}

/// A schema is written by hand; anything longer is another file.
const MAX_LEN: u64 = 16 << 20;

impl Schema {
    /// Reads a schema: JSON when the file name ends in `.json`, TOML otherwise.
    pub fn read(path: &Path) -> Result<Schema> {
        let source = Source::open(path)?;
        let malformed = |place: &str, found: &dyn std::fmt::Display| {
            Error::malformed(path, place, "a schema (docs/schema.md)", found)
        };
        if source.len() > MAX_LEN {
            return Err(malformed("file", &format!("{} bytes", source.len())));
        }
        let bytes = source.read_at(0, source.len() as usize)?;
        let text = String::from_utf8(bytes).map_err(|err| malformed("file", &err))?;
        let written: Written = if path.extension().is_some_and(|e| e == "json") {
            serde_json::from_str(&text).map_err(|err| malformed("JSON", &err))?
        } else {
            toml::from_str(&text).map_err(|err| malformed("TOML", &err.to_string().trim_end()))?
        };
        written
            .understood()
            .map_err(|err| malformed("schema", &err))
    }

    pub(super) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    pub(super) fn networks(&self) -> &[(String, Role)] {
        &self.networks
    }

    pub(super) fn excludes(&self, layer: &str) -> bool {
        self.exclude.iter().any(|regex| regex.is_match(layer))
    }

    pub(super) fn is_default(&self) -> bool {
        self.default
    }
}

impl Written {
    fn understood(self) -> Result<Schema, String> {
        if self.version != 1 {
            return Err(format!(
                "version {}, and this program knows version 1",
                self.version
            ));
        }
        let patterns = self.batchnorm.into_iter().map(WrittenPattern::understood);
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        let exclude = self
            .exclude
            .iter()
            .map(|text| regex(text))
            .collect::<Result<_, _>>()?;
        let role = |role| match role {
            WrittenRole::Raw => Role::Raw,
            WrittenRole::Ema => Role::Ema,
            WrittenRole::Teacher => Role::Teacher,
        };
        let networks = self
            .network
            .into_iter()
            .map(|n| (n.prefix, role(n.role)))
            .collect();
        let patterns = if patterns.is_empty() {
            dialects()
        } else {
            patterns
        };
        Ok(Schema {
            patterns,
            networks,
            exclude,
            default: false,
        })
    }
}

impl WrittenPattern {
    fn understood(self) -> Result<Pattern, String> {
        if self.mean.is_none() && self.variance.is_none() && self.layers.is_none() {
            return Err(format!(
                "a pattern {:?} without mean and variance, which needs `layers` to say which layers it is for",
                self.gamma
            ));
        }
        let template = |text: &String| Template::parse(text).map_err(|err| err.to_string());
        let optional = |text: &Option<String>| text.as_ref().map(template).transpose();
        Ok(Pattern {
            gamma: template(&self.gamma)?,
            beta: optional(&self.beta)?,
            mean: optional(&self.mean)?,
            variance: optional(&self.variance)?,
            counter: optional(&self.counter)?,
            layers: self.layers.as_deref().map(regex).transpose()?,
            fixed: None,
        })
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|err| format!("no regular expression: {err}"))
}

/// A schema, as TOML, that finds in `checkpoint` what is found without one, to start from.
pub fn template(checkpoint: &Checkpoint) -> Result<String> {
    let schema = Schema::default();
    let networks = locate(checkpoint, &schema)?;
    let mut out = String::from(
        "# What ckpt-regen takes for BatchNorm in this checkpoint. See docs/schema.md.\n\
         version = 1\n\n\
         # Layers to leave alone, as regular expressions on their names.\n\
         exclude = []\n",
    );
    if checkpoint.declared_norms().is_some() {
        out.push_str(
            "\n# The layers of an ONNX model are those of its graph: only `exclude` counts here.\n",
        );
        return Ok(out);
    }
    let mut candidates = Vec::new();
    let mut used = vec![false; schema.patterns.len()];
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let finder = Finder::new(dict, index, &schema);
        for (number, tensor) in dict.tensors.iter().enumerate() {
            let named = schema
                .patterns
                .iter()
                .any(|p| p.gamma.layer_of(&tensor.name).is_some());
            match finder.judge(number) {
                Finding::Gamma(_, pattern) => used[pattern] = true,
                _ if named && tensor.shape.len() == 1 && tensor.dtype.is_float() => {
                    candidates.push(&tensor.name);
                }
                _ => {}
            }
        }
    }
    let used = schema.patterns.iter().zip(&used);
    for (pattern, _) in used.filter(|(pattern, used)| **used && pattern.fixed.is_none()) {
        out.push_str("\n[[batchnorm]]\n");
        let mut line = |key: &str, template: &Option<Template>| {
            if let Some(template) = template {
                let _ = writeln!(out, "{key} = {:?}", template.text());
            }
        };
        line("gamma", &Some(pattern.gamma.clone()));
        line("beta", &pattern.beta);
        line("mean", &pattern.mean);
        line("variance", &pattern.variance);
        line("counter", &pattern.counter);
    }
    let prefixes = copies(checkpoint, &networks);
    if !prefixes.is_empty() {
        out.push_str("\n# Prefixes of layer names that are networks of their own.\n");
    }
    for (prefix, role) in prefixes {
        let _ = writeln!(
            out,
            "[[network]]\nprefix = {}\nrole = \"{role}\"",
            quoted(&prefix)
        );
    }
    if !candidates.is_empty() {
        out.push_str(
            "\n# Scales without running statistics (LayerNorm, GroupNorm, …) are left alone. To take\n\
             # some of them, name their layers:\n#\n# [[batchnorm]]\n# gamma = \"{layer}.weight\"\n\
             # layers = \"^(a|b)$\"\n#\n# Those in this checkpoint:\n",
        );
        for name in candidates {
            // On one line, or it would be no comment any more.
            let _ = writeln!(out, "#   {}", name.replace(char::is_control, "\u{FFFD}"));
        }
    }
    Ok(out)
}

/// What the names of averages and teachers begin with, the separator included, and their roles.
fn copies(checkpoint: &Checkpoint, networks: &[Network]) -> BTreeSet<(String, Role)> {
    let mut prefixes = BTreeSet::new();
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let layers = networks.iter().flat_map(|network| &network.layers);
        let layers: Vec<Layer> = layers
            .filter(|layer| layer.dict == index)
            .cloned()
            .collect();
        let copies = copies::find(dict, &layers);
        let found: HashMap<&str, Role> = copies.all().collect();
        for layer in &layers {
            for (at, separator) in layer.name.match_indices(SEPARATORS) {
                if let Some(role) = found.get(&layer.name[..at]) {
                    prefixes.insert((layer.name[..at].to_owned() + separator, *role));
                }
            }
        }
    }
    prefixes
}

/// A string of TOML: as in JSON, but for DEL, which it does not allow.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7F}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn any_text_is_a_string_of_toml() {
        let text: String = (0..=0x100).filter_map(char::from_u32).collect();
        let read: toml::Table = toml::from_str(&format!("key = {}", quoted(&text))).unwrap();
        assert_eq!(read["key"].as_str(), Some(&text[..]));
    }
}
