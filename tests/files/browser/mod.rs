//! Pages in a real browser: headless Chromium, driven by playwright-core.
//!
//! Runs where `node` and `chromium` are found and `CKPT_REGEN_PLAYWRIGHT` names a folder in which
//! `npm install playwright-core` was done; says so where not. `check.mjs` asserts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;

/// Chromium under one of its names.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file())
}

/// Runs `check.mjs CHECK PAGE…`, which fails when a page does not behave.
fn check(check: &str, pages: &[&Path]) {
    let Some(modules) = std::env::var_os("CKPT_REGEN_PLAYWRIGHT") else {
        return skip(check, "CKPT_REGEN_PLAYWRIGHT is not set");
    };
    let Some(chromium) = chromium() else {
        return skip(check, "no Chromium is installed");
    };
    let node = Command::new("node")
        .arg(repository("tests/files/browser/check.mjs"))
        .arg(check)
        .args(pages)
        .env("CKPT_REGEN_PLAYWRIGHT", modules)
        .env("CHROMIUM", chromium)
        .output();
    match node {
        Err(err) => skip(check, &format!("node does not start ({err})")),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let failed = stderr(&output);
            assert!(output.status.success(), "{check}: {said}{failed}");
        }
    }
}

#[test]
fn a_page_sorts_filters_and_tells_exact_numbers() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let page = dir.path().join("r.html");
    ok(&["inspect", text(&file), "--html", text(&page)]);
    check("report", &[&page]);
}

#[test]
fn a_page_tells_what_lies_beyond_the_axis() {
    let dir = tempfile::tempdir().unwrap();
    let (file, page) = (dir.path().join("m.safetensors"), dir.path().join("r.html"));
    let mut gamma: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
    let ordinary = gamma.clone();
    gamma[5] = 15.0;
    fs::write(&file, network(&[("a.bn", &ordinary), ("b.bn", &gamma)])).unwrap();
    ok(&["inspect", text(&file), "--html", text(&page)]);
    check("outlier", &[&page]);
}

#[test]
fn a_page_of_several_networks_and_formats_opens_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut pages = Vec::new();
    for name in ["training.pth", "preserve.onnx", "model.legacy.th"] {
        let page = dir.path().join(format!("{name}.html"));
        let file = repository(FIXTURE).join(name);
        ok(&["inspect", text(&file), "--html", text(&page)]);
        pages.push(page);
    }
    check(
        "opens",
        &pages.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
    );
}

#[test]
fn the_report_of_an_edit_tells_both_sides() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let page = dir.path().join("r.html");
    ok(&["apply", text(&file), "--report", text(&page)]);
    check("edited", &[&page]);
}

#[test]
fn the_page_of_a_training_run_tells_exact_numbers_of_every_save() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("r.html");
    let saves = repository(FIXTURE).join("series/*.safetensors");
    ok(&["track", text(&saves), "--html", text(&page)]);
    check("series", &[&page]);
}

#[test]
fn the_page_of_two_checkpoints_tells_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("r.html");
    let a = repository(FIXTURE).join("series/epoch-005.safetensors");
    let b = repository(FIXTURE).join("model.safetensors");
    ok(&["diff", text(&a), text(&b), "--html", text(&page)]);
    check("compared", &[&page]);
}

#[cfg(feature = "train")]
#[test]
fn the_page_of_runs_tells_exact_numbers_of_every_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("r.html");
    let runs = ["0", "1"].map(|every| {
        let run = dir.path().join(every);
        let settings = ["--epochs", "3", "--batch-size", "512", "--width", "0.1"];
        let network = ["--model", "mobilenet_v2", "--data", "digits", "--record"];
        let args = ["train", "--out", text(&run), "--regen-every", every];
        ok(&[&args[..], &network, &settings].concat());
        run
    });
    ok(&[
        "report",
        text(&runs[0]),
        text(&runs[1]),
        "--html",
        text(&page),
    ]);
    check("runs", &[&page]);
}

#[cfg(feature = "train")]
#[test]
fn the_pages_of_an_ablation_and_a_comparison_tell_exact_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (out, page) = (dir.path().join("runs"), dir.path().join("c.html"));
    let settings = ["--epochs", "2", "--batch-size", "512", "--width", "0.1"];
    let network = ["--model", "mobilenet_v2", "--data", "digits"];
    let arms = ["--arms", "without,paper-1", "--seeds", "0,1"];
    let args = ["compare", "--out", text(&out), "--html", text(&page)];
    ok(&[&args[..], &network, &settings, &arms].concat());
    check("comparison", &[&page]);
    let page = dir.path().join("a.html");
    let runs = ["without/0", "paper-1/0"].map(|run| out.join(run));
    ok(&[
        "ablate",
        text(&runs[0]),
        text(&runs[1]),
        "--html",
        text(&page),
    ]);
    check("ablation", &[&page]);
}

#[test]
fn names_of_layers_run_no_script() {
    let dir = tempfile::tempdir().unwrap();
    let (file, page) = (dir.path().join("m.safetensors"), dir.path().join("r.html"));
    let names = [
        "</script><script>document.title='broken'</script>",
        "<img src=x onerror=\"document.title='broken'\">",
        "'\" onpointerover=\"document.title='broken'\" x=\"",
    ];
    let layers = names.map(|name| (name, &[0.1_f32, 0.2][..]));
    fs::write(&file, network(&layers)).unwrap();
    ok(&["inspect", text(&file), "--html", text(&page)]);
    check("hostile", &[&page]);
}

#[test]
fn a_page_of_200_layers_and_50_000_channels_sorts_and_hovers() {
    let dir = tempfile::tempdir().unwrap();
    let (file, page) = (dir.path().join("m.safetensors"), dir.path().join("r.html"));
    let gamma = |layer: usize, channel: usize| ((layer * 7 + channel * 13) % 101) as f32 / 100.0;
    let gammas: Vec<(String, Vec<f32>)> = (0..200)
        .map(|i| {
            (
                format!("layer{i}.bn"),
                (0..250).map(|c| gamma(i, c)).collect(),
            )
        })
        .collect();
    let layers: Vec<(&str, &[f32])> = gammas.iter().map(|(n, g)| (&n[..], &g[..])).collect();
    fs::write(&file, network(&layers)).unwrap();
    ok(&["inspect", text(&file), "--html", text(&page)]);
    check("large", &[&page]);
}
