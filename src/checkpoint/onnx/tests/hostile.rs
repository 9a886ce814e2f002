use std::fs;
use std::path::Path;

use super::super::read_model::detect;
use super::super::wire::encode_varint;
use super::{apply, edit_all, editable, edited, load, models, patch, read, read_bytes, try_open};
use crate::file::Source;

/// A field with a length in front.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    bytes.extend(encode_varint(body.len() as u64));
    bytes.extend(body);
    bytes
}

/// A model around the content of a graph.
fn model(graph: &[u8]) -> Vec<u8> {
    let mut bytes = vec![8, 8];
    bytes.extend(field(7, graph));
    bytes
}

/// What opening the bytes gives: an error's message, or nothing.
fn message(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    fs::write(&path, bytes).unwrap();
    try_open(&path)
        .err()
        .map_or(String::new(), |err| err.to_string())
}

#[track_caller]
fn fails(bytes: &[u8], with: &str) {
    let message = message(bytes);
    assert!(message.contains(with), "{message:?} lacks {with:?}");
}

#[test]
fn an_empty_file_or_one_without_graph_is_no_model() {
    fails(b"", "an ONNX model with an ir_version");
    fails(&[8, 8], "byte 2: expected an ONNX model with a graph");
    fails(&field(7, b""), "an ONNX model with an ir_version");
    assert_eq!(message(&model(b"")), "");
}

#[test]
fn a_length_beyond_the_end_is_an_error() {
    fails(&[8, 8, 0x3a, 1], "byte 4: expected at most 0 bytes");
    fails(
        &[
            8, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ],
        "at most 0 bytes",
    );
    // Inside the file, but beyond the message around it.
    fails(
        &[8, 8, 0x3a, 2, 0x0a, 1, 0x12, 0],
        "byte 6: expected at most 0 bytes",
    );
}

#[test]
fn varints_that_are_too_long_or_cut_are_errors() {
    fails(
        &[&[8][..], &[0x80; 10], &[1]].concat(),
        "a varint of at most",
    );
    fails(
        &[&[8][..], &[0xff; 9], &[2]].concat(),
        "a varint of at most 64 bits",
    );
    fails(&[8, 0x80], "byte 1: expected a varint, found the end");
}

#[test]
fn field_number_0_groups_and_unknown_wire_types_are_errors() {
    fails(&[8, 8, 0x00, 1], "byte 2: expected a field number from 1");
    fails(
        &[8, 8, 0x3b, 0x3c],
        "byte 2: expected a field, found a group",
    );
    fails(
        &[8, 8, 0x3e],
        "byte 2: expected a wire type from 0 to 5, found 6",
    );
    // A tag of more than 32 bits.
    fails(
        &[8, 8, 0x82, 0x80, 0x80, 0x80, 0x80, 1, 0],
        "byte 2: expected a field number",
    );
}

#[test]
fn fields_of_another_type_and_repeated_singular_fields_are_errors() {
    fails(
        &[8, 8, 0x38, 1],
        "byte 2: expected field 7 as length-delimited, found a varint",
    );
    fails(
        &[model(b""), field(7, b"")].concat(),
        "expected field 7 once",
    );
    let name = field(8, b"w");
    fails(
        &model(&field(5, &[&name[..], &name].concat())),
        "expected field 8 once",
    );
}

#[test]
fn bodies_inside_each_other_are_followed_to_a_bounded_depth() {
    let nested = |levels: usize| {
        let mut graph = Vec::new();
        for _ in 0..levels {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        model(&graph)
    };
    assert_eq!(message(&nested(33)), "");
    fails(&nested(34), "at most 100 messages inside each other");
    fails(&nested(20_000), "at most 100 messages inside each other");
}

#[test]
fn a_chain_of_calls_is_followed_to_a_bounded_depth() {
    let mut bytes = model(&field(1, &field(4, b"0")));
    for i in 0..10_000_u32 {
        let name = i.to_string();
        let callee = (i + 1).to_string();
        let call = field(7, &field(4, callee.as_bytes()));
        bytes.extend([0xca, 1]);
        bytes.extend(&field(9, &[field(1, name.as_bytes()), call].concat())[1..]);
    }
    let norm = field(7, &field(4, b"BatchNormalization"));
    bytes.extend([0xca, 1]);
    bytes.extend(&field(9, &[field(1, b"10000"), norm].concat())[1..]);
    fails(&bytes, "deeper than 100 in each other");
}

#[test]
fn a_graph_that_would_fill_memory_is_an_error() {
    // 1.5 million empty nodes, of 256 bytes each in memory.
    fails(
        &model(&[0x0a, 0].repeat(1_500_000)),
        "a graph that fits in 256 MiB of memory",
    );
}

/// The elements of such a tensor are never read: the test takes no time.
#[cfg(unix)]
#[test]
fn a_gamma_behind_four_gigabytes_is_found_and_patched() {
    use std::os::unix::fs::FileExt;
    let big = 5_u64 << 30;
    let dims = |n: u64| [vec![8], encode_varint(n), vec![0x10, 1]].concat();
    let head = [
        dims(big / 4),
        field(8, b"big"),
        vec![0x4a],
        encode_varint(big),
    ]
    .concat();
    let tail: Vec<u8> = ["weight", "bias", "mean", "var"]
        .iter()
        .flat_map(|name| {
            field(
                5,
                &[dims(2), field(8, name.as_bytes()), field(9, &[0; 8])].concat(),
            )
        })
        .chain(field(1, &norm_of(["x", "weight", "bias", "mean", "var"])))
        .collect();
    let tensor = [vec![0x2a], encode_varint(head.len() as u64 + big), head].concat();
    let graph = tensor.len() as u64 + big + tail.len() as u64;
    let start = [vec![8, 8, 0x3a], encode_varint(graph), tensor].concat();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&start, 0).unwrap();
    file.write_all_at(&tail, start.len() as u64 + big).unwrap();
    let opened = try_open(&path).unwrap();
    let tensor = &opened.tensors[opened.declared.norms[0].gamma.unwrap()];
    let edits = patch(&opened, &[(tensor, &[1; 8])]).unwrap();
    let patches = edits.files.concat();
    assert_eq!(patches.len(), 1);
    assert!(patches[0].offset > big);
}

fn norm_of(inputs: [&str; 5]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes()));
    inputs.chain(field(4, b"BatchNormalization")).collect()
}

#[test]
fn tensors_whose_data_do_not_fit_their_dimensions_are_errors() {
    let tensor = |parts: &[&[u8]]| model(&field(5, &parts.concat()));
    let float = [0x10, 1];
    let raw = field(9, &[0; 8]);
    assert_eq!(message(&tensor(&[&[8, 2], &float, &raw])), "");
    fails(
        &tensor(&[&[8, 3], &float, &raw]),
        "12 bytes of data for dimensions [3], found 8 bytes",
    );
    let max = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    fails(
        &tensor(&[&max, &max, &float, &raw]),
        "a size that can be counted",
    );
    let negative = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    fails(
        &tensor(&[&negative, &float, &raw]),
        "a dimension from 0, found -1",
    );
    fails(
        &tensor(&[&[8, 2], &float, &raw, &field(4, &[0; 8])]),
        "data in one field",
    );
    fails(
        &tensor(&[&[8, 2], &float, &field(5, &[0; 2])]),
        "a field for data type 1",
    );
    fails(
        &tensor(&[&[8, 1], &float, &field(4, &[0; 3])]),
        "elements of 4 bytes",
    );
    fails(
        &tensor(&[&[8, 1], &float, &field(3, b"")]),
        "a whole tensor",
    );
}

#[test]
fn a_model_is_detected_by_content_also_when_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let detected = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        detect(&Source::open(&path).unwrap())
    };
    let whole = fs::read(models().join("training.onnx")).unwrap();
    assert!(detected(&whole) && detected(&whole[..20]));
    // The graph in front of the version.
    assert!(detected(&[field(7, b""), vec![8, 8]].concat()));
    assert!(!detected(&field(7, b"")));
    for other in [
        &b""[..],
        b"PK\x03\x04",
        b"\x80\x02",
        b"{}",
        b"\x08\x00\x00\x00\x00\x00\x00\x00{}",
    ] {
        assert!(!detected(other), "{other:?}");
    }
}

/// Opens the bytes as a model beside the data files, and edits each γ by itself: errors are fine,
/// panics are not, and an edit changes this γ and nothing else.
fn exercise(dir: &Path, bytes: &[u8]) -> bool {
    let path = dir.join("model.onnx");
    fs::write(&path, bytes).unwrap();
    let opened = match try_open(&path) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(error.to_string().contains("model.onnx"), "{error}");
            return false;
        }
    };
    for gamma in opened.declared.norms.iter().filter_map(|norm| norm.gamma) {
        let tensor = &opened.tensors[gamma];
        let new = vec![0x3e; tensor.len as usize];
        let Ok(edits) = patch(&opened, &[(tensor, &new)]) else {
            continue;
        };
        if tensor.source != 0 {
            continue;
        }
        let path = dir.join("edited.onnx");
        fs::write(&path, &apply(&opened, &edits.files)[0]).unwrap();
        let after = try_open(&path).unwrap();
        assert_eq!(after.declared.norms, opened.declared.norms);
        for (index, (old, now)) in opened.tensors.iter().zip(&after.tensors).enumerate() {
            let old = if index == gamma {
                Ok(new.clone())
            } else {
                read_bytes(&opened, old)
            };
            match (old, read_bytes(&after, now)) {
                (Ok(old), Ok(now)) => assert_eq!(old, now, "tensor {index}"),
                (Err(_), Err(_)) => {}
                (old, now) => panic!("tensor {index}: {old:?} became {now:?}"),
            }
        }
    }
    true
}

fn beside_data_files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["external.a.bin", "external.b.bin"] {
        fs::copy(models().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_model_cut_anywhere_is_an_error_that_names_the_file() {
    let dir = beside_data_files();
    for name in ["training", "external", "unpacked", "constant"] {
        let whole = fs::read(models().join(format!("{name}.onnx"))).unwrap();
        let opened = (0..whole.len()).filter(|len| exercise(dir.path(), &whole[..*len]));
        // The one cut between the graph and the operator sets behind it.
        assert_eq!(opened.count(), 1, "{name}");
        assert!(exercise(dir.path(), &whole));
    }
}

#[test]
fn mutated_models_never_panic() {
    let dir = beside_data_files();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let names = [
        "merged",
        "constant",
        "bodies",
        "functions",
        "float16",
        "unpacked",
        "external",
        "unusual",
    ];
    for name in names {
        let whole = fs::read(models().join(format!("{name}.onnx"))).unwrap();
        for _ in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                    _ => {
                        let from = random(bytes.len());
                        bytes[at] = bytes[from];
                    }
                }
            }
            exercise(dir.path(), &bytes);
        }
    }
}

#[test]
fn every_edit_can_be_read_back() {
    let dir = beside_data_files();
    for name in ["float16", "bfloat16", "functions", "bodies"] {
        let whole = load(name);
        let (files, ..) = edit_all(&whole);
        let path = dir.path().join("edited.onnx");
        fs::write(&path, &files[0]).unwrap();
        let after = try_open(&path).unwrap();
        assert_eq!(after.declared.norms, whole.declared.norms, "{name}");
        for (old, new) in editable(&whole).into_iter().zip(editable(&after)) {
            let expected = edited(old.dtype, &read(&whole, old));
            assert_eq!(read(&after, new), expected, "{name} {}", old.name);
        }
    }
}
