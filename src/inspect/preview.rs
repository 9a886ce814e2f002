//! What each rule would change, by the plan that an edit would make.

use super::details::LayerGamma;
use super::masked;
use crate::batchnorm::LayerKind;
use crate::regen::{self, Gamma, LayerMask, Mask, Options, Rule};

/// What a rule would do to the γ of a network, with the default threshold and target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preview {
    /// The rule.
    pub rule: Rule,
    /// Its threshold t, which is also the new γ.
    pub threshold: f64,
    /// What it would do to all channels.
    pub total: Effect,
    /// In how many layers γ would change.
    pub layers_touched: usize,
}

/// How many channels a rule concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effect {
    /// The rule selects them.
    pub selected: usize,
    /// Their γ would change: some that are selected have the new γ already.
    pub regenerated: usize,
}

/// The plans of all rules: for the network, and for each of its layers. Layers of IterNorm are left alone, as by default. The
/// error says why an edit would be refused.
pub(super) fn of(layers: &[LayerGamma]) -> Result<([Preview; 3], Vec<[Effect; 3]>), String> {
    let mut gammas = Vec::with_capacity(layers.len());
    // Of the layers that are counted, their places among all.
    let mut places = Vec::with_capacity(layers.len());
    let counted = layers.iter().enumerate();
    for (place, layer) in counted.filter(|(_, layer)| layer.kind == LayerKind::BatchNorm) {
        places.push(place);
        let fixed = layer.fixed.as_deref();
        let unread = || fixed.unwrap_or("it has no γ that can be read");
        let dtype = match layer.dtype {
            Some(dtype) if fixed.is_none() => dtype,
            _ => return Err(format!("{} cannot be edited: {}", layer.name, unread())),
        };
        gammas.push(Gamma {
            layer: layer.name.clone(),
            dtype,
            values: layer.values.clone(),
        });
    }
    if gammas.is_empty() && !layers.is_empty() {
        return Err(
            "every γ is one of IterNorm, which are left alone unless they are asked for".to_owned(),
        );
    }
    let masks = layers.iter().filter(|layer| !layer.pruned.is_empty());
    let masks = masks.map(|layer| LayerMask {
        name: layer.name.clone(),
        channels: layer.values.len(),
        pruned: layer.pruned.clone(),
    });
    let mask = Mask::new(masks).map_err(|err| err.to_string())?;
    let mut effects = vec![[Effect::default(); 3]; layers.len()];
    let mut preview = |rule: Rule| {
        let options = Options {
            rule,
            ..Options::default()
        };
        let plan = regen::plan(&gammas, &options, Some(&mask)).map_err(|err| err.to_string())?;
        let mut total = Effect::default();
        for ((place, gamma), layer) in places.iter().zip(&gammas).zip(&plan.layers) {
            let kept = masked::unpruned(&gamma.values, mask.pruned(&gamma.layer));
            let selects = |value: &&f64| rule.selects(**value, layer.threshold);
            let effect = Effect {
                selected: kept.iter().filter(selects).count(),
                regenerated: layer.changes.len(),
            };
            total.selected += effect.selected;
            total.regenerated += effect.regenerated;
            effects[*place][rule as usize] = effect;
        }
        Ok::<_, String>(Preview {
            rule,
            threshold: plan.threshold.ok_or("no threshold")?,
            total,
            layers_touched: plan.layers_touched(),
        })
    };
    let [paper, reference, keep_sign] = Rule::ALL;
    let previews = [preview(paper)?, preview(reference)?, preview(keep_sign)?];
    Ok((previews, effects))
}
