//! Strings in quotes, escaped where JSON demands it, as Jackson does: in bytes it writes characters
//! beyond the basic plane as surrogate pairs, in a text within a text it leaves them.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether one of eight bytes is a control character, a quote, a backslash or begins a character
/// of four bytes.
#[inline]
fn special(word: u64) -> bool {
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let hits = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    let four_bytes = word & (word << 1) & (word << 2) & (word << 3);
    (hits | four_bytes) & HIGHS != 0
}

#[inline]
fn needs_escape(text: &[u8]) -> bool {
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        if special(u64::from_le_bytes(word)) {
            return true;
        }
    }
    chunks
        .remainder()
        .iter()
        .any(|&b| b < 0x20 || b == b'"' || b == b'\\' || b >= 0xf0)
}

/// Appends `text` with quotes around it.
#[inline]
pub fn write(out: &mut Vec<u8>, text: &[u8]) {
    quoted(out, text, write_pair);
}

/// The same within a JSON text that is itself a value.
pub fn write_nested(out: &mut Vec<u8>, text: &[u8]) {
    quoted(out, text, |out, character| out.extend_from_slice(character));
}

/// `astral` writes a character of four bytes.
#[inline]
fn quoted(out: &mut Vec<u8>, text: &[u8], astral: fn(&mut Vec<u8>, &[u8])) {
    out.push(b'"');
    if needs_escape(text) {
        write_escaped(out, text, astral);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &[u8], astral: fn(&mut Vec<u8>, &[u8])) {
    let mut rest = text;
    while let Some(&b) = rest.first() {
        let length = if b < 0xf0 { 1 } else { rest.len().min(4) };
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=0x1f => write_unit(out, u16::from(b)),
            0xf0.. => astral(out, &rest[..length]),
            _ => out.push(b),
        }
        rest = &rest[length..];
    }
}

fn write_pair(out: &mut Vec<u8>, character: &[u8]) {
    let text = std::str::from_utf8(character).unwrap_or("\u{fffd}");
    text.encode_utf16().for_each(|unit| write_unit(out, unit));
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(unit >> shift & 15)]));
}
