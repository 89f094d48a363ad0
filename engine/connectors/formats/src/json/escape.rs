//! Strings in quotes, escaped where JSON demands it, as Jackson does:
//! characters beyond the basic plane are written as surrogate pairs.

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
    out.push(b'"');
    if needs_escape(text) {
        write_escaped(out, text);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(&b) = rest.first() {
        rest = &rest[1..];
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=0x1f => write_unit(out, u16::from(b)),
            0xf0.. => {
                let code = std::iter::once(b & 7).chain(rest.iter().take(3).map(|b| b & 0x3f));
                let code = code.fold(0u32, |code, bits| code << 6 | u32::from(bits));
                rest = &rest[rest.len().min(3)..];
                let mut units = [0; 2];
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                c.encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| write_unit(out, *unit));
            }
            _ => out.push(b),
        }
    }
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(unit >> shift & 15)]));
}
