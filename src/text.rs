//! Bytes, numbers and names as a person reads them.

use std::path::Path;

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text without control characters, which could do anything to a terminal, on one line.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same on as many lines as it has.
#[cfg(feature = "cli")]
pub(crate) fn printable_lines(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// The last component of a path, or the whole where it has none.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A whole number with `separator` between its thousands.
pub(crate) fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0, 999, 1000, 3_504_872, u64::MAX];
        let expected = [
            "0",
            "999",
            "1,000",
            "3,504,872",
            "18,446,744,073,709,551,615",
        ];
        assert_eq!(numbers.map(|number| grouped(number, ',')), expected);
    }
}
