//! Files that are no checkpoint this program reads, by what they are: so that a message can say what
//! to do about them.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file::Source;

/// How many bytes tell what a file is; a tar archive says so at 257.
const HEAD: u64 = 512;

/// Refuses a file whose contents, or name, say that it is of a kind that is not read.
pub(super) fn refuse(source: &Source) -> Result<()> {
    let head = source.slice(0, source.len().min(HEAD) as usize)?;
    let path = source.path();
    let what = by_name(path).or_else(|| by_content(&head));
    what.map_or(Ok(()), |what| Err(Error::refused(path, what)))
}

/// Part of a checkpoint whose other parts say where its tensors lie.
fn by_name(path: &Path) -> Option<&'static str> {
    let is_part = path.extension().is_some_and(|end| end == "distcp");
    is_part.then_some(
        "is a part of a distributed checkpoint: convert the directory to one file with python -m \
         torch.distributed.checkpoint.format_utils dcp_to_torch DIR FILE",
    )
}

/// What a file is that begins with `head`, and what to do, as it reads after the file's name.
fn by_content(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text
        .get(..64.min(text.len()))
        .unwrap_or(text)
        .to_lowercase();
    // No safetensors header is as long as eight letters would say.
    let is_text = head.get(257..262) != Some(b"ustar")
        && head.len() >= 8
        && head[..8]
            .iter()
            .all(|byte| matches!(byte, 9..=13 | 32..=126));
    let at = |place: usize, magic: &[u8]| head.get(place..place + magic.len()) == Some(magic);
    Some(match () {
        () if at(0, b"version https://git-lfs") => {
            "is a Git LFS pointer, not the file itself: git lfs pull fetches it"
        }
        () if lower.starts_with("<!doctype html") || lower.starts_with("<html") => {
            "is an HTML page, as a download that needs a login or a confirmation leaves it: download \
             the file again"
        }
        () if at(0, b"\x1f\x8b") => "is compressed with gzip: unpack it with gunzip first",
        () if at(0, b"BZh") => "is compressed with bzip2: unpack it with bunzip2 first",
        () if at(0, b"\xfd7zXZ\0") => "is compressed with xz: unpack it with unxz first",
        () if at(0, b"\x28\xb5\x2f\xfd") => "is compressed with zstd: unpack it with unzstd first",
        () if at(0, b"7z\xbc\xaf\x27\x1c") => "is a 7z archive: unpack it first",
        () if at(0, b"Rar!\x1a\x07") => "is a RAR archive: unpack it first",
        () if at(257, b"ustar") && !is_torch_tar(head) => {
            "is a tar archive of files: unpack it with tar -xf, and name the checkpoint in it"
        }
        () if at(0, b"GGUF") => {
            "is a GGUF model for inference: edit the checkpoint that it was converted from"
        }
        () if at(4, b"TFL3") => {
            "is a TensorFlow Lite model for inference, whose BatchNorm is folded: edit the checkpoint \
             that it was converted from"
        }
        () if at(4, b"ORTM") => {
            "is a model in ONNX Runtime's own format: edit the .onnx that it was converted from"
        }
        () if at(0, b"\x89HDF\r\n\x1a\n") => {
            "is an HDF5 file, as Keras saves it (.h5), which is not read: save the weights with \
             numpy.savez, by their names"
        }
        () if is_msgpack(head) => {
            "is MessagePack, as Flax saves it, which is not read: save the variables with \
             numpy.savez, flattened with / between the names"
        }
        () if is_text && is_json(text) => {
            "is JSON, and no weights: name the file that holds them (the name of a shard index ends \
             in .index.json)"
        }
        () if is_text => "is a text file, and no checkpoint",
        () => return None,
    })
}

/// An object, or a list of values: `[section]` is none.
fn is_json(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(inside) => inside
            .trim_start()
            .starts_with(|c: char| "{[\"-".contains(c) || c.is_ascii_digit()),
        None => text.starts_with('{'),
    }
}

/// The archives of the first PyTorch versions have these files.
fn is_torch_tar(head: &[u8]) -> bool {
    let name = head.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = name.strip_prefix(b"./").unwrap_or(name);
    matches!(name, b"sys_info" | b"pickle" | b"storages" | b"tensors")
}

/// A map whose first key is text, and whose length fits no safetensors header.
fn is_msgpack(head: &[u8]) -> bool {
    let key = match head {
        [0x81..=0x8f, key, ..] => key,
        [0xde, _, _, key, ..] | [0xdf, _, _, _, _, key, ..] => key,
        _ => return false,
    };
    let is_text = matches!(key, 0xa1..=0xbf | 0xd9);
    is_text && head.get(4..8).is_some_and(|high| high != [0; 4])
}

/// What a zip archive with these names is, and what to do.
pub(super) fn zip<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<&'static str> {
    let has = |wanted: &str| names.clone().any(|name| name == wanted);
    (has("model.weights.h5") || has("config.json") && has("metadata.json")).then_some(
        "is a .keras archive, which is not read: save the weights with numpy.savez, by their names",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let mut tar = [0; 512];
        tar[..10].copy_from_slice(b"weights.pt");
        tar[257..262].copy_from_slice(b"ustar");
        for (head, name) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:00"[..],
                "Git LFS",
            ),
            (b"\n<!DOCTYPE html><html>", "HTML"),
            (b"<html lang=en>", "HTML"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip"),
            (b"BZh91AY&SY", "bzip2"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"\x28\xb5\x2f\xfd\x04\x88", "zstd"),
            (&tar, "tar archive of files"),
            (b"GGUF\x03\0\0\0\0\0\0\0", "GGUF"),
            (b"\x1c\0\0\0TFL3\x14\0", "TensorFlow Lite"),
            (b"\x18\0\0\0ORTM\0\0", "ONNX Runtime"),
            (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
            (b"\x81\xa6params\x82\xabBatchNorm_0", "Flax"),
            (b"\xde\x00\x10\xa4conv\x81\xa6kernel", "Flax"),
            (b"{\n  \"architectures\": [", "JSON"),
            (b"[{\"a\": 1}, {}]", "JSON"),
            (b"import torch\n", "text file"),
            (b"[package]\nname = 1", "text file"),
        ] {
            let what = by_content(head).unwrap_or_default();
            assert!(what.contains(name), "{name}: {what}");
        }
    }

    #[test]
    fn what_may_be_a_checkpoint_is_not() {
        let mut tar = [0; 512];
        tar[..8].copy_from_slice(b"sys_info");
        tar[257..262].copy_from_slice(b"ustar");
        let header = br#"{"__metadata__":{"format":"pt"}}"#;
        // A safetensors header whose length, in its lowest byte, is the letter that JSON begins with.
        let safetensors = [&[b'{', 0, 0, 0, 0, 0, 0, 0][..], header].concat();
        let msgpack = [&[0x81, 0xa6, 0, 0, 0, 0, 0, 0][..], header].concat();
        for head in [
            &tar[..],
            &safetensors,
            &msgpack,
            b"PK\x03\x04",
            b"\x80\x02}q\0.",
            b"",
            b"\x08\x07",
        ] {
            assert_eq!(by_content(head), None, "{head:?}");
        }
    }

    #[test]
    fn archives_are_told_by_their_names() {
        let what = |names: &[&str]| zip(names.iter().copied()).unwrap_or_default();
        assert!(what(&["metadata.json", "config.json", "model.weights.h5"]).contains(".keras"));
        assert_eq!(what(&["a/readme.txt", "b.txt"]), "");
        assert_eq!(what(&[]), "");
    }
}
