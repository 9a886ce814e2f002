//! Whether a regeneration explains a difference, bit for bit.

use serde::Serialize;

use crate::regen::{self, Gamma, Options, Rule, Scope};

/// What `apply` would have to be told to make the γ of the second checkpoint out of the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regeneration {
    /// `paper`, `reference` or `keep-sign`.
    pub rule: String,
    /// `network`, `each` or `layer`.
    pub scope: String,
    /// The threshold, under scope `network`.
    pub threshold: Option<f64>,
}

/// The first rule, of those with the default threshold and target, whose plan on `before` is
/// exactly the change to `after`, in which `moved` γ have other bytes.
pub(super) fn explain(before: &[Gamma], after: &[Gamma], moved: usize) -> Option<Regeneration> {
    if moved == 0 {
        return None;
    }
    let scopes = [Scope::Network, Scope::Each, Scope::Layer];
    let rules = [Rule::Paper, Rule::Reference, Rule::KeepSign];
    let all = scopes
        .into_iter()
        .flat_map(|scope| rules.map(|rule| (rule, scope)));
    all.into_iter().find_map(|(rule, scope)| {
        let options = Options {
            rule,
            scope,
            ..Options::default()
        };
        let plan = regen::plan(before, &options).ok()?;
        let as_found = plan.layers.iter().zip(after).all(|(layer, after)| {
            let mut changes = layer.changes.iter();
            changes.all(|change| after.values[change.channel].to_bits() == change.new.to_bits())
        });
        // As many changes, all of them found: no γ moved otherwise.
        (plan.regenerated() == moved && as_found).then(|| Regeneration {
            rule: rule.to_string(),
            scope: scope.to_string(),
            threshold: plan.threshold,
        })
    })
}
