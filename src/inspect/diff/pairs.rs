//! Which network or state dict of one checkpoint stands for which of another.

use crate::checkpoint::Role;

/// Two lists, matched.
pub(super) struct Pairs<'t, T> {
    /// In the order of the first list.
    pub(super) both: Vec<(&'t T, &'t T)>,
    pub(super) only_a: Vec<&'t T>,
    pub(super) only_b: Vec<&'t T>,
}

/// Matches by root; then, of what is left, by role, where one on each side has it.
pub(super) fn pairs<'t, T>(
    a: &'t [T],
    b: &'t [T],
    key: impl Fn(&'t T) -> (&'t String, Role),
) -> Pairs<'t, T> {
    let mut partner: Vec<Option<usize>> = a
        .iter()
        .map(|of_a| b.iter().position(|of_b| key(of_b).0 == key(of_a).0))
        .collect();
    for role in [Role::Raw, Role::Ema, Role::Teacher] {
        let left_a: Vec<usize> = (0..a.len())
            .filter(|i| partner[*i].is_none() && key(&a[*i]).1 == role)
            .collect();
        let left_b: Vec<usize> = (0..b.len())
            .filter(|i| !partner.contains(&Some(*i)) && key(&b[*i]).1 == role)
            .collect();
        if let ([of_a], [of_b]) = (&left_a[..], &left_b[..]) {
            partner[*of_a] = Some(*of_b);
        }
    }
    let mut matched = Pairs {
        both: Vec::new(),
        only_a: Vec::new(),
        only_b: Vec::new(),
    };
    for (of_a, partner) in a.iter().zip(&partner) {
        match partner {
            Some(of_b) => matched.both.push((of_a, &b[*of_b])),
            None => matched.only_a.push(of_a),
        }
    }
    let left = b.iter().enumerate();
    let left = left.filter(|(i, _)| !partner.contains(&Some(*i)));
    matched.only_b = left.map(|(_, of_b)| of_b).collect();
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(a: &[(&str, Role)], b: &[(&str, Role)]) -> Vec<(String, String)> {
        let own = |list: &[(&str, Role)]| -> Vec<(String, Role)> {
            list.iter()
                .map(|(root, role)| (root.to_string(), *role))
                .collect()
        };
        let (a, b) = (own(a), own(b));
        let pairs = pairs(&a, &b, |(root, role)| (root, *role));
        let both = pairs.both.iter();
        both.map(|((a, _), (b, _))| (a.clone(), b.clone()))
            .collect()
    }

    #[test]
    fn a_flat_file_is_the_raw_network_of_a_training_file() {
        let training = [("model", Role::Raw), ("model_ema", Role::Ema)];
        assert_eq!(
            matched(&[("", Role::Raw)], &training),
            [(String::new(), "model".to_owned())]
        );
        assert_eq!(matched(&training, &training).len(), 2);
    }

    #[test]
    fn one_of_two_with_a_role_is_never_guessed() {
        let two = [("generator", Role::Raw), ("critic", Role::Raw)];
        assert!(matched(&[("", Role::Raw)], &two).is_empty());
        assert_eq!(matched(&[("critic", Role::Raw)], &two).len(), 1);
    }
}
