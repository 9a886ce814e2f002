//! A plan as a file, with what it was made for.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gamma;
use super::plan::Planned;
use crate::error::{Error, Result};
use crate::record::tool;
use crate::regen::{Caution, Gamma, LayerPlan, Options, OptionsText, Plan};

const VERSION: u32 = 1;

/// A saved plan. It is for γ, not for a file: it also fits the same network in another format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    version: u32,
    tool: String,
    /// The network it was made for; another of the same γ will do where there is no such root.
    pub(super) root: String,
    pub(super) gamma_sha256: String,
    #[serde(flatten)]
    options: OptionsText,
    threshold: Option<f64>,
    target: Option<f64>,
    counted: usize,
    regenerated: usize,
    layers: Vec<LayerPlan>,
    /// Where it was read from.
    #[serde(skip)]
    path: PathBuf,
}

impl PlanFile {
    /// The plan with what it is for.
    pub fn new(planned: &Planned) -> PlanFile {
        PlanFile {
            version: VERSION,
            tool: tool(),
            root: planned.network.root.clone(),
            gamma_sha256: gamma::fingerprint(&planned.gammas),
            options: OptionsText::from(&planned.options),
            threshold: planned.plan.threshold,
            target: planned.plan.target,
            counted: planned.plan.counted,
            regenerated: planned.plan.regenerated(),
            layers: planned.plan.layers.clone(),
            path: PathBuf::new(),
        }
    }

    /// Reads a saved plan. Whether it makes sense shows when it is applied.
    pub fn read(path: &Path) -> Result<PlanFile> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let malformed =
            |found: &dyn std::fmt::Display| Error::malformed(path, "file", "a saved plan", found);
        let mut plan: PlanFile = serde_json::from_str(&text).map_err(|err| malformed(&err))?;
        path.clone_into(&mut plan.path);
        if plan.version != VERSION {
            return Err(malformed(&format!("version {}", plan.version)));
        }
        plan.options().map_err(|err| malformed(&err))?;
        Ok(plan)
    }

    /// Writes the plan, replacing an older one as a whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_string_pretty(self).expect("a plan is plain JSON");
        json.push('\n');
        crate::storage::replace_file(path, json.as_bytes())
    }

    /// By which rule it was made.
    pub fn options(&self) -> Result<Options> {
        self.options.parse().map_err(Error::Usage)
    }

    /// The plan, if every change in it fits `gammas`, those of the network it was made for.
    pub(super) fn checked(&self, checkpoint: &Path, gammas: &[Gamma]) -> Result<Plan> {
        let mut seen = HashSet::new();
        let by_name: HashMap<&str, &Gamma> = gammas.iter().map(|g| (&g.layer[..], g)).collect();
        for layer in &self.layers {
            let damaged = |found: String| {
                let place = format!("plan, layer {}", layer.name);
                {
                    let expected = format!("changes that fit {}", checkpoint.display());
                    Error::malformed(&self.path, place, expected, found)
                }
            };
            let gamma = by_name
                .get(&layer.name[..])
                .ok_or_else(|| damaged("a layer that it has not".to_owned()))?;
            if !seen.insert(&layer.name) {
                return Err(damaged("it twice".to_owned()));
            }
            let mut next = 0;
            for change in &layer.changes {
                if change.channel < next {
                    return Err(damaged(format!("channel {} out of order", change.channel)));
                }
                next = change.channel.saturating_add(1);
                match gamma.values.get(change.channel) {
                    Some(old) if old.to_bits() == change.old.to_bits() => {}
                    Some(old) => {
                        return Err(damaged(format!("{} for a γ of {old}", change.old)));
                    }
                    None => return Err(damaged(format!("channel {}", change.channel))),
                }
                if change.new.to_bits() == change.old.to_bits() {
                    return Err(damaged(format!("no change of channel {}", change.channel)));
                }
                let rounded = gamma.dtype.round(change.new);
                if !rounded.is_finite() || rounded.to_bits() != change.new.to_bits() {
                    return Err(damaged(format!(
                        "{}, which is no {}",
                        change.new, gamma.dtype
                    )));
                }
            }
        }
        let mut plan = Plan {
            threshold: self.threshold,
            target: self.target,
            counted: self.counted,
            layers: self.layers.clone(),
            cautions: Vec::new(),
        };
        plan.cautions.extend(Caution::dying(&plan));
        Ok(plan)
    }
}
