//! Times of the day: milliseconds, or nanoseconds where a fraction matters.

use super::{fraction, push_fraction, push_two};

pub const MILLIS_PER_DAY: i64 = 86_400_000;
pub const NANOS_PER_DAY: u64 = 86_400_000_000_000;

/// A time as CAST takes it, in milliseconds of the day: `10:11:12.345`, `10:1:2`, `10:11`, `10`,
/// spaces around numbers, an offset behind it (`10:11:12+01:00`), which Flink adds. Finer digits
/// are cut; minutes and seconds above 59 carry over, but what is not within a day is no time.
pub fn parse(text: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |text: &str| -> Option<i64> {
        let digits = text.trim_matches(' ');
        let plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    let sign = text
        .find('-')
        .map(|at| (at, -1))
        .or_else(|| text.find('+').map(|at| (at, 1)));
    let (clock, offset) = match sign {
        None => (text, 0),
        Some((at, sign)) => {
            let (hours, minutes) = match text[at + 1..].split_once(':') {
                Some((hours, minutes)) => (number(hours)?, number(minutes)?),
                None => (number(&text[at + 1..])?, 0),
            };
            (&text[..at], sign * (hours * 60 + minutes))
        }
    };
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let (second, millis) = match parts
        .next()
        .map(|last| last.split_once('.').unwrap_or((last, "")))
    {
        None => (0, 0),
        Some((second, digits)) => {
            let digits = digits.trim_matches(' ');
            let nanos = if digits.is_empty() {
                0
            } else {
                fraction(digits.as_bytes())?
            };
            (number(second)?, i64::from(nanos / 1_000_000))
        }
    };
    let millis = (((hour * 60 + minute + offset) * 60) + second) * 1000 + millis;
    (0..MILLIS_PER_DAY).contains(&millis).then_some(millis as i32)
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
        assert_eq!(parse(b"10:11:12+01:00"), Some(40_272_000));
        assert_eq!(parse(b"10:60:00"), Some(39_600_000));
        assert_eq!(parse(b"10:11:12."), Some(36_672_000));
        for text in ["", "25:00:00", "-1:00:00", "10:11:12x", "10:11:12Z", "23:59:60"] {
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
