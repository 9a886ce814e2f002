//! Lists of the form `.odgt`, as the reference for ADE20K has them: a JSON object a line, with the paths
//! of an image and its map from the list's directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Unchecked;
use crate::error::{Error, Result};
use crate::train::data::Split;

const TRAIN: [&str; 2] = ["training.odgt", "train.odgt"];
const TEST: [&str; 3] = ["validation.odgt", "val.odgt", "test.odgt"];
/// A longer line is none of a list.
const MAX_LINE: u64 = 1 << 16;

#[derive(Deserialize)]
struct Line {
    fpath_img: PathBuf,
    fpath_segm: PathBuf,
    width: Option<usize>,
    height: Option<usize>,
}

/// What the list of a split names; `None` where the directory has no lists.
pub(super) fn open(dir: &Path, split: Split) -> Result<Option<Vec<Unchecked>>> {
    let find = |names: &[&str]| {
        let paths = names.iter().map(|name| dir.join(name));
        paths.into_iter().find(|path| path.is_file())
    };
    let (train, test) = (find(&TRAIN), find(&TEST));
    if train.is_none() && test.is_none() {
        return Ok(None);
    }
    let (list, names) = match split {
        Split::Train => (train, TRAIN.join(" or ")),
        Split::Test => (test, TEST.join(" or ")),
    };
    match list {
        Some(list) => read(dir, &list).map(Some),
        None => {
            let expected = format!("a list {names}");
            Err(Error::malformed(dir, "data set", expected, "none"))
        }
    }
}

fn read(dir: &Path, list: &Path) -> Result<Vec<Unchecked>> {
    let file = File::open(list).map_err(Error::io("open", list))?;
    let mut lines = BufReader::new(file);
    let mut listed = Vec::new();
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let mut limited = (&mut lines).take(MAX_LINE);
        let len = limited
            .read_until(b'\n', &mut text)
            .map_err(Error::io("read", list))?;
        if len == 0 {
            break;
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line: Line = serde_json::from_slice(&text).map_err(|err| {
            let expected = "a JSON object with fpath_img and fpath_segm";
            Error::malformed(list, format!("line {number}"), expected, err)
        })?;
        listed.push(Unchecked {
            image: dir.join(line.fpath_img),
            labels: dir.join(line.fpath_segm),
            size: line.width.zip(line.height),
        });
    }
    if listed.is_empty() {
        return Err(Error::malformed(
            list,
            "list",
            "a line for each image",
            "none",
        ));
    }
    Ok(listed)
}
