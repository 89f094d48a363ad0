//! Numbers as Java reads and writes them in text.

/// `Long.parseLong` after `trim`: an optional sign and digits.
pub fn parse_long(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    let digits = match text.first()? {
        b'-' | b'+' => &text[1..],
        _ => text,
    };
    if digits.is_empty() || digits.len() > 64 {
        return None;
    }
    let negative = text[0] == b'-';
    let mut value = 0i64;
    for b in digits {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(i64::from(d))?
        } else {
            value.checked_add(i64::from(d))?
        };
    }
    Some(value)
}

/// `String.trim`: everything up to and including the blank is cut at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| b > b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|&b| b > b' ').map_or(start, |p| p + 1);
    &text[start..end]
}

/// The decimal part of `Double.parseDouble` after `trim`: `NaN`, `Infinity` and a type suffix
/// included, hexadecimal forms not.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    special(text, f64::NAN, f64::INFINITY, |t| {
        lexical_core::parse::<f64>(t).ok()
    })
}

/// The decimal part of `Float.parseFloat` after `trim`.
pub fn parse_float(text: &[u8]) -> Option<f32> {
    special(text, f32::NAN, f32::INFINITY, |t| {
        lexical_core::parse::<f32>(t).ok()
    })
}

fn special<T: std::ops::Neg<Output = T>>(
    text: &[u8],
    nan: T,
    infinity: T,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let text = trim(text);
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = match digits {
        b"NaN" => nan,
        b"Infinity" => infinity,
        _ => {
            let digits = match digits.last()? {
                b'd' | b'D' | b'f' | b'F' => &digits[..digits.len() - 1],
                _ => digits,
            };
            // A sign, `nan` or `inf` here is Rust's notation and not Java's.
            if !matches!(digits.first()?, b'0'..=b'9' | b'.') {
                return None;
            }
            parse(digits)?
        }
    };
    Some(if negative { -value } else { value })
}

/// The unscaled value of a decimal of `precision` and `scale`, as `new BigDecimal(text)` rounded
/// HALF_UP to the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalText {
    Value(i128),
    /// More digits before the point than fit: Flink makes it NULL.
    TooLarge,
    /// Not a number.
    Invalid,
}

pub fn parse_decimal(text: &[u8], precision: u8, scale: u8) -> DecimalText {
    use DecimalText::{Invalid, TooLarge, Value};
    let (negative, rest) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
        None => return Invalid,
    };
    let (mantissa, exponent) = match rest.iter().position(|&b| b == b'e' || b == b'E') {
        None => (rest, 0),
        Some(at) => match parse_exponent(&rest[at + 1..]) {
            Some(e) => (&rest[..at], e),
            None => return Invalid,
        },
    };
    let (whole, fraction) = match mantissa.iter().position(|&b| b == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Invalid;
    }
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Invalid;
    }
    // Digit i of all (from 0) stands for 10^(point - 1 - i); those up to 10^-scale are kept.
    let digits = || whole.iter().chain(fraction).map(|b| b - b'0');
    let zeros = digits().take_while(|&d| d == 0).count();
    let total = whole.len() + fraction.len();
    if zeros == total {
        return Value(0);
    }
    let kept = whole.len() as i64 + exponent + i64::from(scale);
    if kept - zeros as i64 > i64::from(precision) {
        return TooLarge;
    }
    if kept < 0 {
        return Value(0);
    }
    let kept = kept as usize;
    let mut value = 0i128;
    for d in digits().skip(zeros).take(kept.saturating_sub(zeros)) {
        value = value * 10 + i128::from(d);
    }
    for _ in total.max(zeros)..kept {
        value *= 10;
    }
    if kept < total && digits().nth(kept).is_some_and(|d| d >= 5) {
        value += 1;
        if value >= 10i128.pow(u32::from(precision)) {
            return TooLarge;
        }
    }
    Value(if negative { -value } else { value })
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let digits = match text.first()? {
        b'-' | b'+' => &text[1..],
        _ => text,
    };
    // Beyond ten digits Java's exponent overflows and is refused.
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    parse_long(text)
}

/// Writes a decimal as `BigDecimal.toPlainString`.
pub fn write_decimal_plain(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let scale = usize::from(scale);
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > scale {
        out.extend_from_slice(&digits[..digits.len() - scale]);
        out.push(b'.');
        out.extend_from_slice(&digits[digits.len() - scale..]);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits);
    }
}

/// Writes a decimal as `BigDecimal.toString`: scientific where the number is below 1e-6.
pub fn write_decimal(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let adjusted = digits.len() as i32 - 1 - i32::from(scale);
    if adjusted >= -6 {
        return write_decimal_plain(out, unscaled, scale);
    }
    if unscaled < 0 {
        out.push(b'-');
    }
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(b"E-");
    let mut exponent = itoa::Buffer::new();
    out.extend_from_slice(exponent.format(-adjusted).as_bytes());
}

/// Writes a decimal as `BigDecimal.stripTrailingZeros().toString()`: `1.5`, `1E+5`, `0`.
pub fn write_decimal_stripped(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    if unscaled == 0 {
        out.push(b'0');
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    stripped(out, unscaled < 0, digits, i64::from(scale));
}

/// The same for a number in text (JSON's grammar), of whatever size. `None` where the exponent is
/// beyond what Java has.
pub fn write_number_stripped(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let (negative, text) = match text.first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|&b| b == b'e' || b == b'E') {
        None => (text, 0),
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
    };
    let point = mantissa.iter().position(|&b| b == b'.').unwrap_or(mantissa.len());
    let scale = mantissa.len().saturating_sub(point + 1) as i64 - exponent;
    if i32::try_from(scale).is_err() {
        return None;
    }
    let digits: Vec<u8> = mantissa
        .iter()
        .copied()
        .filter(|&b| b != b'.')
        .skip_while(|&b| b == b'0')
        .collect();
    if digits.is_empty() {
        out.push(b'0');
    } else {
        stripped(out, negative, &digits, scale);
    }
    Some(())
}

/// `digits` without leading zeros and not zero, times 10^-scale.
fn stripped(out: &mut Vec<u8>, negative: bool, digits: &[u8], scale: i64) {
    let end = digits.iter().rposition(|&d| d != b'0').map_or(0, |p| p + 1);
    let scale = scale - (digits.len() - end) as i64;
    let digits = &digits[..end];
    if negative {
        out.push(b'-');
    }
    let adjusted = digits.len() as i64 - 1 - scale;
    if scale >= 0 && adjusted >= -6 {
        let scale = scale as usize;
        if scale == 0 {
            out.extend_from_slice(digits);
        } else if digits.len() > scale {
            out.extend_from_slice(&digits[..digits.len() - scale]);
            out.push(b'.');
            out.extend_from_slice(&digits[digits.len() - scale..]);
        } else {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
            out.extend_from_slice(digits);
        }
        return;
    }
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if adjusted < 0 { b"E-" } else { b"E+" });
    out.extend_from_slice(itoa::Buffer::new().format(adjusted.unsigned_abs()).as_bytes());
}

/// Writes a double as `Double.toString` of Java 19 and later: the shortest digits that give it back.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    match value.is_finite() {
        true => write_finite(out, value, value.abs(), value.is_subnormal()),
        false => out.extend_from_slice(non_finite(value.is_nan(), value > 0.0)),
    }
}

/// Writes a float as `Float.toString` of Java 19 and later.
pub fn write_float(out: &mut Vec<u8>, value: f32) {
    match value.is_finite() {
        true => write_finite(out, value, f64::from(value.abs()), value.is_subnormal()),
        false => out.extend_from_slice(non_finite(value.is_nan(), value > 0.0)),
    }
}

fn write_finite<F>(out: &mut Vec<u8>, value: F, magnitude: f64, is_subnormal: bool)
where
    F: ryu::Float + std::fmt::LowerExp + std::str::FromStr + PartialEq,
{
    if is_subnormal {
        // One digit may do here, and Java takes the nearest of two.
        let two = format!("{value:.1e}");
        if two.parse().is_ok_and(|parsed: F| parsed == value) {
            return java_notation(out, &two, false);
        }
    }
    // A float's own 1e-3 is a little above the double's, and no float lies between them.
    let plain = magnitude == 0.0 || (1e-3..1e7).contains(&magnitude);
    java_notation(out, ryu::Buffer::new().format_finite(value), plain);
}

fn non_finite(nan: bool, positive: bool) -> &'static [u8] {
    match (nan, positive) {
        (true, _) => b"NaN",
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    }
}

/// From ryu's notation (`0.001`, `1e-5`, `123456789.0`) to Java's (`0.001`, `1.0E-5`, `1.23456789E8`).
fn java_notation(out: &mut Vec<u8>, shortest: &str, plain: bool) {
    let text = shortest.as_bytes();
    let (mantissa, exponent) = match text.iter().position(|&b| b == b'e') {
        Some(at) => (&text[..at], shortest[at + 1..].parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    if plain && exponent == 0 && mantissa.contains(&b'.') {
        out.extend_from_slice(text);
        return;
    }
    let (negative, mantissa) = match mantissa.first() {
        Some(b'-') => (true, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let point = mantissa.iter().position(|&b| b == b'.').unwrap_or(mantissa.len());
    let mut digits = [0u8; 32];
    let mut n = 0;
    for &b in mantissa.iter().filter(|&&b| b != b'.').take(digits.len()) {
        digits[n] = b;
        n += 1;
    }
    let leading = digits[..n]
        .iter()
        .take_while(|&&d| d == b'0')
        .count()
        .min(n.saturating_sub(1));
    let end = digits[..n]
        .iter()
        .rposition(|&d| d != b'0')
        .map_or(leading + 1, |p| p + 1);
    let significant = &digits[leading..end.max(leading + 1)];
    let scientific = exponent + point as i32 - 1 - leading as i32;
    if negative {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    if plain {
        // ryu went scientific where Java does not (floats from 1e-3 on): spell it out.
        if scientific < 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (-scientific - 1) as usize));
            out.extend_from_slice(significant);
        } else {
            let whole = scientific as usize + 1;
            for i in 0..whole {
                out.push(significant.get(i).copied().unwrap_or(b'0'));
            }
            out.push(b'.');
            out.extend_from_slice(significant.get(whole..).filter(|f| !f.is_empty()).unwrap_or(b"0"));
        }
        return;
    }
    out.push(significant[0]);
    out.push(b'.');
    out.extend_from_slice(if significant.len() > 1 {
        &significant[1..]
    } else {
        b"0"
    });
    out.push(b'E');
    out.extend_from_slice(buffer.format(scientific).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_as_java_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1.5e-10, "1.5E-10"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456_789.5, "1.234567895E8"),
            (-1e21, "-1.0E21"),
            (1.7976931348623157e308, "1.7976931348623157E308"),
            (5e-324, "4.9E-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let got = written(|o| write_double(o, value));
            assert_eq!(got, text);
        }
        assert_eq!(written(|o| write_float(o, 1.1)), "1.1");
        assert_eq!(written(|o| write_float(o, 1e-45)), "1.4E-45");
        assert_eq!(written(|o| write_float(o, 1e10)), "1.0E10");
        assert_eq!(written(|o| write_float(o, 0.00123)), "0.00123");
    }

    #[test]
    fn decimals() {
        use DecimalText::*;
        for (text, precision, scale, expected) in [
            ("1", 10, 2, Value(100)),
            ("1.005", 10, 2, Value(101)),
            ("-1.005", 10, 2, Value(-101)),
            ("1.004", 10, 2, Value(100)),
            (".5", 10, 0, Value(1)),
            ("5.", 10, 0, Value(5)),
            ("1e3", 10, 0, Value(1000)),
            ("1E-3", 10, 3, Value(1)),
            ("0.0004", 10, 3, Value(0)),
            ("0.0005", 10, 3, Value(1)),
            ("0.00005", 10, 3, Value(0)),
            ("99.995", 4, 2, TooLarge),
            ("999", 2, 0, TooLarge),
            ("1e100", 38, 0, TooLarge),
            ("1e-999999999", 38, 0, Value(0)),
            ("000123", 3, 0, Value(123)),
            ("0e100", 3, 0, Value(0)),
            (
                "12345678901234567890123456789012345678",
                38,
                0,
                Value(12345678901234567890123456789012345678),
            ),
            ("", 3, 0, Invalid),
            (".", 3, 0, Invalid),
            ("1x", 3, 0, Invalid),
            ("1e", 3, 0, Invalid),
            ("--1", 3, 0, Invalid),
        ] {
            assert_eq!(
                parse_decimal(text.as_bytes(), precision, scale),
                expected,
                "{text}"
            );
        }
        assert_eq!(written(|o| write_decimal(o, -5, 2)), "-0.05");
        assert_eq!(written(|o| write_decimal(o, 1, 8)), "1E-8");
        assert_eq!(written(|o| write_decimal(o, 12, 9)), "1.2E-8");
        assert_eq!(written(|o| write_decimal(o, 0, 8)), "0E-8");
        assert_eq!(written(|o| write_decimal_plain(o, 1, 8)), "0.00000001");
        assert_eq!(written(|o| write_decimal_stripped(o, 10_000_000, 2)), "1E+5");
        assert_eq!(written(|o| write_decimal_stripped(o, 150, 2)), "1.5");
        assert_eq!(written(|o| write_decimal_stripped(o, -5, 2)), "-0.05");
        assert_eq!(written(|o| write_decimal_stripped(o, 0, 2)), "0");
        assert_eq!(written(|o| write_decimal_stripped(o, 12_300, 0)), "1.23E+4");
        for (text, expected) in [
            ("1.10", "1.1"),
            ("1e3", "1E+3"),
            ("1E-10", "1E-10"),
            ("-0.0", "0"),
            ("120e-1", "12"),
        ] {
            assert_eq!(
                written(|o| write_number_stripped(o, text.as_bytes()).unwrap()),
                expected
            );
        }
        assert_eq!(written(|o| write_decimal(o, 12345, 2)), "123.45");
    }

    #[test]
    fn integers_and_doubles_from_text() {
        assert_eq!(parse_long(b" +12 "), Some(12));
        assert_eq!(parse_long(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_long(b"9223372036854775808"), None);
        assert_eq!(parse_long(b"1.0"), None);
        assert_eq!(parse_long(b"-"), None);
        assert_eq!(parse_double(b" 1e3 "), Some(1000.0));
        assert_eq!(parse_double(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_double(b"1.5d"), Some(1.5));
        assert_eq!(parse_double(b"inf"), None);
        assert_eq!(parse_double(b"true"), None);
        assert_eq!(parse_double(b""), None);
    }
}
