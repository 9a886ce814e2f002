//! The table of CONTRIBUTING.md that says which part of the house may use which, held against the
//! `use` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::repository;

/// Of each row the folder below `src`, and what it may use.
fn rows() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(repository("CONTRIBUTING.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let folder = cells[0].strip_prefix("`src/")?.strip_suffix("/`")?;
        let folder = Some(folder).filter(|folder| !folder.contains('`'))?;
        let allowed = cells.last()?.split(", ");
        Some((folder.to_owned(), allowed.map(str::to_owned).collect()))
    };
    let table = text.lines().filter(|line| line.starts_with("| `src/"));
    table.filter_map(row).collect()
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push(path);
        }
    }
}

/// The parts that a file names behind `crate::`, comments aside.
fn used(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let words = code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        match &rest[..end.unwrap_or(rest.len())] {
            // What the library shows of the engine's package, and of `net_onnx`.
            "net" => "engine".to_owned(),
            word => word.to_owned(),
        }
    });
    words.collect()
}

#[test]
fn every_part_of_the_house_uses_what_the_table_allows() {
    let rows = rows();
    let is_part = |name: &String| name == "engine" || repository("src").join(name).is_dir();
    assert!(rows.len() >= 9, "the table has {} rows", rows.len());
    for (folder, allowed) in rows {
        let mut all = Vec::new();
        files(&repository("src").join(&folder), &mut all);
        assert!(!all.is_empty(), "{folder} has no files");
        for file in all {
            let used = used(&fs::read_to_string(&file).unwrap());
            let parts = used.into_iter().filter(is_part);
            let beyond: Vec<String> = parts
                .filter(|part| *part != folder && !allowed.contains(part))
                .collect();
            assert!(
                beyond.is_empty(),
                "{}: {folder} may use {allowed:?}, and uses {beyond:?}",
                file.display()
            );
        }
    }
}

#[test]
fn parts_are_found_in_use_lines_and_in_paths() {
    let text = "use crate::error::Result;\n// crate::edit\nfn f() { crate::storage::pending() }";
    let expected = ["error", "storage"].map(str::to_owned);
    assert_eq!(used(text), BTreeSet::from(expected));
}

/// What a kernel, or a plan, must not name.
const APART: [(&str, &[&str]); 2] = [
    ("kernels", &["Graph", "Node", "plan", "run"]),
    ("plan", &["pulp", "Simd", "Isa", "rayon", "run"]),
];

#[test]
fn no_kernel_names_a_graph_and_no_plan_a_vector() {
    for (folder, apart) in APART {
        let mut all = Vec::new();
        files(&repository("engine/src/cpu").join(folder), &mut all);
        assert!(all.len() > 5, "{folder} has {} files", all.len());
        for file in all {
            let text = fs::read_to_string(&file).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code.filter(|line| line.trim_start().starts_with("use ")) {
                let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                let named = words.find(|word| apart.contains(word));
                assert!(named.is_none(), "{}: {line}", file.display());
            }
        }
    }
}
