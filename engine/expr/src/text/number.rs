//! Integers and floating-point numbers.

use super::trim_spaces;

/// A signed integer in digits: no spaces, no fraction.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    if digits.len() <= 18 {
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 - i64::from(digit);
        }
    } else {
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
        }
    }
    if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}

/// An integer as CAST takes it: spaces at the ends, and digits behind a point, which are cut.
pub fn cast_integer(text: &[u8]) -> Option<i64> {
    let text = trim_spaces(text);
    let Some(point) = memchr::memchr(b'.', text) else {
        return parse_integer(text);
    };
    if !text[point + 1..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    match &text[..point] {
        [] | [b'-'] | [b'+'] => Some(0),
        whole => parse_integer(whole),
    }
}

/// Appends an integer.
pub fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number as Java's `Double.parseDouble` takes it: space around it, NaN, Infinity, a suffix of
/// type (d, f), hexadecimal with a binary exponent.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    match java_float(text)? {
        Notation::Decimal(text) => text.parse().ok(),
        Notation::Hexadecimal {
            negative,
            mantissa,
            exponent,
        } => {
            let value = mantissa as f64 * 2f64.powi(exponent);
            Some(if negative { -value } else { value })
        }
    }
}

/// As `parse_double`, rounded once to 32 bits.
pub fn parse_float(text: &[u8]) -> Option<f32> {
    match java_float(text)? {
        Notation::Decimal(text) => text.parse().ok(),
        Notation::Hexadecimal { .. } => parse_double(text).map(|v| v as f32),
    }
}

enum Notation<'a> {
    Decimal(&'a str),
    Hexadecimal {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
}

fn java_float(text: &[u8]) -> Option<Notation<'_>> {
    let mut text = text;
    while let [0..=b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., 0..=b' '] = text {
        text = rest;
    }
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    if unsigned == b"NaN" || unsigned == b"Infinity" {
        return std::str::from_utf8(text).ok().map(Notation::Decimal);
    }
    if let [b'0', b'x' | b'X', rest @ ..] = unsigned {
        return hexadecimal(rest, text[0] == b'-');
    }
    if let [rest @ .., b'd' | b'D' | b'f' | b'F'] = text {
        text = rest;
    }
    // What is left must be digits, so that "inf" and the like are not taken.
    if text
        .iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        std::str::from_utf8(text).ok().map(Notation::Decimal)
    } else {
        None
    }
}

fn hexadecimal(text: &[u8], negative: bool) -> Option<Notation<'static>> {
    let exponent_at = text.iter().position(|b| matches!(b, b'p' | b'P'))?;
    let (digits, exponent) = (&text[..exponent_at], &text[exponent_at + 1..]);
    let mut exponent = i32::try_from(parse_integer(exponent)?).ok()?;
    let mut mantissa = 0u64;
    let mut seen = false;
    let mut after_point = false;
    for &byte in digits {
        if byte == b'.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = (byte as char).to_digit(16)?;
        seen = true;
        mantissa = mantissa.checked_mul(16)?.checked_add(u64::from(digit))?;
        if after_point {
            exponent = exponent.checked_sub(4)?;
        }
    }
    // More bits than a double holds would be rounded twice.
    (seen && mantissa < 1 << 53).then_some(Notation::Hexadecimal {
        negative,
        mantissa,
        exponent,
    })
}

/// Appends a number as Java's `Double.toString` does: `1.0`, `1.0E10`, `NaN`, `-Infinity`.
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        write_java(ryu::Buffer::new().format_finite(value), value == 0.0, out);
    } else {
        write_not_finite(value.is_nan(), value < 0.0, out);
    }
}

/// Appends a number as Java's `Float.toString` does.
pub fn write_float(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        write_java(ryu::Buffer::new().format_finite(value), value == 0.0, out);
    } else {
        write_not_finite(value.is_nan(), value < 0.0, out);
    }
}

fn write_not_finite(nan: bool, negative: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if nan {
        b"NaN".as_slice()
    } else if negative {
        b"-Infinity"
    } else {
        b"Infinity"
    });
}

/// Writes the shortest digits, which `text` has in one of ryu's forms (`123.0`, `1.5e-7`), in
/// Java's: plain from 0.001 to below 10,000,000, with an exponent elsewhere.
fn write_java(text: &str, zero: bool, out: &mut Vec<u8>) {
    let (text, negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text, false),
    };
    if negative {
        out.push(b'-');
    }
    if zero {
        out.extend_from_slice(b"0.0");
        return;
    }
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let mut digits = [0u8; 40];
    let mut length = 0;
    let mut point = None;
    let mut started = false;
    // The decimal exponent of the first digit that is not zero.
    let mut first = 0i32;
    for (i, byte) in mantissa.bytes().enumerate() {
        if byte == b'.' {
            point = Some(i);
            continue;
        }
        if byte != b'0' {
            started = true;
        }
        if !started {
            first -= i32::from(point.is_some());
            continue;
        }
        if length < digits.len() {
            digits[length] = byte;
            length += 1;
        }
    }
    let whole = point.unwrap_or(mantissa.len()) as i32;
    let exponent = exponent
        + if mantissa.starts_with('0') {
            first - 1
        } else {
            whole - 1
        };
    while length > 1 && digits[length - 1] == b'0' {
        length -= 1;
    }
    let digits = &digits[..length];
    if (-3..7).contains(&exponent) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let whole = exponent as usize + 1;
            if digits.len() > whole {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            } else {
                out.extend_from_slice(digits);
                out.resize(out.len() + whole - digits.len(), b'0');
                out.extend_from_slice(b".0");
            }
        }
    } else {
        out.push(digits[0]);
        out.push(b'.');
        if digits.len() == 1 {
            out.push(b'0');
        } else {
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'E');
        write_integer(i64::from(exponent), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_written_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (1e6, "1000000.0"),
            (9999999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1e10, "1.0E10"),
            (123456789.123, "1.23456789123E8"),
            (0.001, "0.001"),
            (0.0015, "0.0015"),
            (0.0001, "1.0E-4"),
            (1.5e-5, "1.5E-5"),
            (0.12, "0.12"),
            (12345.678, "12345.678"),
            (1.7976931348623157e308, "1.7976931348623157E308"),
            (5e-324, "5.0E-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(double(value), expected);
        }
        let mut out = Vec::new();
        write_float(1.1, &mut out);
        out.push(b' ');
        write_float(1e38, &mut out);
        assert_eq!(out, b"1.1 1.0E38");
    }

    #[test]
    fn doubles_are_read_as_in_java() {
        let cases: [(&str, Option<f64>); 15] = [
            ("1.5", Some(1.5)),
            (" 1.5 ", Some(1.5)),
            ("1e400", Some(f64::INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("nan", None),
            ("inf", None),
            ("1.5d", Some(1.5)),
            ("1.5f", Some(1.5)),
            ("0x10", None),
            ("0x1p3", Some(8.0)),
            ("1_000", None),
            ("1e", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text.as_bytes()), expected, "{text}");
        }
        assert!(parse_double(b"NaN").unwrap().is_nan());
        assert_eq!(parse_double(b""), None);
    }

    #[test]
    fn integers_are_cast_as_in_flink() {
        let cases = [
            ("12", Some(12)),
            (" 12 ", Some(12)),
            ("12.7", Some(12)),
            ("-12.7", Some(-12)),
            ("+12", Some(12)),
            (".", Some(0)),
            ("1.", Some(1)),
            (".5", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1e2", None),
            ("", None),
            ("-", None),
            ("12a", None),
            ("1.a", None),
            ("1 2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cast_integer(text.as_bytes()), expected, "{text}");
        }
    }
}
