//! Which columns hold the images and the labels.

use parquet::basic::Type;
use parquet::file::metadata::FileMetaData;
use serde_json::Value;

/// What columns of images are called, where several could be meant.
const IMAGES: [&str; 3] = ["image", "img", "jpg"];
/// What columns of labels are called: of two the finer.
const LABELS: [&str; 4] = ["fine_label", "label", "labels", "cls"];

/// The numbers of the two columns, and what the classes are called.
pub(super) struct Columns {
    pub(super) image: usize,
    pub(super) label: usize,
    pub(super) classes: Option<Vec<String>>,
}

/// Finds them; an error says what was looked for and what is there.
pub(super) fn find(metadata: &FileMetaData) -> Result<Columns, (&'static str, String)> {
    let schema = metadata.schema_descr();
    let leaves = schema.columns().iter().enumerate();
    let leaves: Vec<(usize, String, Type)> = leaves
        .map(|(n, column)| (n, column.path().string(), column.physical_type()))
        .collect();
    let all = || {
        let names: Vec<&str> = leaves.iter().map(|(_, path, _)| &path[..]).collect();
        format!("the columns {}", names.join(", "))
    };
    let image_of = |name: &str| {
        let inside = format!("{name}.bytes");
        let mut bytes = leaves
            .iter()
            .filter(|(_, _, kind)| *kind == Type::BYTE_ARRAY);
        bytes
            .find(|(_, path, _)| path == name || *path == inside)
            .map(|(n, ..)| *n)
    };
    let mut structs = leaves.iter().filter(|(_, path, kind)| {
        *kind == Type::BYTE_ARRAY
            && path
                .split_once('.')
                .is_some_and(|(_, leaf)| leaf == "bytes")
    });
    let only = match (structs.next(), structs.next()) {
        (Some((n, ..)), None) => Some(*n),
        _ => None,
    };
    let image = IMAGES.iter().find_map(|name| image_of(name)).or(only);
    let image = image.ok_or_else(|| ("a column of images (image.bytes)", all()))?;

    let features = features(metadata);
    let label_of = |name: &str| {
        let mut integers = leaves
            .iter()
            .filter(|(_, _, kind)| matches!(kind, Type::INT32 | Type::INT64));
        integers.find(|(_, path, _)| path == name).map(|(n, ..)| *n)
    };
    let mut classed = features.iter().filter(|(name, _)| label_of(name).is_some());
    let only = match (classed.next(), classed.next()) {
        (Some((name, _)), None) => Some(&name[..]),
        _ => None,
    };
    let name = LABELS
        .into_iter()
        .find(|name| label_of(name).is_some())
        .or(only);
    let found = name.and_then(|name| Some((name, label_of(name)?)));
    let (name, label) = found.ok_or_else(|| ("a column of labels (label)", all()))?;
    let classes = features
        .iter()
        .find(|(of, _)| of == name)
        .map(|(_, classes)| classes.clone());
    Ok(Columns {
        image,
        label,
        classes,
    })
}

/// The columns that the metadata calls a ClassLabel, with the names of the classes.
fn features(metadata: &FileMetaData) -> Vec<(String, Vec<String>)> {
    let entries = metadata.key_value_metadata().into_iter().flatten();
    let text = entries
        .filter(|entry| entry.key == "huggingface")
        .find_map(|entry| entry.value.as_deref());
    let info: Value = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let features = info["info"]["features"].as_object().into_iter().flatten();
    let named = features.filter_map(|(column, feature)| {
        let names = feature["names"]
            .as_array()
            .filter(|_| feature["_type"] == "ClassLabel")?;
        let names: Option<Vec<String>> = names
            .iter()
            .map(|name| Some(name.as_str()?.to_owned()))
            .collect();
        Some((column.clone(), names?))
    });
    named.collect()
}
