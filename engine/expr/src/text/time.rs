//! Times of the day: milliseconds, or nanoseconds where a fraction matters.

use super::{digits, fraction, push_fraction, push_two, trim_spaces};

pub const MILLIS_PER_DAY: i64 = 86_400_000;
pub const NANOS_PER_DAY: u64 = 86_400_000_000_000;

/// A time as CAST takes it: `10:11:12.345`, `10:1:2`, `10:11`, `10`, spaces at the ends. Gives
/// milliseconds of the day; finer digits are cut.
pub fn parse(text: &[u8]) -> Option<i32> {
    let (hour, rest) = digits(trim_spaces(text), 2)?;
    let mut parts = [hour, 0, 0];
    let mut rest = rest;
    for part in &mut parts[1..] {
        let [b':', next @ ..] = rest else { break };
        (*part, rest) = digits(next, 2)?;
    }
    let nanos = match rest {
        [] => 0,
        [b'.', digits @ ..] => fraction(digits)?,
        _ => return None,
    };
    let [hour, minute, second] = parts;
    let exists = hour < 24 && minute < 60 && second < 60;
    exists.then(|| ((hour * 60 + minute) * 60 + second) as i32 * 1000 + (nanos / 1_000_000) as i32)
}

/// `10:11:12` or `10:11`, each with two digits, seconds with up to 9 digits of fraction; gives
/// nanoseconds of the day.
pub fn parse_iso(text: &[u8]) -> Option<u64> {
    use super::two_digits;
    let (hour, minute) = (two_digits(text, 0)?, two_digits(text, 3)?);
    if text[2] != b':' {
        return None;
    }
    let (second, nanos) = match text.len() {
        5 => (0, 0),
        8.. if text[5] == b':' => {
            let nanos = match &text[8..] {
                [] => 0,
                [b'.', digits @ ..] => fraction(digits)?,
                _ => return None,
            };
            (two_digits(text, 6)?, nanos)
        }
        _ => return None,
    };
    let exists = hour < 24 && minute < 60 && second < 60;
    exists.then(|| u64::from((hour * 60 + minute) * 60 + second) * 1_000_000_000 + u64::from(nanos))
}

/// Appends `10:11:12` and `precision` digits of the fraction, from milliseconds of the day.
pub fn write(millis: i32, precision: u8, out: &mut Vec<u8>) {
    let millis = millis.rem_euclid(MILLIS_PER_DAY as i32) as u32;
    write_nanos(u64::from(millis) * 1_000_000, precision, out);
}

/// Appends `10:11:12` and `precision` digits of the fraction, from nanoseconds of the day.
pub fn write_nanos(nanos: u64, precision: u8, out: &mut Vec<u8>) {
    let seconds = (nanos / 1_000_000_000) as u32;
    push_two(out, seconds / 3600);
    out.push(b':');
    push_two(out, seconds / 60 % 60);
    out.push(b':');
    push_two(out, seconds % 60);
    push_fraction(out, (nanos % 1_000_000_000) as u32, precision);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_take_short_forms() {
        assert_eq!(parse(b"10"), Some(36_000_000));
        assert_eq!(parse(b"10:00"), Some(36_000_000));
        assert_eq!(parse(b" 10:1:2 "), Some(36_062_000));
        assert_eq!(parse(b"10:11:12.3456"), Some(36_672_345));
        for text in ["", "25:00:00", "10:60", "10:11:12.", "10-11", "10:11:12x"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn writes_the_digits_of_its_precision() {
        let mut out = Vec::new();
        write(36_672_345, 0, &mut out);
        out.push(b' ');
        write(36_672_345, 3, &mut out);
        assert_eq!(out, b"10:11:12 10:11:12.345");
        assert_eq!(parse_iso(b"10:11:12.000000001"), Some(36_672_000_000_001));
        assert_eq!(parse_iso(b"10:11"), Some(36_660_000_000_000));
        assert_eq!(parse_iso(b"1:11:12"), None);
    }
}
