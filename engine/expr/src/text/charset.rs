//! Strings in a charset, as Java decodes and encodes them: what is malformed is read as U+FFFD, what
//! the charset does not have is written as `?`.

/// What a malformed sequence is read as.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The names of charsets, which are the same in upper and lower case.
pub const NAMES: &[(&str, Charset)] = &[
    ("UTF-8", Charset::Utf8),
    ("UTF8", Charset::Utf8),
    ("US-ASCII", Charset::Ascii),
    ("ASCII", Charset::Ascii),
    ("ISO-8859-1", Charset::Latin1),
    ("ISO8859_1", Charset::Latin1),
    ("latin1", Charset::Latin1),
    ("UTF-16", Charset::Utf16),
    ("UTF-16BE", Charset::Utf16Be),
    ("UTF-16LE", Charset::Utf16Le),
];

pub fn by_name(name: &str) -> Option<Charset> {
    let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(found.1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Big-endian unless a byte order mark says otherwise; written with one.
    Utf16,
    Utf16Be,
    Utf16Le,
}

/// Appends the text of `bytes`.
pub fn read(out: &mut Vec<u8>, bytes: &[u8], charset: Charset) {
    match charset {
        Charset::Utf8 => utf8(out, bytes),
        Charset::Ascii => {
            for b in bytes {
                if b.is_ascii() {
                    out.push(*b);
                } else {
                    out.extend_from_slice(REPLACEMENT);
                }
            }
        }
        Charset::Latin1 => {
            for &b in bytes {
                out.extend_from_slice((b as char).encode_utf8(&mut [0; 2]).as_bytes());
            }
        }
        Charset::Utf16 => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(out, rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => utf16(out, rest, u16::from_be_bytes),
            _ => utf16(out, bytes, u16::from_be_bytes),
        },
        Charset::Utf16Be => utf16(out, bytes, u16::from_be_bytes),
        Charset::Utf16Le => utf16(out, bytes, u16::from_le_bytes),
    }
}

fn utf8(out: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Err(e) = std::str::from_utf8(bytes) {
        let (valid, rest) = bytes.split_at(e.valid_up_to());
        out.extend_from_slice(valid);
        out.extend_from_slice(REPLACEMENT);
        bytes = &rest[malformed(rest, e.error_len())..];
    }
    out.extend_from_slice(bytes);
}

/// Bytes of the malformed sequence at the front: Rust's, but that Java reads the three bytes of half
/// a surrogate pair as one.
fn malformed(rest: &[u8], error_len: Option<usize>) -> usize {
    match rest {
        [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
        [0xed, 0xa0..=0xbf, ..] => 2,
        _ => error_len.unwrap_or(rest.len()),
    }
}

fn utf16(out: &mut Vec<u8>, bytes: &[u8], unit: fn([u8; 2]) -> u16) {
    let pairs = bytes.chunks_exact(2);
    let mut odd = !pairs.remainder().is_empty();
    let mut units = pairs.map(|pair| unit([pair[0], pair[1]]));
    while let Some(first) = units.next() {
        // Where the second half of a pair is none, Java drops it with the first.
        let read = match first {
            0xd800..0xdc00 => match units.next() {
                Some(second) => char::decode_utf16([first, second]).next().and_then(Result::ok),
                // An odd byte behind it is part of the same malformed end.
                None => {
                    odd = false;
                    None
                }
            },
            _ => char::from_u32(u32::from(first)),
        };
        match read {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.extend_from_slice(REPLACEMENT),
        }
    }
    if odd {
        out.extend_from_slice(REPLACEMENT);
    }
}

/// Appends `text` in the charset.
pub fn write(out: &mut Vec<u8>, text: &str, charset: Charset) {
    let narrow = |limit: u32| move |c: char| if (c as u32) < limit { c as u32 as u8 } else { b'?' };
    match charset {
        Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
        Charset::Ascii => out.extend(text.chars().map(narrow(0x80))),
        Charset::Latin1 => out.extend(text.chars().map(narrow(0x100))),
        // A text without a character has no byte order mark either.
        Charset::Utf16 if text.is_empty() => {}
        Charset::Utf16 => {
            out.extend_from_slice(&[0xfe, 0xff]);
            out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        }
        Charset::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
        Charset::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
    }
}
