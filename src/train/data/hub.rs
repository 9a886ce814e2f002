//! Data sets of the Hugging Face hub, downloaded into its cache.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::{Classified, Split, parquet, shards};
use crate::error::{Error, Result};

/// Downloads that break off are taken up again so many times.
const RETRIES: usize = 3;

/// Opens `NAME` or `NAME:CONFIG`. What is in the cache (below `HF_HOME`) is not asked for again;
/// the rest comes from `HF_ENDPOINT`, which is huggingface.co unless it is set.
pub(super) fn open(spec: &str, split: Split) -> Result<Box<dyn Classified>> {
    let (name, config) = match spec.split_once(':') {
        Some((name, config)) => (name, Some(config)),
        None => (spec, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let parts: Vec<&str> = name.split('/').collect();
    let plain =
        |part: &&str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    if parts.len() > 2 || !parts.iter().all(plain) || config.is_some_and(str::is_empty) {
        let message = format!("hf:{spec}: expected hf:OWNER/NAME or hf:OWNER/NAME:CONFIG");
        return Err(Error::Usage(message));
    }
    let repo = Repo::new(name.to_owned(), RepoType::Dataset);
    let files = match cached(&repo, config, split) {
        Some(files) => files,
        None => download(repo, config, split)?,
    };
    parquet::open_files(&files)
}

/// The files of the split, where the cache has all of them.
fn cached(repo: &Repo, config: Option<&str>, split: Split) -> Option<Vec<PathBuf>> {
    let folder = Cache::from_env().path().join(repo.folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join(repo.revision())).ok()?;
    let snapshot = folder.join("snapshots").join(commit.trim());
    let mut names = Vec::new();
    list(&snapshot, "", &mut names, 2)?;
    let files = shards::select(&names, config, split)?.ok()?;
    Some(files.iter().map(|file| snapshot.join(file)).collect())
}

/// The files below a folder, by their paths from it.
fn list(folder: &Path, prefix: &str, names: &mut Vec<String>, depth: usize) -> Option<()> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_str()?);
        let path = entry.path();
        if path.is_file() {
            names.push(name);
        } else if depth > 0 && path.is_dir() {
            list(&path, &format!("{name}/"), names, depth - 1)?;
        }
    }
    Some(())
}

fn download(repo: Repo, config: Option<&str>, split: Split) -> Result<Vec<PathBuf>> {
    let shown = PathBuf::from(format!("hf:{}", repo.url().trim_start_matches("datasets/")));
    let failed =
        |what: &str, err: &ApiError| Error::refused(&shown, format!("cannot {what}: {err}"));
    let api = ApiBuilder::from_env()
        .with_progress(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_retries(RETRIES)
        .build()
        .map_err(|err| failed("be asked for", &err))?;
    let repo = api.repo(repo);
    let info = repo
        .info()
        .map_err(|err| failed("be found on the hub", &err))?;
    let names: Vec<String> = info
        .siblings
        .into_iter()
        .map(|file| file.rfilename)
        .collect();
    let files = match shards::select(&names, config, split) {
        Some(Ok(files)) => files,
        Some(Err(reason)) => return Err(Error::refused(&shown, reason)),
        None => return Err(Error::refused(&shown, "has no Parquet files")),
    };
    let files = files.iter().map(|file| {
        let path = repo.get(file);
        path.map_err(|err| failed(&format!("be downloaded ({file})"), &err))
    });
    files.collect()
}
