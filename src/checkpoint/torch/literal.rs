//! The text forms of protocol 0: quoted strings, raw-unicode-escape, decimal numbers.

use super::node::Node;

/// The value of `I`: a decimal number, or `00` and `01` for the two bools.
pub(super) fn int(line: &[u8]) -> Option<Node> {
    match line {
        b"00" => Some(Node::Bool(false)),
        b"01" => Some(Node::Bool(true)),
        _ => long(line),
    }
}

/// The value of `L`: a decimal number, with or without a closing `L`.
pub(super) fn long(line: &[u8]) -> Option<Node> {
    let digits = line.strip_suffix(b"L").unwrap_or(line);
    let text = std::str::from_utf8(digits).ok()?;
    if let Ok(value) = text.parse() {
        return Some(Node::Int(value));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let decimal = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| Node::BigInt(digits.into()))
}

/// The value of `F`.
pub(super) fn float(line: &[u8]) -> Option<f64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// The value of `LONG1` and `LONG4`: two's complement, least significant byte first.
pub(super) fn long_bytes(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::BigInt(bytes.into());
    }
    let negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

/// The value of `S`: a Python string literal in single or double quotes.
pub(super) fn quoted(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii();
    let (&quote, rest) = line.split_first()?;
    let (&last, body) = rest.split_last()?;
    if !matches!(quote, b'\'' | b'"') || last != quote {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, tail) = rest.split_first()?;
        rest = tail;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'\\' | b'\'' | b'"' => out.push(escape),
            b'x' => {
                out.push(u8::try_from(hex(rest.get(..2)?)?).ok()?);
                rest = &rest[2..];
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The value of `V`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                rest = tail;
                continue;
            }
        };
        let code = hex(tail.get(1..=digits)?)?;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &tail[1 + digits..];
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let step = |n: u32, b: &u8| Some(n << 4 | char::from(*b).to_digit(16)?);
    digits.iter().try_fold(0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bytes_keep_their_sign() {
        for (bytes, value) in [
            (&[][..], 0),
            (&[0xff], -1),
            (&[0xff, 0], 255),
            (&[0, 0x80], -32768),
        ] {
            assert!(
                matches!(long_bytes(bytes), Node::Int(v) if v == value),
                "{bytes:?}"
            );
        }
        assert!(matches!(long_bytes(&[1; 9]), Node::BigInt(_)));
    }

    #[test]
    fn text_forms_read_as_python_reads_them() {
        assert_eq!(quoted(br"'a\n\x41\'\q'").as_deref(), Some("a\nA'\\q"));
        assert_eq!(quoted(br"'a"), None);
        assert_eq!(quoted(br"'\x4"), None);
        assert_eq!(raw_unicode(br"\u03b3\U0001f600n").as_deref(), Some("γ😀n"));
        assert_eq!(raw_unicode(br"\u03"), None);
        assert!(matches!(int(b"01"), Some(Node::Bool(true))));
        assert!(matches!(long(b"-7L"), Some(Node::Int(-7))));
        assert!(matches!(
            long(b"340282366920938463463374607431768211455L"),
            Some(Node::BigInt(_))
        ));
        assert!(long(b"7e3").is_none());
    }
}
