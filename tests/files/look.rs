//! What `inspect` and `apply --report` show: tables, pictures and pages, whose numbers are those of
//! `--json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;
use ckpt_regen::batchnorm::Schema;
use ckpt_regen::inspect::{self, Render, Report, Svg, Terminal};
use serde_json::Value;

/// The report on the fixture, named as in the repository.
fn fixture_report() -> Report {
    let path = repository(FIXTURE).join("model.safetensors");
    let checkpoint = ckpt_regen::Checkpoint::open(path).unwrap();
    let mut report = inspect::inspect(&checkpoint, &Schema::default()).unwrap();
    report.path = "model.safetensors".into();
    report
}

fn rendered(renderer: &dyn Render<Report>, report: &Report) -> String {
    let mut bytes = Vec::new();
    renderer.render(report, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A page or picture of `file`, drawn with `option`, and what `--json` says beside it.
fn drawn(file: &Path, option: &str) -> (Vec<u8>, Value) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let json = ok(&["inspect", text(file), option, text(&out), "--json"]);
    (
        fs::read(&out).unwrap(),
        serde_json::from_str(&json).unwrap(),
    )
}

fn page(file: &Path) -> (String, Value) {
    let (bytes, json) = drawn(file, "--html");
    (String::from_utf8(bytes).unwrap(), json)
}

/// The JSON that a page holds.
fn data(page: &str) -> &str {
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .expect("the page has data");
    rest.split_once("</script>").expect("the data end").0
}

fn made(layers: &[(&str, &[f32])]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("made.safetensors");
    fs::write(&file, network(layers)).unwrap();
    (dir, file)
}

/// Numbers that look random, from 0 up to 1.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next() * next()).collect()
}

fn many(layers: usize, channels: usize) -> (tempfile::TempDir, PathBuf) {
    let gammas = numbers(layers * channels);
    let names: Vec<String> = (0..layers)
        .map(|i| format!("backbone.layer{i}.bn"))
        .collect();
    let gammas = gammas.chunks(channels);
    let layers: Vec<(&str, &[f32])> = names.iter().map(|n| &n[..]).zip(gammas).collect();
    made(&layers)
}

#[test]
fn the_table_at_80_and_at_200_columns() {
    let report = fixture_report();
    for width in [80, 200] {
        let table = rendered(&Terminal { width }, &report);
        let plain = anstream::adapter::strip_str(&table).to_string();
        let too_wide = plain.lines().find(|line| line.chars().count() > width);
        assert_eq!(too_wide, None);
        snapshot(&format!("inspect-{width}.txt"), &plain);
    }
}

#[test]
fn a_pipe_and_no_color_get_no_escape_codes_and_who_forces_colors_gets_them() {
    let file = repository(FIXTURE).join("model.safetensors");
    let before = repository(FIXTURE).join("series/epoch-012.safetensors");
    let earlier = repository(FIXTURE).join("series/epoch-005.safetensors");
    for args in [
        &["inspect", text(&file)][..],
        &["diff", text(&before), text(&file)],
        &["track", text(&earlier), text(&before)],
        #[cfg(feature = "train")]
        &["model"],
        #[cfg(feature = "train")]
        &["model", "resnet20"],
        #[cfg(feature = "train")]
        &["model", "resnet20", "--plan"],
    ] {
        let shown = |variables: &[(&str, &str)]| {
            let mut command = command(args);
            command.env_remove("NO_COLOR");
            command.envs(variables.iter().copied());
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let forced = shown(&[("CLICOLOR_FORCE", "1")]);
        assert!(forced.contains("\u{1b}["), "{args:?}");
        let piped = shown(&[]);
        assert!(!piped.contains('\u{1b}'), "{args:?}");
        assert_eq!(piped, shown(&[("NO_COLOR", "1")]));
        assert_eq!(piped, anstream::adapter::strip_str(&forced).to_string());
    }
}

/// What a terminal of 200 columns gets; `None`, after saying so, where none can be made.
#[cfg(target_os = "linux")]
fn in_terminal(no_color: bool) -> Option<String> {
    let file = repository(FIXTURE).join("model.safetensors");
    let program = env!("CARGO_BIN_EXE_ckpt-regen");
    let line = format!(
        "stty rows 50 cols 200; '{program}' inspect '{}'",
        text(&file)
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let Ok(output) = command.output() else {
        skip(
            "a terminal",
            "there is no program `script` to make one with",
        );
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_filled_and_colored_unless_no_color_is_set() {
    let (Some(colored), Some(plain)) = (in_terminal(false), in_terminal(true)) else {
        return;
    };
    assert!(colored.contains("\u{1b}["));
    assert!(!plain.contains('\u{1b}'), "{plain}");
    assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
    let wide = fs::read_to_string(repository("tests/snapshots/inspect-200.txt")).unwrap();
    let (_, below_the_title) = wide.split_once('\n').unwrap();
    assert_eq!(plain.split_once('\n').unwrap().1, below_the_title);
}

#[test]
fn the_picture_for_a_paper() {
    let mut report = fixture_report();
    report.keep_layers(|layer| layer.starts_with("features.1"));
    let svg = rendered(&Svg, &report);
    assert!(svg.contains(">17.conv.3<"), "text is text");
    snapshot("inspect.svg", &svg);
}

/// The heights of the first filled outline of a drawing at the middle of each of `bins` bins from
/// `left` over `width`, above its lowest point.
fn heights(drawing: &str, (left, width): (f64, f64), bins: usize) -> Vec<f64> {
    let (_, rest) = drawing.split_once("<polygon").expect("an outline");
    let (_, rest) = rest.split_once("points=\"").unwrap();
    let points = rest.split_once('"').unwrap().0.split_whitespace();
    let points: Vec<(f64, f64)> = points
        .map(|point| point.split_once(',').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    let ground = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let at = |bin: usize| {
        let x = left + width * (bin as f64 + 0.5) / bins as f64;
        let sides = points.windows(2).find(|s| s[0].0 <= x && x < s[1].0);
        sides.map_or(0.0, |sides| ground - sides[0].1)
    };
    (0..bins).map(at).collect()
}

#[test]
fn the_heights_in_the_histogram_are_the_counts_of_json() {
    let (page, json) = page(&repository(FIXTURE).join("model.safetensors"));
    let (_, figure) = page.split_once("data-chart=\"histogram\"").unwrap();
    let (_, figure) = figure.split_once("data-plot=\"").unwrap();
    let (plot, drawing) = figure.split_once('"').unwrap();
    let plot: Vec<f64> = plot.split(' ').map(|n| n.parse().unwrap()).collect();
    let counts: Vec<f64> = json["networks"][0]["histogram"]["fine_counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_f64().unwrap())
        .collect();
    let heights = heights(drawing, (plot[0], plot[2]), counts.len());
    let top = counts.iter().copied().fold(0.0, f64::max);
    let unit = heights.iter().copied().fold(0.0, f64::max) / top;
    for (bin, (height, count)) in heights.iter().zip(&counts).enumerate() {
        let expected = count * unit;
        assert!(
            (height - expected).abs() <= 0.02,
            "bin {bin}: {height}, not {expected}"
        );
    }
}

#[test]
fn the_page_holds_what_json_prints() {
    for name in ["model.safetensors", "preserve.onnx", "training.pth"] {
        let file = repository(FIXTURE).join(name);
        let (page, _) = page(&file);
        assert_eq!(
            data(&page),
            ok(&["inspect", text(&file), "--json"]).trim_end()
        );
    }
}

#[test]
fn the_page_loads_nothing_and_forbids_it() {
    let (page, _) = page(&repository(FIXTURE).join("model.safetensors"));
    assert!(page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"));
    let known = page
        .replace("xmlns=\"http://www.w3.org/2000/svg\"", "")
        .replace("href=\"data:,\"", "");
    for loading in [
        "http:", "https:", "src=", "href=", "url(", "@import", "//cdn",
    ] {
        assert!(!known.contains(loading), "{loading}");
    }
    assert!(!page.contains("unsafe-inline") && !page.contains(" style="));
}

#[test]
fn a_page_of_160_layers_takes_less_than_a_megabyte() {
    let (_dir, file) = many(160, 125);
    let (page, json) = page(&file);
    assert_eq!(json["networks"][0]["channels"], 20_000);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn names_cannot_break_out_of_a_page_or_picture() {
    let hostile = [
        "a</script><img src=x onerror=alert(1)>",
        "b\"><svg onload=alert(1)>",
        "c<!--",
        "d' onclick='alert(1)",
        "e\u{1}\u{1b}]0;f\u{7}\u{fffe}",
    ];
    let gamma = [0.1_f32, 0.5];
    let layers: Vec<(&str, &[f32])> = hostile.iter().map(|name| (*name, &gamma[..])).collect();
    let (_dir, file) = made(&layers);
    let (page, json) = page(&file);
    assert_eq!(serde_json::from_str::<Value>(data(&page)).unwrap(), json);
    assert_eq!(page.matches("</script>").count(), 2);
    let markup = page.replace(data(&page), "");
    for tag in ["<img", "<svg onload", "<!--", "' onclick"] {
        assert!(!markup.contains(tag), "{tag}");
    }
    let (svg, _) = drawn(&file, "--svg");
    let svg = String::from_utf8(svg).unwrap();
    assert!(!svg.contains("<script") && !svg.contains("<img"));
    let illegal = |c: char| (c.is_control() && c != '\n') || c == '\u{fffe}';
    assert!(!svg.contains(illegal) && !markup.contains(illegal));
}

#[test]
fn what_a_rule_would_change_is_what_apply_changes() {
    let file = repository(FIXTURE).join("model.safetensors");
    let shown = ok_json(&["inspect", text(&file), "--json"]);
    let network = &shown["networks"][0];
    for rule in ["paper", "reference", "keep-sign"] {
        let applied = ok_json(&["apply", text(&file), "--dry-run", "--json", "--rule", rule]);
        let foreseen = &network["rules"][rule];
        for key in ["threshold", "regenerated", "layers_touched"] {
            assert_eq!(foreseen[key], applied[key], "{rule}: {key}");
        }
        let layers = network["layers"].as_array().unwrap().iter();
        for (layer, applied) in layers.zip(applied["layers"].as_array().unwrap()) {
            let layer = &layer["rules"][rule]["regenerated"];
            assert_eq!(
                layer, &applied["regenerated"],
                "{rule}: {}",
                applied["name"]
            );
        }
    }
    // The lower median is among the selected, and stays.
    assert_eq!(network["rules"]["paper"]["selected"], 2664);
    assert_eq!(network["rules"]["paper"]["regenerated"], 2663);
}

#[test]
fn where_an_edit_would_be_refused_no_rule_has_numbers_and_the_reason_is_said() {
    let (_dir, file) = made(&[("bn", &[0.1, f32::NAN, 0.3]), ("other", &[0.2])]);
    let (page, json) = page(&file);
    let network = &json["networks"][0];
    assert_eq!(network["rules"], Value::Null);
    assert_eq!(network["layers"][1]["rules"], Value::Null);
    let reason = network["rules_refused"].as_str().unwrap();
    assert!(
        reason.contains("layer bn") && reason.contains("NaN in channel 1"),
        "{reason}"
    );
    assert!(page.contains("No rule can be applied as it stands: layer bn"));
    assert!(page.contains("1 NaN or infinite"));
    assert!(!data(&page).contains("NaN,"));
}

#[test]
fn extreme_gamma_can_be_drawn() {
    let huge = f32::MAX;
    for gamma in [
        &[-huge, huge][..],
        &[0.0, 0.0],
        &[-1.0, -0.5],
        &[1e-45],
        &[f32::NAN],
    ] {
        let (_dir, file) = made(&[("bn", gamma)]);
        let (svg, _) = drawn(&file, "--svg");
        assert!(svg.ends_with(b"</svg>\n"));
        assert!(
            !String::from_utf8(svg).unwrap().contains("NaN"),
            "{gamma:?}"
        );
        page(&file);
    }
}

#[cfg(feature = "png")]
#[test]
fn the_png_is_the_svg_at_twice_its_size() {
    let file = repository(FIXTURE).join("model.safetensors");
    let (png, _) = drawn(&file, "--png");
    let (svg, _) = drawn(&file, "--svg");
    let svg = String::from_utf8(svg).unwrap();
    let size = |name: &str| -> f64 {
        let (_, rest) = svg.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| f64::from(u32::from_be_bytes(png[at..][..4].try_into().unwrap()));
    assert_eq!(
        (side(16), side(20)),
        (2.0 * size("width"), 2.0 * size("height"))
    );
}

#[cfg(not(feature = "png"))]
#[test]
fn a_build_without_png_says_how_to_get_it() {
    let file = repository(FIXTURE).join("model.safetensors");
    let message = fails(2, &["inspect", text(&file), "--png", "x.png"]);
    assert!(message.contains("--features png"), "{message}");
}

#[test]
fn pictures_replace_the_table_and_say_so_on_stderr() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let (html, svg) = (dir.path().join("r.html"), dir.path().join("r.svg"));
    fs::write(&html, "an older one").unwrap();
    let output = run(&[
        "inspect",
        text(&file),
        "--html",
        text(&html),
        "--svg",
        text(&svg),
    ]);
    assert!(output.status.success() && output.stdout.is_empty());
    let said = format!("wrote {}\nwrote {}\n", html.display(), svg.display());
    assert_eq!(stderr(&output), said);
    assert!(fs::read(&html).unwrap().starts_with(b"<!DOCTYPE html>"));
    assert_eq!(state(dir.path()).len(), 3, "nothing else is left");
}

#[test]
fn pictures_that_cannot_be_meant_are_wrong_usage() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let before = state(dir.path());
    let (file, out) = (text(&file), dir.path().join("r.html"));
    let out = text(&out);
    let says = |args: &[&str], expected: &str| {
        let message = fails(2, args);
        assert!(message.contains(expected), "{args:?}: {message}");
    };
    says(&["inspect", file, file, "--html", out], "name one PATH");
    says(
        &["inspect", file, "--html", file],
        "is the checkpoint itself",
    );
    says(
        &["inspect", file, "--svg", out, "--html", out],
        "another picture's",
    );
    says(
        &["inspect", file, "--html", out, "--explain"],
        "cannot be used",
    );
    says(
        &["apply", file, "--report", file],
        "is the checkpoint itself",
    );
    says(
        &["apply", file, "--report", out, "--plan-out", out],
        "another file",
    );
    let nowhere = dir.path().join("no/r.html");
    let message = fails(1, &["inspect", file, "--html", text(&nowhere)]);
    assert!(message.contains("r.html: cannot write"), "{message}");
    assert!(state(dir.path()) == before);
}

#[test]
fn the_report_of_an_edit_has_both_sides_and_what_apply_says() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let out = dir.path().join("r.html");
    let before = ok_json(&["inspect", text(&file), "--json"]);
    let applied = ok_json(&["apply", text(&file), "--json", "--report", text(&out)]);
    let after = ok_json(&["inspect", text(&file), "--json"]);
    let page = fs::read_to_string(&out).unwrap();
    let data: Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(data["apply"], applied);
    assert_eq!(
        data["before"], before,
        "one axis: regeneration stays within it"
    );
    for key in [
        "median",
        "min",
        "max",
        "inhibited",
        "at_or_below_median",
        "channels",
    ] {
        let (shown, is) = (&data["after"]["networks"][0], &after["networks"][0]);
        assert_eq!(shown[key], is[key], "{key}");
    }
    let edges = "/networks/0/histogram/fine_edges";
    assert_eq!(data["before"].pointer(edges), data["after"].pointer(edges));
    let counts = data["regenerated"].as_array().unwrap();
    assert_eq!(
        counts.iter().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        2663
    );
    assert!(page.contains("paper: γ ≤ 0.186728 (median) becomes 0.186728"));
    assert!(
        page.contains("--scope layer gives each layer its own threshold"),
        "a warning"
    );
}

#[test]
fn the_report_of_a_dry_run_shows_what_would_be_and_of_nothing_due_what_is() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let bytes = fs::read(&file).unwrap();
    let out = dir.path().join("r.html");
    let report = |args: &[&str]| -> (String, Value) {
        ok(&[&["apply", text(&file), "--report", text(&out)], args].concat());
        let page = fs::read_to_string(&out).unwrap();
        let data = serde_json::from_str(data(&page)).unwrap();
        (page, data)
    };
    let (page, dry) = report(&["--dry-run"]);
    assert!(page.contains("A dry run: nothing was written"));
    assert_eq!(
        dry["after"]["networks"][0]["min"],
        dry["apply"]["threshold"]
    );
    let (page, idle) = report(&["--every", "5", "--epoch", "3"]);
    assert!(page.contains("not due: nothing regenerated"));
    assert_eq!(idle["before"], idle["after"]);
    assert!(fs::read(&file).unwrap() == bytes);
}

#[test]
fn a_saved_plan_and_filters_are_reported_too() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let (plan, out) = (dir.path().join("plan.json"), dir.path().join("r.html"));
    let include = [
        "--include",
        "conv\\.3",
        "--dry-run",
        "--plan-out",
        text(&plan),
    ];
    ok(&[&["apply", text(&file)], &include[..]].concat());
    let applied = ok_json(&[
        "apply",
        text(&file),
        "--plan",
        text(&plan),
        "--report",
        text(&out),
        "--json",
    ]);
    let page = fs::read_to_string(&out).unwrap();
    let data: Value = serde_json::from_str(data(&page)).unwrap();
    let sum = data["regenerated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap());
    assert_eq!(Some(sum.sum::<u64>()), applied["regenerated"].as_u64());
    assert!(applied["regenerated"].as_u64() > Some(0));
}

#[test]
fn a_report_that_fails_leaves_the_edit_done_and_says_so() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let before = fs::read(&file).unwrap();
    let nowhere = dir.path().join("no/r.html");
    let message = fails(1, &["apply", text(&file), "--report", text(&nowhere)]);
    assert!(message.contains("the report was not written"), "{message}");
    assert!(message.contains("the edit itself is done"), "{message}");
    assert!(fs::read(&file).unwrap() != before);
    ok(&["undo", text(&file)]);
    assert!(fs::read(&file).unwrap() == before);
}

/// Names that would colour a terminal, move its cursor, or begin a line of their own.
const CONTROLS: &str = "a\u{1b}[31mb\u{7f}c\u{9b}2Jd\r\ne";

#[test]
fn programs_get_names_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, network(&[(CONTROLS, &[0.1, 0.2])])).unwrap();
    let file = text(&file);
    let report = ok_json(&["inspect", file, "--json"]);
    assert_eq!(report["networks"][0]["layers"][0]["name"], CONTROLS);
    assert_eq!(
        ok_json(&["track", file, "--json"])["layers"][0]["name"],
        CONTROLS
    );
    let diff = ok_json(&["diff", file, file, "--json"]);
    assert_eq!(diff["networks"][0]["layers"][0]["name"], CONTROLS);
    let plan = ok_json(&["apply", file, "--dry-run", "--json"]);
    assert_eq!(plan["layers"][0]["name"], CONTROLS);
    let lines = ok(&["track", file, "--csv"]);
    let mut lines = csv::Reader::from_reader(lines.as_bytes());
    let first = lines.records().next().unwrap().unwrap();
    assert_eq!(first.get(4), Some(CONTROLS));
}

#[test]
fn people_get_names_on_one_line_and_without_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("x\u{1b}[2J\ny");
    fs::create_dir(&folder).unwrap();
    let (file, other) = (folder.join("1.safetensors"), folder.join("2.safetensors"));
    fs::write(&file, network(&[(CONTROLS, &[0.1, 0.2])])).unwrap();
    fs::write(&other, network(&[(CONTROLS, &[0.3, 0.2])])).unwrap();
    let (file, other) = (text(&file), text(&other));
    for args in [
        &["inspect", file][..],
        &["inspect", file, "--explain"],
        &["diff", file, other],
        &["track", file, other],
        &["track", file, other, "--channel", CONTROLS],
        &["apply", file],
        &["undo", file],
    ] {
        let mut command = command(args);
        let output = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
        let output = output.output().unwrap();
        let printed = String::from_utf8(output.stdout.clone()).unwrap();
        let shown = printed.clone() + &stderr(&output);
        // Colours are ours; what else there may be is a line's end.
        let plain = anstream::adapter::strip_str(&shown).to_string();
        assert!(
            !shown.contains("\u{1b}[31mb") && !shown.contains("\u{1b}[2J"),
            "{args:?}: {shown}"
        );
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!plain.contains(control), "{args:?}: {plain:?}");
        assert!(
            !printed
                .lines()
                .any(|line| line.starts_with('e') || line.starts_with('y')),
            "{args:?}: {printed}"
        );
    }
}

#[test]
fn the_report_of_an_edit_is_written_although_nobody_reads_the_summary() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let page = dir.path().join("r.html");
    let mut child = command(&["apply", text(&file), "--report", text(&page)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(page.exists());
}

#[test]
fn verbose_says_how_files_were_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    fs::copy(repository(FIXTURE).join("model.safetensors"), &file).unwrap();
    let file = text(&file);
    for command in [
        &["inspect", file][..],
        &["diff", file, file],
        &["apply", file],
        &["undo", file],
    ] {
        let said = stderr(&run(&[command, &["-v"]].concat()));
        let line = said.lines().find(|line| line.contains("files: "));
        let line = line.unwrap_or_else(|| panic!("{command:?}: {said}"));
        assert!(
            line.contains("mapped") || line.contains("positioned reads"),
            "{line}"
        );
        assert!(line.ends_with("looked at"), "{line}");
    }
}
