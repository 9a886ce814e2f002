//! What `track` promises: the order of a series, its numbers, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use ckpt_regen::inspect::track::{TrackOptions, track};
use ckpt_regen::inspect::{Render as _, Terminal};
use serde_json::{Value, json};

/// Names and γ.
type Layers<'a> = &'a [(&'a str, &'a [f32])];

/// A directory of checkpoints with these γ.
fn series(saves: &[(&str, Layers<'_>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, layers) in saves {
        fs::write(dir.path().join(name), network(layers)).unwrap();
    }
    dir
}

/// The pattern for all of them.
fn all(dir: &tempfile::TempDir) -> String {
    format!("{}/*.safetensors", text(dir.path()))
}

fn track_json(args: &[&str]) -> Value {
    ok_json(&[&["track", "--json"], args].concat())
}

fn real() -> String {
    text(&repository(FIXTURE).join("series/epoch-*.safetensors")).to_owned()
}

/// The number of each save, in order.
fn places(series: &Value) -> Vec<u64> {
    let saves = series["saves"].as_array().unwrap().iter();
    saves.map(|save| save["at"].as_u64().unwrap()).collect()
}

/// The directory that transformers' Trainer leaves.
fn trainer(dir: &Path, name: &str, epoch: f64, model: &[u8]) -> PathBuf {
    let checkpoint = dir.join(name);
    fs::create_dir(&checkpoint).unwrap();
    fs::write(checkpoint.join("model.safetensors"), model).unwrap();
    fs::write(
        checkpoint.join("trainer_state.json"),
        json!({ "epoch": epoch }).to_string(),
    )
    .unwrap();
    checkpoint
}

#[test]
fn a_real_run_has_the_numbers_that_inspect_gives_for_each_save() {
    let series = track_json(&[&real()]);
    assert_eq!(
        (&series["order"], places(&series)),
        (&json!("name"), vec![5, 12, 25])
    );
    for (i, save) in series["saves"].as_array().unwrap().iter().enumerate() {
        let report = ok_json(&["inspect", "--json", save["path"].as_str().unwrap()]);
        let network = &report["networks"][0];
        let layers = network["layers"]
            .as_array()
            .unwrap()
            .iter()
            .chain([network]);
        let lines = series["layers"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&series["network"]]);
        assert_eq!(series["layers"].as_array().unwrap().len(), 52);
        for (line, layer) in lines.zip(layers) {
            for field in ["inhibited", "min", "median", "max", "non_finite"] {
                assert_eq!(line[field][i], layer[field], "{} {field}", line["name"]);
            }
        }
    }
}

#[test]
fn the_mask_distance_is_the_share_of_channels_that_change_sides_of_the_median() {
    let dir = series(&[
        ("e1.safetensors", &[("a", &[0.1, 0.2]), ("b", &[0.3, 0.4])]),
        ("e2.safetensors", &[("a", &[0.1, 0.5]), ("b", &[0.2, 0.6])]),
        ("e10.safetensors", &[("a", &[0.1, 0.5]), ("b", &[0.2, 0.6])]),
    ]);
    let series = track_json(&[&all(&dir)]);
    assert_eq!(places(&series), [1, 2, 10]);
    assert_eq!(series["network"]["hamming"], json!([null, 0.5, 0.0]));
    assert_eq!(series["layers"][0]["hamming"], json!([null, 0.5, 0.0]));
    assert_eq!(series["settled"], 2);
}

#[test]
fn the_finished_epochs_decide_the_order_where_all_say_them() {
    let dir = tempfile::tempdir().unwrap();
    let model = fs::read(repository(FIXTURE).join("model.safetensors")).unwrap();
    // The names say the opposite.
    let late = dir.path().join("1.pth");
    fs::copy(repository(FIXTURE).join("training.pth"), &late).unwrap();
    let early = trainer(dir.path(), "checkpoint-900", 5.0, &model);
    let middle = trainer(dir.path(), "checkpoint-500", 7.9, &model);
    let series = track_json(&[text(&late), text(&early), text(&middle)]);
    assert_eq!(
        (&series["order"], places(&series)),
        (&json!("epoch"), vec![5, 7, 25])
    );
    assert_eq!(series["saves"][2]["format"], "pytorch-zip");
}

#[test]
fn where_one_is_silent_the_names_decide_and_a_warning_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let model = network(&[("bn", &[1.0, 2.0])]);
    trainer(dir.path(), "checkpoint-500", 9.0, &model);
    let silent = dir.path().join("checkpoint-1000");
    fs::create_dir(&silent).unwrap();
    fs::write(silent.join("model.safetensors"), &model).unwrap();
    let output = run(&[
        "track",
        "--json",
        &format!("{}/checkpoint-*", text(dir.path())),
    ]);
    let series: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&series["order"], places(&series)),
        (&json!("name"), vec![500, 1000])
    );
    let warning = stderr(&output);
    assert!(
        warning.contains("1 of 2 checkpoints do not say how many epochs"),
        "{warning}"
    );
    assert!(warning.contains("checkpoint-1000"), "{warning}");
}

#[test]
fn two_checkpoints_of_one_epoch_are_both_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = network(&[("bn", &[1.0, 2.0])]);
    for name in ["step-20", "step-3"] {
        trainer(dir.path(), name, 1.0, &model);
    }
    let output = run(&["track", "--json", &format!("{}/step-*", text(dir.path()))]);
    let series: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        series["saves"][0]["path"]
            .as_str()
            .unwrap()
            .ends_with("step-3")
    );
    let warning = stderr(&output);
    assert!(
        warning.contains("step-20 are both after epoch 1"),
        "{warning}"
    );
}

#[test]
fn a_network_with_other_layers_or_channels_is_named_with_what_differs() {
    let dir = series(&[
        ("e1.safetensors", &[("a", &[1.0, 2.0]), ("b", &[1.0])]),
        ("e2.safetensors", &[("a", &[1.0, 2.0]), ("b", &[1.0, 2.0])]),
        ("e3.safetensors", &[("a", &[1.0, 2.0])]),
        (
            "e4.safetensors",
            &[("a", &[1.0, 2.0]), ("b", &[1.0]), ("c", &[1.0])],
        ),
    ]);
    let path = |name: &str| text(&dir.path().join(name)).to_owned();
    for (other, said) in [
        (
            "e2.safetensors",
            "b: expected a BatchNorm layer of 1 channels, as in",
        ),
        ("e2.safetensors", "found 2 channels"),
        ("e3.safetensors", "found no layer of that name"),
        ("e4.safetensors", "c: expected no such layer, as in"),
    ] {
        let message = fails(1, &["track", &path("e1.safetensors"), &path(other)]);
        assert!(
            message.contains(said) && message.contains(&path(other)),
            "{message}"
        );
    }
}

#[test]
fn a_checkpoint_without_batchnorm_is_named() {
    let folded = repository(FIXTURE).join("folded.onnx");
    let model = repository(FIXTURE).join("model.pth");
    let message = fails(1, &["track", text(&model), text(&folded)]);
    assert!(
        message.contains("folded.onnx: has convolutions and no BatchNormalization"),
        "{message}"
    );
}

#[test]
fn a_pattern_that_matches_nothing_or_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pattern = format!("{}/ckpt-*.safetensors", text(dir.path()));
    let message = fails(1, &["track", &pattern]);
    assert!(
        message.contains(&pattern) && message.contains("found none"),
        "{message}"
    );
    let message = fails(2, &["track", "a[.pth"]);
    assert!(message.contains("a[.pth: no pattern"), "{message}");
    let message = fails(1, &["track", "missing.pth"]);
    assert!(message.contains("missing.pth: cannot open"), "{message}");
    fails(2, &["track"]);
}

#[test]
fn a_file_with_a_bracket_in_its_name_is_taken_as_it_is() {
    let dir = series(&[("e[1].safetensors", &[("bn", &[1.0])])]);
    let file = dir.path().join("e[1].safetensors");
    assert_eq!(track_json(&[text(&file)])["saves"][0]["path"], text(&file));
}

#[test]
fn a_name_without_a_place_in_time_is_named() {
    let dir = series(&[
        ("best.safetensors", &[("bn", &[1.0])]),
        ("e1.safetensors", &[("bn", &[1.0])]),
        ("e2.safetensors", &[("bn", &[1.0])]),
    ]);
    let message = fails(1, &["track", &all(&dir)]);
    assert!(
        message.contains("best.safetensors: name: expected a number"),
        "{message}"
    );
}

#[test]
fn one_checkpoint_is_shown_and_a_note_says_that_it_is_no_series() {
    let output = run(&[
        "track",
        text(&repository(FIXTURE).join("model.safetensors")),
    ]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("one checkpoint is no series yet"));
}

/// A network of eight channels whose weak half shrinks by `rate` a save; the tool regenerates it in
/// the second of five.
fn regenerated_run() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |save: usize| dir.path().join(format!("epoch-{save}.safetensors"));
    let mut gamma = [0.5_f32, 0.6, 0.7, 0.8, 0.02, 0.03, 0.04, 0.4];
    for save in 1..=5 {
        fs::write(
            file(save),
            network(&[("a", &gamma[..4]), ("b", &gamma[4..])]),
        )
        .unwrap();
        if save == 2 {
            ok(&["apply", text(&file(save))]);
            let b: Vec<f32> = crate::common::gamma(&file(save), "b")
                .iter()
                .map(|v| *v as f32)
                .collect();
            gamma[4..].copy_from_slice(&b);
        }
        // One of them dies again at once, one later.
        gamma[4] *= 0.01;
        gamma[5] *= if save < 4 { 0.5 } else { 0.01 };
    }
    dir
}

#[test]
fn channels_are_known_as_regenerated_by_a_record_and_followed_to_their_death() {
    let dir = regenerated_run();
    let series = track_json(&[&all(&dir)]);
    let known = &series["regenerations"];
    assert_eq!(known.as_array().unwrap().len(), 1);
    assert_eq!(
        (&known[0]["save"], &known[0]["source"]),
        (&json!(1), &json!("record"))
    );
    // Of eight γ, the lower median is the fourth: three lie below it.
    assert_eq!(known[0]["regenerated"], 3);
    assert_eq!(known[0]["alive"], json!([3, 2, 2, 1]));
    assert_eq!(series["layers"][1]["regenerated"], json!([0, 3, 0, 0, 0]));
    assert_eq!(
        series["survival"][3],
        json!({"after": 3, "regenerated": 3, "alive": 1})
    );
    let shown = ok(&["track", &all(&dir)]);
    let line = "regenerated 3 channels at number 2 (record): alive 100% █▆▆▃ 33% 3 saves later";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn without_a_record_a_regeneration_is_known_by_its_mark() {
    let dir = regenerated_run();
    fs::remove_file(dir.path().join(".ckpt-regen/epoch-2.safetensors.json")).unwrap();
    let series = track_json(&[&all(&dir)]);
    let known = &series["regenerations"][0];
    assert_eq!(
        (&known["save"], &known["source"]),
        (&json!(1), &json!("mark"))
    );
    // Not the median itself, which stood there in the save before.
    assert_eq!(known["regenerated"], 3);
}

#[test]
fn a_record_of_other_gamma_tells_nothing() {
    let dir = regenerated_run();
    let record = |save: usize| {
        dir.path()
            .join(format!(".ckpt-regen/epoch-{save}.safetensors.json"))
    };
    fs::copy(record(2), record(4)).unwrap();
    let known = track_json(&[&all(&dir)])["regenerations"].clone();
    assert_eq!(known.as_array().unwrap().len(), 1);
    assert_eq!(known[0]["save"], 1);
}

#[test]
fn records_are_not_taken_for_checkpoints() {
    let dir = regenerated_run();
    let pattern = format!("{}/epoch-*", text(dir.path()));
    assert_eq!(places(&track_json(&[&pattern])), [1, 2, 3, 4, 5]);
}

#[test]
fn channels_and_whole_layers_are_followed_by_name_or_as_the_weakest_and_the_strongest() {
    let series = track_json(&[&real(), "--channel", "features.1.conv.0.1:3"]);
    let chosen = &series["trajectories"];
    assert_eq!(chosen.as_array().unwrap().len(), 1);
    assert_eq!(
        (&chosen[0]["chosen"], &chosen[0]["channel"]),
        (&json!("asked"), &json!(3))
    );
    for (save, epoch) in ["005", "012", "025"].iter().enumerate() {
        let file = repository(FIXTURE).join(format!("series/epoch-{epoch}.safetensors"));
        assert_eq!(
            chosen[0]["gamma"][save],
            json!(gamma(&file, "features.1.conv.0.1")[3])
        );
    }
    let whole = track_json(&[&real(), "--channel", "features.1.conv.0.1"]);
    let whole = whole["trajectories"].as_array().unwrap();
    assert_eq!(whole.len(), 8);
    assert_eq!(whole[3], chosen[0]);
    let dir = regenerated_run();
    let chosen = &track_json(&[&all(&dir)])["trajectories"];
    let of = |i: usize| {
        (
            chosen[i]["chosen"].clone(),
            chosen[i]["layer"].clone(),
            chosen[i]["channel"].clone(),
        )
    };
    assert_eq!(of(0), (json!("weakest"), json!("b"), json!(0)));
    assert_eq!(of(1), (json!("strongest"), json!("a"), json!(3)));
}

#[test]
fn a_layer_whose_name_ends_like_a_channel_is_followed_by_that_name() {
    let dir = series(&[("e1.safetensors", &[("bn:0", &[1.0, 2.0]), ("c", &[1.0])])]);
    let file = dir.path().join("e1.safetensors");
    let followed = |channel: &str| {
        let series = track_json(&[text(&file), "--channel", channel]);
        series["trajectories"].as_array().unwrap().len()
    };
    assert_eq!((followed("bn:0"), followed("bn:0:1")), (2, 1));
}

#[test]
fn a_channel_that_is_not_there_is_wrong_usage() {
    for (channel, said) in [
        (
            "features.1.conv.0.1:8",
            "the layer has 8 channels, counted from 0",
        ),
        ("nonesuch:0", "no layer \"nonesuch\" among the 52 layers"),
        (
            "features.1.conv.0.1:x",
            "no layer \"features.1.conv.0.1:x\"",
        ),
        ("", "expected LAYER or LAYER:INDEX"),
    ] {
        let message = fails(2, &["track", &real(), "--channel", channel]);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn the_csv_has_a_line_for_every_layer_of_every_save_and_survives_any_name() {
    let dir = series(&[
        (
            "e1.safetensors",
            &[("a,\"b\"\n", &[0.001, 2.0]), ("c", &[1.0])],
        ),
        (
            "e2.safetensors",
            &[("a,\"b\"\n", &[1.0, 2.0]), ("c", &[f32::NAN])],
        ),
    ]);
    let printed = ok(&["track", &all(&dir), "--csv"]);
    let mut lines = csv::Reader::from_reader(printed.as_bytes());
    let header = lines.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = lines.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2 * 3);
    let value = |row: usize, name: &str| rows[row].get(column(name)).unwrap().to_owned();
    assert_eq!(
        (value(0, "layer"), value(0, "inhibited")),
        ("a,\"b\"\n".into(), "1".into())
    );
    assert_eq!(
        (value(2, "scope"), value(2, "channels")),
        ("network".into(), "3".into())
    );
    assert_eq!(
        (value(4, "median"), value(4, "non_finite")),
        (String::new(), "1".into())
    );
    assert_eq!(
        (value(0, "hamming"), value(3, "at")),
        (String::new(), "2".into())
    );
}

#[test]
fn a_layer_that_nothing_matches_is_an_error() {
    let message = fails(1, &["track", &real(), "--layer", "nonesuch"]);
    assert!(message.contains("none whose name matches"), "{message}");
    let series = track_json(&[&real(), "--layer", "^features\\.1\\."]);
    assert_eq!(
        (
            &series["layers"].as_array().unwrap().len(),
            &series["layer_count"]
        ),
        (&2, &json!(52))
    );
}

#[test]
fn a_pipe_gets_no_colours_and_no_line_beyond_80_columns() {
    for args in [&["track"][..], &["track", "--layer", "1[0-8]"]] {
        let output = command(&[args, &[&real()]].concat())
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.contains('\u{1b}'), "{printed}");
        let widest = printed.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{printed}");
    }
}

/// The JSON that a page holds.
fn data(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_page_holds_the_json_and_loads_nothing() {
    let dir = regenerated_run();
    let page = dir.path().join("r.html");
    let json = track_json(&[&all(&dir), "--html", text(&page)]);
    let page = fs::read_to_string(&page).unwrap();
    assert_eq!(data(&page), json);
    let outside = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(page.contains("Content-Security-Policy") && !outside.contains("://"));
}

#[test]
fn a_page_of_hostile_names_has_none_of_them_unescaped() {
    let name = "</script><img src=x onerror=alert(1)>";
    let dir = series(&[
        ("e1.safetensors", &[(name, &[0.1, 0.2])]),
        ("e2.safetensors", &[(name, &[0.001, 0.2])]),
    ]);
    let page = dir.path().join("r.html");
    ok(&["track", &all(&dir), "--html", text(&page)]);
    let page = fs::read_to_string(&page).unwrap();
    assert!(!page.contains("<img"), "{page}");
    assert_eq!(data(&page)["layers"][0]["name"], name);
}

#[test]
fn a_page_never_replaces_a_checkpoint() {
    let dir = series(&[("e1.safetensors", &[("bn", &[1.0])])]);
    let file = dir.path().join("e1.safetensors");
    let before = fs::read(&file).unwrap();
    let message = fails(2, &["track", text(&file), "--html", text(&file)]);
    assert!(message.contains("is the checkpoint itself"), "{message}");
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn the_table_at_80_and_at_200_columns() {
    let paths = ["005", "012", "025"]
        .map(|epoch| repository(FIXTURE).join(format!("series/epoch-{epoch}.safetensors")));
    let series = track(&paths, &TrackOptions::default()).unwrap();
    for width in [80, 200] {
        let mut table = Vec::new();
        Terminal { width }.render(&series, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let plain = anstream::adapter::strip_str(&table).to_string();
        let too_wide = plain.lines().find(|line| line.chars().count() > width);
        assert_eq!(too_wide, None);
        snapshot(&format!("track-{width}.txt"), &plain);
    }
}
