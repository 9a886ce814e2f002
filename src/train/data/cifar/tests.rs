use std::fs;

use super::*;
use crate::train::data;

/// Image `n`: red n, green and blue in ramps.
fn planes(n: u8) -> Vec<u8> {
    let ramp = |shift: usize| (0..PLANE).map(move |at| (at >> shift) as u8);
    vec![n; PLANE]
        .into_iter()
        .chain(ramp(0))
        .chain(ramp(2))
        .collect()
}

fn pixel(n: u8, at: usize) -> [u8; 3] {
    [n, at as u8, (at >> 2) as u8]
}

/// What Python 2 pickled: protocol 2, strings as bytes.
fn python2(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (key, value) in entries {
        out.extend([b'U', key.len() as u8]);
        out.extend(key.as_bytes());
        out.extend(value);
    }
    out.extend(b"u.");
    out
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let mut out = b"](".to_vec();
    labels.iter().for_each(|label| out.extend([b'K', *label]));
    out.push(b'e');
    out
}

fn names(names: &[String]) -> Vec<u8> {
    let mut out = b"](".to_vec();
    for name in names {
        out.extend([b'U', name.len() as u8]);
        out.extend(name.as_bytes());
    }
    out.push(b'e');
    out
}

fn array(rows: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out =
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\x01btR(K\x01(J".to_vec();
    out.extend(rows.to_le_bytes());
    out.extend(b"M\0\x0ctcnumpy\ndtype\n(U\x02u1K\0K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    out.extend(b"tb");
    out
}

/// Two versions of CIFAR-100 with three images, and two of CIFAR-10 with one in each batch.
fn sets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (_, _, folder, _) in VERSIONS {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let write = |file: &str, bytes: Vec<u8>| fs::write(dir.path().join(file), bytes).unwrap();
    let fine: Vec<String> = (0..100).map(|n| format!("fine{n}")).collect();
    let ten: Vec<String> = (0..10).map(|n| format!("class{n}")).collect();
    for (file, split) in [("train", [99, 0, 7]), ("test", [5, 6, 7])] {
        let records = split
            .iter()
            .flat_map(|n| [vec![1, *n], planes(*n)].concat());
        write(&format!("cifar-100-binary/{file}.bin"), records.collect());
        let all: Vec<u8> = split.iter().flat_map(|n| planes(*n)).collect();
        let entries = [
            ("coarse_labels", labels(&[1; 3])),
            ("data", array(3, &all)),
            ("fine_labels", labels(&split)),
        ];
        write(&format!("cifar-100-python/{file}"), python2(&entries));
    }
    write(
        "cifar-100-binary/fine_label_names.txt",
        (fine.join("\n") + "\n").into(),
    );
    write(
        "cifar-100-python/meta",
        python2(&[("fine_label_names", names(&fine))]),
    );
    for n in 1..=6 {
        let file = if n == 6 {
            "test_batch".into()
        } else {
            format!("data_batch_{n}")
        };
        let record = [vec![n], planes(n)].concat();
        write(&format!("cifar-10-batches-bin/{file}.bin"), record);
        let entries = [("data", array(1, &planes(n))), ("labels", labels(&[n]))];
        write(&format!("cifar-10-batches-py/{file}"), python2(&entries));
    }
    write(
        "cifar-10-batches-bin/batches.meta.txt",
        (ten.join("\n") + "\n\n").into(),
    );
    write(
        "cifar-10-batches-py/batches.meta",
        python2(&[("label_names", names(&ten))]),
    );
    dir
}

fn open(dir: &Path, folder: &str, split: Split) -> Result<Box<dyn Classified>> {
    data::open(dir.join(folder).to_str().unwrap(), split)
}

#[test]
fn all_versions_read_the_same() {
    let dir = sets();
    for (folder, train, test, class) in [
        ("cifar-100-binary", &[99, 0, 7][..], &[5, 6, 7][..], "fine7"),
        ("cifar-100-python", &[99, 0, 7], &[5, 6, 7], "fine7"),
        ("cifar-10-batches-bin", &[1, 2, 3, 4, 5], &[6], "class7"),
        ("cifar-10-batches-py", &[1, 2, 3, 4, 5], &[6], "class7"),
    ] {
        for (split, expected) in [(Split::Train, train), (Split::Test, test)] {
            let set = open(dir.path(), folder, split).unwrap();
            assert_eq!(set.classes()[7], class);
            let labels: Vec<u8> = (0..set.len()).map(|n| set.class(n) as u8).collect();
            assert_eq!(labels, expected, "{folder}");
            for (index, n) in expected.iter().enumerate() {
                let image = set.image(index).unwrap();
                let (pixels, _) = image.pixels().as_chunks::<3>();
                assert!((0..PLANE).all(|at| pixels[at] == pixel(*n, at)), "{folder}");
            }
        }
    }
}

#[test]
fn the_folder_above_will_do() {
    let dir = sets();
    fs::remove_dir_all(dir.path().join("cifar-10-batches-bin")).unwrap();
    fs::remove_dir_all(dir.path().join("cifar-10-batches-py")).unwrap();
    assert_eq!(open(dir.path(), "", Split::Test).unwrap().len(), 3);
}

#[test]
fn classes_without_names_are_numbers() {
    let dir = sets();
    fs::remove_file(dir.path().join("cifar-100-python/meta")).unwrap();
    let set = open(dir.path(), "cifar-100-python", Split::Test).unwrap();
    assert_eq!((set.classes().len(), &set.classes()[99][..]), (100, "99"));
}

#[test]
fn what_is_wrong_is_named() {
    let image = planes(1);
    let ten = |n: usize| vec![format!("x{n}"); n];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "cifar-100-binary/train.bin",
            vec![0; 5000],
            "expected records of 3074 bytes, found 1 of them and 1926 bytes",
        ),
        (
            "cifar-100-binary/train.bin",
            vec![],
            "expected images, found none",
        ),
        (
            "cifar-100-binary/train.bin",
            [vec![0, 100], image.clone()].concat(),
            "image 0: expected a label below 100, found 100",
        ),
        (
            "cifar-100-binary/fine_label_names.txt",
            b"apple\npear".to_vec(),
            "expected the names of 100 classes, found 2",
        ),
        (
            "cifar-10-batches-bin/data_batch_3.bin",
            vec![0; 3072],
            "expected records of 3073 bytes",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            b"\x80\x02}".to_vec(),
            "pickle",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            b"junk".to_vec(),
            "pickle",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            python2(&[("labels", labels(&[1]))]),
            "expected a dict with the entry \"data\"",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            python2(&[("data", array(1, &image)), ("labels", labels(&[1, 2]))]),
            "expected 1 labels, one an image, found 2",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            python2(&[("data", array(2, &image)), ("labels", labels(&[1, 2]))]),
            "data: expected a NumPy array of bytes, 3072 an image",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            python2(&[("data", array(1, &image)), ("labels", labels(&[10]))]),
            "image 0: expected a label below 10, found 10",
        ),
        (
            "cifar-10-batches-py/data_batch_2",
            python2(&[
                ("data", array(1, &image)),
                ("labels", b"J\xff\xff\xff\xff".to_vec()),
            ]),
            "labels: expected a list",
        ),
        (
            "cifar-10-batches-py/batches.meta",
            python2(&[("label_names", names(&ten(3)))]),
            "expected the names of 10 classes, found 3",
        ),
    ];
    for (file, bytes, expected) in cases {
        let dir = sets();
        let path = dir.path().join(file);
        fs::write(&path, bytes).unwrap();
        let folder = file.split_once('/').unwrap().0;
        let err = open(dir.path(), folder, Split::Train)
            .err()
            .expect("refused");
        let message = err.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_missing_batch_is_named() {
    let dir = sets();
    let path = dir.path().join("cifar-10-batches-bin/data_batch_4.bin");
    fs::remove_file(&path).unwrap();
    let err = open(dir.path(), "cifar-10-batches-bin", Split::Train)
        .err()
        .expect("refused");
    assert_eq!(err.to_string(), format!("{}: cannot open", path.display()));
}
