//! Data sets as they lie on disk: real ones, and hostile ones.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::common::{material, repository, skip, text};
use ckpt_regen::train::data::{
    Classified, Dataset, Loader, Normalisation, Split, Step, Transform, open,
};

fn image(name: &str) -> Vec<u8> {
    fs::read(repository("fixtures/images").join(name)).unwrap()
}

fn put(dir: &Path, file: &str, bytes: &[u8]) {
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two classes of three images for training and two for testing, all of 24×17 pixels.
fn folders() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, from) in [
        ("train/cat/b.JPG", "rgb.jpg"),
        ("train/cat/a.png", "grey16.png"),
        ("train/cat/deep/c.webp", "alpha.webp"),
        ("train/ant/1.jpeg", "cmyk.jpg"),
        ("train/ant/images/2.png", "palette.png"),
        ("train/ant/images/3.jpg", "png.jpg"),
        ("val/cat/x.png", "rgba.png"),
        ("val/ant/y.jpg", "grey.jpg"),
    ] {
        put(dir.path(), file, &image(from));
    }
    put(dir.path(), "train/cat/notes.txt", b"no image");
    put(dir.path(), "train/cat/._b.jpg", b"what macOS leaves");
    put(dir.path(), "train/.DS_Store/x", b"");
    put(dir.path(), "train/readme.txt", b"");
    dir
}

fn refused(dir: &Path, split: Split) -> String {
    let err = open(text(dir), split).err().expect("refused");
    err.to_string()
}

fn names(set: &dyn Dataset, below: &Path) -> Vec<String> {
    let name = |index| set.name(index);
    let names = (0..set.len()).map(name);
    let names = names.map(|name| text(name.strip_prefix(below).unwrap()).to_owned());
    names.collect()
}

#[test]
fn a_folder_for_each_class_is_read_in_the_order_of_names() {
    let dir = folders();
    let train = open(text(dir.path()), Split::Train).unwrap();
    assert_eq!(train.classes(), ["ant", "cat"]);
    let expected = [
        "train/ant/1.jpeg",
        "train/ant/images/2.png",
        "train/ant/images/3.jpg",
        "train/cat/a.png",
        "train/cat/b.JPG",
        "train/cat/deep/c.webp",
    ];
    assert_eq!(names(&*train, dir.path()), expected);
    let labels: Vec<u32> = (0..6).map(|index| train.class(index)).collect();
    assert_eq!(labels, [0, 0, 0, 1, 1, 1]);
    for index in 0..6 {
        let image = train.image(index).unwrap();
        assert_eq!((image.width(), image.height()), (24, 17));
        assert_eq!(train.size(index), Some((24, 17)));
    }
    let test = open(text(dir.path()), Split::Test).unwrap();
    assert_eq!(
        names(&*test, dir.path()),
        ["val/ant/y.jpg", "val/cat/x.png"]
    );
}

#[test]
fn the_classes_of_the_test_images_are_those_of_training() {
    let dir = folders();
    fs::remove_dir_all(dir.path().join("val/ant")).unwrap();
    let test = open(text(dir.path()), Split::Test).unwrap();
    assert_eq!((test.classes().len(), test.class(0)), (2, 1));
    put(dir.path(), "val/dog/x.png", &image("rgb.png"));
    let message = refused(dir.path(), Split::Test);
    let path = dir.path().join("val/dog");
    assert!(message.starts_with(text(&path)), "{message}");
    fs::rename(dir.path().join("val"), dir.path().join("test")).unwrap();
    fs::remove_dir_all(dir.path().join("test/dog")).unwrap();
    assert_eq!(open(text(dir.path()), Split::Test).unwrap().len(), 1);
    fs::remove_dir_all(dir.path().join("test")).unwrap();
    assert!(refused(dir.path(), Split::Test).contains("a folder val or test"));
}

#[test]
fn tiny_imagenets_list_of_test_images_is_read() {
    let dir = folders();
    fs::remove_dir_all(dir.path().join("val")).unwrap();
    for n in 0..3 {
        put(
            dir.path(),
            &format!("val/images/val_{n}.JPEG"),
            &image("rgb.jpg"),
        );
    }
    let list = |lines: &str| put(dir.path(), "val/val_annotations.txt", lines.as_bytes());
    list("val_2.JPEG\tant\t0\t0\t9\t9\nval_0.JPEG\tcat\t0\t0\t9\t9\nval_1.JPEG\tant\t0\t0\t9\t9\n");
    let test = open(text(dir.path()), Split::Test).unwrap();
    let labels: Vec<u32> = (0..3).map(|index| test.class(index)).collect();
    assert_eq!(labels, [1, 0, 0]);
    for (lines, file, expected) in [
        (
            "val_2.JPEG\tant\nval_0.JPEG\tcat\n",
            "images/val_1.JPEG",
            "expected a line in",
        ),
        (
            "val_2.JPEG\tant\nval_0.JPEG\tcat\nval_1.JPEG\tant\nval_7.JPEG\tant\n",
            "images/val_7.JPEG",
            "expected a file, as",
        ),
        (
            "val_0.JPEG\tdog\n",
            "val_annotations.txt",
            "line 1: expected a class",
        ),
        (
            "val_0.JPEG\n",
            "val_annotations.txt",
            "line 1: expected a file and a class",
        ),
    ] {
        list(lines);
        let message = refused(dir.path(), Split::Test);
        let path = dir.path().join("val").join(file);
        assert!(message.starts_with(text(&path)), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_wrong_is_found_at_the_start_and_named() {
    for (file, bytes, expected) in [
        (
            "train/cat/z.jpg",
            &b""[..],
            "expected a JPEG, PNG or WebP file, found an empty file",
        ),
        ("train/cat/z.png", b"GIF89a", "found something else"),
        (
            "train/cat/z.jpg",
            &image("rgb.jpg")[..40],
            "expected a whole JPEG file, found damage",
        ),
        (
            "train/dog/notes.txt",
            b"",
            "expected images (.jpg, .jpeg, .png, .webp), found none",
        ),
    ] {
        let dir = folders();
        put(dir.path(), file, bytes);
        let message = refused(dir.path(), Split::Train);
        assert!(message.contains(expected), "{message}");
        let named = dir.path().join(file);
        let named = if file.ends_with(".txt") {
            named.parent().unwrap()
        } else {
            &named
        };
        assert!(message.starts_with(text(named)), "{message}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(dir.path(), Split::Train).contains("expected CIFAR-10 or CIFAR-100"));
    assert!(refused(&dir.path().join("none"), Split::Train).contains("cannot open"));
    fs::create_dir(dir.path().join("train")).unwrap();
    assert!(refused(dir.path(), Split::Train).contains("expected a folder for each class"));
    put(dir.path(), "file", b"");
    assert!(refused(&dir.path().join("file"), Split::Train).contains("expected a directory"));
}

fn loader(dir: &Path, steps: Vec<Step>) -> ckpt_regen::Result<Loader> {
    let set: Arc<dyn Classified> = open(text(dir), Split::Train)?.into();
    let transform = Transform {
        steps,
        normalisation: Normalisation::IMAGENET,
    };
    Loader::new(set, transform, 4, 2)
}

#[test]
fn images_of_several_sizes_need_a_step_that_makes_them_one() {
    let dir = folders();
    let mut other = image("rgb.png");
    // Cut down to a height of 1: the header is enough here.
    other[20..24].copy_from_slice(&1_u32.to_be_bytes());
    let crc = crc32fast::hash(&other[12..29]);
    other[29..33].copy_from_slice(&crc.to_be_bytes());
    put(dir.path(), "train/cat/z.png", &other);
    let message = loader(dir.path(), Vec::new())
        .err()
        .expect("refused")
        .to_string();
    let named = dir.path().join("train/cat/z.png");
    let expected =
        "size: expected 24×17 pixels, as the first image of the set has, found 24×1 pixels";
    assert_eq!(message, format!("{}: {expected}", named.display()));
    let mut fixed = loader(dir.path(), vec![Step::RandomResizedCrop(8.into())]).unwrap();
    let mut test = fixed.test();
    assert_eq!(test.next().unwrap().unwrap().resolution, 8.into());
}

#[test]
fn an_image_whose_pixels_are_damaged_ends_the_epoch_and_is_named() {
    let dir = folders();
    let whole = image("rgb.jpg");
    put(dir.path(), "train/cat/z.jpg", &whole[..whole.len() - 100]);
    let mut loader = loader(dir.path(), Vec::new()).unwrap();
    let mut epoch = loader.test();
    assert_eq!(epoch.next().unwrap().unwrap().labels, [0, 0, 0, 1]);
    let message = epoch.next().unwrap().unwrap_err().to_string();
    let named = dir.path().join("train/cat/z.jpg");
    let expected =
        "image: expected a whole JPEG file, found damage (it ends before the image does)";
    assert_eq!(message, format!("{}: {expected}", named.display()));
    assert!(epoch.next().is_none());
}

/// NumPy arrays as Python 3 pickles them, in each of its protocols.
#[test]
fn cifar_that_python_3_saved_again_is_read() {
    let script = "import pickle, sys, numpy\n\
        data = numpy.arange(3 * 3072).astype('uint8').reshape(3, 3072)\n\
        for name in ('train', 'test'):\n \
        pickle.dump({b'data': data, b'fine_labels': [1, 2, 3]}, open(name, 'wb'), int(sys.argv[1]))";
    for protocol in ["3", "4", "5"] {
        let dir = tempfile::tempdir().unwrap();
        let python = std::env::var_os("CKPT_REGEN_PYTHON").unwrap_or_else(|| "python3".into());
        let run = Command::new(python)
            .args(["-c", script, protocol])
            .current_dir(dir.path())
            .output();
        if !run.is_ok_and(|run| run.status.success()) {
            return skip(
                "pickled arrays",
                "no Python with NumPy (CKPT_REGEN_PYTHON names one)",
            );
        }
        let set = open(text(dir.path()), Split::Train).unwrap();
        assert_eq!((set.len(), set.class(2)), (3, 3));
        // Pixel 1 of an image: of red 1, of green 1024 + 1, of blue 2048 + 1; 256 divides 1024.
        assert_eq!(set.image(0).unwrap().pixels()[3..6], [1, 1, 1]);
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let dir = folders();
        let elsewhere = tempfile::tempdir().unwrap();
        put(elsewhere.path(), "far.png", &image("rgb.png"));
        symlink(elsewhere.path(), dir.path().join("train/bee")).unwrap();
        symlink(
            elsewhere.path().join("far.png"),
            dir.path().join("train/cat/near.png"),
        )
        .unwrap();
        let set = open(text(dir.path()), Split::Train).unwrap();
        assert_eq!((set.classes().len(), set.len()), (3, 8));
        set.image(3).unwrap();

        let circle = dir.path().join("train/cat/deep/circle");
        symlink("..", &circle).unwrap();
        let message = refused(dir.path(), Split::Train);
        assert!(message.starts_with(text(&circle)), "{message}");
        assert!(message.contains("another name led to already"), "{message}");
        fs::remove_file(&circle).unwrap();
        let nothing = dir.path().join("train/cat/nothing.png");
        symlink("nowhere", &nothing).unwrap();
        assert_eq!(
            refused(dir.path(), Split::Train),
            format!("{}: cannot open", nothing.display())
        );
    }

    #[test]
    fn names_may_be_no_text() {
        let dir = folders();
        let class = dir
            .path()
            .join("train")
            .join(OsStr::from_bytes(b"zebra\xFF"));
        fs::create_dir(&class).unwrap();
        let file = class.join(OsStr::from_bytes(b"\xFE.png"));
        fs::write(&file, image("rgb.png")).unwrap();
        let set = open(text(dir.path()), Split::Train).unwrap();
        assert_eq!(set.classes()[2], "zebra\u{FFFD}");
        assert_eq!(set.name(6), file);
        set.image(6).unwrap();
    }

    #[test]
    fn a_folder_that_may_not_be_read_is_named() {
        let dir = folders();
        let locked = dir.path().join("train/cat/deep");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let asked = || refused(dir.path(), Split::Train);
        let message = match fs::read_dir(&locked) {
            Err(_) => asked(),
            // Root may read everything: asked as nobody, in a thread that ends as such.
            Ok(_) => {
                fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
                let as_nobody = || {
                    rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65534)).unwrap();
                    asked()
                };
                std::thread::scope(|scope| scope.spawn(as_nobody).join().unwrap())
            }
        };
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(message, format!("{}: cannot list", locked.display()));
    }
}

/// Runs the script of the material that lays data sets out; `None` where something is missing.
fn unpacked(name: &str) -> Option<tempfile::TempDir> {
    let script = material("data/unpack.py")?;
    let dir = tempfile::tempdir().unwrap();
    let run = Command::new("tar")
        .arg("-xf")
        .arg(script.with_file_name(name))
        .current_dir(dir.path())
        .status();
    if run.is_ok_and(|status| status.success()) {
        return Some(dir);
    }
    skip(name, "it cannot be unpacked");
    None
}

#[test]
fn every_image_of_tiny_imagenet_is_read() {
    let Some(dir) = unpacked("tiny-imagenet-20.tar") else {
        return;
    };
    for (split, len) in [(Split::Train, 10_000), (Split::Test, 1000)] {
        let set = open(text(dir.path()), split).unwrap();
        assert_eq!((set.len(), set.classes().len()), (len, 20));
        let mut seen = [0; 20];
        (0..len).for_each(|index| seen[set.class(index) as usize] += 1);
        assert_eq!(seen, [len / 20; 20]);
        // All of the small split, some of the large one.
        for index in (0..len).step_by(len / 1000) {
            let image = set.image(index).unwrap();
            assert_eq!(
                (image.width(), image.height()),
                (64, 64),
                "{:?}",
                set.name(index)
            );
        }
    }
}

#[cfg(feature = "hub")]
mod hub {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PARQUET: &str = "fixtures/parquet";

    /// What must be in the fixture: classes, and label and size of each image.
    fn check(spec: &str) {
        let train = open(spec, Split::Train).unwrap();
        assert_eq!(train.classes(), ["ant", "bee", "cat"]);
        let labels: Vec<u32> = (0..train.len()).map(|index| train.class(index)).collect();
        assert_eq!(labels, [2, 0, 1]);
        let folder = tempfile::tempdir().unwrap();
        for (index, name) in ["rgb.png", "rgb.jpg", "alpha.webp"].iter().enumerate() {
            put(
                folder.path(),
                &format!("train/a/{index}_{name}"),
                &image(name),
            );
        }
        let same = open(text(folder.path()), Split::Train).unwrap();
        for index in 0..3 {
            assert_eq!(train.image(index).unwrap(), same.image(index).unwrap());
        }
        let test = open(spec, Split::Test).unwrap();
        assert_eq!((test.len(), test.class(0), test.classes().len()), (1, 1, 3));
    }

    fn copy() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(repository(PARQUET).join("data")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let file = format!("data/{}", name.to_str().unwrap());
            put(dir.path(), &file, &fs::read(entry.path()).unwrap());
        }
        dir
    }

    #[test]
    fn parquet_files_of_hugging_face_are_read() {
        check(text(&repository(PARQUET)));
        check(text(&repository(PARQUET).join("data")));
    }

    #[test]
    fn a_damaged_or_missing_parquet_file_is_named() {
        let dir = copy();
        let file = dir.path().join("data/train-00001-of-00002.parquet");
        let whole = fs::read(&file).unwrap();
        for len in [0, 7, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            fs::write(&file, &whole[..len]).unwrap();
            let message = refused(dir.path(), Split::Train);
            let expected = "file: expected a whole Parquet file, found damage";
            assert!(
                message.starts_with(&format!("{}: {expected}", file.display())),
                "{message}"
            );
        }
        for at in (4..whole.len() - 8).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            fs::write(&file, &bytes).unwrap();
            if let Ok(set) = open(text(dir.path()), Split::Train) {
                (0..set.len()).for_each(|index| drop(set.image(index)));
            }
        }
        fs::remove_file(&file).unwrap();
        let message = refused(dir.path(), Split::Train);
        assert!(
            message.contains("has 1 of 2 files like train-00000-of-00002.parquet"),
            "{message}"
        );
        assert_eq!(open(text(dir.path()), Split::Test).unwrap().len(), 1);
    }

    const CHILD: &str = "CKPT_REGEN_TEST_HUB";

    /// Runs in a process of its own, whose environment says where the hub is.
    #[test]
    fn child() {
        match std::env::var(CHILD) {
            Err(_) => {}
            Ok(spec) if spec.starts_with("hf:") => check(&spec),
            Ok(spec) => {
                let (spec, expected) = spec.split_once('|').unwrap();
                let message = open(&format!("hf:{spec}"), Split::Train)
                    .err()
                    .unwrap()
                    .to_string();
                assert!(message.contains(expected), "{message}");
            }
        }
    }

    fn in_child(spec: &str, endpoint: &str, home: &Path) {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "data::hub::child"])
            .env(CHILD, spec)
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HOME", home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(
            run.status.success(),
            "{spec}: {said}{}",
            crate::common::stderr(&run)
        );
        assert!(said.contains("1 passed"), "{said}");
    }

    /// Answers as the hub does for two sets, `us/ants` and `us/two` with configurations.
    fn serve(mut stream: TcpStream, answered: &AtomicUsize) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut from = 0;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.split('-').next().unwrap().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let names = [
            "test-00000-of-00001",
            "train-00000-of-00002",
            "train-00001-of-00002",
        ];
        let listed = |prefixes: &[&str]| {
            let files = prefixes.iter().flat_map(|prefix| {
                names.map(
                    |name| serde_json::json!({"rfilename": format!("{prefix}/{name}.parquet")}),
                )
            });
            let files: Vec<_> = files.collect();
            serde_json::json!({"siblings": files, "sha": "0123abcd"})
                .to_string()
                .into_bytes()
        };
        let file = path.split_once("/resolve/main/").and_then(|(_, file)| {
            let (_, name) = file.rsplit_once('/')?;
            fs::read(repository(PARQUET).join("data").join(name)).ok()
        });
        let (status, head, body) = match (path, file) {
            ("/api/datasets/us/ants/revision/main", _) => {
                ("200 OK", String::new(), listed(&["data"]))
            }
            ("/api/datasets/us/two/revision/main", _) => {
                ("200 OK", String::new(), listed(&["a", "b"]))
            }
            (_, Some(body)) => {
                let range = format!(
                    "Content-Range: bytes {from}-{}/{}\r\n",
                    body.len() - 1,
                    body.len()
                );
                let tag = format!(
                    "ETag: \"{:08x}\"\r\nX-Repo-Commit: 0123abcd\r\n",
                    crc32fast::hash(&body)
                );
                ("206 Partial Content", range + &tag, body[from..].to_vec())
            }
            _ => ("404 Not Found", String::new(), Vec::new()),
        };
        let len = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{head}Content-Length: {len}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(&body)
    }

    #[test]
    #[ignore = "downloads 18 MB from huggingface.co, once: the library keeps them"]
    fn a_set_of_the_hub_itself_is_read() {
        let train = open("hf:ylecun/mnist", Split::Train).unwrap();
        let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
        assert_eq!((train.len(), train.classes()), (60_000, &digits[..]));
        assert_eq!(train.class(0), 5);
        let image = train.image(0).unwrap();
        assert_eq!((image.width(), image.height()), (28, 28));
        let test = open("hf:ylecun/mnist", Split::Test).unwrap();
        assert_eq!((test.len(), test.class(0)), (10_000, 7));
    }

    #[test]
    fn a_set_of_the_hub_is_downloaded_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = serve(stream, &count);
            }
        });
        let home = tempfile::tempdir().unwrap();
        in_child("hf:us/ants", &endpoint, home.path());
        let asked = answered.load(Ordering::Relaxed);
        assert!(asked >= 5, "{asked} requests");
        in_child("hf:us/ants", &endpoint, home.path());
        assert_eq!(answered.load(Ordering::Relaxed), asked);
        in_child("hf:us/two:b", &endpoint, home.path());
        for wrong in [
            "us/two|several configurations: a, b; name one",
            "us/two:c|has no configuration c, but a, b",
            "us/none|hf:us/none: cannot be found on the hub",
            "us/../ants|expected hf:OWNER/NAME",
            "us/ants:|expected hf:OWNER/NAME",
        ] {
            in_child(wrong, &endpoint, tempfile::tempdir().unwrap().path());
        }
        let nobody = "http://127.0.0.1:9";
        in_child(
            "us/ants|cannot be found on the hub",
            nobody,
            tempfile::tempdir().unwrap().path(),
        );
    }
}
