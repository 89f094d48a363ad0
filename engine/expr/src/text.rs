//! Dates, times and numbers as text, as Flink's casts write them and as the formats share them.
//!
//! Parsers take bytes and give nothing for what they do not accept; writers append to a buffer.
//! Neither allocates, but for formats of Java (`java_format`), which are text by text.

pub mod charset;
pub mod date;
pub mod decimal;
pub(crate) mod digits;
pub(crate) mod java_format;
pub mod json;
pub mod json_path;
pub mod number;
pub mod pattern;
pub mod time;
pub mod timestamp;
pub mod zone;

/// Without the spaces (0x20 only) at both ends.
pub(crate) fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// A number of 1 to `max_digits` digits at the start, and what follows it.
pub(crate) fn digits(text: &[u8], max_digits: usize) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    let mut length = 0;
    while length < max_digits && length < text.len() && text[length].is_ascii_digit() {
        value = value * 10 + u32::from(text[length] - b'0');
        length += 1;
    }
    (length > 0).then_some((value, &text[length..]))
}

/// Exactly two digits at a position.
#[inline]
pub(crate) fn two_digits(text: &[u8], at: usize) -> Option<u32> {
    let (a, b) = (
        text.get(at)?.wrapping_sub(b'0'),
        text.get(at + 1)?.wrapping_sub(b'0'),
    );
    (a < 10 && b < 10).then(|| u32::from(a) * 10 + u32::from(b))
}

/// Appends a number below 100 as two digits.
#[inline]
pub(crate) fn push_two(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

/// A fraction of a second: 1 to 9 digits to nanoseconds, nothing else behind them.
pub(crate) fn fraction(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    let (value, rest) = digits(text, 9)?;
    rest.is_empty().then(|| value * 10u32.pow(9 - text.len() as u32))
}

/// Appends the first `precision` digits of a fraction of a second, behind a point.
pub(crate) fn push_fraction(out: &mut Vec<u8>, nanos: u32, precision: u8) {
    if precision == 0 {
        return;
    }
    out.push(b'.');
    let mut rest = nanos;
    let mut unit = 100_000_000;
    for _ in 0..precision.min(9) {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}
