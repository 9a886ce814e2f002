//! A class for each pixel: data that is right and wrong, runs, and what is said of them.

use std::fs;
use std::path::Path;

use ckpt_regen::train::data::scenes::{self, LabelValues};
use ckpt_regen::train::data::{LabelMap, Split};
use serde_json::Value;

use crate::common::*;

const NETWORK: &str = "mobilenetv2dilated-c1_deepsup";
/// What a run of these scenes is named by; later flags take the place of these.
const FLAGS: [(&str, &str); 8] = [
    ("--model", NETWORK),
    ("--label-values", "0-10"),
    ("--ignored-values", "11"),
    ("--epoch-updates", "4"),
    ("--batch-size", "2"),
    ("--bn-momentum", "0.1"),
    ("--short-sides", "24,32"),
    ("--test-sides", "32"),
];

/// A command on these scenes, with `more` flags.
fn args<'a>(command: &'a str, data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        command,
        "--recipe",
        "ade20k",
        "--data",
        text(data),
        "--out",
        text(out),
    ];
    for (flag, value) in FLAGS {
        if !more.contains(&flag) {
            args.extend([flag, value]);
        }
    }
    args.extend(more);
    args
}

fn train(data: &Path, out: &Path, more: &[&str]) -> String {
    ok(&args("train", data, out, more))
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("last/model.safetensors")).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_run_in_pieces_ends_with_the_bits_of_one_that_was_not_and_says_what_it_reached() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole, pieces) = (
        dir.path().join("data"),
        dir.path().join("a"),
        dir.path().join("b"),
    );
    scenes_in(&data);
    let more = [
        "--epochs",
        "3",
        "--regen-every",
        "1",
        "--include",
        "^encoder\\.",
        "--ema",
        "0.5",
    ];
    let more = [&more[..], &["--accumulate", "2", "--decoder-lr", "0.05"]].concat();
    let said = train(&data, &whole, &[&more[..], &["--threads", "1"]].concat());
    assert!(
        said.contains("mIoU") && said.contains("best score"),
        "{said}"
    );
    train(
        &data,
        &pieces,
        &[&more[..], &["--stop-after", "1", "--threads", "2"]].concat(),
    );
    ok(&["train", "--resume", text(&pieces)]);
    assert!(weights(&whole) == weights(&pieces));

    let epochs = metrics(&whole);
    assert_eq!(epochs.len(), 3);
    for epoch in &epochs {
        let iou: Vec<f64> = epoch["test_iou"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect();
        let mean = iou.iter().sum::<f64>() / 11.0;
        assert!((number(&epoch["test_miou"]) - mean).abs() < 1e-9, "{epoch}");
        let score = f64::midpoint(number(&epoch["test_top1"]), mean);
        assert!(
            (number(&epoch["test_score"]) - score).abs() < 1e-9,
            "{epoch}"
        );
    }
    let best = epochs
        .iter()
        .map(|epoch| number(&epoch["test_score"]))
        .reduce(f64::max)
        .unwrap();
    let state: Value =
        serde_json::from_slice(&fs::read(whole.join("last/state.json")).unwrap()).unwrap();
    assert_eq!(number(&state["best"]["test_score"]), best);
    assert_eq!(state["step"], 12);

    // eval says the same, of the best checkpoint.
    let found = ok_json(&["eval", text(&whole), "--json"]);
    assert_eq!(number(&found["score"]), best);
    assert_eq!(found["images"], 3);
    let pixels: u64 = found["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["pixels"].as_u64().unwrap())
        .sum();
    // All but the first columns.
    assert_eq!(pixels as usize, 2 * 39 * 32 + 31 * 40);
    assert!(found.get("top5").is_none());

    let page = dir.path().join("report.html");
    let said = ok(&["report", text(&whole), text(&pieces), "--html", text(&page)]);
    assert!(said.contains("best score"), "{said}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("IoU by class") && page.contains("pavement"));
    // Image, labels and prediction of three scenes of both runs.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 18);
}

#[test]
fn a_network_learns_the_colours_and_its_predictions_are_pictures_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (
        dir.path().join("data"),
        dir.path().join("run"),
        dir.path().join("said"),
    );
    scenes_in(&data);
    train(
        &data,
        &run,
        &[
            "--epochs",
            "4",
            "--epoch-updates",
            "40",
            "--short-sides",
            "32",
            "--lr",
            "0.05",
        ],
    );
    let args = [
        "eval",
        text(&run),
        "--save-predictions",
        text(&out),
        "--per-class",
    ];
    let said = ok(&args);
    assert!(
        said.contains("mean IoU") && said.contains("IoU  mostly"),
        "{said}"
    );
    let reached = number(&metrics(&run).last().unwrap()["test_top1"]);
    assert!(reached > 60.0, "{reached}: {said}");
    let mut names: Vec<String> = state(&out).into_keys().collect();
    names.sort();
    assert_eq!(names, ["0.png", "1.png", "2.png", "legend.png"]);
    // Values are classes: as many hits as eval says.
    let values = LabelValues {
        classes: None,
        ignored: Some("11".parse().unwrap()),
    };
    let truth = scenes::open(text(&data), Split::Test, &values).unwrap();
    let (mut right, mut all) = (0, 0);
    let mut map = LabelMap::default();
    for index in 0..3 {
        truth.read_labels(index, &mut map).unwrap();
        let mut decoder = png::Decoder::new(
            fs::File::open(out.join(format!("{index}.png")))
                .map(std::io::BufReader::new)
                .unwrap(),
        );
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut raw = vec![0; map.width() * map.height()];
        reader.next_frame(&mut raw).unwrap();
        for (label, predicted) in map.labels().iter().zip(raw) {
            all += usize::from(*label != 255);
            right += usize::from(*label == predicted);
        }
    }
    let found = ok_json(&["eval", text(&run), "--json"]);
    let expected = 100.0 * right as f64 / all as f64;
    assert!(
        (number(&found["top1"]) - expected).abs() < 1e-9,
        "{found} {expected}"
    );
}

#[test]
fn several_scales_are_averaged_in_a_test_and_compared_runs_have_their_iou() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("runs"));
    scenes_in(&data);
    let arms = [
        "--arms",
        "without,paper-1",
        "--seeds",
        "0,1",
        "--epochs",
        "2",
    ];
    let said = ok(&args("compare", &data, &out, &arms));
    for wanted in ["pixel acc.", "mean IoU", "score", "paper-1"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let found = ok_json(&args(
        "compare",
        &data,
        &out,
        &[&arms[..], &["--json"]].concat(),
    ));
    assert_eq!(found["arms"][1]["miou"]["n"], 2);
    assert!(found["differences"][0]["score"]["mean"].is_number());
    // Other scales give other predictions.
    let run = out.join("without/0");
    let [one, two] = ["32", "24,32,40"]
        .map(|sides| ok_json(&["eval", text(&run), "--test-sides", sides, "--json"]));
    assert_ne!(one["loss"], two["loss"]);
    let ablated = ok_json(&["ablate", text(&run), "--points", "0,8", "--json"]);
    assert_eq!(
        ablated["checkpoints"][0]["top1"].as_array().unwrap().len(),
        2
    );
}

/// What is said of scenes after a change.
fn refused(change: impl FnOnce(&Path), more: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    scenes_in(&data);
    change(&data);
    let out = dir.path().join("run");
    let said = fails(
        if more.is_empty() { 1 } else { 2 },
        &args("train", &data, &out, more),
    );
    assert!(!out.exists(), "{said}");
    said
}

#[test]
fn what_is_wrong_with_scenes_is_named_before_training_begins() {
    let map = "annotations/train/3.png";
    let wrong = |bytes: Vec<u8>| refused(|data| fs::write(data.join(map), bytes).unwrap(), &[]);
    let said = wrong(grey(SIZE, &[12; 40 * 32]));
    assert!(
        said.contains("3.png: row 0, column 0: expected") && said.contains("0-11, found 12"),
        "{said}"
    );
    let said = wrong(grey((8, 8), &[1; 64]));
    assert!(
        said.contains("3.png: size: expected 40×32 pixels"),
        "{said}"
    );
    let sixteen = png(
        SIZE,
        png::ColorType::Grayscale,
        png::BitDepth::Sixteen,
        &[0; 2 * 40 * 32],
    );
    assert!(wrong(sixteen).contains("Grayscale of 16 bits"));
    let colour = png(
        SIZE,
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        &[0; 3 * 40 * 32],
    );
    assert!(wrong(colour).contains("Rgb of 8 bits"));
    assert!(wrong(Vec::new()).contains("3.png: label map: expected a PNG file"));
    let whole = grey(SIZE, &[1; 40 * 32]);
    assert!(wrong(whole[..60].to_vec()).contains("a whole PNG file"));

    let void = |data: &Path| {
        for number in 0..8 {
            let size = if number == 7 { (SIZE.1, SIZE.0) } else { SIZE };
            let map = data.join(format!("annotations/train/{number}.png"));
            fs::write(map, grey(size, &[11; 40 * 32])).unwrap();
        }
    };
    assert!(refused(void, &[]).contains("expected a pixel of a class"));

    let said = refused(|data| fs::remove_file(data.join(map)).unwrap(), &[]);
    assert!(
        said.contains("images/train/3.png") && said.contains("annotations/train/3.png"),
        "{said}"
    );
    let said = refused(
        |data| fs::remove_file(data.join("images/val/1.png")).unwrap(),
        &[],
    );
    assert!(
        said.contains("annotations/val/1.png") && said.contains("found none"),
        "{said}"
    );
    let said = refused(
        |data| fs::remove_dir_all(data.join("annotations/val")).unwrap(),
        &[],
    );
    assert!(said.contains("annotations/val: folder: expected"), "{said}");
    let said = refused(
        |data| fs::write(data.join("classes.txt"), "sky\n").unwrap(),
        &[],
    );
    assert!(
        said.contains("classes.txt: classes: expected 11 names"),
        "{said}"
    );
    let said = refused(
        |data| fs::write(data.join("images/train/3.jpg"), "").unwrap(),
        &[],
    );
    assert!(said.contains("and not"), "{said}");
}

#[test]
fn settings_that_mean_nothing_to_the_task_are_refused() {
    let said = refused(|_| {}, &["--crop-padding", "4"]);
    assert!(
        said.contains("crop-padding: means nothing to the task segmentation"),
        "{said}"
    );
    let said = refused(|_| {}, &["--ignored-values", "3,11"]);
    assert!(
        said.contains("--label-values") && said.contains("twice"),
        "{said}"
    );
    let said = refused(|_| {}, &["--short-sides", "99999"]);
    assert!(said.contains("short-sides"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let digits = [
        "train",
        "--model",
        "resnet20",
        "--data",
        "digits",
        "--out",
        text(&out),
    ];
    let said = fails(2, &[&digits[..], &["--test-sides", "9"]].concat());
    assert!(
        said.contains("test-sides: means nothing to the task classification"),
        "{said}"
    );
    // What a recipe has for the other task is left out.
    let data = dir.path().join("images");
    scenes_in(&data);
    let more = [
        "--task",
        "segmentation",
        "--epochs",
        "1",
        "--epoch-updates",
        "1",
        "--ignored-values",
        "11",
    ];
    let other = [
        "train",
        "--recipe",
        "cifar",
        "--model",
        NETWORK,
        "--data",
        text(&data),
        "--out",
        text(&out),
    ];
    ok(&[&other[..], &more, &["--batch-size", "2"]].concat());
    // Networks of the other task.
    let data = dir.path().join("data");
    scenes_in(&data);
    let said = fails(
        1,
        &args(
            "train",
            &data,
            &dir.path().join("other"),
            &["--model", "resnet18"],
        ),
    );
    assert!(
        said.contains("segmentation needs a map of 11 classes"),
        "{said}"
    );
}

#[test]
fn lists_are_read_as_folders_are_and_their_lines_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    scenes_in(&data);
    let list = |split: &str, count: usize| -> String {
        let line = |number: usize| {
            let (width, height) = if number + 1 == count {
                (SIZE.1, SIZE.0)
            } else {
                SIZE
            };
            format!(
                "{{\"fpath_img\": \"images/{split}/{number}.png\", \"fpath_segm\": \"annotations/{split}/{number}.png\", \
                 \"width\": {width}, \"height\": {height}}}\n"
            )
        };
        (0..count).map(line).collect()
    };
    train(&data, &run, &["--epochs", "1"]);
    let folders = weights(&run);
    fs::write(data.join("training.odgt"), list("train", 8)).unwrap();
    fs::write(data.join("validation.odgt"), list("val", 3)).unwrap();
    let listed = dir.path().join("listed");
    train(&data, &listed, &["--epochs", "1"]);
    assert!(weights(&listed) == folders);

    let says = |text: &str| {
        fs::write(data.join("training.odgt"), text).unwrap();
        fails(1, &args("train", &data, &dir.path().join("x"), &[]))
    };
    assert!(says("").contains("training.odgt: list: expected a line for each image"));
    let said = says("{\"fpath_img\": 3}\n");
    assert!(
        said.contains("training.odgt: line 1: expected a JSON object"),
        "{said}"
    );
    let said = says(&list("train", 8).replace("7.png", "8.png"));
    assert!(said.contains("8.png"), "{said}");
    let said = says(&list("train", 8).replace("\"width\": 40", "\"width\": 41"));
    assert!(
        said.contains("size: expected 41×32 pixels, as its list says"),
        "{said}"
    );
    fs::remove_file(data.join("training.odgt")).unwrap();
    let said = fails(1, &args("train", &data, &dir.path().join("x"), &[]));
    assert!(said.contains("expected a list training.odgt"), "{said}");
}

#[test]
fn camvid_is_read_as_it_is_and_its_void_must_be_named() {
    let Some(data) = material("data/camvid") else {
        return;
    };
    let refused = scenes::open(text(&data), Split::Test, &LabelValues::default())
        .err()
        .unwrap();
    assert!(
        refused.to_string().ends_with("0-10,255, found 11"),
        "{refused}"
    );
    let values = LabelValues {
        classes: None,
        ignored: Some("11".parse().unwrap()),
    };
    let set = scenes::open(text(&data), Split::Test, &values).unwrap();
    assert_eq!(
        (set.len(), set.classes().len(), set.size(0)),
        (101, 11, Some((240, 180)))
    );
    assert_eq!(set.classes()[3], "road");
    let mut map = LabelMap::default();
    let mut counts = [0_usize; 256];
    for index in 0..set.len() {
        set.read_labels(index, &mut map).unwrap();
        map.labels()
            .iter()
            .for_each(|label| counts[usize::from(*label)] += 1);
    }
    // Pixels of sky, building, pole and road.
    assert_eq!(counts[..4], [398_283, 1_128_455, 24_608, 1_269_605]);
}
