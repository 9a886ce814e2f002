//! What the tests of the built program share: a directory with checkpoints made for the occasion,
//! and runs of the program in it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The name of the checkpoint in most tests.
pub(crate) const MODEL: &str = "model.safetensors";
/// The shard index in the others.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// A tensor to write: name, dtype, shape, bytes.
pub(crate) type Entry = (String, &'static str, Vec<u64>, Vec<u8>);

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tensor of `f32`.
pub(crate) fn f32s(name: impl Into<String>, values: &[f32]) -> Entry {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name.into(), "F32", vec![values.len() as u64], bytes)
}

/// γ, β, running mean and running variance of a layer.
pub(crate) fn batchnorm(layer: &str, gamma: &[f32]) -> Vec<Entry> {
    vec![
        f32s(format!("{layer}.weight"), gamma),
        f32s(format!("{layer}.bias"), &vec![0.0; gamma.len()]),
        f32s(format!("{layer}.running_mean"), &vec![0.0; gamma.len()]),
        f32s(format!("{layer}.running_var"), &vec![1.0; gamma.len()]),
    ]
}

/// Two BatchNorm layers and a convolution, 10 channels. The median of γ is 0.5.
pub(crate) fn network() -> Vec<Entry> {
    let mut entries = vec![(
        "conv.weight".to_owned(),
        "F32",
        vec![2, 3, 1, 1],
        (0..24).collect(),
    )];
    entries.extend(batchnorm("bn1", &[0.25, 0.5, 1.0, 2.0]));
    entries.extend(batchnorm("bn2", &[0.0, -0.125, 0.75, 0.375, 0.625, 3.0]));
    entries
}

/// The bytes of a safetensors file with this header and data.
pub(crate) fn with_header(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}

/// The header that tells where `entries` lie.
pub(crate) fn header(entries: &[Entry]) -> String {
    let mut lines = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
    let mut at = 0;
    for (name, dtype, shape, bytes) in entries {
        let end = at + bytes.len();
        lines.push(format!(
            r#"{name:?}:{{"dtype":{dtype:?},"shape":{shape:?},"data_offsets":[{at},{end}]}}"#
        ));
        at = end;
    }
    format!("{{{}}}", lines.join(","))
}

/// The bytes of a valid safetensors file.
pub(crate) fn safetensors(entries: &[Entry]) -> Vec<u8> {
    let data: Vec<u8> = entries
        .iter()
        .flat_map(|(.., bytes)| bytes)
        .copied()
        .collect();
    with_header(header(entries), &data)
}

/// A shard index.
pub(crate) fn index(weight_map: &[(&str, &str)]) -> String {
    let lines: Vec<String> = weight_map
        .iter()
        .map(|(tensor, file)| format!("{tensor:?}:{file:?}"))
        .collect();
    format!(
        r#"{{"metadata":{{"total_size":1}},"weight_map":{{{}}}}}"#,
        lines.join(",")
    )
}

/// What a run of the program left on its way.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Its stdout as JSON, after exit code 0.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// What stands at a path: its kind or bytes, and which file it is.
type State = BTreeMap<PathBuf, (String, Vec<u8>)>;

/// A directory of its own, which the program is run in.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    /// With this checkpoint in it.
    pub(crate) fn with_model(bytes: &[u8]) -> Dir {
        let dir = Dir::new();
        dir.write(MODEL, bytes);
        dir
    }

    /// With a valid checkpoint of [`network`].
    pub(crate) fn with_network() -> Dir {
        Dir::with_model(&safetensors(&network()))
    }

    /// With [`network`] in two shards, layers divided between them.
    pub(crate) fn with_shards() -> Dir {
        let dir = Dir::new();
        let entries = network();
        let (first, second): (Vec<(usize, Entry)>, _) = entries
            .into_iter()
            .enumerate()
            .partition(|(n, _)| n % 2 == 0);
        let mut map = Vec::new();
        for (file, part) in [("1.safetensors", first), ("2.safetensors", second)] {
            let part: Vec<Entry> = part.into_iter().map(|(_, entry)| entry).collect();
            dir.write(file, &safetensors(&part));
            map.extend(part.into_iter().map(|(name, ..)| (name, file)));
        }
        let map: Vec<(&str, &str)> = map.iter().map(|(name, file)| (&name[..], *file)).collect();
        dir.write(INDEX, index(&map).as_bytes());
        dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Changes a text file: `from`, which must be there, becomes `to`.
    pub(crate) fn edit_text(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        self.write(name, text.replacen(from, to, 1).as_bytes());
    }

    /// Changes a JSON file.
    pub(crate) fn edit_json(&self, name: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut value = serde_json::from_slice(&self.read(name)).unwrap();
        edit(&mut value);
        self.write(name, value.to_string().as_bytes());
    }

    /// The names in it, directories below included.
    pub(crate) fn names(&self) -> Vec<String> {
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(self.0.path()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        self.state().keys().map(relative).collect()
    }

    /// Everything in it.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new();
        look(self.0.path(), &mut state);
        state
    }

    /// The program with these arguments, to be run here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckpt-regen"));
        command.args(args).current_dir(self.0.path());
        command
    }

    /// Runs the program here.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        finish(self.command(args))
    }

    /// Runs the program here, which must do what was asked.
    pub(crate) fn succeeds(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome
    }

    /// Runs the program here, which must refuse: with this exit code, a message that contains all
    /// of `message`, and nothing changed on disk.
    pub(crate) fn refuses(&self, args: &[&str], code: i32, message: &[&str]) -> Outcome {
        let before = self.state();
        let outcome = self.run(args);
        assert_clean_error(&outcome, args, code, message);
        assert_same(&before, &self.state(), args);
        outcome
    }
}

/// Whether this is how the program fails: by its own decision, in words, on stderr alone.
pub(crate) fn assert_clean_error(outcome: &Outcome, args: &[&str], code: i32, message: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{args:?}: {outcome:?}");
    assert_eq!(outcome.stdout, "", "{args:?}");
    let stderr = &outcome.stderr;
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    for word in ["panicked", "RUST_BACKTRACE", "unwrap()", "src/"] {
        assert!(!stderr.contains(word), "{args:?}: {stderr}");
    }
    for part in message {
        assert!(stderr.contains(part), "{args:?}: no {part:?} in {stderr}");
    }
}

/// Names the first difference instead of printing two directories.
fn assert_same(before: &State, after: &State, args: &[&str]) {
    let names = |state: &State| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after), "{args:?}: other files");
    for (path, was) in before {
        let same = *was == after[path];
        assert!(same, "{args:?}: {} was changed", path.display());
    }
}

fn look(dir: &Path, state: &mut State) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        #[cfg(unix)]
        let which = std::os::unix::fs::MetadataExt::ino(&metadata).to_string();
        #[cfg(not(unix))]
        let which = String::new();
        let what = if metadata.is_file() {
            fs::read(&path).unwrap()
        } else if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display()).into()
        } else {
            format!("{:?}", metadata.file_type()).into()
        };
        if metadata.is_dir() {
            look(&path, state);
        }
        state.insert(path, (which, what));
    }
}

/// Waits for a command, and ends it when it hangs.
pub(crate) fn finish(mut command: Command) -> Outcome {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command
        .env("NO_COLOR", "1")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            let args: Vec<&OsStr> = command.get_args().collect();
            panic!("{args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |file: &mut fs::File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    Outcome {
        code: status.code(),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
    }
}
