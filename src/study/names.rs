//! Short names for paths.

use std::collections::BTreeSet;
use std::path::Path;

/// The shortest ends of the paths that tell them apart; whole paths, where two are the same.
pub(super) fn names(paths: &[&Path]) -> Vec<String> {
    let parts = |path: &&Path| -> Vec<String> {
        let parts = path.components();
        parts
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect()
    };
    let whole: Vec<Vec<String>> = paths.iter().map(parts).collect();
    let ends = |depth: usize| -> Vec<String> {
        let end = |parts: &Vec<String>| parts[parts.len().saturating_sub(depth)..].join("/");
        whole.iter().map(end).collect()
    };
    let deepest = whole.iter().map(Vec::len).max().unwrap_or(1);
    (1..=deepest)
        .map(ends)
        .find(|ends| ends.iter().collect::<BTreeSet<_>>().len() == ends.len())
        .unwrap_or_else(|| {
            paths
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_tells_them_apart() {
        let names = |paths: &[&str]| {
            let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
            names(&paths)
        };
        assert_eq!(names(&["runs/a/0"]), ["0"]);
        assert_eq!(names(&["runs/a/0", "runs/b/0"]), ["a/0", "b/0"]);
        assert_eq!(names(&["a/0", "0"]), ["a/0", "0"]);
        assert_eq!(names(&["runs/a", "runs/a"]), ["runs/a", "runs/a"]);
    }
}
