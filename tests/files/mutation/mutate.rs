//! Damage by chance, the same in every run.

use crate::sandbox::with_header;

/// Marsaglia's xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "6",
    "8",
    "16",
    "96",
    "-1",
    "1.5",
    "1e2",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

const WORDS: [&str; 27] = [
    "F32",
    "F16",
    "BF16",
    "F64",
    "F8_E4M3",
    "F4",
    "I32",
    "U8",
    "BOOL",
    "x",
    "",
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
    "weight_map",
    "bn1.weight",
    "bn1/weight",
    "bn1.gamma",
    "gamma",
    "ema.bn1.weight",
    "bn2.running_var",
    "1.safetensors",
    "./2.safetensors",
    "../1.safetensors",
    "/dev/zero",
    "\\u0062n1.weight",
];

const PIECES: [&str; 14] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "\n",
    "null",
    "\"x\":1,",
    "\"x\":[{}],",
    "[[[[",
    "\u{feff}",
];

/// Where digits, or texts in quotes, stand in `text`.
fn runs(text: &[u8], quoted: bool) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let begin = at;
        if quoted && text[at] == b'"' {
            let len = text[at + 1..].iter().position(|byte| *byte == b'"');
            let Some(len) = len else { break };
            runs.push((begin + 1, begin + 1 + len));
            at += len + 2;
        } else if !quoted && text[at].is_ascii_digit() {
            while at < text.len() && text[at].is_ascii_digit() {
                at += 1;
            }
            runs.push((begin, at));
        } else {
            at += 1;
        }
    }
    runs
}

/// Puts one of `list` in the place of a number or quoted text.
fn replace(
    text: &mut Vec<u8>,
    list: &[&str],
    random: &mut Random,
    which: fn(&[u8]) -> bool,
    quoted: bool,
) {
    let mut runs = runs(text, quoted);
    runs.retain(|(from, to)| which(&text[*from..*to]));
    if !runs.is_empty() {
        let (from, to) = *random.pick(&runs);
        text.splice(from..to, random.pick(list).bytes());
    }
}

/// One change of a text that is JSON.
pub(crate) fn mutate_text(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    match random.below(14) {
        0 => text[at] ^= 1 << random.below(8),
        1 => text[at] = random.next() as u8,
        2 => text.truncate(at),
        3 => drop(text.drain(at..(at + random.below(20)).min(text.len()))),
        4 => {
            let piece = text[at..(at + random.below(80)).min(text.len())].to_vec();
            let to = random.below(text.len());
            text.splice(to..to, piece);
        }
        5 => {
            let piece = random.pick(&PIECES).bytes();
            text.splice(at..at, piece);
        }
        6..8 => replace(text, &NUMBERS, random, |_| true, false),
        8 => replace(text, &WORDS, random, |_| true, true),
        9..11 => replace(text, &WORDS, random, |name| name.contains(&b'.'), true),
        _ => {
            let space = text[at..].iter().position(|byte| b",:{[".contains(byte));
            let to = space.map_or(text.len(), |n| at + n + 1);
            text.insert(to, *random.pick(b" \n\t\r"));
        }
    }
    if text.is_empty() {
        text.push(b' ');
    }
}

/// A damaged copy of a file: its header, mostly with the length corrected, or any of its bytes.
pub(crate) fn mutate_file(file: &[u8], random: &mut Random) -> Vec<u8> {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (mut header, mut data) = (file[8..8 + len].to_vec(), file[8 + len..].to_vec());
    for _ in 0..=random.below(6) / 3 {
        mutate_text(&mut header, random);
    }
    match random.below(12) {
        0 => data.truncate(random.below(data.len())),
        1 => data.extend([0; 4]),
        2 => data.iter_mut().for_each(|byte| *byte = random.next() as u8),
        _ => {}
    }
    let mut mutant = with_header(header, &data);
    match random.below(12) {
        0 => mutant[..8].copy_from_slice(&file[..8]),
        1 => mutant[random.below(8)] = random.next() as u8,
        2 => mutant.truncate(random.below(mutant.len())),
        _ => {}
    }
    mutant
}
