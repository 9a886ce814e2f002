//! Names of layers in tables and pictures: what all share is said once, and what is too long stays
//! distinct.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;

fn file_in(dir: &Path, name: &str, names: &[&str], gamma: f32) -> PathBuf {
    let file = dir.join(name);
    let gammas = [gamma, 0.5];
    let layers: Vec<(&str, &[f32])> = names.iter().map(|name| (*name, &gammas[..])).collect();
    fs::write(&file, network(&layers)).unwrap();
    file
}

/// `inspect`, `diff` and `track` of a network whose layers have these names.
fn tables(names: &[&str]) -> [String; 3] {
    let dir = tempfile::tempdir().unwrap();
    let a = file_in(dir.path(), "1.safetensors", names, 0.1);
    let b = file_in(dir.path(), "2.safetensors", names, 0.3);
    [
        ok(&["inspect", text(&a)]),
        ok(&["diff", text(&a), text(&b)]),
        ok(&["track", text(&a), text(&b)]),
    ]
}

const WRAPPED: [&str; 3] = [
    "module.backbone.stem.bn",
    "module.backbone.layer1.0.bn1",
    "module.backbone.layer1.0.bn2",
];

#[test]
fn what_all_names_begin_with_is_said_once_and_left_out_of_the_table() {
    for table in tables(&WRAPPED) {
        assert_eq!(table.matches("module.backbone.").count(), 1, "{table}");
        assert!(
            table.contains("\nnames begin with module.backbone.\n"),
            "{table}"
        );
        for name in ["\nstem.bn ", "\nlayer1.0.bn1 ", "\nlayer1.0.bn2 "] {
            assert!(table.contains(name), "{name:?} in {table}");
        }
    }
}

#[test]
fn the_beginning_ends_at_a_dot_and_leaves_every_layer_a_name() {
    for (names, begin) in [
        (&["net.stem1.bn", "net.stem2.bn"][..], Some("net.")),
        (&["block/a/bn", "block/b/bn"], Some("block/")),
        (&["net.bn", "net.bn.1"], Some("net.")),
        (&["stem1", "stem2"], None),
        (&["net.stem.bn"], None),
    ] {
        let [table, ..] = tables(names);
        let said = table
            .lines()
            .find_map(|line| line.strip_prefix("names begin with "));
        assert_eq!(said, begin, "{table}");
    }
}

#[test]
fn a_filter_does_not_change_what_names_begin_with() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(dir.path(), "m.safetensors", &WRAPPED, 0.1);
    let table = ok(&["inspect", text(&file), "--layer", "layer1"]);
    assert!(
        table.contains("\nnames begin with module.backbone.\n"),
        "{table}"
    );
    assert!(table.contains("\nlayer1.0.bn2 "), "{table}");
}

#[test]
fn pages_and_pictures_say_it_once_too_and_programs_get_whole_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(dir.path(), "1.safetensors", &WRAPPED, 0.1);
    let other = file_in(dir.path(), "2.safetensors", &WRAPPED, 0.3);
    let report = ok_json(&["inspect", text(&file), "--json"]);
    assert_eq!(report["networks"][0]["layers"][2]["name"], WRAPPED[0]);
    let (svg, page) = (dir.path().join("r.svg"), dir.path().join("r.html"));
    ok(&["inspect", text(&file), "--svg", text(&svg)]);
    let svg = fs::read_to_string(svg).unwrap();
    assert_eq!(svg.matches("module.backbone.").count(), 1);
    assert!(svg.contains("names begin with module.backbone.") && svg.contains(">stem.bn<"));
    for command in [
        &["inspect", text(&file), "--html"][..],
        &["diff", text(&file), text(&other), "--html"],
        &["track", text(&file), text(&other), "--html"],
        &["apply", text(&file), "--dry-run", "--report"],
    ] {
        ok(&[command, &[text(&page)]].concat());
        let shown = fs::read_to_string(&page).unwrap();
        let (body, data) = shown.split_once("id=\"data\">").unwrap();
        assert_eq!(body.matches("module.backbone.").count(), 1, "{command:?}");
        assert!(body.contains(">stem<wbr>.bn<"), "{command:?}");
        assert!(data.contains("\"module.backbone.stem.bn\""), "{command:?}");
    }
}

#[test]
fn names_that_are_shortened_stay_distinct() {
    let (begin, end) = ("an.encoder.of.many.words", "a.decoder.of.as.many.words.bn");
    let near = ["x", "y", "z"].map(|middle| format!("{begin}.{middle}.{end}"));
    let far = ["x", "y", "z"].map(|middle| format!("{begin}{begin}.{middle}.{end}{end}"));
    let other = "other.bn".to_owned();
    for names in [near, far] {
        let names: Vec<&str> = names.iter().chain([&other]).map(|name| &name[..]).collect();
        for table in tables(&names) {
            let rows = table.lines().skip_while(|line| !line.starts_with("layer "));
            let rows = rows.skip(1).take(4);
            let shown: BTreeSet<&str> = rows.filter_map(|row| row.split(' ').next()).collect();
            assert!(shown.len() == 4 && shown.contains("other.bn"), "{table}");
            assert!(
                table.lines().all(|line| line.chars().count() <= 80),
                "{table}"
            );
        }
    }
}
