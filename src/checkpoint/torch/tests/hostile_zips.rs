use super::build::{archive, archive64, dict, pickle, saved, tensor};
use super::*;
use crate::checkpoint::format::refuse_directory;

/// Bytes of `build::archive` from its last end record on.
const END: usize = 22;

fn small() -> Vec<u8> {
    saved(b"}")
}

/// Where the central directory begins.
fn central(bytes: &[u8]) -> usize {
    let end = &bytes[bytes.len() - END..];
    u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize
}

fn with(change: impl FnOnce(&mut Vec<u8>, usize)) -> String {
    let mut bytes = small();
    let at = central(&bytes);
    change(&mut bytes, at);
    message(open_bytes(&bytes))
}

#[test]
fn the_archive_that_the_other_tests_damage_opens() {
    assert!(open_bytes(&small()).unwrap().dicts.is_empty());
}

#[test]
fn what_cannot_be_patched_in_place_is_refused_by_name() {
    assert!(with(|b, at| b[at + 10] = 8).contains("a/data.pkl is compressed (zip method 8)"));
    for flag in [1, 0x41] {
        assert!(with(|b, at| b[at + 8] = flag).contains("is encrypted"));
    }
    assert!(with(|b, at| b[at + 34] = 1).contains("another disk"));
    let end = small().len() - END;
    assert!(with(|b, _| b[end + 4] = 1).contains("several disks"));
    assert!(with(|b, _| b[end + 8] = 1).contains("several disks"));
}

#[test]
fn a_count_or_size_that_cannot_fit_is_refused_before_anything_is_allocated() {
    let end = small().len() - END;
    let all = |b: &mut Vec<u8>, at: usize, n: usize| b[at..at + n].fill(0xff);
    assert!(with(|b, _| all(b, end + 8, 4)).contains("65535 entries"));
    assert!(with(|b, _| all(b, end + 12, 4)).contains("4294967295 bytes"));
    assert!(with(|b, _| all(b, end + 16, 4)).contains("at 4294967295"));
    assert!(with(|b, _| b[end] = 0).contains("end of central directory record"));
}

#[test]
fn a_zip64_record_is_followed_and_must_agree() {
    let mut bytes = small();
    let (at, end_at) = (central(&bytes) as u64, bytes.len() - END);
    let len = end_at as u64 - at;
    let end = bytes.split_off(end_at);
    let mut record = b"PK\x06\x06".to_vec();
    record.extend(44_u64.to_le_bytes());
    record.extend([0; 12]);
    for number in [2, 2, len, at] {
        record.extend(number.to_le_bytes());
    }
    let mut locator = b"PK\x06\x07\0\0\0\0".to_vec();
    locator.extend((end_at as u64).to_le_bytes());
    locator.extend(1_u32.to_le_bytes());
    let file = |end: &[u8]| [&bytes[..], &record, &locator, end].concat();
    assert!(open_bytes(&file(&end)).is_ok());
    let mut ones = end.clone();
    ones[8..20].fill(0xff);
    assert!(open_bytes(&file(&ones)).is_ok());
    ones[8..10].copy_from_slice(&[3, 0]);
    ones[10..12].copy_from_slice(&[3, 0]);
    assert!(message(open_bytes(&file(&ones))).contains("agrees with its zip64 form"));
}

#[test]
fn entries_that_overlap_reach_out_or_share_a_name_are_refused() {
    let entries: [(&str, &[u8]); 3] = [("a/data.pkl", b"\x80\x02}."), ("a/x", b""), ("a/x", b"")];
    assert!(message(open_bytes(&archive(&entries))).contains("two entries of this name"));
    let grown = with(|b, at| {
        for length in [at + 20, at + 24, 18, 22] {
            b[length + 1] = 1;
        }
    });
    assert!(
        grown.contains("a/data/0: expected bytes of its own"),
        "{grown}"
    );
    assert!(with(|b, at| b[at + 42..at + 46].fill(0xf0)).contains("before the central directory"));
    assert!(with(|b, at| b[at + 24] ^= 1).contains("stored entry of one length"));
    assert!(with(|b, at| b[at + 46] = 0xff).contains("a name in UTF-8"));
    assert!(with(|b, _| b[30] = b'b').contains("the same name"));
    assert!(with(|b, _| b[0] = 0).contains("neither"));
}

#[test]
fn a_data_descriptor_may_lack_its_signature_and_must_repeat_the_size() {
    let file = std::fs::read(fixture("before.pth")).unwrap();
    let (_, opened) = open_path(&fixture("before.pth")).unwrap();
    let entry = &opened.zip.unwrap();
    let entry = entry.find("archive/data.pkl").unwrap();
    let at = (entry.offset + entry.len) as usize;
    assert_eq!(entry.crcs[1].offset, at as u64 + 4);
    let mut bare = file.clone();
    bare.copy_within(at + 4..at + 16, at);
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), &bare).unwrap();
    let (_, opened) = open_path(named.path()).unwrap();
    let zip = opened.zip.unwrap();
    assert_eq!(
        zip.find("archive/data.pkl").unwrap().crcs[1].offset,
        at as u64
    );
    bare[at + 4] ^= 1;
    assert!(message(open_bytes(&bare)).contains("a data descriptor"));
}

#[test]
fn long_descriptors_and_zip64_fields_are_found_and_patched() {
    let data = pickle(&dict(&[("bn.weight", tensor(0, &[4]))]));
    let bytes = archive64(&[("a/data.pkl", &data), ("a/data/0", &[0; 256])]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let (source, opened) = open_path(file.path()).unwrap();
    let zip = opened.zip.unwrap();
    let change = edit(&source, &opened.dicts[0].tensors[0], 3, 1.5);
    let mut all =
        super::super::checksum::patches(&source, &zip, std::slice::from_ref(&change)).unwrap();
    assert_eq!(all.len(), 2);
    all.push(change);
    let mut storage = [0; 256];
    storage[12..16].copy_from_slice(&1.5_f32.to_le_bytes());
    let expected = archive64(&[("a/data.pkl", &data), ("a/data/0", &storage)]);
    assert_eq!(patched(file.path(), &all), expected);
}

#[test]
fn archives_that_are_no_plain_checkpoint_are_refused_with_what_to_do() {
    let data = pickle(b"}");
    let open = |entries: &[(&str, &[u8])]| message(open_bytes(&archive(entries)));
    let script = open(&[("m/data.pkl", &data), ("m/constants.pkl", &data)]);
    assert!(script.contains("TorchScript") && script.contains("state_dict()"));
    assert!(open(&[("m/data.pkl", &data), ("m/code/m.py", b"")]).contains("TorchScript"));
    let mut compressed = archive(&[("m/code/m.py", b"")]);
    let method = central(&compressed) + 10;
    compressed[method] = 8;
    assert!(message(open_bytes(&compressed)).contains("TorchScript"));
    assert!(open(&[("m/data.pkl", &data), ("m/byteorder", b"big")]).contains("byte order \"big\""));
    assert!(open(&[("m/data/0", b"")]).contains("one data.pkl"));
    assert!(open(&[("a/data.pkl", &data), ("b/data.pkl", &data)]).contains("one data.pkl"));
    assert!(open(&[]).contains("an empty archive"));
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(message(open_bytes(&tar)).contains("tar archive"));
    assert!(message(open_bytes(b"")).contains("neither"));
    assert!(message(open_bytes(&pickle(b"}"))).contains("another program"));
    let names = ["__0_0.distcp".to_owned(), ".metadata".to_owned()];
    assert!(refuse_directory(&names).unwrap().contains("dcp_to_torch"));
    assert_eq!(refuse_directory(&["model.safetensors".to_owned()]), None);
}

#[test]
fn every_truncation_of_an_archive_is_an_error() {
    let file = std::fs::read(fixture("module.pth")).unwrap();
    for end in (0..file.len()).step_by(3) {
        message(open_bytes(&file[..end]));
    }
}

#[test]
fn mutated_archives_never_panic() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let file = std::fs::read(fixture("before.pth")).unwrap();
    let tail = file.len() - 1600;
    for n in 0..2000 {
        let bytes = if n % 2 == 0 {
            random.mutate(&file)
        } else {
            // The directory and the end records are the last fifth of the file.
            [&file[..tail], &random.mutate(&file[tail..])].concat()
        };
        if let Ok(opened) = open_bytes(&bytes) {
            let len = bytes.len() as u64;
            let inside = |t: &Tensor| t.offset + t.len <= len;
            assert!(opened.dicts.iter().flat_map(|d| &d.tensors).all(inside));
        }
    }
}
