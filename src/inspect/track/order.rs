//! Which checkpoint was saved when.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::read::Read;
use crate::error::{Error, Result};

/// What puts the checkpoints of a series in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The finished epochs, which all of them say.
    Epoch,
    /// The first number by which their names differ.
    Name,
}

/// Sorts by time and fills in the places; and says what is not sure.
///
/// # Errors
/// A name that has no number where the others differ by one.
pub(super) fn sort(saves: &mut [Read]) -> Result<(Order, Vec<String>)> {
    let mut warnings = Vec::new();
    let silent = saves.iter().filter(|save| save.epoch.is_none()).count();
    let order = if silent == 0 || saves.len() == 1 {
        Order::Epoch
    } else {
        Order::Name
    };
    match order {
        Order::Epoch => saves
            .iter_mut()
            .for_each(|save| save.at = save.epoch.unwrap_or(0)),
        Order::Name => {
            if silent < saves.len() {
                let first = saves.iter().find(|save| save.epoch.is_none());
                warnings.push(format!(
                    "{silent} of {} checkpoints do not say how many epochs are finished ({}, …): \
                     all are ordered by the number in their names",
                    saves.len(),
                    first.map_or_else(String::new, |save| save.path.display().to_string())
                ));
            }
            let paths: Vec<&Path> = saves.iter().map(|save| save.path.as_path()).collect();
            for (save, at) in numbers(&paths)?.into_iter().enumerate() {
                saves[save].at = at;
            }
        }
    }
    saves.sort_by(|a, b| {
        let names = |path: &PathBuf| path.to_string_lossy().into_owned();
        let by_name = || alphanumeric_sort::compare_str(names(&a.path), names(&b.path));
        a.at.cmp(&b.at).then_with(by_name)
    });
    if let Some(tie) = saves.windows(2).find(|pair| pair[0].at == pair[1].at) {
        let (a, b) = (tie[0].path.display(), tie[1].path.display());
        let at = match order {
            Order::Epoch => format!("after epoch {}", tie[0].at),
            Order::Name => format!("at {}", tie[0].at),
        };
        warnings.push(format!("{a} and {b} are both {at}: ordered by their names"));
    }
    Ok((order, warnings))
}

/// A piece of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    /// Its digits.
    Number(String),
}

/// The numbers by which the names differ first.
fn numbers(paths: &[&Path]) -> Result<Vec<u64>> {
    let names = names(paths);
    let tokens: Vec<Vec<Token>> = names.iter().map(|name| tokens(name)).collect();
    let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
    let differ = |i: &usize| tokens.iter().any(|name| name.get(*i) != tokens[0].get(*i));
    let Some(place) = (0..longest).find(differ) else {
        // The same name again and again: a path given twice.
        return Ok(vec![0; paths.len()]);
    };
    let number = |tokens: &Vec<Token>| match tokens.get(place) {
        // Longer numbers than any counter are all one.
        Some(Token::Number(digits)) => Some(digits.parse().unwrap_or(u64::MAX)),
        _ => None,
    };
    let found: Vec<Option<u64>> = tokens.iter().map(number).collect();
    if found.iter().all(Option::is_some) {
        return Ok(found.into_iter().flatten().collect());
    }
    let (odd, usual) = odd_one(&tokens, place);
    let expected = format!(
        "a number to tell its place in time, where the name differs from {}",
        paths[usual].display()
    );
    let found = format!(
        "{:?}, and no count of finished epochs in the file",
        names[odd]
    );
    Err(Error::malformed(paths[odd], "name", expected, found))
}

/// The first name that has neither a number at `place` nor what most have there, and one that has.
fn odd_one(names: &[Vec<Token>], place: usize) -> (usize, usize) {
    let is_number = |i: &usize| matches!(names[*i].get(place), Some(Token::Number(_)));
    let count = |i: &usize| {
        let same = |name: &&Vec<Token>| name.get(place) == names[*i].get(place);
        names.iter().filter(same).count()
    };
    // Of equals the first; a name with a number before all others.
    let usual = (0..names.len())
        .rev()
        .max_by_key(|i| (is_number(i), count(i)))
        .unwrap_or(0);
    let differs = |i: &usize| !is_number(i) && names[*i].get(place) != names[usual].get(place);
    ((0..names.len()).find(differs).unwrap_or(0), usual)
}

/// The file names, where they are all different; the whole paths otherwise.
fn names(paths: &[&Path]) -> Vec<String> {
    let files: Option<Vec<String>> = paths
        .iter()
        .map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let distinct = |names: &Vec<String>| {
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        sorted.windows(2).all(|pair| pair[0] != pair[1])
    };
    files.filter(distinct).unwrap_or_else(|| {
        paths
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    })
}

fn tokens(name: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != digit)
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        tokens.push(if digit {
            Token::Number(piece.to_owned())
        } else {
            Token::Text(piece.to_owned())
        });
        rest = after;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Result<Vec<u64>, String> {
        let paths: Vec<&Path> = names.iter().map(Path::new).collect();
        numbers(&paths).map_err(|err| err.to_string())
    }

    #[test]
    fn the_first_number_that_varies_tells_the_time() {
        assert_eq!(
            found(&["v2-epoch=9-loss=0.3.ckpt", "v2-epoch=10-loss=0.25.ckpt"]),
            Ok(vec![9, 10])
        );
        assert_eq!(
            found(&["run/checkpoint-500", "run/checkpoint-1000"]),
            Ok(vec![500, 1000])
        );
        assert_eq!(found(&["5/model.pth", "10/model.pth"]), Ok(vec![5, 10]));
        assert_eq!(found(&["5.pth", "012.pth"]), Ok(vec![5, 12]));
    }

    #[test]
    fn a_name_without_a_number_there_is_refused_by_name() {
        let message = found(&["epoch-1.pth", "epoch-2.pth", "best.pth"]).unwrap_err();
        assert!(
            message.starts_with("best.pth: name: expected a number"),
            "{message}"
        );
        let message = found(&["epoch-1.pth", "epoch-last.pth"]).unwrap_err();
        assert!(
            message.starts_with("epoch-last.pth: name: expected a number"),
            "{message}"
        );
    }

    #[test]
    fn a_number_beyond_any_counter_does_not_panic() {
        let huge = format!("{}.pth", "9".repeat(40));
        assert_eq!(found(&["1.pth", &huge]), Ok(vec![1, u64::MAX]));
    }
}
