//! Which Parquet files of a Hugging Face data set hold a split.

use std::collections::BTreeSet;
use std::path::Path;

use super::Split;

/// How files of images for testing begin; of several kinds the first is taken, for `test` may come
/// without labels.
const TEST: [&str; 4] = ["validation", "valid", "val", "test"];

/// The files of a split among `names`, which are relative to the data set; those in the folder of
/// `config`, else in `data` or beside it, else in the only folder that has any.
///
/// `None` where no name is a Parquet file's; an error, as it reads after the set's name, where the
/// split is not there or not whole, or there are several configurations.
pub(super) fn select(
    names: &[String],
    config: Option<&str>,
    split: Split,
) -> Option<Result<Vec<String>, String>> {
    let files: Vec<(&str, &str)> = names.iter().filter_map(|name| shard(name)).collect();
    if files.is_empty() {
        return None;
    }
    let folders: BTreeSet<&str> = files.iter().map(|(folder, _)| *folder).collect();
    let folder = match config {
        Some(config) => folders.get(config),
        None if folders.len() == 1 => folders.first(),
        None => folders.get("data").or_else(|| folders.get("")),
    };
    let Some(folder) = folder else {
        let folders: Vec<&str> = folders.into_iter().collect();
        let folders = folders.join(", ");
        return Some(Err(match config {
            Some(config) => format!("has no configuration {config}, but {folders}"),
            None => format!("has several configurations: {folders}; name one"),
        }));
    };
    let of = |prefix: &str| -> Vec<&str> {
        let here = files.iter().filter(|(at, _)| at == folder);
        let named = here.filter(|(_, file)| kind(file) == prefix);
        named.map(|(_, file)| *file).collect()
    };
    let chosen = match split {
        Split::Train => of("train"),
        Split::Test => TEST
            .iter()
            .map(|prefix| of(prefix))
            .find(|of| !of.is_empty())
            .unwrap_or_default(),
    };
    let path = |file: &&str| match *folder {
        "" => (*file).to_owned(),
        folder => format!("{folder}/{file}"),
    };
    if chosen.is_empty() {
        let missing = match split {
            Split::Train => "train-*.parquet",
            Split::Test => "test-*.parquet or validation-*.parquet",
        };
        return Some(Err(format!("has no file {missing}")));
    }
    Some(whole(&chosen).map(|()| {
        let mut paths: Vec<String> = chosen.iter().map(path).collect();
        paths.sort();
        paths
    }))
}

/// The folder and the name of a Parquet file, where its path is a plain one.
fn shard(name: &str) -> Option<(&str, &str)> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':']);
    let inside = if name.contains('/') {
        folder.split('/').all(plain)
    } else {
        true
    };
    (inside && plain(file) && file.ends_with(".parquet")).then_some((folder, file))
}

fn kind(file: &str) -> &str {
    let stem = file.trim_end_matches(".parquet");
    stem.split(['-', '.']).next().unwrap_or(stem)
}

/// Checks that all are there where the names say how many there are: `train-00002-of-00005`.
fn whole(files: &[&str]) -> Result<(), String> {
    let count = |file: &&str| -> Option<usize> {
        let mut parts = Path::new(file).file_stem()?.to_str()?.split('-');
        parts.find(|part| *part == "of")?;
        parts.next()?.parse().ok()
    };
    match files.iter().find_map(count) {
        Some(expected) if expected != files.len() => Err(format!(
            "has {} of {expected} files like {}",
            files.len(),
            files[0]
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str], config: Option<&str>, split: Split) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        select(&names, config, split).expect("Parquet files")
    }

    #[test]
    fn files_of_a_split_are_found_in_every_layout() {
        let plain = [
            "README.md",
            "data/test-00000-of-00001.parquet",
            "data/train-00001-of-00002-ab.parquet",
            "data/train-00000-of-00002-ab.parquet",
        ];
        assert_eq!(
            selected(&plain, None, Split::Train).unwrap(),
            [
                "data/train-00000-of-00002-ab.parquet",
                "data/train-00001-of-00002-ab.parquet"
            ]
        );
        assert_eq!(
            selected(
                &["train.parquet", "valid.parquet", "test.parquet"],
                None,
                Split::Test
            )
            .unwrap(),
            ["valid.parquet"]
        );
        let configs = ["a/train-0.parquet", "b/train-0.parquet"];
        assert_eq!(
            selected(&configs, Some("b"), Split::Train).unwrap(),
            ["b/train-0.parquet"]
        );
        assert_eq!(
            selected(&configs[..1], None, Split::Train).unwrap(),
            ["a/train-0.parquet"]
        );
        assert!(select(&["README.md".into()], None, Split::Train).is_none());
    }

    #[test]
    fn what_is_missing_is_said() {
        for (names, config, expected) in [
            (
                &["a/train.parquet", "b/train.parquet"][..],
                None,
                "several configurations: a, b",
            ),
            (&["a/train.parquet"], Some("c"), "no configuration c, but a"),
            (
                &["data/train-00000-of-00002.parquet"],
                None,
                "has 1 of 2 files",
            ),
            (&["test.parquet"], None, "has no file train-*.parquet"),
        ] {
            let message = selected(names, config, Split::Train).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_no_file_of_the_set() {
        let names = [
            "../train.parquet",
            "/train.parquet",
            "a/../train.parquet",
            "c:/train.parquet",
            "a\\train.parquet",
        ];
        assert!(select(&names.map(str::to_owned), None, Split::Train).is_none());
    }
}
