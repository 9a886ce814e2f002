use super::super::Value;
use std::time::{Duration, Instant};

use super::super::input::Fault;
use super::super::pickle::parse;
use super::build::{dict, global, int, list, pickle, saved, strided, tensor, text, tuple};
use super::*;

fn fault(bytes: &[u8]) -> Fault {
    match parse(bytes) {
        Ok(_) => panic!("no fault"),
        Err(fault) => fault,
    }
}

/// Opens an archive with this pickled value and wants an error within moments.
fn refused(value: &[u8]) -> String {
    let start = Instant::now();
    let message = message(open_bytes(&saved(value)));
    assert!(start.elapsed() < Duration::from_secs(20), "{message}");
    message
}

#[test]
fn a_length_beyond_the_input_is_a_fault_and_no_allocation() {
    let lengths: [&[u8]; 9] = [
        b"\x80\x04X\xff\xff\xff\xff",
        b"\x80\x04B\xff\xff\xff\xff",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x05\x96\x00\x00\x00\x40\x00\x00\x00\x00",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"U\xff",
    ];
    for bytes in lengths {
        let fault = fault(bytes);
        assert!(fault.truncated && fault.found.contains("left"), "{fault:?}");
    }
    for negative in [&b"T\xff\xff\xff\xff"[..], b"\x8b\x00\x00\x00\x80"] {
        assert_eq!(fault(negative).expected, "a length");
    }
}

#[test]
fn a_memo_number_costs_nothing_however_large() {
    let parsed = parse(b"\x80\x02Nr\xff\xff\xff\xffj\xff\xff\xff\xff.").unwrap();
    assert!(parsed.arena.len() < 10);
    assert_eq!(fault(b"h\x07.").expected, "a memo entry");
}

#[test]
fn unknown_and_unsupported_opcodes_are_named_with_their_offset() {
    let fault_of = |bytes| {
        let Fault {
            opcode, at, found, ..
        } = fault(bytes);
        (opcode, at, found)
    };
    let unknown = fault_of(b"\x80\x02N\xf7.");
    assert_eq!(unknown, ("opcode 0xf7".into(), 3, "byte 0xf7".into()));
    let buffer = fault_of(b"\x80\x05\x97.");
    assert_eq!((&buffer.0[..], buffer.1), ("opcode NEXT_BUFFER", 2));
    assert!(buffer.2.contains("out-of-band"));
    assert_eq!(fault_of(b"\x82\x01.").0, "opcode EXT1");
    assert_eq!(fault_of(b"\x80\x06N.").2, "protocol 6");
}

#[test]
fn stack_underflow_is_a_fault() {
    for bytes in [
        &b"."[..],
        b"0",
        b"1",
        b"2",
        b"R",
        b"b",
        b"s",
        b"u",
        b"a",
        b"e",
        b"t",
        b"\x85",
        b"\x93",
        b"Q",
        b"o",
        b"q\x00",
        b"\x94",
        b"(.",
        b"N(R",
        b"N(\x85",
        b"(o",
        b"](NNu",
        b"}(Nu",
        b"N}a",
        b"NNb",
    ] {
        assert!(!fault(bytes).truncated, "{bytes:?}");
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    let lists = [&b"\x80\x02"[..], &[b']'; 100_000], &[b'a'; 99_999], b"."].concat();
    assert!(parse(&lists).is_ok());
    let tuples = [&b"\x80\x02N"[..], &[0x85; 100_000], b"."].concat();
    assert!(parse(&tuples).is_ok());
    let value = [&[b']'; 1000][..], &[b'a'; 999]].concat();
    assert!(refused(&value).contains("at most 64 levels"));
    // Parameters around parameters.
    let wrap = |inner: Vec<u8>| {
        let call = [
            tuple(&[inner, b"\x89".to_vec(), b"}".to_vec()]),
            b"R".to_vec(),
        ]
        .concat();
        [global("torch._utils", "_rebuild_parameter"), call].concat()
    };
    let once = open_bytes(&saved(&dict(&[("p", wrap(tensor(0, &[4])))]))).unwrap();
    assert_eq!(once.dicts[0].tensors[0].shape, [4]);
    let often = (0..1000).fold(tensor(0, &[4]), |inner, _| wrap(inner));
    let opened = open_bytes(&saved(&dict(&[("p", often)]))).unwrap();
    assert_eq!(opened.unread, ["p (too many wrappers)"]);
}

#[test]
fn cycles_end() {
    let list_in_itself = b"]q\x00h\x00a".to_vec();
    let dict_in_itself = [b"}q\x00", &text("d")[..], b"h\x00s"].concat();
    let class = global("torch.nn", "Module");
    let module = [
        &class[..],
        b")\x81q\x01",
        &dict(&[
            ("_parameters", b"}".to_vec()),
            ("_buffers", b"}".to_vec()),
            ("_modules", dict(&[("again", b"h\x01".to_vec())])),
        ]),
        b"b",
    ]
    .concat();
    for value in [list_in_itself, dict_in_itself] {
        assert!(open_bytes(&saved(&value)).unwrap().dicts.is_empty());
    }
    assert!(refused(&module).contains("modules deep"));
}

#[test]
fn doubling_structures_are_looked_into_once() {
    // Each tuple holds the one before twice: 2^100 paths.
    let mut value = b"]q\x00".to_vec();
    for n in 0..60_u8 {
        value.extend([b'h', n, b'h', n, 0x86, b'q', n + 1]);
    }
    assert!(open_bytes(&saved(&value)).unwrap().dicts.is_empty());
    // Each module has the one before as two children.
    let module = |children: Vec<u8>| {
        let state = dict(&[
            ("_parameters", dict(&[("w", tensor(0, &[1]))])),
            ("_buffers", b"}".to_vec()),
            ("_modules", children),
        ]);
        [&global("torch.nn", "Module")[..], b")\x81", &state, b"b"].concat()
    };
    let mut value = [&module(b"}".to_vec())[..], b"q\x00"].concat();
    for n in 0..60_u8 {
        let child = || vec![b'h', n];
        value.extend(module(dict(&[("a", child()), ("b", child())])));
        value.extend([b'q', n + 1]);
    }
    assert!(refused(&value).contains("over and over"));
}

#[test]
fn dicts_made_of_one_long_list_of_pairs_are_refused() {
    let pairs: Vec<Vec<u8>> = (0..20_000).map(|_| tuple(&[text("k"), int(1)])).collect();
    let ordered = [global("collections", "OrderedDict"), b"h\x00\x85R".to_vec()].concat();
    let many: Vec<Vec<u8>> = (0..20_000).map(|_| ordered.clone()).collect();
    let value = tuple(&[[list(&pairs), b"q\x00".to_vec()].concat(), list(&many)]);
    assert!(refused(&value).contains("over and over"));
}

#[test]
fn long_keys_repeated_along_many_paths_are_refused() {
    let key = [text(&"k".repeat(1 << 20)), b"q\x00".to_vec()].concat();
    let inner = |n: i32| [&b"}h\x00"[..], &dict(&[("w", tensor(n % 60, &[1]))]), b"s"].concat();
    let many: Vec<Vec<u8>> = (0..1000).map(inner).collect();
    assert!(refused(&tuple(&[key, list(&many)])).contains("over and over"));
}

#[test]
fn tensors_that_reach_out_of_their_storage_are_refused() {
    let cases: [(&str, Vec<u8>); 8] = [
        ("beyond the end", tensor(61, &[4])),
        ("too large", tensor(0, &[65])),
        ("stride too large", strided(0, &[2], &[64])),
        ("size overflow", strided(0, &[i32::MAX; 4], &[i32::MAX; 4])),
        ("negative size", strided(0, &[-1], &[1])),
        ("negative stride", strided(4, &[2], &[-1])),
        ("negative offset", tensor(-1, &[1])),
        ("fewer strides than dimensions", strided(0, &[2, 2], &[1])),
    ];
    for (what, tensor) in cases {
        let message = refused(&dict(&[("w", tensor)]));
        assert!(message.contains("tensor w"), "{what}: {message}");
    }
    let fits = open_bytes(&saved(&dict(&[("w", tensor(60, &[4]))]))).unwrap();
    assert_eq!(
        (
            fits.dicts[0].tensors[0].len,
            &fits.dicts[0].tensors[0].fixed
        ),
        (16, &None)
    );
    let expanded = open_bytes(&saved(&dict(&[("w", strided(0, &[4], &[0]))]))).unwrap();
    assert!(expanded.dicts[0].tensors[0].fixed.is_some());
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let value = dict(&[("w", tensor(0, &[1])), ("w", tensor(1, &[1]))]);
    assert!(refused(&value).contains("w twice"));
}

#[test]
fn a_parameter_in_two_optimizer_groups_is_an_error_of_that_optimizer() {
    let group = dict(&[("params", list(&[int(0)]))]);
    let value = dict(&[
        ("state", b"}".to_vec()),
        ("param_groups", list(&[group.clone(), group])),
    ]);
    let opened = open_bytes(&saved(&dict(&[("optimizer", value)]))).unwrap();
    let error = opened.optimizers.into_iter().next().unwrap();
    assert!(message(error).contains("every parameter in one group"));
}

#[test]
fn every_truncation_of_a_pickle_is_a_fault() {
    let file = std::fs::read(fixture("legacy.th")).unwrap();
    let mut at = 0;
    for _ in 0..5 {
        let len = parse(&file[at..]).unwrap().len;
        for end in at..at + len {
            assert!(parse(&file[at..end]).is_err(), "{end}");
        }
        at += len;
    }
    for end in 0..file.len() {
        message(open_bytes(&file[..end]));
    }
}

#[test]
fn other_protocols_read_like_protocol_2() {
    let texts: [&[u8]; 4] = [
        b"(dp0\nVa\np1\n(lp2\nI1\naL2L\naF0.5\nas.",
        b"(dU\x01a(lK\x01aJ\x02\x00\x00\x00aG\x3f\xe0\x00\x00\x00\x00\x00\x00as.",
        b"\x80\x03}X\x01\x00\x00\x00a](K\x01M\x02\x00G\x3f\xe0\x00\x00\x00\x00\x00\x00es.",
        b"\x80\x04\x95\x16\x00\x00\x00\x00\x00\x00\x00}\x8c\x01a\x94](K\x01\x8a\x01\x02G\x3f\xe0\x00\x00\x00\x00\x00\x00es.",
    ];
    for bytes in texts {
        let parsed = parse(bytes).unwrap();
        let saved = super::super::Saved {
            arena: parsed.arena,
            root: parsed.root,
        };
        let list = saved.root().get("a").unwrap();
        let items: Vec<Value<'_>> = list.items().unwrap().collect();
        let numbers: Vec<Option<i64>> = items.iter().map(|item| item.as_i64()).collect();
        assert_eq!(numbers, [Some(1), Some(2), None], "{bytes:?}");
        assert_eq!(items[2].kind(), "a float");
    }
}

#[test]
fn mutated_pickles_and_legacy_files_never_panic() {
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    let whole = std::fs::read(fixture("legacy.th")).unwrap();
    let zip = std::fs::read(fixture("module.pth")).unwrap();
    let object = pickle(&dict(&[
        ("a", tensor(0, &[2, 3])),
        ("b", list(&[text("x"), int(-1)])),
    ]));
    // The module's pickle begins at byte 64, behind the first local header.
    for bytes in [&object[..], &zip[64..3000]] {
        for _ in 0..20_000 {
            let _ = parse(&random.mutate(bytes));
        }
    }
    for _ in 0..1500 {
        let _ = open_bytes(&random.mutate(&whole));
        let value = random.mutate(&object[2..object.len() - 1]);
        let _ = open_bytes(&saved(&value));
    }
}
