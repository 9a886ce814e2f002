//! Numbers in tables, in pictures and on pages.

use crate::text;

/// A number in six columns (seven for a negative one of three exponent digits).
pub(crate) fn number(value: f64) -> String {
    let decimals = |d: usize| Some(format!("{value:.d$}")).filter(|text| text.len() <= 6);
    let text = match value.abs() {
        0.0 => Some("0".to_owned()),
        magnitude if magnitude < 5e-4 => None,
        _ => (0..=3).rev().find_map(decimals),
    };
    format!("{:>6}", text.unwrap_or_else(|| format!("{value:.0e}")))
}

/// The same digits in as many columns as they take.
pub(crate) fn plain(value: f64) -> String {
    number(value).trim().to_owned()
}

/// The same digits with a true minus sign.
pub(crate) fn typeset(value: f64) -> String {
    minus(&plain(value))
}

/// A number that is written out, with a true minus sign.
pub(crate) fn minus(number: &str) -> String {
    number.replace('-', "\u{2212}")
}

/// A share in four columns.
pub(crate) fn percent(count: u64, of: u64) -> String {
    let percent = 100.0 * count as f64 / of.max(1) as f64;
    let text = match percent {
        0.0 => "0".to_owned(),
        p if p < 0.1 => "<.1%".to_owned(),
        p if p < 9.95 => format!("{p:.1}%"),
        p if p < 99.5 || count == of => format!("{p:.0}%"),
        _ => "99%".to_owned(),
    };
    format!("{text:>4}")
}

/// The same of a share from 0 to 1.
pub(crate) fn percent_of(share: f64) -> String {
    percent((share * 1e6).round() as u64, 1_000_000)
}

/// A share as [`percent`] has it, written as on a page.
pub(crate) fn share(count: usize, of: usize) -> String {
    on_page(&percent(count as u64, of as u64))
}

/// The same of a share from 0 to 1.
pub(crate) fn share_of(share: f64) -> String {
    on_page(&percent_of(share))
}

fn on_page(percent: &str) -> String {
    match percent.trim() {
        "0" => "0 %".to_owned(),
        text => text.replace("<.1", "< 0.1").replace('%', "\u{202F}%"),
    }
}

/// A count with a thin space between its thousands; four digits stay together.
pub(crate) fn grouped(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        _ => text::grouped(count, '\u{2009}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_fits_its_column() {
        for value in [
            0.0, -0.0, 1e-44, -1e-44, 5e-4, -0.0005, 9.9999, -9.9996, 12.3, -99.999, 123.0,
        ] {
            assert_eq!(number(value).len(), 6, "{value}: {:?}", number(value));
        }
        for value in [-999.99, 1234.0, -99999.0, 1e5, -1e300, f64::from(f32::MAX)] {
            assert!(number(value).len() <= 7, "{value}: {:?}", number(value));
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_none_or_all() {
        assert_eq!(percent(0, 10), "   0");
        assert_eq!(percent(1, 5000), "<.1%");
        assert_eq!(percent(9999, 10000), " 99%");
        assert_eq!(percent(7, 7), "100%");
        assert_eq!(percent(0, 0), "   0");
    }

    #[test]
    fn thousands_are_set_apart_from_five_digits_on() {
        assert_eq!(grouped(5328), "5328");
        assert_eq!(grouped(20_000), "20\u{2009}000");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
    }
}
