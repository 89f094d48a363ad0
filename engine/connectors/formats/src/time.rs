//! Dates, times and timestamps as Flink's formats write them (`TimeFormats`): stricter than CAST.
//!
//! A date is `yyyy-MM-dd`, years beyond 9999 with a sign; a time is `HH:mm:ss` with up to nine
//! digits of fraction, trailing zeros left out in writing; ISO-8601 lets the seconds be absent.

use arrow::datatypes::TimeUnit;

const DAY: i64 = 86_400;
/// Years that `java.time` knows.
const MAX_YEAR: i64 = 999_999_999;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    Sql,
    Iso8601,
}

impl Standard {
    fn separator(self) -> u8 {
        match self {
            Standard::Sql => b' ',
            Standard::Iso8601 => b'T',
        }
    }
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar
/// (Howard Hinnant, chrono-compatible low-level date algorithms, `days_from_civil`).
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[inline]
fn two(text: &[u8]) -> Option<u32> {
    let (a, b) = (text.first()?.wrapping_sub(b'0'), text.get(1)?.wrapping_sub(b'0'));
    (a < 10 && b < 10).then(|| u32::from(a) * 10 + u32::from(b))
}

/// Reads a date from the front: days since 1970-01-01 and what is left. With `clamp` a day past
/// the month's last is the last, as `ResolverStyle.SMART` has it.
#[inline]
fn date_prefix(text: &[u8], clamp: bool) -> Option<(i64, &[u8])> {
    let (year, rest) = if text.len() >= 10 && text[4] == b'-' && text[0] != b'-' {
        (i64::from(two(text)? * 100 + two(&text[2..])?), &text[4..])
    } else {
        long_year(text)?
    };
    if rest.len() < 6 || rest[0] != b'-' || rest[3] != b'-' {
        return None;
    }
    let (month, mut day) = (two(&rest[1..])?, two(&rest[4..])?);
    if !(1..=12).contains(&month) || day == 0 || day > 31 {
        return None;
    }
    if day > 28 && day > days_in_month(year, month) {
        if !clamp {
            return None;
        }
        day = days_in_month(year, month);
    }
    Some((days_from_civil(year, month, day), &rest[6..]))
}

/// A year of four digits after a minus, or of five to ten after a sign.
fn long_year(text: &[u8]) -> Option<(i64, &[u8])> {
    let sign = *text.first()?;
    if sign != b'-' && sign != b'+' {
        return None;
    }
    let digits = text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    if !(4..=10).contains(&digits) || (sign == b'+' && digits == 4) {
        return None;
    }
    let year = text[1..=digits]
        .iter()
        .fold(0i64, |n, b| n * 10 + i64::from(b - b'0'));
    if year > MAX_YEAR || (sign == b'-' && year == 0) {
        return None;
    }
    Some((if sign == b'-' { -year } else { year }, &text[digits + 1..]))
}

/// Reads a time from the front: seconds of the day (if `lenient`, 24:00:00 is the next one's
/// first), nanoseconds, and what is left.
#[inline]
fn time_prefix(text: &[u8], seconds_optional: bool, lenient: bool) -> Option<(i64, u32, &[u8])> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (two(text)?, two(&text[3..])?);
    if hour > 24 || minute > 59 || (hour == 24 && (!lenient || minute > 0)) {
        return None;
    }
    let minutes = i64::from(hour * 60 + minute) * 60;
    if text.len() < 8 || text[5] != b':' {
        return seconds_optional.then_some((minutes, 0, &text[5..]));
    }
    let second = two(&text[6..])?;
    if second > 59 {
        return None;
    }
    let rest = &text[8..];
    let seconds = minutes + i64::from(second);
    if hour == 24 && (second > 0 || rest.iter().skip(1).take(9).any(|b| (b'1'..=b'9').contains(b))) {
        return None;
    }
    if rest.first() != Some(&b'.') {
        return Some((seconds, 0, rest));
    }
    let digits = rest[1..]
        .iter()
        .take(9)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let mut nanos = rest[1..=digits]
        .iter()
        .fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
    for _ in digits..9 {
        nanos *= 10;
    }
    Some((seconds, nanos, &rest[1 + digits..]))
}

/// Days since 1970-01-01.
pub fn parse_date(text: &[u8]) -> Option<i32> {
    let (days, rest) = date_prefix(text, false)?;
    if !rest.is_empty() {
        return None;
    }
    i32::try_from(days).ok()
}

/// Milliseconds of the day of a time `HH:mm:ss` with a fraction; finer digits are cut off.
pub fn parse_time(text: &[u8]) -> Option<i32> {
    let (seconds, nanos, rest) = time_prefix(text, false, true)?;
    rest.is_empty()
        .then_some((seconds % DAY * 1000) as i32 + (nanos / 1_000_000) as i32)
}

/// The same where the seconds may be absent, as `LocalTime.parse` has it.
pub fn parse_iso_time(text: &[u8]) -> Option<i32> {
    let (seconds, nanos, rest) = time_prefix(text, true, false)?;
    rest.is_empty()
        .then_some((seconds * 1000) as i32 + (nanos / 1_000_000) as i32)
}

/// Days since 1970-01-01 of `yyyy-[m]m-[d]d`, as `java.sql.Date.valueOf` reads it: a day past the
/// month's last is one of the next month.
pub fn parse_sql_date(text: &[u8]) -> Option<i32> {
    let mut parts = text.split(|&b| b == b'-');
    let mut number = |digits: std::ops::RangeInclusive<usize>| {
        let part = parts.next()?;
        let plain = digits.contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
        plain.then(|| part.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0')))
    };
    let (year, month, day) = (number(4..=4)?, number(1..=2)?, number(1..=2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((days_from_civil(i64::from(year), month, 1) + i64::from(day) - 1) as i32)
}

/// A timestamp in `unit`; with `zoned` a `Z` must follow. `None` also for what `unit` cannot hold.
///
/// Flink's own formatters resolve leniently (24:00:00, February 31st); `ISO_LOCAL_DATE_TIME`, by
/// which it reads an ISO-8601 TIMESTAMP, is strict, and knows no case of letters.
#[inline]
pub fn parse_timestamp(text: &[u8], standard: Standard, zoned: bool, unit: TimeUnit) -> Option<i64> {
    let iso = standard == Standard::Iso8601;
    let lenient = zoned || !iso;
    let (days, rest) = date_prefix(text, lenient)?;
    let separator = *rest.first()?;
    if separator != standard.separator() && (lenient || separator != b't') {
        return None;
    }
    let (seconds, nanos, rest) = time_prefix(&rest[1..], iso, lenient)?;
    let complete = if zoned { rest == b"Z" } else { rest.is_empty() };
    if !complete {
        return None;
    }
    in_unit(days * DAY + seconds, nanos, unit)
}

/// Seconds since the epoch and nanoseconds of the second in a unit, finer digits cut off.
#[inline]
pub fn in_unit(seconds: i64, nanos: u32, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(seconds),
        TimeUnit::Millisecond => seconds
            .checked_mul(1000)?
            .checked_add(i64::from(nanos / 1_000_000)),
        TimeUnit::Microsecond => seconds
            .checked_mul(1_000_000)?
            .checked_add(i64::from(nanos / 1000)),
        TimeUnit::Nanosecond => i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok(),
    }
}

fn push_two(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&[b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
}

/// Writes `yyyy-MM-dd`.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        push_two(out, year as u32 / 100);
        push_two(out, year as u32 % 100);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(year.unsigned_abs());
        out.extend(std::iter::repeat_n(b'0', 4usize.saturating_sub(digits.len())));
        out.extend_from_slice(digits.as_bytes());
    }
    out.push(b'-');
    push_two(out, month);
    out.push(b'-');
    push_two(out, day);
}

/// Writes `HH:mm:ss` and the fraction without its trailing zeros.
fn write_clock(out: &mut Vec<u8>, second_of_day: i64, nanos: u32) {
    let s = second_of_day as u32;
    push_two(out, s / 3600);
    out.push(b':');
    push_two(out, s / 60 % 60);
    out.push(b':');
    push_two(out, s % 60);
    if nanos != 0 {
        let mut digits = [0u8; 10];
        digits[0] = b'.';
        let mut rest = nanos;
        for d in digits[1..].iter_mut().rev() {
            *d = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let end = digits.iter().rposition(|&d| d != b'0').map_or(0, |p| p + 1);
        out.extend_from_slice(&digits[..end]);
    }
}

pub fn write_time(out: &mut Vec<u8>, millis: i32) {
    let millis = i64::from(millis).rem_euclid(DAY * 1000);
    write_clock(out, millis / 1000, (millis % 1000) as u32 * 1_000_000);
}

pub fn write_timestamp(out: &mut Vec<u8>, value: i64, unit: TimeUnit, standard: Standard, zoned: bool) {
    let per_second = units_per_second(unit);
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    write_date(out, seconds.div_euclid(DAY));
    out.push(standard.separator());
    write_clock(out, seconds.rem_euclid(DAY), nanos as u32);
    if zoned {
        out.push(b'Z');
    }
}

pub fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: TimeUnit = TimeUnit::Millisecond;

    #[test]
    fn reads_what_flink_reads_and_refuses_the_rest() {
        assert_eq!(parse_date(b"1970-01-02"), Some(1));
        assert_eq!(parse_date(b"2024-02-29"), Some(19782));
        assert_eq!(parse_date(b"2023-02-29"), None);
        assert_eq!(parse_date(b"-0001-01-01"), Some(-719_893));
        assert_eq!(
            parse_date(b"+12345-01-01"),
            Some(days_from_civil(12345, 1, 1) as i32)
        );
        assert_eq!(parse_date(b"12345-01-01"), None);
        assert_eq!(parse_date(b"2024-1-1"), None);
        assert_eq!(parse_date(b"2024-01-01 "), None);
        assert_eq!(parse_time(b"23:59:59.123456"), Some(86_399_123));
        assert_eq!(parse_time(b"24:00:00"), Some(0));
        assert_eq!(parse_time(b"24:00:01"), None);
        assert_eq!(parse_time(b"24:00:00.001"), None);
        assert_eq!(parse_sql_date(b"2023-1-4"), parse_date(b"2023-01-04"));
        assert_eq!(parse_sql_date(b"2023-02-30"), parse_date(b"2023-03-02"));
        assert_eq!(parse_sql_date(b"2023-13-01"), None);
        assert_eq!(parse_iso_time(b"22:13"), Some(79_980_000));
        assert_eq!(parse_iso_time(b"24:00"), None);
        assert_eq!(parse_time(b"10:00"), None);
        let sql = |t: &str| parse_timestamp(t.as_bytes(), Standard::Sql, false, MS);
        assert_eq!(sql("2023-11-14 22:13:20"), Some(1_700_000_000_000));
        assert_eq!(sql("2023-11-14 22:13:20.5"), Some(1_700_000_000_500));
        assert_eq!(sql("2023-11-14 22:13:20.123456789"), Some(1_700_000_000_123));
        assert_eq!(sql("2023-02-31 00:00:00"), sql("2023-02-28 00:00:00"));
        assert_eq!(sql("2023-02-28 24:00:00.0"), sql("2023-03-01 00:00:00"));
        assert_eq!(sql("2023-02-32 00:00:00"), None);
        assert_eq!(sql("2023-11-14T22:13:20"), None);
        assert_eq!(sql("2023-11-14 22:13:20Z"), None);
        assert_eq!(sql("2023-11-14 22:13"), None);
        let iso = |t: &str| parse_timestamp(t.as_bytes(), Standard::Iso8601, false, MS);
        assert_eq!(iso("2023-11-14T22:13"), Some(1_699_999_980_000));
        assert_eq!(iso("2023-02-29T00:00:00"), None);
        assert_eq!(iso("2023-11-14T22:13:20.001"), Some(1_700_000_000_001));
        assert_eq!(
            parse_timestamp(b"2023-11-14 22:13:20.1Z", Standard::Sql, true, MS),
            Some(1_700_000_000_100)
        );
        assert_eq!(
            parse_timestamp(b"9999-01-01 00:00:00", Standard::Sql, false, TimeUnit::Nanosecond),
            None
        );
    }

    #[test]
    fn writes_what_it_reads() {
        for (value, text) in [
            (0, "1970-01-01 00:00:00"),
            (1_700_000_000_500, "2023-11-14 22:13:20.5"),
            (-1, "1969-12-31 23:59:59.999"),
            (253_402_300_800_000, "+10000-01-01 00:00:00"),
            (-62_198_755_200_000, "-0001-01-01 00:00:00"),
        ] {
            let mut out = Vec::new();
            write_timestamp(&mut out, value, MS, Standard::Sql, false);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
            assert_eq!(parse_timestamp(&out, Standard::Sql, false, MS), Some(value));
        }
    }

    #[test]
    fn civil_days_round_trip() {
        for days in (-1_000_000..1_000_000).step_by(17) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
    }
}
