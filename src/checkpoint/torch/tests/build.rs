//! Pickles and archives written by hand, for what `torch.save` would not write.

pub(super) fn text(value: &str) -> Vec<u8> {
    [
        b"X",
        &(value.len() as u32).to_le_bytes()[..],
        value.as_bytes(),
    ]
    .concat()
}

pub(super) fn int(value: i32) -> Vec<u8> {
    [b"J", &value.to_le_bytes()[..]].concat()
}

pub(super) fn float(value: f64) -> Vec<u8> {
    [b"G", &value.to_be_bytes()[..]].concat()
}

pub(super) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(super) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](", &items.concat()[..], b"e"].concat()
}

pub(super) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()]);
    [b"}(", &entries.collect::<Vec<_>>().concat()[..], b"u"].concat()
}

/// A contiguous f32 tensor from the element `first` of storage 0, which has 64.
pub(super) fn tensor(first: i32, shape: &[i32]) -> Vec<u8> {
    let mut strides = vec![1; shape.len()];
    for n in (1..shape.len()).rev() {
        strides[n - 1] = strides[n] * shape[n];
    }
    strided(first, shape, &strides)
}

pub(super) fn strided(first: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    on(storage(&[]), first, shape, strides)
}

/// Storage 0, with more fields than the five of every persistent id.
pub(super) fn storage(more: &[Vec<u8>]) -> Vec<u8> {
    let kind = global("torch", "FloatStorage");
    let five = [text("storage"), kind, text("0"), text("cpu"), int(64)];
    [tuple(&[&five[..], more].concat()), b"Q".to_vec()].concat()
}

pub(super) fn on(storage: Vec<u8>, first: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let ints = |values: &[i32]| tuple(&values.iter().map(|v| int(*v)).collect::<Vec<_>>());
    let args = [
        storage,
        int(first),
        ints(shape),
        ints(strides),
        b"\x89".to_vec(),
        b"}".to_vec(),
    ];
    [
        global("torch._utils", "_rebuild_tensor_v2"),
        tuple(&args),
        b"R".to_vec(),
    ]
    .concat()
}

/// The pickle of one value.
pub(super) fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

/// A file in the legacy format with a storage 0 of 64 f32, whose values are their indices.
pub(super) fn legacy(value: &[u8]) -> Vec<u8> {
    let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    let system = dict(&[("little_endian", b"\x88".to_vec())]);
    let keys = list(&[text("0")]);
    let pickles = [&magic[..], &int(1001), &system, value, &keys]
        .map(pickle)
        .concat();
    let values = (0..64).flat_map(|n| (n as f32).to_le_bytes());
    pickles
        .into_iter()
        .chain(64_u64.to_le_bytes())
        .chain(values)
        .collect()
}

/// An archive as `torch.save` makes it of `value`, with a storage 0 of 64 f32.
pub(super) fn saved(value: &[u8]) -> Vec<u8> {
    archive(&[("a/data.pkl", &pickle(value)), ("a/data/0", &[0; 256])])
}

/// A zip archive of stored entries: CRC 0, no data descriptors.
pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = out.len() as u32;
        let len = (data.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &len,
            &len,
            &name_len,
            &[0; 2],
        ];
        out.extend([b"PK\x03\x04", &common.concat()[..], name.as_bytes(), data].concat());
        let place = [&[0; 10][..], &at.to_le_bytes()].concat();
        let header = [
            b"PK\x01\x02\x14\x00",
            &common.concat()[..],
            &place,
            name.as_bytes(),
        ];
        central.extend(header.concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let place = [
        (central.len() as u32).to_le_bytes(),
        (out.len() as u32).to_le_bytes(),
    ]
    .concat();
    out.extend(central);
    out.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &place, &[0; 2]].concat());
    out
}

/// The same with sizes and places in zip64 extra fields, data descriptors of 24 bytes and CRCs.
pub(super) fn archive64(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = (out.len() as u64).to_le_bytes();
        let len = (data.len() as u64).to_le_bytes();
        let crc = crc32fast::hash(data).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        let fixed = [45, 0, 8, 0, 0, 0, 0, 0, 0, 0];
        let local = [
            b"PK\x03\x04",
            &fixed[..],
            &[0; 12],
            &name_len,
            &[0; 2],
            name.as_bytes(),
        ];
        out.extend(local.concat());
        out.extend([data, &b"PK\x07\x08"[..], &crc, &len, &len].concat());
        let extra = [&[1, 0, 24, 0][..], &len, &len, &at].concat();
        let lens = [&[0xff; 8][..], &name_len, &[28, 0], &[0; 10], &[0xff; 4]].concat();
        let header = [
            b"PK\x01\x02\x2d\x00",
            &fixed[..],
            &crc,
            &lens,
            name.as_bytes(),
            &extra,
        ];
        central.extend(header.concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let place = [
        (central.len() as u32).to_le_bytes(),
        (out.len() as u32).to_le_bytes(),
    ]
    .concat();
    out.extend(central);
    out.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &place, &[0; 2]].concat());
    out
}
