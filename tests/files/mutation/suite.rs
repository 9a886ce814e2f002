//! The files of a JSON test suite as headers and indexes.

use std::fs;
use std::path::PathBuf;

use ckpt_regen::Checkpoint;

use super::oracle::read;
use super::{report, scratch, wrapped};
use crate::common::material_folder;
use crate::sandbox::*;

/// The files of the JSON parsing test suite.
fn suite() -> Option<Vec<PathBuf>> {
    let material = material_folder("the JSON suite")?;
    let parts = ["test_parsing", "test_transform"];
    let files = parts.map(|part| material.join("suites/json-testsuite").join(part));
    let files = files.into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    Some(files)
}

#[test]
fn every_file_of_the_json_suite_is_refused_or_accepted_as_a_header() {
    let Some(suite) = suite() else {
        return;
    };
    assert!(suite.len() > 300, "{} files", suite.len());
    let dir = scratch();
    let path = dir.path().join(MODEL);
    let mut faults = Vec::new();
    for file in &suite {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = fs::read(file).unwrap();
        for wrap in [
            "?",
            r#"{"a":?}"#,
            r#"{"__metadata__":?}"#,
            r#"{"__metadata__":{"x":?}}"#,
            r#"{"a":{"dtype":"F32","shape":?,"data_offsets":[0,0]}}"#,
            r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"more":?}}"#,
        ] {
            let file = with_header(wrapped(wrap, &text), &[]);
            fs::write(&path, &file).unwrap();
            match read(&path, &file) {
                Ok(true) if wrap == "?" && name.starts_with("n_") => {
                    faults.push(format!("{name} is no JSON, but accepted"));
                }
                Ok(_) => {}
                Err(fault) => faults.push(format!("{name} in {wrap}: {fault}")),
            }
        }
    }
    report(&faults);
}

#[test]
fn every_file_of_the_json_suite_is_refused_or_accepted_as_a_shard_index() {
    let Some(suite) = suite() else {
        return;
    };
    let dir = Dir::new();
    for file in &suite {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = fs::read(file).unwrap();
        for wrap in [
            "?",
            r#"{"weight_map":?}"#,
            r#"{"weight_map":{},"metadata":?}"#,
        ] {
            dir.write(INDEX, &wrapped(wrap, &text));
            let opened = Checkpoint::open(dir.path(INDEX));
            let hollow = wrap == "?" && name.starts_with("n_");
            assert!(
                opened.is_err() || !hollow,
                "{name} is no JSON, but accepted"
            );
        }
    }
}
