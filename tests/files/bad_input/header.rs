//! Damaged safetensors files.

use crate::sandbox::*;

/// Both commands refuse a file with these bytes, and name this place in it.
fn refused(bytes: &[u8], place: &str, expected: &str, found: &str) {
    let dir = Dir::with_model(bytes);
    let place = format!("{MODEL}: {place}: expected ");
    let found = format!("found {found}");
    let message = [&place[..], expected, &found];
    for args in [
        &["inspect", MODEL][..],
        &["inspect", MODEL, "--explain"],
        &["apply", MODEL],
        &["apply", MODEL, "--in-place"],
        &["apply", MODEL, "--dry-run", "--json"],
        &["apply", MODEL, "-o", "out.safetensors"],
    ] {
        dir.refuses(args, 1, &message);
    }
}

/// As [`refused`], for a header with eight bytes of data after it.
fn refused_header(header: impl AsRef<[u8]>, place: &str, expected: &str, found: &str) {
    refused(&with_header(header, &[0; 8]), place, expected, found);
}

/// The part of a header for one tensor.
fn line(name: &str, dtype: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

#[test]
fn an_empty_file_is_refused() {
    refused(b"", "file", "a checkpoint", "an empty file");
}

#[test]
fn a_file_that_ends_inside_the_header_length_is_refused() {
    let file = safetensors(&network());
    refused(&file[..5], "header length", "8 bytes", "a file of 5 bytes");
}

#[test]
fn a_file_that_ends_inside_the_header_is_refused() {
    let file = safetensors(&network());
    let found = format!("{} bytes, past the end", header(&network()).len());
    refused(&file[..40], "header length", "at most 32 bytes", &found);
}

#[test]
fn a_file_that_ends_inside_the_data_is_refused() {
    let file = safetensors(&network());
    let whole = file.len() - 8 - header(&network()).len();
    let expected = format!("data within {} bytes", whole - 1);
    let found = format!("offsets [{}, {whole}]", whole - 24);
    refused(
        &file[..file.len() - 1],
        "bn2.running_var",
        &expected,
        &found,
    );
}

#[test]
fn a_header_that_is_longer_than_the_file_is_refused() {
    let mut file = with_header("{}", &[0; 8]);
    file[0] = 11;
    refused(
        &file,
        "header length",
        "at most 10 bytes",
        "11 bytes, past the end",
    );
}

#[test]
fn a_header_of_more_than_100_megabytes_is_refused() {
    let mut file = with_header("{}", &[]);
    file[..8].copy_from_slice(&100_000_001_u64.to_le_bytes());
    let expected = "a safetensors header of at most 100000000 bytes";
    refused(&file, "header length", expected, "100000001 bytes");
    file[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(
        &file,
        "header length",
        expected,
        "18446744073709551615 bytes",
    );
}

#[test]
fn a_zip_archive_under_this_name_is_called_one() {
    let file = b"PK\x03\x04 and the rest of it";
    let expected = "an end of central directory record";
    refused(file, "end of the zip archive", expected, "none");
}

#[test]
fn tensors_that_overlap_are_refused() {
    let header = format!(
        "{{{},{}}}",
        line("a", "F32", "[1]", 0, 4),
        line("b", "F32", "[2]", 0, 8)
    );
    refused_header(header, "b", "data that begins at 4", "0: an overlap");
}

#[test]
fn a_hole_between_tensors_is_refused() {
    let header = format!(
        "{{{},{}}}",
        line("a", "U8", "[3]", 0, 3),
        line("b", "F32", "[1]", 4, 8)
    );
    refused_header(header, "b", "data that begins at 3", "4: a hole");
}

#[test]
fn a_hole_before_the_first_tensor_is_refused() {
    let header = format!("{{{}}}", line("a", "F32", "[1]", 4, 8));
    refused_header(header, "a", "data that begins at 0", "4: a hole");
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let header = format!("{{{}}}", line("a", "F32", "[1]", 0, 4));
    let expected = format!("{} bytes, as the header says", 8 + header.len() + 4);
    let found = format!("{} bytes", 8 + header.len() + 8);
    refused_header(header, "file", &expected, &found);
}

#[test]
fn a_key_that_occurs_twice_is_refused() {
    let once = line("a", "F32", "[2]", 0, 8);
    refused_header(
        format!("{{{once},{once}}}"),
        "header",
        "safetensors JSON",
        r#"the key "a" twice"#,
    );
}

#[test]
fn a_key_that_is_the_same_after_unescaping_is_refused() {
    let header = format!(
        "{{{},{}}}",
        line("a", "F32", "[1]", 0, 4),
        line("\\u0061", "F32", "[1]", 4, 8)
    );
    refused_header(header, "header", "safetensors JSON", r#"the key "a" twice"#);
}

#[test]
fn metadata_that_occurs_twice_is_refused() {
    let metadata = r#""__metadata__":{}"#;
    let header = format!(
        "{{{metadata},{},{metadata}}}",
        line("a", "F32", "[2]", 0, 8)
    );
    refused_header(
        header,
        "header",
        "safetensors JSON",
        r#"the key "__metadata__" twice"#,
    );
}

#[test]
fn metadata_that_is_no_map_of_texts_is_refused() {
    for metadata in [
        "5",
        "[]",
        r#"{"format":1}"#,
        r#"{"format":null}"#,
        r#""pt""#,
    ] {
        let tensor = line("a", "F32", "[2]", 0, 8);
        let header = format!(r#"{{"__metadata__":{metadata},{tensor}}}"#);
        refused_header(header, "header", "safetensors JSON", "");
    }
}

#[test]
fn a_header_that_is_not_json_is_refused() {
    refused_header(
        "{a: 1}",
        "header",
        "safetensors JSON",
        "key must be a string",
    );
    refused_header("", "header", "safetensors JSON", "EOF while parsing");
    let whole = line("a", "F32", "[2]", 0, 8);
    refused_header(
        format!("{{{whole}}} x"),
        "header",
        "safetensors JSON",
        "trailing characters",
    );
    refused_header(
        format!("{{{whole},}}"),
        "header",
        "safetensors JSON",
        "trailing comma",
    );
    refused_header(
        format!("{{{whole}"),
        "header",
        "safetensors JSON",
        "EOF while parsing",
    );
}

#[test]
fn a_header_that_is_not_an_object_is_refused() {
    for header in ["[]", "null", "7", r#""text""#] {
        refused_header(header, "header", "an object", "invalid type");
    }
}

#[test]
fn a_tensor_that_is_not_described_by_an_object_is_refused() {
    refused_header(
        r#"{"a":8}"#,
        "header",
        "safetensors JSON",
        r#""a": invalid type"#,
    );
    let missing = r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#;
    refused_header(
        missing,
        "header",
        "safetensors JSON",
        r#""a": missing field `shape`"#,
    );
}

#[test]
fn a_header_with_a_name_that_is_not_utf_8_is_refused() {
    let mut header = format!("{{{}}}", line("?", "F32", "[2]", 0, 8)).into_bytes();
    header[2] = 0xff;
    refused_header(header, "header", "safetensors JSON", "invalid");
}

#[test]
fn a_header_with_metadata_that_is_not_utf_8_is_refused() {
    let mut header = format!(
        r#"{{"__metadata__":{{"format":"?"}},{}}}"#,
        line("a", "F32", "[2]", 0, 8)
    )
    .into_bytes();
    let at = header.iter().position(|byte| *byte == b'?').unwrap();
    header[at] = 0xff;
    refused_header(header, "header", "safetensors JSON", "invalid");
}

#[test]
fn an_unknown_dtype_is_refused() {
    refused_header(
        format!("{{{}}}", line("bn.weight", "F33", "[2]", 0, 8)),
        "bn.weight",
        "a known dtype",
        "F33",
    );
}

#[test]
fn a_shape_that_does_not_give_the_size_is_refused() {
    refused_header(
        format!("{{{}}}", line("bn.weight", "F32", "[3]", 0, 8)),
        "bn.weight",
        "12 bytes for F32 [3]",
        "8 bytes",
    );
}

#[test]
fn a_shape_that_is_no_whole_number_of_bytes_is_refused() {
    refused_header(
        format!("{{{}}}", line("a", "F4", "[15]", 0, 8)),
        "a",
        "a shape whose size can be counted",
        "8 bytes",
    );
}

#[test]
fn a_shape_whose_product_overflows_is_refused() {
    for shape in [
        "[4294967296,4294967296]",   // 2^64 elements, 0 when it wraps
        "[4294967296,4294967296,0]", // 0 elements, by a detour that overflows
        "[2305843009213693953]",     // 2^61 + 1 elements of 32 bits: 32 bits when it wraps
        "[18446744073709551615,2]",
    ] {
        let header = format!("{{{}}}", line("a", "F32", shape, 0, 8));
        refused_header(header, "a", "a shape whose size can be counted", "8 bytes");
    }
}

#[test]
fn a_negative_or_fractional_dimension_is_refused() {
    for shape in ["[-2]", "[2.0]", "[18446744073709551616]", r#"["2"]"#] {
        let header = format!("{{{}}}", line("a", "F32", shape, 0, 8));
        refused_header(header, "header", "safetensors JSON", r#""a": invalid"#);
    }
}

#[test]
fn offsets_in_reverse_are_refused() {
    refused_header(
        format!("{{{}}}", line("a", "F32", "[2]", 8, 0)),
        "a",
        "data within 8 bytes",
        "offsets [8, 0]",
    );
}

#[test]
fn offsets_past_the_end_are_refused() {
    for (from, to) in [(0, 12), (4, u64::MAX), (u64::MAX - 7, u64::MAX), (8, 16)] {
        refused_header(
            format!("{{{}}}", line("a", "F32", "[2]", from, to)),
            "a",
            "data within 8 bytes",
            &format!("offsets [{from}, {to}]"),
        );
    }
}

#[test]
fn one_or_three_offsets_are_refused() {
    for offsets in ["[0]", "[0,8,8]", "[]", "0"] {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
        refused_header(header, "header", "safetensors JSON", r#""a": "#);
    }
}
