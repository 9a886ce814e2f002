//! Damaged files by the thousand, the same ones in every run: the readers never panic, and what
//! they accept the `safetensors` crate accepts as well, and sees the same in it.

mod mutate;
mod oracle;
mod suite;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ckpt_regen::batchnorm::{self, Schema};
use ckpt_regen::edit::{self, Destination, Request};
use ckpt_regen::{Checkpoint, inspect};

use crate::common::is_thorough;
use crate::sandbox::*;
use mutate::{Random, mutate_file, mutate_text};
use oracle::{holds_what_the_index_says, read};

/// A file with BatchNorm layers of two types, an averaged copy of one, a scalar and an empty tensor.
fn seed() -> Vec<u8> {
    let mut entries = network();
    entries.extend(batchnorm("ema.bn1", &[0.5, 0.25, 1.0, 2.0]));
    for leaf in ["weight", "running_mean", "running_var"] {
        entries.push((
            format!("half.{leaf}"),
            "F16",
            vec![3],
            vec![0, 0x3c, 0, 0x38, 1, 0x40],
        ));
    }
    entries.push(("bn1.num_batches_tracked".into(), "I64", vec![], vec![9; 8]));
    entries.push(("nothing".into(), "F32", vec![0, 3], vec![]));
    safetensors(&entries)
}

/// A place for files that are written often.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// So many cases, or ten times as many.
fn times(cases: usize) -> usize {
    cases * if is_thorough() { 10 } else { 1 }
}

/// Fails with the first few of what went wrong.
fn report(faults: &[String]) {
    let few = faults[..faults.len().min(5)].join("\n");
    assert!(
        faults.is_empty(),
        "{} faults, the first of them:\n{few}",
        faults.len()
    );
}

#[test]
fn a_mutated_file_never_panics_and_is_seen_as_the_safetensors_crate_sees_it() {
    let (dir, seed, mut random) = (scratch(), seed(), Random(0x9e37_79b9_7f4a_7c15));
    let path = dir.path().join(MODEL);
    let (mut accepted, mut faults) = (0, Vec::new());
    let cases = times(4000);
    for case in 0..cases {
        let mutant = mutate_file(&seed, &mut random);
        fs::write(&path, &mutant).unwrap();
        match read(&path, &mutant) {
            Ok(yes) => accepted += usize::from(yes),
            Err(fault) => {
                let shown = mutant.escape_ascii();
                faults.push(format!("case {case}: {fault}\n  {shown}"));
            }
        }
    }
    report(&faults);
    assert!(
        accepted > cases / 20 && accepted < cases / 2,
        "{accepted} accepted: no good test"
    );
}

#[test]
fn a_mutated_file_that_is_edited_is_the_same_outside_of_gamma_and_after_undo() {
    let (dir, seed, mut random) = (scratch(), seed(), Random(0x2545_f491_4f6c_dd1d));
    let path = dir.path().join(MODEL);
    let (mut edited, mut faults) = (0, Vec::new());
    for case in 0..times(1500) {
        let mutant = mutate_file(&seed, &mut random);
        fs::write(&path, &mutant).unwrap();
        let destination = Destination {
            in_place: case % 2 == 0,
            ..Destination::default()
        };
        let done = catch_unwind(AssertUnwindSafe(|| {
            edit_and_undo(&path, &mutant, &destination)
        }));
        match done {
            Ok(Ok(yes)) => edited += usize::from(yes),
            fault => {
                let fault = fault.unwrap_or(Err("a panic".to_owned())).unwrap_err();
                faults.push(format!("case {case}: {fault}\n  {}", mutant.escape_ascii()));
                let _ = fs::remove_file(dir.path().join(".ckpt-regen/model.safetensors.json"));
            }
        }
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 1, "case {case} left something behind");
    }
    report(&faults);
    assert!(edited > 50, "{edited} edited: no good test");
}

/// Whether it was edited.
fn edit_and_undo(path: &Path, before: &[u8], destination: &Destination) -> Result<bool, String> {
    let quiet = &edit::ignore;
    let applied = edit::apply(path, &Request::default(), destination, quiet);
    let planned = match applied {
        Err(_) if fs::read(path).unwrap() == before => return Ok(false),
        Err(err) => return Err(format!("refused with {err}, but changed")),
        Ok(applied) if applied.record.is_none() => return Ok(false),
        Ok(applied) => applied.planned.unwrap(),
    };
    let after = fs::read(path).unwrap();
    let checkpoint = Checkpoint::open(path).map_err(|err| err.to_string())?;
    let mut expected = after.clone();
    for layer in &planned.network.layers {
        let gamma = layer.tensor(&checkpoint).unwrap();
        let range = gamma.offset as usize..(gamma.offset + gamma.len) as usize;
        expected[range.clone()].copy_from_slice(&before[range]);
    }
    if expected != before {
        return Err("bytes outside of γ changed".to_owned());
    }
    let again = edit::plan(&checkpoint, &Request::default()).map_err(|err| err.to_string())?;
    if again.plan.regenerated() > 0 {
        return Err("a second edit would change something".to_owned());
    }
    edit::undo(path, destination, quiet).map_err(|err| err.to_string())?;
    if fs::read(path).unwrap() != before {
        return Err("undo gives another file back".to_owned());
    }
    Ok(true)
}

#[test]
fn a_mutated_shard_set_never_panics_and_holds_what_its_index_says() {
    let (dir, mut random) = (Dir::with_shards(), Random(0x1234_5678_9abc_def1));
    let shards = ["1.safetensors", "2.safetensors"];
    let (text, whole) = (dir.read(INDEX), shards.map(|name| dir.read(name)));
    let (mut accepted, mut faults) = (0, Vec::new());
    let cases = times(2000);
    for case in 0..cases {
        let mut mutant = text.clone();
        let shard = random.below(12);
        if shard < 2 {
            dir.write(shards[shard], &mutate_file(&whole[shard], &mut random));
        } else {
            (0..=random.below(2)).for_each(|_| mutate_text(&mut mutant, &mut random));
        }
        dir.write(INDEX, &mutant);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let checkpoint = Checkpoint::open(dir.path(INDEX)).ok()?;
            let _ = inspect::inspect(&checkpoint, &Schema::default());
            let _ = batchnorm::explain(&checkpoint, &Schema::default());
            Some(checkpoint)
        }));
        let judged = match opened {
            Err(_) => Err("a panic".to_owned()),
            Ok(None) => Ok(()),
            Ok(Some(checkpoint)) => {
                accepted += 1;
                holds_what_the_index_says(&checkpoint, &mutant, &dir)
            }
        };
        if let Err(fault) = judged {
            faults.push(format!("case {case}: {fault}\n  {}", mutant.escape_ascii()));
        }
        if shard < 2 {
            dir.write(shards[shard], &whole[shard]);
        }
    }
    report(&faults);
    assert!(
        accepted > cases / 50 && accepted < cases / 2,
        "{accepted} accepted: no good test"
    );
}

#[test]
fn what_is_skipped_in_a_header_is_checked_as_the_safetensors_crate_checks_it() {
    let dir = scratch();
    let path = dir.path().join(MODEL);
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let skipped: [&[u8]; 14] = [
        b"null",
        b"true",
        b"1",
        b"-1.5",
        b"1e999",
        b"[]",
        b"{}",
        b"\"x\"",
        b"\"\xff\"",
        b"\"\\ud800\"",
        b"{\"x\":\"\xc3\"}",
        b"{\"x\":1}",
        b"{\"x\":\"y\"}",
        deep.as_bytes(),
    ];
    let (mut accepted, mut faults) = (0, Vec::new());
    for value in skipped {
        for wrap in [
            r#"{"__metadata__":?}"#,
            r#"{"__metadata__":{"x":?}}"#,
            r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"more":?}}"#,
        ] {
            let file = with_header(wrapped(wrap, value), &[]);
            fs::write(&path, &file).unwrap();
            match read(&path, &file) {
                Ok(yes) => accepted += usize::from(yes),
                Err(fault) => faults.push(format!("{fault}\n  {}", file[8..].escape_ascii())),
            }
        }
    }
    report(&faults);
    assert!(accepted >= 3, "{accepted} accepted: no good test");
}

#[test]
fn every_dtype_that_is_accepted_is_one_of_the_safetensors_crate() {
    let dir = scratch();
    let path = dir.path().join(MODEL);
    let mut faults = Vec::new();
    for dtype in [
        "BOOL",
        "F4",
        "F6_E2M3",
        "F6_E3M2",
        "U8",
        "I8",
        "F8_E5M2",
        "F8_E4M3",
        "F8_E8M0",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
        "I16",
        "U16",
        "F16",
        "BF16",
        "I32",
        "U32",
        "F32",
        "C64",
        "F64",
        "I64",
        "U64",
        "C128",
        "f32",
        "F128",
        "Bool",
        "I4",
        "U4",
    ] {
        for bytes in [1, 2, 3, 4, 6, 8, 12, 16, 32, 64] {
            let data = vec![1; bytes];
            let file = safetensors(&[("a".to_owned(), dtype, vec![4], data)]);
            fs::write(&path, &file).unwrap();
            if let Err(fault) = read(&path, &file) {
                faults.push(format!("{dtype} [4] in {bytes} bytes: {fault}"));
            }
        }
    }
    report(&faults);
}

/// `wrap` with `value` in place of its question mark.
fn wrapped(wrap: &str, value: &[u8]) -> Vec<u8> {
    let (before, after) = wrap.split_once('?').unwrap();
    [before.as_bytes(), value, after.as_bytes()].concat()
}
