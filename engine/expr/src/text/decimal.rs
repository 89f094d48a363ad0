//! DECIMAL as text; values are unscaled.

use super::trim_spaces;

/// 10 to the power of `exponent`, 38 at most.
pub fn power_of_ten(exponent: u8) -> i128 {
    10i128.pow(u32::from(exponent.min(38)))
}

/// A number with an optional point and exponent, rounded half up to the scale; none if it is not
/// a number or has more digits than the precision allows. Spaces at the ends are cut.
pub fn parse(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let text = trim_spaces(text);
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let exponent_at = text.iter().position(|b| matches!(b, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        Some(at) => (&text[..at], super::number::parse_integer(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = memchr::memchr(b'.', mantissa);
    let whole = point.unwrap_or(mantissa.len());
    let count = mantissa.len() - usize::from(point.is_some());
    if count == 0 {
        return None;
    }
    let digit = |index: usize| {
        let at = index + usize::from(point.is_some_and(|p| index >= p));
        let digit = mantissa[at].wrapping_sub(b'0');
        (digit <= 9).then_some(digit)
    };
    // How many of the digits (zeros behind them, if need be) make the unscaled value.
    let wanted = (whole as i64)
        .checked_add(exponent)?
        .checked_add(i64::from(scale))?;
    let limit = power_of_ten(precision);
    let mut value = 0i128;
    let mut round_up = false;
    for index in 0..count {
        let digit = digit(index)?;
        if (index as i64) < wanted {
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        } else if index as i64 == wanted {
            round_up = digit >= 5;
        }
    }
    if value != 0 {
        let missing = wanted - count as i64;
        if missing > 38 {
            return None;
        }
        for _ in 0..missing.max(0) {
            value = value.checked_mul(10)?;
        }
    }
    value += i128::from(round_up);
    (value < limit).then_some(if negative { -value } else { value })
}

/// Appends the value with all digits of its scale, never with an exponent.
pub fn write(value: i128, scale: u8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let magnitude = value.unsigned_abs();
    let mut buffer = itoa::Buffer::new();
    let digits = match u64::try_from(magnitude) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(magnitude),
    }
    .as_bytes();
    let scale = usize::from(scale);
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > scale {
        out.extend_from_slice(&digits[..digits.len() - scale]);
        out.push(b'.');
        out.extend_from_slice(&digits[digits.len() - scale..]);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
    }
}

/// Changes the scale, rounding half up; none where the precision does not hold the result.
#[inline]
pub fn rescale(value: i128, from: u8, precision: u8, scale: u8) -> Option<i128> {
    let value = if scale >= from {
        value.checked_mul(power_of_ten(scale - from))?
    } else {
        divide_half_up(value, power_of_ten(from - scale))
    };
    (value.unsigned_abs() < power_of_ten(precision).unsigned_abs()).then_some(value)
}

/// The quotient rounded half away from zero; the divisor is positive.
#[inline]
pub fn divide_half_up(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    let rest = (value % divisor).unsigned_abs();
    if rest >= divisor.unsigned_abs() - rest {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// As a double: nearest to the written digits, as Java's `BigDecimal.doubleValue`.
pub fn to_double(value: i128, scale: u8) -> f64 {
    // Both sides exact: one rounding.
    if value.unsigned_abs() < 1 << 53 && scale <= 22 {
        return value as f64 / 10f64.powi(i32::from(scale));
    }
    let mut text = Vec::with_capacity(48);
    write(value, scale, &mut text);
    std::str::from_utf8(&text)
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_rounds_half_up() {
        let cases = [
            ("1.005", Some(101)),
            ("1.004", Some(100)),
            ("-1.005", Some(-101)),
            ("1e3", Some(100_000)),
            (" 1.5 ", Some(150)),
            ("1.5e-1", Some(15)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("+5", Some(500)),
            ("0e99", Some(0)),
            ("99999999.994", Some(9_999_999_999)),
            ("99999999.995", None),
            ("1e99", None),
            ("abc", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1.2.3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes(), 10, 2), expected, "{text}");
        }
        let most = "9".repeat(38);
        assert_eq!(parse(most.as_bytes(), 38, 0), Some(power_of_ten(38) - 1));
    }

    #[test]
    fn writes_all_digits_of_the_scale() {
        for (value, scale, expected) in [
            (150, 2, "1.50"),
            (-5, 2, "-0.05"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (1, 7, "0.0000001"),
        ] {
            let mut out = Vec::new();
            write(value, scale, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        }
    }

    #[test]
    fn rescales() {
        assert_eq!(rescale(1005, 3, 10, 2), Some(101));
        assert_eq!(rescale(-1005, 3, 10, 2), Some(-101));
        assert_eq!(rescale(1004, 3, 10, 2), Some(100));
        assert_eq!(rescale(10, 0, 3, 2), None);
        assert_eq!(to_double(15, 1), 1.5);
    }
}
