//! Names that were perhaps meant.

/// Longer names are not compared: nobody typed them.
pub(crate) const MAX_LEN: usize = 256;

/// The names, at most three, that are most like what was typed; none where nothing is.
pub(crate) fn near<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    if typed.len() > MAX_LEN {
        return Vec::new();
    }
    let typed = typed.to_lowercase();
    let mut near: Vec<(f64, &str)> = names
        .filter(|name| name.len() <= MAX_LEN)
        .map(|name| {
            let other = name.to_lowercase();
            (strsim::normalized_damerau_levenshtein(&typed, &other), name)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// That there is no layer of this name, with those that were perhaps meant.
#[cfg(feature = "train")]
pub(crate) fn no_layer(argument: &'static str, typed: &str, names: &[&str]) -> crate::Error {
    let said = meant(typed, names);
    let reason = format!("no such BatchNorm layer; {said}");
    crate::Error::argument(argument, typed, reason)
}

/// That a regular expression matches no layer of `owner`, with those that were perhaps meant.
pub(crate) fn no_match(
    argument: &'static str,
    regex: &str,
    owner: &str,
    names: &[&str],
) -> crate::Error {
    // Without what is no part of a name.
    let typed = regex.replace(['^', '$', '\\', '(', ')', '*', '+', '?'], "");
    let said = meant(&typed, names);
    let reason = format!("{regex:?} matches no BatchNorm layer of {owner}; {said}");
    crate::Error::argument(argument, "", reason)
}

/// The names that were perhaps meant, or else the first that there are.
fn meant(typed: &str, names: &[&str]) -> String {
    let near = near(typed, names.iter().copied());
    match (&near[..], names) {
        ([], []) => "there are none".to_owned(),
        ([], names) => {
            let first: Vec<&str> = names.iter().take(4).copied().collect();
            let more = if names.len() > 4 { ", …" } else { "" };
            format!("there are {}: {}{more}", names.len(), first.join(", "))
        }
        (near, _) => format!("did you mean {}?", near.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_the_nearest_first_and_none_where_nothing_is_like_it() {
        let names = ["features.1.conv.1", "features.11.conv.1", "classifier"];
        let found = near("Features.1.conv.1", names.into_iter());
        assert_eq!(found, ["features.1.conv.1", "features.11.conv.1"]);
        assert!(near("x", names.into_iter()).is_empty());
        assert_eq!(
            meant("x", &names),
            "there are 3: features.1.conv.1, features.11.conv.1, classifier"
        );
        let message = no_match("exclude", r"^features\.2\.conv", "m.pth", &names).to_string();
        assert!(message.ends_with("did you mean features.1.conv.1 or features.11.conv.1?"));
    }
}
