//! Timestamps without a zone, and instants in UTC.

use arrow::datatypes::TimeUnit;

use super::time::{NANOS_PER_DAY, write_nanos};
use super::{date, digits, fraction, time, two_digits};

/// A point on a time line of its own (TIMESTAMP) or since the epoch (TIMESTAMP_LTZ).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970-01-01 00:00:00, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Moment {
    pub fn new(days: i32, nanos_of_day: u64) -> Self {
        Moment {
            seconds: i64::from(days) * 86_400 + (nanos_of_day / 1_000_000_000) as i64,
            nanos: (nanos_of_day % 1_000_000_000) as u32,
        }
    }

    pub fn from_unit(value: i64, unit: TimeUnit) -> Self {
        let per_second = per_second(unit);
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Moment {
            seconds: value.div_euclid(per_second),
            nanos: nanos as u32,
        }
    }

    /// The value in a unit, rounded down; none where it does not fit 64 bits.
    pub fn to_unit(self, unit: TimeUnit) -> Option<i64> {
        let per_second = per_second(unit);
        let fraction = i64::from(self.nanos) / (1_000_000_000 / per_second);
        match self.seconds.checked_mul(per_second) {
            Some(value) => value.checked_add(fraction),
            // The last second before the range begins.
            None => (self.seconds + 1)
                .checked_mul(per_second)?
                .checked_sub(per_second - fraction),
        }
    }

    /// Digits of the fraction beyond `precision` become 0.
    pub fn truncate(self, precision: u8) -> Self {
        let unit = 10u32.pow(9 - u32::from(precision.min(9)));
        Moment {
            nanos: self.nanos / unit * unit,
            ..self
        }
    }

    /// As a cast between timestamps cuts digits: whole ones of milliseconds toward the epoch, which before
    /// 1970 is up, and those beyond them down.
    pub fn truncate_as_cast(self, precision: u8) -> Self {
        let cut = self.truncate(precision);
        if precision >= 3 || self.seconds >= 0 || cut.nanos == self.truncate(3).nanos {
            return cut;
        }
        let nanos = cut.nanos + 10u32.pow(9 - u32::from(precision));
        Moment {
            seconds: cut.seconds + i64::from(nanos / 1_000_000_000),
            nanos: nanos % 1_000_000_000,
        }
    }

    /// Milliseconds since the epoch, rounded down, and the nanoseconds beyond them.
    pub fn millis(self) -> (i64, u32) {
        let millis = self
            .seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000));
        (millis, self.nanos % 1_000_000)
    }

    /// The midnight that Flink takes for the day of a TIMESTAMP: it divides, which rounds toward
    /// the epoch, so that before 1970 a day begins behind its midnight.
    pub fn toward_epoch(self) -> Self {
        Moment::new((self.millis().0 / super::time::MILLIS_PER_DAY) as i32, 0)
    }

    /// The days since 1970-01-01 and the nanoseconds of the day.
    pub fn split(self) -> (i32, u64) {
        let days = self.seconds.div_euclid(86_400) as i32;
        let seconds = self.seconds.rem_euclid(86_400) as u64;
        (days, seconds * 1_000_000_000 + u64::from(self.nanos))
    }
}

pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A timestamp as CAST takes it: `2020-01-02 03:04:05` with up to 9 digits of fraction, months,
/// days, hours, minutes and seconds of one digit too, or a date alone. As Java's smart resolver
/// has it, 24:00:00 is the next day's midnight, and a day up to 31 that the month lacks is its last.
pub fn parse(text: &[u8]) -> Option<Moment> {
    if text.len() >= 19
        && text[10] == b' '
        && let Some(moment) = parse_iso_with(text, b' ')
    {
        return Some(moment);
    }
    let (year, month, day, rest) = {
        let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
        let [b'-', rest @ ..] = &text[4..] else {
            return None;
        };
        let (month, rest) = digits(rest, 2)?;
        let [b'-', rest @ ..] = rest else { return None };
        let (day, rest) = digits(rest, 2)?;
        (year as i32, month, day, rest)
    };
    if year == 0 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = date::from_civil(year, month, day.min(date::days_in_month(year, month)));
    let [b' ', rest @ ..] = rest else {
        return if rest.is_empty() {
            Some(Moment::new(days, 0))
        } else {
            None
        };
    };
    let (hour, rest) = digits(rest, 2)?;
    let [b':', rest @ ..] = rest else { return None };
    let (minute, rest) = digits(rest, 2)?;
    let [b':', rest @ ..] = rest else { return None };
    let (second, rest) = digits(rest, 2)?;
    let nanos = match rest {
        [] | [b'.'] => 0,
        [b'.', digits @ ..] => fraction(digits)?,
        _ => return None,
    };
    if hour == 24 && minute == 0 && second == 0 && nanos == 0 {
        return Some(Moment::new(days.checked_add(1)?, 0));
    }
    let exists = hour < 24 && minute < 60 && second < 60;
    let seconds = u64::from((hour * 60 + minute) * 60 + second);
    exists.then(|| Moment::new(days, seconds * 1_000_000_000 + u64::from(nanos)))
}

/// A timestamp as `java.sql.Timestamp.valueOf` takes it, or a date alone as `java.sql.Date.valueOf`
/// does: spaces at the ends, parts of one or two digits; too large parts of the time, and days
/// that the month lacks, carry over.
pub fn parse_jdbc(text: &[u8]) -> Option<Moment> {
    let text = super::trim_spaces(text);
    let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
    let [b'-', rest @ ..] = &text[4..] else {
        return None;
    };
    let (month, rest) = digits(rest, 2)?;
    let [b'-', rest @ ..] = rest else { return None };
    let (day, rest) = digits(rest, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = date::from_civil(year as i32, month, 1) + day as i32 - 1;
    let [b' ', rest @ ..] = rest else {
        return if rest.is_empty() {
            Some(Moment::new(days, 0))
        } else {
            None
        };
    };
    let (hour, rest) = digits(rest, 4)?;
    let [b':', rest @ ..] = rest else { return None };
    let (minute, rest) = digits(rest, 4)?;
    let [b':', rest @ ..] = rest else { return None };
    let (second, rest) = digits(rest, 4)?;
    let nanos = match rest {
        [] => 0,
        [b'.', digits @ ..] => fraction(digits)?,
        _ => return None,
    };
    let seconds =
        i64::from(days) * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(Moment { seconds, nanos })
}

/// `2020-01-02 03:04:05` with up to 9 digits of fraction, each part of fixed width: Flink's SQL
/// standard of the formats.
pub fn parse_sql(text: &[u8]) -> Option<Moment> {
    if text.len() < 19 {
        None
    } else {
        parse_iso_with(text, b' ')
    }
}

/// `2020-01-02T03:04:05` with up to 9 digits of fraction; seconds may be missing.
pub fn parse_iso(text: &[u8]) -> Option<Moment> {
    parse_iso_with(text, b'T')
}

fn parse_iso_with(text: &[u8], separator: u8) -> Option<Moment> {
    if text.len() < 16 || text[10] != separator {
        return None;
    }
    let days = date::parse_iso(&text[..10])?;
    Some(Moment::new(days, time::parse_iso(&text[11..])?))
}

/// Appends `2020-01-02 03:04:05`, with `separator` between date and time, and `precision` digits
/// of the fraction.
pub fn write(moment: Moment, separator: u8, precision: u8, out: &mut Vec<u8>) {
    let (days, nanos) = moment.split();
    debug_assert!(nanos < NANOS_PER_DAY);
    date::write(days, out);
    out.push(separator);
    write_nanos(nanos, precision, out);
}

/// Appends as `write` does, with a fraction of as few digits as it has, up to `precision`; none,
/// and no point, when it is zero.
pub fn write_short(moment: Moment, separator: u8, precision: u8, out: &mut Vec<u8>) {
    let mut nanos = moment.truncate(precision).nanos;
    let mut digits = 9;
    while digits > 0 && nanos.is_multiple_of(10) {
        nanos /= 10;
        digits -= 1;
    }
    write(moment, separator, digits, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(parse(text.as_bytes())?, b' ', 9, &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn casts_follow_javas_smart_resolver() {
        let cases = [
            (
                "2020-01-01 10:11:12.123456789",
                Some("2020-01-01 10:11:12.123456789"),
            ),
            ("2020-01-01", Some("2020-01-01 00:00:00.000000000")),
            ("2020-1-1 1:1:1.5", Some("2020-01-01 01:01:01.500000000")),
            ("2020-01-01 10:11:12.", Some("2020-01-01 10:11:12.000000000")),
            ("2020-01-01 24:00:00", Some("2020-01-02 00:00:00.000000000")),
            ("2020-02-30 10:00:00", Some("2020-02-29 10:00:00.000000000")),
            ("2020-01-01T10:11:12", None),
            ("2020-01-01 10:11", None),
            (" 2020-01-01 10:11:12", None),
            ("2020-01-01  10:11:12", None),
            ("2020-01-01 10:11:12.1234567890", None),
            ("2020", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cast(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn units_round_down_and_do_not_overflow() {
        let moment = parse_iso(b"1969-12-31T23:59:59.999999999").unwrap();
        assert_eq!(
            moment,
            Moment {
                seconds: -1,
                nanos: 999_999_999
            }
        );
        assert_eq!(moment.to_unit(TimeUnit::Millisecond), Some(-1));
        assert_eq!(moment.to_unit(TimeUnit::Nanosecond), Some(-1));
        assert_eq!(
            parse_iso(b"2300-01-01T00:00:00")
                .unwrap()
                .to_unit(TimeUnit::Nanosecond),
            None
        );
        let least = Moment::from_unit(i64::MIN, TimeUnit::Nanosecond);
        assert_eq!(least.to_unit(TimeUnit::Nanosecond), Some(i64::MIN));
    }

    #[test]
    fn short_fractions() {
        let mut out = Vec::new();
        write_short(
            Moment {
                seconds: 0,
                nanos: 120_000_000,
            },
            b'T',
            9,
            &mut out,
        );
        out.push(b' ');
        write_short(Moment { seconds: 0, nanos: 0 }, b' ', 9, &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.12 1970-01-01 00:00:00");
    }
}
