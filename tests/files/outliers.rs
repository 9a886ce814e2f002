//! Histograms of a network in which a few γ lie far from all others.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use serde_json::Value;

/// γ from −1 to 1.4 in four layers of 50 channels, most of them about 0.2.
fn ordinary() -> Vec<Vec<f32>> {
    let gamma = |i: usize| {
        let place = (i as f32 * 0.618_034).fract() * 2.0 - 1.0;
        0.2 + 1.2 * place * place.abs()
    };
    (0..4)
        .map(|layer| (0..50).map(|channel| gamma(layer * 50 + channel)).collect())
        .collect()
}

/// The same, with these γ in the first channels of the layer `c.bn`.
fn with(outliers: &[f32]) -> Vec<u8> {
    let mut gammas = ordinary();
    gammas[2][..outliers.len()].copy_from_slice(outliers);
    let layers = ["a.bn", "b.bn", "c.bn", "d.bn"].into_iter().zip(&gammas);
    network(&layers.map(|(name, g)| (name, &g[..])).collect::<Vec<_>>())
}

fn file(outliers: &[f32]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, with(outliers)).unwrap();
    (dir, file)
}

/// The lines of a table that begin with these words.
fn line<'t>(table: &'t str, word: &str) -> &'t str {
    table
        .lines()
        .find(|line| line.starts_with(word))
        .unwrap_or_else(|| panic!("no {word} in\n{table}"))
}

fn bars(line: &str) -> usize {
    line.chars().filter(|c| ('▁'..='█').contains(c)).count()
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().expect("a list").iter();
    list.map(|n| n.as_f64().expect("a number")).collect()
}

fn page_of(file: &Path, command: &[&str]) -> String {
    let out = file.with_extension("html");
    ok(&[command, &[text(&out)]].concat());
    fs::read_to_string(out).unwrap()
}

#[test]
fn one_gamma_far_away_is_counted_at_the_end_of_the_axis_and_squeezes_nothing() {
    let (_dir, file) = file(&[15.0]);
    let table = ok(&["inspect", text(&file)]);
    let network = line(&table, "network");
    assert!(bars(network) >= 10, "{table}");
    assert!(
        network.contains(" 15.000 ") && network.ends_with("▸1"),
        "{table}"
    );
    assert!(line(&table, "c.bn").ends_with("▸1"), "{table}");
    assert!(!line(&table, "a.bn").contains('▸'), "{table}");
    let high = line(&table, "layer").split_whitespace().last().unwrap();
    assert!(
        (1.3..1.41).contains(&high.parse::<f64>().unwrap()),
        "{table}"
    );
    assert!(
        table.contains("γ beyond the axis: 1 above (▸)\n"),
        "{table}"
    );
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn gamma_beyond_both_ends_are_counted_at_both() {
    let (_dir, file) = file(&[-20.0, 15.0]);
    let table = ok(&["inspect", text(&file)]);
    let network = line(&table, "network");
    assert!(network.contains("1◂") && network.ends_with("▸1"), "{table}");
    assert!(
        table.contains("γ beyond the axis: 1 below (◂), 1 above (▸)\n"),
        "{table}"
    );
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn json_keeps_the_whole_range_and_tells_what_is_drawn() {
    let (_dir, file) = file(&[-20.0, 15.0, 16.0]);
    let report = ok_json(&["inspect", text(&file), "--json"]);
    let network = &report["networks"][0];
    let whole = &network["histogram"];
    for edges in ["edges", "fine_edges"] {
        let edges = numbers(&whole[edges]);
        assert_eq!((edges[0], *edges.last().unwrap()), (-20.0, 16.0));
    }
    assert_eq!(numbers(&whole["counts"]).iter().sum::<f64>(), 200.0);
    let drawn = &whole["drawn"];
    for (edges, counts) in [("edges", "counts"), ("fine_edges", "fine_counts")] {
        let (edges, counts) = (numbers(&drawn[edges]), numbers(&drawn[counts]));
        let (low, high) = (edges[0], *edges.last().unwrap());
        assert!(-1.01 < low && low < -0.9 && 1.3 < high && high < 1.41);
        assert_eq!(edges.len(), counts.len() + 1);
        assert_eq!(counts.iter().sum::<f64>(), 197.0);
    }
    assert_eq!((&drawn["below"], &drawn["above"]), (&1.into(), &2.into()));
    let layers = network["layers"].as_array().unwrap();
    for (layer, (below, above)) in layers.iter().zip([(0, 0), (0, 0), (1, 2), (0, 0)]) {
        let drawn = &layer["histogram"]["drawn"];
        assert_eq!(
            (&drawn["below"], &drawn["above"]),
            (&below.into(), &above.into())
        );
        for counts in ["counts", "fine_counts"] {
            let inside: f64 = numbers(&drawn[counts]).iter().sum();
            assert_eq!(inside, 50.0 - f64::from(below + above), "{counts}");
            let inside: f64 = numbers(&layer["histogram"][counts]).iter().sum();
            assert_eq!(inside, 50.0, "{counts}");
        }
    }
}

#[test]
fn of_an_ordinary_network_all_is_drawn_on_one_axis() {
    let fixture = repository(FIXTURE).join("model.safetensors");
    let (_dir, made) = file(&[]);
    for file in [fixture, made] {
        let report = ok_json(&["inspect", text(&file), "--json"]);
        let network = &report["networks"][0];
        assert_eq!(network["histogram"]["drawn"], Value::Null);
        assert_eq!(network["layers"][0]["histogram"]["drawn"], Value::Null);
        let shown = ok(&["inspect", text(&file)]);
        assert!(!shown.contains('▸') && !shown.contains("beyond"), "{shown}");
    }
}

#[test]
fn pages_and_pictures_draw_the_bulk_and_tell_what_lies_beyond() {
    let (_dir, file) = file(&[-20.0, 15.0]);
    let page = page_of(&file, &["inspect", text(&file), "--html"]);
    let svg = file.with_extension("svg");
    ok(&["inspect", text(&file), "--svg", text(&svg)]);
    let svg = fs::read_to_string(svg).unwrap();
    for drawing in [&page, &svg] {
        assert!(drawing.contains("1 below, down to −20.00"), "{drawing}");
        assert!(drawing.contains("1 above, up to 15.000"), "{drawing}");
        for mark in [">1 ◂<", ">▸ 1<"] {
            assert!(drawing.contains(mark), "{mark}");
        }
        assert!(drawing.contains(">−0.5<") && !drawing.contains(">−20<"));
    }
    assert!(page.contains("data-edges=\"/networks/0/histogram/drawn/fine_edges\""));
    assert!(page.contains("data-now=\"/networks/0/histogram/drawn\""));
    assert!(page.contains("<td>−20.00</td>") && page.contains("<td>15.000</td>"));
}

#[test]
fn both_sides_of_a_difference_and_of_an_edit_are_drawn_on_the_axis_of_the_bulk() {
    let (dir, a) = file(&[15.0]);
    let b = dir.path().join("b.safetensors");
    fs::write(&b, with(&[])).unwrap();
    let diff = ok_json(&["diff", text(&a), text(&b), "--json"]);
    let network = &diff["networks"][0];
    assert_eq!(numbers(&network["histogram"]["fine_edges"])[128], 15.0);
    let edges = numbers(&network["histogram"]["drawn"]["fine_edges"]);
    assert!(edges[128] < 1.41, "{edges:?}");
    for (side, above) in [("a", 1), ("b", 0)] {
        for of in [network, &network["layers"][2]] {
            let drawn = &of[side]["histogram"]["drawn"];
            assert_eq!(drawn["above"], above, "{side}");
            let inside: f64 = numbers(&drawn["fine_counts"]).iter().sum();
            let all: f64 = numbers(&of[side]["histogram"]["fine_counts"]).iter().sum();
            assert_eq!(inside + f64::from(above), all);
        }
    }
    let page = page_of(&a, &["diff", text(&a), text(&b), "--html"]);
    assert!(page.contains("data-edges=\"/networks/0/histogram/drawn/fine_edges\""));
    assert!(page.contains("0 above (before: 1)"));
    let page = page_of(&a, &["apply", text(&a), "--dry-run", "--report"]);
    assert!(page.contains("data-edges=\"/after/networks/0/histogram/drawn/fine_edges\""));
    assert!(page.contains("1 above, up to 15.000"));
}

#[test]
fn a_handful_of_gamma_and_a_network_that_is_all_but_dead_are_drawn_whole() {
    let mut dead = vec![0.0_f32; 200];
    dead[7] = 0.5;
    for gamma in [&[0.1_f32, 0.2, 15.0][..], &dead] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.safetensors");
        fs::write(&file, network(&[("bn", gamma)])).unwrap();
        let report = ok_json(&["inspect", text(&file), "--json"]);
        assert_eq!(report["networks"][0]["histogram"]["drawn"], Value::Null);
    }
}
