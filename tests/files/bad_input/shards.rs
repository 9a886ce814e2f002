//! Damaged shard sets.

use std::fs;

use crate::sandbox::*;

/// Both commands refuse the shard set, and name this place in its index.
fn refused(dir: &Dir, place: &str, expected: &str, found: &str) {
    let place = format!("{INDEX}: {place}: expected ");
    let found = format!("found {found}");
    let message = [&place[..], expected, &found];
    for args in [
        &["inspect", INDEX][..],
        &["inspect", "."],
        &["apply", INDEX],
        &["apply", ".", "--in-place"],
    ] {
        dir.refuses(args, 1, &message);
    }
}

/// The same with another text as index.
fn refused_index(text: impl AsRef<[u8]>, place: &str, expected: &str, found: &str) {
    let dir = Dir::with_shards();
    dir.write(INDEX, text.as_ref());
    refused(&dir, place, expected, found);
}

#[test]
fn the_shard_set_that_these_tests_damage_is_a_good_one() {
    let dir = Dir::with_shards();
    let report = dir.succeeds(&["inspect", INDEX, "--json"]).json();
    assert_eq!(report["networks"][0]["channels"], 10);
    dir.succeeds(&["apply", INDEX]);
}

#[test]
fn a_missing_shard_is_refused() {
    let dir = Dir::with_shards();
    fs::remove_file(dir.path("2.safetensors")).unwrap();
    refused(
        &dir,
        "weight_map",
        "the shard 2.safetensors",
        "no such file",
    );
}

#[test]
fn a_damaged_shard_is_refused_by_its_own_name() {
    let dir = Dir::with_shards();
    let shard = dir.read("2.safetensors");
    dir.write("2.safetensors", &shard[..shard.len() - 1]);
    for args in [["inspect", INDEX], ["apply", INDEX]] {
        dir.refuses(
            &args,
            1,
            &["2.safetensors: ", "expected", "found offsets ["],
        );
    }
}

#[test]
fn an_index_that_names_a_tensor_its_shard_lacks_is_refused() {
    let dir = Dir::with_shards();
    dir.edit_json(INDEX, |index| {
        index["weight_map"]["bn9.weight"] = "2.safetensors".into();
    });
    refused(
        &dir,
        "bn9.weight",
        "this tensor in 2.safetensors",
        "no such tensor",
    );
}

#[test]
fn an_index_that_names_the_wrong_shard_is_refused() {
    let dir = Dir::with_shards();
    dir.edit_json(INDEX, |index| {
        index["weight_map"]["conv.weight"] = "2.safetensors".into();
    });
    refused(
        &dir,
        "conv.weight",
        "this tensor in 2.safetensors",
        "it in 1.safetensors",
    );
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let dir = Dir::with_shards();
    dir.write("2.safetensors", &safetensors(&network()));
    refused(
        &dir,
        "conv.weight",
        "a tensor in one shard",
        "it in 1.safetensors and in 2.safetensors",
    );
}

#[test]
fn one_shard_under_two_names_is_refused() {
    let dir = Dir::with_model(&safetensors(&batchnorm("bn", &[1.0, 2.0])));
    fs::rename(dir.path(MODEL), dir.path("1.safetensors")).unwrap();
    let map = [
        ("bn.weight", "1.safetensors"),
        ("bn.bias", "./1.safetensors"),
    ];
    dir.write(INDEX, index(&map).as_bytes());
    refused(&dir, "bn.weight", "a tensor in one shard", "it in ");
}

#[test]
fn a_shard_above_the_directory_of_the_index_is_refused() {
    let dir = Dir::with_shards();
    dir.write("elsewhere/x.safetensors", &safetensors(&network()));
    for file in ["../x.safetensors", "elsewhere/../1.safetensors", ".."] {
        dir.write(INDEX, index(&[("conv.weight", file)]).as_bytes());
        let expected = "shards inside the directory of the index";
        refused(&dir, "weight_map", expected, &format!("{file:?}"));
    }
}

#[test]
fn a_shard_by_an_absolute_path_is_refused() {
    let dir = Dir::with_shards();
    let file = dir.path("1.safetensors");
    let file = file.to_str().unwrap();
    dir.write(INDEX, index(&[("conv.weight", file)]).as_bytes());
    refused(
        &dir,
        "weight_map",
        "shards inside the directory of the index",
        &format!("{file:?}"),
    );
}

#[test]
fn a_shard_without_a_name_is_refused() {
    let text = index(&[("conv.weight", "")]);
    refused_index(
        text,
        "weight_map",
        "shards inside the directory of the index",
        r#""""#,
    );
}

#[test]
fn a_shard_that_is_a_directory_is_refused() {
    let dir = Dir::with_shards();
    fs::create_dir(dir.path("3.safetensors")).unwrap();
    dir.write(INDEX, index(&[("conv.weight", "3.safetensors")]).as_bytes());
    let message = [
        "3.safetensors: ",
        "expected a regular file",
        "found a directory",
    ];
    dir.refuses(&["inspect", INDEX], 1, &message);
    dir.refuses(&["apply", INDEX], 1, &message);
}

#[test]
fn a_tensor_that_occurs_twice_in_the_weight_map_is_refused() {
    let text = index(&[("a", "1.safetensors"), ("a", "2.safetensors")]);
    refused_index(
        text,
        "shard index",
        "JSON with a weight_map",
        r#"the key "a" twice"#,
    );
}

#[test]
fn a_second_weight_map_is_refused() {
    let text = r#"{"weight_map":{},"weight_map":{"conv.weight":"1.safetensors"}}"#;
    refused_index(
        text,
        "shard index",
        "JSON with a weight_map",
        "duplicate field",
    );
}

#[test]
fn an_index_that_is_not_json_is_refused() {
    let place = "shard index";
    refused_index("", place, "JSON with a weight_map", "EOF while parsing");
    refused_index("{", place, "JSON with a weight_map", "EOF while parsing");
    refused_index([0xff, 0xfe], place, "JSON with a weight_map", "");
    refused_index(safetensors(&network()), place, "JSON with a weight_map", "");
}

#[test]
fn an_index_without_a_weight_map_is_refused() {
    refused_index(
        "{}",
        "shard index",
        "JSON with a weight_map",
        "missing field `weight_map`",
    );
    let wrong = r#"{"weight_map":["1.safetensors"]}"#;
    refused_index(
        wrong,
        "shard index",
        "JSON with a weight_map",
        "invalid type",
    );
    let wrong = r#"{"weight_map":{"conv.weight":1}}"#;
    refused_index(
        wrong,
        "shard index",
        "JSON with a weight_map",
        r#""conv.weight": invalid type"#,
    );
}

#[test]
fn an_index_of_no_tensor_is_refused() {
    let dir = Dir::with_shards();
    dir.write(INDEX, br#"{"weight_map":{}}"#);
    let message = [
        INDEX,
        "expected at least one shard",
        "found an empty weight_map",
    ];
    dir.refuses(&["inspect", INDEX], 1, &message);
    dir.refuses(&["apply", INDEX], 1, &message);
    dir.refuses(&["apply", ".", "--in-place"], 1, &message[1..]);
}

#[test]
fn a_refused_edit_leaves_no_output_directory_behind() {
    let dir = Dir::with_shards();
    fs::remove_file(dir.path("2.safetensors")).unwrap();
    let message = [INDEX, "expected the shard 2.safetensors"];
    dir.refuses(&["apply", INDEX, "-o", "out"], 1, &message);
}
