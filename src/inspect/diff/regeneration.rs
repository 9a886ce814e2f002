//! Whether a regeneration explains a difference, bit for bit.

use serde::Serialize;

use crate::regen::{self, Gamma, Mask, Options, Rule, Scope};

/// What `apply` would have to be told to make the γ of the second checkpoint out of the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regeneration {
    /// `paper`, `reference` or `keep-sign`.
    pub rule: String,
    /// As `--below` takes it.
    pub below: String,
    /// As `--to` takes it, or `threshold`.
    pub to: String,
    /// `network`, `each` or `layer`.
    pub scope: String,
    /// Whether exact zeros were left alone.
    pub keep_zeros: bool,
    /// The threshold, under scope `network`.
    pub threshold: Option<f64>,
}

/// The first options whose plan on `before` is exactly the change to `after`, in which `moved` γ have
/// other bytes: of every rule with the default threshold and target, and of those in a record.
pub(super) fn explain(
    before: &[Gamma],
    after: &[Gamma],
    moved: usize,
    mask: &Mask,
    recorded: &[Options],
) -> Option<Regeneration> {
    if moved == 0 {
        return None;
    }
    let scopes = [Scope::Network, Scope::Each, Scope::Layer];
    let usual = scopes.into_iter().flat_map(|scope| {
        Rule::ALL.map(|rule| Options {
            rule,
            scope,
            ..Options::default()
        })
    });
    usual.chain(recorded.iter().copied()).find_map(|options| {
        let plan = regen::plan(before, &options, Some(mask)).ok()?;
        let mut after = after.iter();
        let as_found = plan.layers.iter().all(|layer| {
            // A layer of which nothing is counted has no plan.
            let Some(after) = after.find(|after| after.layer == layer.name) else {
                return false;
            };
            let mut changes = layer.changes.iter();
            changes.all(|change| after.values[change.channel].to_bits() == change.new.to_bits())
        });
        // As many changes, all of them found: no γ moved otherwise.
        (plan.regenerated() == moved && as_found).then(|| Regeneration {
            rule: options.rule.to_string(),
            below: options.below.to_string(),
            to: options.to.to_string(),
            scope: options.scope.to_string(),
            keep_zeros: options.keep_zeros,
            threshold: plan.threshold,
        })
    })
}
