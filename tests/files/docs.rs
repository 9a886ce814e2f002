//! Every command shown in the documentation runs, and prints what is shown.

use std::fs;
use std::process::Command;

use crate::common::*;

/// A command and the lines shown below it; `…` stands for any number of lines.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The ```` ```console ```` blocks of a page.
fn shown_in(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in fs::read_to_string(repository(page)).unwrap().lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => {
                    all.push(Shown {
                        command: command.to_owned(),
                        output: Vec::new(),
                    });
                }
                None => all
                    .last_mut()
                    .expect("a command first")
                    .output
                    .push(line.to_owned()),
            },
        }
    }
    all
}

fn matches(shown: &[String], printed: &[&str]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [any, rest @ ..] if any == "…" => {
            (0..=printed.len()).any(|n| matches(rest, &printed[n..]))
        }
        [line, rest @ ..] => {
            printed
                .first()
                .is_some_and(|first| first.trim_end() == line)
                && matches(rest, &printed[1..])
        }
    }
}

/// Runs the commands of a page in order, in a shell, beside a copy of the demo's checkpoint.
fn check(page: &str, at_least: usize) {
    let (dir, _file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    check_in(dir.path(), page, at_least);
}

/// The same in a directory.
fn check_in(dir: &std::path::Path, page: &str, at_least: usize) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_ckpt-regen"));
    let path = format!(
        "{}:{}",
        text(program.parent().unwrap()),
        std::env::var("PATH").unwrap()
    );
    let all = shown_in(page);
    assert!(all.len() >= at_least, "{page} shows {} commands", all.len());
    for Shown { command, output } in all {
        if command.contains("--png") && cfg!(not(feature = "png")) {
            continue;
        }
        let trained = [
            "ckpt-regen train",
            "ckpt-regen eval",
            "runs/",
            "inspect run ",
            "ckpt-regen compare",
        ];
        if trained.iter().any(|word| command.contains(word)) && cfg!(not(feature = "train")) {
            continue;
        }
        let run = Command::new("sh")
            .args(["-c", &command])
            .current_dir(dir)
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(run.status.success(), "{page}: {command}: {}", stderr(&run));
        let printed = String::from_utf8(run.stdout).unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            matches(&output, &lines),
            "{page}: {command} prints\n{printed}"
        );
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    check("README.md", 3);
}

#[test]
fn the_guide_shows_what_is_printed() {
    check("docs/guide.md", 14);
}

#[test]
fn the_page_on_schemas_shows_what_is_printed() {
    check("docs/schema.md", 1);
}

#[test]
fn the_page_on_pipelines_shows_what_is_printed() {
    check("docs/pipelines.md", 8);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_networks_shows_what_is_printed() {
    check("docs/networks.md", 3);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_training_shows_what_is_printed() {
    check("docs/training.md", 6);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_onnx_shows_what_is_printed() {
    let (dir, _file) = copy_of(&repository(FIXTURE).join("preserve.onnx"));
    cifar100(&dir.path().join("images"));
    check_in(dir.path(), "docs/onnx.md", 5);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_reports_shows_what_is_printed() {
    check("docs/report.md", 6);
}

#[test]
fn the_schemas_of_the_documentation_are_accepted() {
    let page = fs::read_to_string(repository("docs/schema.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let schemas: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(schemas.len(), 2);
    for written in schemas {
        let file = dir.path().join("s.toml");
        fs::write(&file, written).unwrap();
        ckpt_regen::batchnorm::Schema::read(&file).unwrap();
    }
}

#[test]
#[cfg_attr(
    all(debug_assertions, feature = "train"),
    ignore = "its training takes many minutes without optimisation"
)]
fn the_demo_ends_with_the_file_it_began_with() {
    let shown = ok(&["demo"]);
    assert!(
        shown.contains("$ ckpt-regen apply model.safetensors"),
        "{shown}"
    );
    assert!(
        shown.contains("regenerated 2663 of 5328 channels, in 42 of 52 layers"),
        "{shown}"
    );
    assert!(
        shown.contains("The file is bit for bit what it was."),
        "{shown}"
    );
    #[cfg(feature = "train")]
    for run in ["plain: 8 of 8 epochs", "regenerated: 8 of 8 epochs"] {
        assert!(shown.contains(run), "{shown}");
    }
    assert!(
        shown
            .trim_end()
            .ends_with("Now on yours: ckpt-regen inspect PATH"),
        "{shown}"
    );
}

#[path = "../../examples/regenerate.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod example;

#[test]
fn the_example_gives_the_file_back() {
    let (_dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let before = fs::read(&file).unwrap();
    example::regenerate_and_undo(&file).unwrap();
    assert!(fs::read(&file).unwrap() == before);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_segmentation_shows_what_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    scenes_in(&dir.path().join("camvid"));
    check_in(dir.path(), "docs/segmentation.md", 4);
}

#[cfg(feature = "train")]
#[test]
fn the_page_on_results_shows_what_the_kept_runs_came_to() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in state(&repository("docs/results/runs")) {
        let copy = dir.path().join("runs").join(name);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, bytes).unwrap();
    }
    check_in(dir.path(), "docs/results.md", 1);
}
