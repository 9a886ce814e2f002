//! The network of a run: by the settings, and for an ONNX file the same file as the run began with.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::norm::{self, NormName};
use super::settings::{Settings, Stem};
use super::state::State;
use crate::engine::{Engine, Part};
use crate::error::{Error, Refusal, Result};
use crate::file::Source;
use crate::net::onnx::{self, Origin};
use crate::net::{self, Choice, Network, Resolution, zoo};
use crate::text::hex;

/// The ONNX file of the settings' network, if it is one, under its whole path; it is then the one
/// that the run of `before` began with.
///
/// # Errors
/// It is not there, or another one.
pub(super) fn file(settings: &mut Settings, before: Option<&State>) -> Result<Option<String>> {
    if settings.model.is_empty() || !net::is_file(&settings.model) {
        return Ok(None);
    }
    let path = Path::new(&settings.model);
    let hash = match (hash(path), before) {
        (Err(Error::Io { path, source, .. }), Some(_)) => {
            let reason = format!("the network of the run cannot be opened: {source}");
            return Err(Error::refused_for(Refusal::RunNetwork, &path, reason));
        }
        (hash, _) => hash?,
    };
    if let Some(expected) = before.and_then(|state| state.network_sha256.as_ref())
        && *expected != hash
    {
        let reason = format!(
            "is not the file that the run began with: expected SHA-256 {expected}, found {hash}"
        );
        return Err(Error::refused_for(Refusal::RunNetwork, path, reason));
    }
    let whole = std::path::absolute(path).map_err(Error::io("find", path))?;
    settings.model = whole.to_string_lossy().into_owned();
    Ok(Some(hash))
}

/// The resolution that an ONNX file fixes, where the settings have none.
pub(super) fn fix_resolution(settings: &mut Settings) -> Result<()> {
    if settings.resolution.is_none() && !settings.model.is_empty() && net::is_file(&settings.model)
    {
        settings.resolution = onnx::resolution(Path::new(&settings.model))?;
    }
    Ok(())
}

/// The settings' network.
///
/// # Errors
/// None is named, it cannot be built, or its images are neither in colour nor grey.
pub(super) fn open(settings: &Settings, classes: usize) -> Result<Network> {
    if settings.model.is_empty() {
        let names: Vec<&str> = zoo::names().collect();
        let reason = format!("expected an ONNX file, or one of {}", names.join(", "));
        return Err(Error::argument("model", "", reason));
    }
    let choice = Choice {
        classes: Some(classes),
        resolution: settings.resolution,
        stem: Some(stem(settings)),
        width: Some(settings.width),
        norm: Some(settings.norm().norm()?),
    };
    let mut network = net::open(&settings.model, &choice)?;
    if let Some(momentum) = settings.bn_momentum {
        network.graph = network.graph.with_batch_norm_momentum(momentum);
    }
    match (network.graph.input_shape().channels, &network.origin) {
        (1 | 3, _) | (_, None) => Ok(network),
        (channels, Some(origin)) => {
            let reason = format!(
                "takes images of {channels} channels; those of data sets have 3 (red, green and \
                 blue), or 1 (grey)"
            );
            Err(Error::refused(origin.path(), reason))
        }
    }
}

/// Gives an engine the weights of the file that its network is from.
pub(super) fn write_weights(origin: &Origin, engine: &mut dyn Engine) -> Result<()> {
    let ids: Vec<_> = engine.graph().tensor_ids().collect();
    for (id, values) in ids.into_iter().zip(origin.weights()?) {
        engine.write(id, Part::Value, &values);
    }
    Ok(())
}

/// What a user should hear of before such a network is trained.
///
/// # Errors
/// As [`open`].
pub(super) fn notes(network: &Network, settings: &Settings) -> Result<Vec<String>> {
    let mut notes = norm::notes(&network.graph, settings.batch_size);
    let Some(origin) = &network.origin else {
        if settings.norm == NormName::Ce {
            let input = network.graph.input_shape();
            let options = zoo::Options {
                resolution: Resolution {
                    height: input.height,
                    width: input.width,
                },
                stem: stem(settings),
                width: settings.width,
                norm: settings.norm().norm()?,
                ..zoo::defaults(&settings.model)?
            };
            notes.extend(norm::one_pixel_note(&settings.model, &options)?);
        }
        return Ok(notes);
    };
    notes.extend_from_slice(origin.notes());
    let merged = origin.merged(&network.graph);
    if let Some(first) = merged.first() {
        notes.push(format!(
            "{}: {} of its tensors, {first} among them, are stored as one with others that were equal \
             when it was exported. They are trained by themselves, but the file cannot be given them \
             back; {}",
            origin.path().display(),
            merged.len(),
            onnx::EXPORT
        ));
    }
    Ok(notes)
}

fn stem(settings: &Settings) -> zoo::Stem {
    match settings.stem {
        Stem::Native => zoo::Stem::Native,
        Stem::Cifar => zoo::Stem::Cifar,
    }
}

/// Bytes that are hashed at a time.
const CHUNK: u64 = 1 << 20;

/// SHA-256 of a file, in hexadecimal.
fn hash(path: &Path) -> Result<String> {
    let file = Source::open(path)?;
    let mut hasher = Sha256::new();
    for at in (0..file.len()).step_by(CHUNK as usize) {
        let len = CHUNK.min(file.len() - at);
        hasher.update(&file.slice(at, len as usize)?);
    }
    Ok(hex(&hasher.finalize()))
}
