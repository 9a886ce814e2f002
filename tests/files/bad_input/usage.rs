//! Wrong usage: exit code 2, before any file is touched.

use crate::sandbox::*;

fn refused(args: &[&str], message: &[&str]) {
    Dir::with_network().refuses(args, 2, message);
}

fn apply_refused(args: &[&str], message: &[&str]) {
    refused(&[&["apply", MODEL], args].concat(), message);
}

#[test]
fn a_regular_expression_that_does_not_parse_is_refused() {
    apply_refused(&["--include", "bn("], &["--include", "bn("]);
    apply_refused(&["--exclude", "*"], &["--exclude", "*"]);
    refused(&["inspect", MODEL, "--layer", "[a"], &["--layer", "[a"]);
}

#[test]
fn a_regular_expression_that_matches_no_layer_is_refused() {
    let dir = Dir::with_network();
    for option in ["--include", "--exclude"] {
        let message = [
            option,
            r#""nothing" matches no BatchNorm layer"#,
            MODEL,
            "bn1, bn2",
        ];
        dir.refuses(&["apply", MODEL, option, "nothing"], 2, &message);
        let near = [option, "did you mean bn2?"];
        dir.refuses(&["apply", MODEL, option, "^BN2.$"], 2, &near);
        // Beside one that matches, it is still misspelt.
        dir.refuses(
            &["apply", MODEL, option, "bn1", option, "nothing"],
            2,
            &message,
        );
    }
    let message = [
        MODEL,
        "2 BatchNorm layers, and none passes what is to be included and excluded",
    ];
    dir.refuses(&["apply", MODEL, "--exclude", "."], 2, &message);
    let message = [MODEL, "--layer", "expected BatchNorm layers", "found none"];
    dir.refuses(&["inspect", MODEL, "--layer", "nothing"], 1, &message);
}

#[test]
fn a_root_that_is_not_there_is_refused_with_those_that_are() {
    let dir = Dir::with_network();
    let message = [MODEL, r#"--root "ema""#, r#""" (raw, 2 layers)"#];
    dir.refuses(&["apply", MODEL, "--root", "ema"], 2, &message);
    let mut entries = batchnorm("generator.bn", &[1.0, 2.0]);
    entries.extend(batchnorm("discriminator.bn", &[3.0, 4.0]));
    let dir = Dir::with_model(&safetensors(&entries));
    let message = [r#"--root "genrator""#, "did you mean generator?"];
    dir.refuses(&["apply", MODEL, "--root", "genrator"], 2, &message);
}

#[test]
fn a_quantile_of_one_is_refused() {
    for option in ["--below", "--to"] {
        for value in ["quantile:1", "quantile:-0.5", "quantile:", "quantile:nan"] {
            apply_refused(&[option, value], &[option, value, "expected a quantile"]);
        }
    }
}

#[test]
fn a_threshold_or_target_that_is_no_finite_number_is_refused() {
    for value in ["nan", "inf", "1e999", "", "middle"] {
        apply_refused(&["--below", value], &["--below", "expected median"]);
        apply_refused(&["--to", value], &["--to", "expected median"]);
    }
}

#[test]
fn a_target_that_does_not_fit_the_type_of_gamma_is_refused() {
    let dir = Dir::with_network();
    let message = [MODEL, "bn1", "does not fit into F32"];
    dir.refuses(&["apply", MODEL, "--to", "1e39"], 1, &message);
}

#[test]
fn every_zero_epochs_is_refused() {
    apply_refused(&["--every", "0", "--epoch", "5"], &["--every", "0"]);
    apply_refused(&["--every", "-1", "--epoch", "5"], &["error"]);
}

#[test]
fn a_start_at_epoch_zero_is_refused() {
    apply_refused(
        &["--every", "2", "--epoch", "5", "--start", "0"],
        &["--start", "0"],
    );
}

#[test]
fn an_epoch_without_every_is_refused() {
    apply_refused(&["--epoch", "5"], &["--every"]);
    apply_refused(&["--start", "5"], &["--every"]);
    apply_refused(&["--until", "5"], &["--every"]);
}

#[test]
fn every_without_an_epoch_is_refused() {
    apply_refused(&["--every", "5"], &["--epoch: is needed here", MODEL]);
    apply_refused(
        &["--every", "5", "-o", "out.safetensors"],
        &["--epoch: is needed here", MODEL],
    );
}

#[test]
fn an_unknown_rule_or_scope_is_refused() {
    apply_refused(
        &["--rule", "author"],
        &["--rule", "expected paper, reference or keep-sign"],
    );
    apply_refused(
        &["--scope", "channel"],
        &["--scope", "expected network or layer"],
    );
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let conflict = "cannot be used with";
    apply_refused(
        &["--in-place", "-o", "out.safetensors"],
        &["--in-place", conflict],
    );
    apply_refused(
        &["--plan", "p.json", "--rule", "paper"],
        &["--plan", conflict],
    );
    apply_refused(
        &["--plan", "p.json", "--plan-out", "q.json"],
        &["--plan", conflict],
    );
    refused(
        &["inspect", MODEL, "--json", "--explain"],
        &["--json", conflict],
    );
}

#[test]
fn an_output_that_is_the_checkpoint_itself_is_refused() {
    for out in [MODEL, "./model.safetensors", "."] {
        apply_refused(&["-o", out], &["--output", "is the checkpoint itself"]);
    }
}

#[test]
fn an_unknown_command_or_option_is_refused() {
    refused(&["regenerate", MODEL], &["regenerate"]);
    refused(&["inspect", MODEL, "--deep"], &["--deep"]);
    refused(&["inspect"], &["PATH"]);
    refused(&["apply"], &["PATH"]);
}

#[test]
fn no_command_shows_the_help_with_exit_code_2() {
    let outcome = Dir::new().run(&[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("Usage: ckpt-regen"), "{outcome:?}");
}

#[test]
fn a_schema_that_makes_no_sense_is_refused_by_its_name() {
    for (text, found) in [
        ("", "missing field `version`"),
        ("version = 2", "version 2"),
        ("version = 1\nlayers = 3", "unknown field"),
        ("version = 1\nexclude = ['(']", "regular expression"),
        (
            "version = 1\n[[batchnorm]]\ngamma = 'scale'",
            "without mean",
        ),
    ] {
        let dir = Dir::with_network();
        dir.write("names.toml", text.as_bytes());
        let message = ["names.toml", "expected a schema", "found", found];
        dir.refuses(&["inspect", MODEL, "--schema", "names.toml"], 1, &message);
        dir.refuses(&["apply", MODEL, "--schema", "names.toml"], 1, &message);
    }
}
