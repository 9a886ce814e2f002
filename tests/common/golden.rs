//! The networks of the files in `fixtures/golden`, by the files' names.

use ckpt_regen::net::Whitening;
use ckpt_regen::net::zoo::{self, Norm, Stem};

/// The network, stem and normalisation of a golden file: `NETWORK[_cifar][_itn|_ce]`.
pub(crate) fn golden_network(file: &str) -> (&str, Stem, Norm) {
    let iterative = Norm::Iterative(Whitening::ITER_NORM);
    let equilibrium = Norm::Equilibrium {
        whitening: Whitening::EQUILIBRIUM,
        reduction: 4,
    };
    let mut norms = [("_itn", iterative), ("_ce", equilibrium)].into_iter();
    let named = norms.find_map(|(suffix, norm)| Some((file.strip_suffix(suffix)?, norm)));
    let (model, norm) = named.unwrap_or((file, Norm::Batch));
    let Some(name) = model.strip_suffix("_cifar") else {
        return (model, Stem::Native, norm);
    };
    // The stem of the CIFAR ResNets is for CIFAR already.
    let mut models = zoo::models().iter();
    let has_stem = models.any(|model| model.name == name && model.cifar_stem);
    let stem = if has_stem { Stem::Cifar } else { Stem::Native };
    (name, stem, norm)
}
