//! Date and time patterns as `java.time.format.DateTimeFormatter` has them (`yyyy-MM-dd HH:mm`), and
//! as the older `java.text.SimpleDateFormat` does, which some of Flink's functions use.
//!
//! Letters that are not known here are refused by name. Names of months and days are English.

use millrace_core::{Error, Result};

use super::timestamp::Moment;
use super::{date, push_two};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(String),
    Field { field: Field, count: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    DayOfYear,
    DayName,
    /// Monday is 1.
    DayNumber,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    HourFrom1,
    /// 0 to 11.
    HalfDayHour,
    /// 1 to 12.
    ClockHour,
    Minute,
    Second,
    Fraction,
    /// A number of its own, not the digits of a fraction.
    Millisecond,
    HalfDay,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl Pattern {
    /// A pattern of `DateTimeFormatter`.
    pub fn compile(pattern: &str) -> Result<Pattern> {
        Self::compile_by(pattern, field)
    }

    /// A pattern of `SimpleDateFormat`, where `u` is the day of the week and S counts milliseconds.
    pub fn compile_simple(pattern: &str) -> Result<Pattern> {
        Self::compile_by(pattern, |letter, count| match letter {
            'u' => (count <= 9).then_some(Field::DayNumber),
            'S' => (count <= 9).then_some(Field::Millisecond),
            _ => field(letter, count),
        })
    }

    fn compile_by(pattern: &str, field: impl Fn(char, usize) -> Option<Field>) -> Result<Pattern> {
        let mut items: Vec<Item> = Vec::new();
        let mut literal = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '\'' {
                // Two quotes are one, inside and outside of quotes.
                if rest.next_if_eq(&'\'').is_some() {
                    literal.push('\'');
                    continue;
                }
                loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(c) => literal.push(c),
                        None => return Err(invalid(pattern, "a quote is not closed")),
                    }
                }
                continue;
            }
            if !c.is_ascii_alphabetic() {
                if matches!(c, '{' | '}' | '#' | '[' | ']') {
                    return Err(Error::unsupported(format!(
                        "'{c}' in the date pattern '{pattern}'"
                    )));
                }
                literal.push(c);
                continue;
            }
            let mut count = 1;
            while rest.next_if_eq(&c).is_some() {
                count += 1;
            }
            if !literal.is_empty() {
                items.push(Item::Literal(std::mem::take(&mut literal)));
            }
            let field = field(c, count).ok_or_else(|| {
                Error::unsupported(format!(
                    "'{}' in the date pattern '{pattern}'",
                    c.to_string().repeat(count)
                ))
            })?;
            items.push(Item::Field { field, count });
        }
        if !literal.is_empty() {
            items.push(Item::Literal(literal));
        }
        Ok(Pattern { items })
    }

    /// Appends a moment in this pattern.
    pub fn write(&self, moment: Moment, out: &mut Vec<u8>) {
        let (days, nanos) = moment.split();
        let (year, month, day) = date::to_civil(days);
        let second_of_day = (nanos / 1_000_000_000) as u32;
        let hour = second_of_day / 3600;
        for item in &self.items {
            let (field, count) = match item {
                Item::Literal(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Item::Field { field, count } => (*field, *count),
            };
            match field {
                Field::Year if count == 2 => push_two(out, year.rem_euclid(100) as u32),
                Field::Year => push_number(out, year.unsigned_abs(), count),
                Field::Month => match count {
                    1 | 2 => push_number(out, month, count),
                    3 => out.extend_from_slice(&MONTHS[month as usize - 1].as_bytes()[..3]),
                    _ => out.extend_from_slice(MONTHS[month as usize - 1].as_bytes()),
                },
                Field::Day => push_number(out, day, count),
                Field::DayOfYear => {
                    push_number(out, (days - date::from_civil(year, 1, 1) + 1) as u32, count);
                }
                Field::DayName => {
                    let name = DAYS[(days + 3).rem_euclid(7) as usize];
                    out.extend_from_slice(if count == 4 {
                        name.as_bytes()
                    } else {
                        &name.as_bytes()[..3]
                    });
                }
                Field::DayNumber => push_number(out, (days + 3).rem_euclid(7) as u32 + 1, count),
                Field::Millisecond => push_number(out, moment.nanos / 1_000_000, count),
                Field::Hour => push_number(out, hour, count),
                Field::HourFrom1 => push_number(out, if hour == 0 { 24 } else { hour }, count),
                Field::HalfDayHour => push_number(out, hour % 12, count),
                Field::ClockHour => {
                    push_number(out, if hour.is_multiple_of(12) { 12 } else { hour % 12 }, count)
                }
                Field::Minute => push_number(out, second_of_day / 60 % 60, count),
                Field::Second => push_number(out, second_of_day % 60, count),
                Field::Fraction => {
                    let mut unit = 100_000_000;
                    for _ in 0..count {
                        out.push(b'0' + (moment.nanos / unit % 10) as u8);
                        unit = (unit / 10).max(1);
                    }
                }
                Field::HalfDay => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            }
        }
    }

    /// Reads a text as `DateTimeFormatter` does: numbers have as many digits as letters, a single
    /// letter stands for one or more. What the pattern lacks is 1970-01-01 00:00:00. A day that its
    /// month lacks is the month's last.
    pub fn parse(&self, text: &str) -> Option<Moment> {
        let (parts, rest) = self.read(text, false)?;
        if !rest.is_empty() {
            return None;
        }
        let (year, month, day) = (
            parts.year.unwrap_or(1970),
            parts.month.unwrap_or(1),
            parts.day.unwrap_or(1),
        );
        let days = match parts.day_of_year {
            Some(day) if parts.month.is_none() => {
                let most = if date::is_leap(year) { 366 } else { 365 };
                (1..=most)
                    .contains(&day)
                    .then(|| date::from_civil(year, 1, 1) + day as i32 - 1)?
            }
            _ => {
                if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
                    return None;
                }
                date::from_civil(year, month, day.min(date::days_in_month(year, month)))
            }
        };
        let hour = parts.hour_of_day()?;
        let (minute, second) = (parts.minute, parts.second);
        if hour == 24 && minute == 0 && second == 0 && parts.nanos == 0 {
            return Some(Moment::new(days + 1, 0));
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = u64::from((hour * 60 + minute) * 60 + second);
        Some(Moment::new(
            days,
            seconds * 1_000_000_000 + u64::from(parts.nanos),
        ))
    }

    /// Reads a text as `SimpleDateFormat` does: numbers have any number of digits, too large ones
    /// carry over (February 30 is March 1 or 2), and text behind the pattern is ignored.
    pub fn parse_lenient(&self, text: &str) -> Option<Moment> {
        let (parts, _) = self.read(text, true)?;
        let months = i64::from(parts.year.unwrap_or(1970)) * 12 + i64::from(parts.month.unwrap_or(1)) - 1;
        let (year, month) = (months.div_euclid(12) as i32, months.rem_euclid(12) as u32 + 1);
        let mut days = i64::from(date::from_civil(year, month, 1)) + i64::from(parts.day.unwrap_or(1)) - 1;
        if let (Some(day), None) = (parts.day_of_year, parts.month) {
            days = i64::from(date::from_civil(year, 1, 1)) + i64::from(day) - 1;
        }
        let hour = match (parts.hour, parts.half_day_hour) {
            (Some(hour), _) => i64::from(hour),
            (None, hour) => i64::from(hour.unwrap_or(0)) + if parts.afternoon == Some(true) { 12 } else { 0 },
        };
        let seconds = (days * 24 + hour) * 3600 + i64::from(parts.minute) * 60 + i64::from(parts.second);
        let millis = i64::from(parts.millis);
        Some(Moment {
            seconds: seconds + millis / 1000,
            nanos: (millis % 1000) as u32 * 1_000_000,
        })
    }

    fn read<'a>(&self, text: &'a str, lenient: bool) -> Option<(Parts, &'a str)> {
        let mut parts = Parts::default();
        let mut rest = text;
        for (index, item) in self.items.iter().enumerate() {
            let (field, count) = match item {
                Item::Literal(literal) => {
                    rest = rest.strip_prefix(literal.as_str())?;
                    continue;
                }
                Item::Field { field, count } => (*field, *count),
            };
            match field {
                Field::Month if count >= 3 => {
                    let (found, after) = name(rest, &MONTHS)?;
                    parts.month = Some(found as u32 + 1);
                    rest = after;
                    continue;
                }
                Field::DayName => {
                    rest = name(rest, &DAYS)?.1;
                    continue;
                }
                Field::HalfDay => {
                    let (found, after) = name(rest, &["AM", "PM"])?;
                    parts.afternoon = Some(found == 1);
                    rest = after;
                    continue;
                }
                _ => {}
            }
            // Spaces before a number are nothing to SimpleDateFormat.
            if lenient {
                rest = rest.trim_start_matches([' ', '\t']);
            }
            let available = rest.bytes().take_while(u8::is_ascii_digit).count();
            let reserved = self.reserved(index);
            let follows = index > 0 && self.is_numeric(index - 1);
            let year = field == Field::Year && count != 2;
            let width = if lenient {
                // Digits run on unless another number follows directly.
                if reserved > 0 || (follows && !year) {
                    count.min(available)
                } else {
                    available
                }
            } else if field == Field::Fraction || (count > 1 && !year) || follows {
                count
            } else if reserved > 0 {
                available.saturating_sub(reserved).max(count)
            } else {
                available
            };
            if width == 0 || width > available || width > 9 || (!lenient && width < count) {
                return None;
            }
            let value: u32 = rest[..width].parse().ok()?;
            let digits = &rest.as_bytes()[..width];
            rest = &rest[width..];
            match field {
                Field::Year if count == 2 && width == 2 => parts.year = Some(2000 + value as i32),
                Field::Year => parts.year = Some(i32::try_from(value).ok().filter(|y| *y <= 999_999)?),
                Field::Month => parts.month = Some(value.min(1_000_000)),
                Field::Day => parts.day = Some(value.min(100_000_000)),
                Field::DayOfYear => parts.day_of_year = Some(value.min(100_000_000)),
                Field::Hour => parts.hour = Some(value.min(1_000_000)),
                Field::HourFrom1 => parts.hour = Some(if value == 24 { 0 } else { value.min(1_000_000) }),
                Field::HalfDayHour => parts.half_day_hour = Some(value.min(1_000_000)),
                Field::ClockHour => {
                    parts.half_day_hour = Some(if value == 12 { 0 } else { value.min(1_000_000) })
                }
                Field::Minute => parts.minute = value.min(10_000_000),
                Field::Second => parts.second = value.min(100_000_000),
                Field::Fraction => parts.nanos = super::fraction(digits)?,
                Field::Millisecond => parts.millis = value,
                Field::DayName | Field::DayNumber | Field::HalfDay => {}
            }
        }
        Some((parts, rest))
    }

    /// Refuses what is not read here as `SimpleDateFormat` reads it.
    pub fn check_reading(self) -> Result<Pattern> {
        let what = self.items.iter().find_map(|item| match item {
            Item::Field {
                field: Field::Year,
                count: 2,
            } => Some("a year of two digits"),
            Item::Field {
                field: Field::DayNumber,
                ..
            } => Some("'u', the day of the week,"),
            _ => None,
        });
        match what {
            Some(what) => Err(Error::unsupported(format!(
                "{what} in the pattern of TO_DATE or UNIX_TIMESTAMP"
            ))),
            None => Ok(self),
        }
    }

    fn is_numeric(&self, index: usize) -> bool {
        match self.items.get(index) {
            Some(Item::Field {
                field: Field::DayName | Field::HalfDay,
                ..
            }) => false,
            Some(Item::Field {
                field: Field::Month,
                count,
            }) => *count < 3,
            Some(Item::Field { .. }) => true,
            _ => false,
        }
    }

    /// Digits that the numbers directly behind a field need.
    fn reserved(&self, index: usize) -> usize {
        let mut sum = 0;
        for next in index + 1.. {
            match self.items.get(next) {
                Some(Item::Field { count, .. }) if self.is_numeric(next) => sum += count,
                _ => break,
            }
        }
        sum
    }
}

/// The numbers that a text has for a pattern.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    half_day_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    millis: u32,
}

impl Parts {
    fn hour_of_day(&self) -> Option<u32> {
        match (self.hour, self.half_day_hour) {
            (Some(hour), _) => Some(hour),
            (None, Some(hour)) if hour < 12 => Some(hour + if self.afternoon == Some(true) { 12 } else { 0 }),
            (None, Some(_)) => None,
            (None, None) => Some(0),
        }
    }
}

fn invalid(pattern: &str, why: &str) -> Error {
    Error::user(format!("the date pattern '{pattern}' is invalid: {why}"))
}

fn field(letter: char, count: usize) -> Option<Field> {
    let (field, most) = match letter {
        'y' | 'u' => (Field::Year, 9),
        'M' | 'L' => (Field::Month, 4),
        'd' => (Field::Day, 2),
        'D' => (Field::DayOfYear, 3),
        'E' => (Field::DayName, 4),
        'H' => (Field::Hour, 2),
        'k' => (Field::HourFrom1, 2),
        'K' => (Field::HalfDayHour, 2),
        'h' => (Field::ClockHour, 2),
        'm' => (Field::Minute, 2),
        's' => (Field::Second, 2),
        'S' => (Field::Fraction, 9),
        'a' => (Field::HalfDay, 1),
        _ => return None,
    };
    (count <= most).then_some(field)
}

fn push_number(out: &mut Vec<u8>, value: u32, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

/// A name at the start, in full or by its first three letters.
fn name<'a>(text: &'a str, names: &[&str]) -> Option<(usize, &'a str)> {
    let full = names
        .iter()
        .position(|name| text.starts_with(name))
        .map(|i| (i, names[i].len()));
    let found = full.or_else(|| {
        names
            .iter()
            .position(|name| text.starts_with(&name[..name.len().min(3)]))
            .map(|i| (i, 3))
    });
    let (index, length) = found?;
    Some((index, text.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::timestamp;

    fn written(pattern: &str, text: &str) -> String {
        let mut out = Vec::new();
        Pattern::compile(pattern)
            .unwrap()
            .write(timestamp::parse(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn read(pattern: &str, text: &str) -> Option<String> {
        let mut out = Vec::new();
        let moment = Pattern::compile(pattern).unwrap().parse(text)?;
        timestamp::write_short(moment, b' ', 9, &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn writes_as_java_does() {
        let moment = "2020-05-06 13:11:12.345";
        for (pattern, expected) in [
            ("yyyy/MM/dd HH:mm:ss.SSS", "2020/05/06 13:11:12.345"),
            ("yy-M-d H:m:s", "20-5-6 13:11:12"),
            ("EEE MMM d a hh", "Wed May 6 PM 01"),
            ("EEEE MMMM D", "Wednesday May 127"),
            ("'quoted' yyyy''", "quoted 2020'"),
            ("hh K k", "01 1 13"),
        ] {
            assert_eq!(written(pattern, moment), expected);
        }
        assert!(Pattern::compile("bad b").is_err());
    }

    #[test]
    fn reads_leniently_as_simple_date_format_does() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd", "2020-5-6", Some("2020-05-06 00:00:00")),
            ("yyyy-MM-dd", "2020-02-30", Some("2020-03-01 00:00:00")),
            (
                "yyyy-MM-dd HH:mm:ss",
                "2020-05-06 01:02:03.5",
                Some("2020-05-06 01:02:03"),
            ),
            ("yyyyMMdd", "20200506", Some("2020-05-06 00:00:00")),
            ("MMM d, yyyy", "May 6, 2020", Some("2020-05-06 00:00:00")),
            ("yyyy", "2020", Some("2020-01-01 00:00:00")),
            ("yyyy-MM-dd", "bad", None),
        ] {
            let moment = Pattern::compile(pattern).unwrap().parse_lenient(text);
            let written = moment.map(|moment| {
                let mut out = Vec::new();
                timestamp::write_short(moment, b' ', 9, &mut out);
                String::from_utf8(out).unwrap()
            });
            assert_eq!(written.as_deref(), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn reads_as_flink_does() {
        for (pattern, text, expected) in [
            ("yyyyMMdd", "20200506", Some("2020-05-06 00:00:00")),
            (
                "yyyyMMddHHmmssSSS",
                "20200506010203123",
                Some("2020-05-06 01:02:03.123"),
            ),
            ("dd/MM/yyyy HH", "06/05/2020 10", Some("2020-05-06 10:00:00")),
            (
                "yyyy-MM-dd'T'HH:mm:ss",
                "2020-05-06T10:11:12",
                Some("2020-05-06 10:11:12"),
            ),
            (
                "yyyy-MM-dd HH:mm:ss.SSS",
                "2020-05-06 10:11:12.500",
                Some("2020-05-06 10:11:12.5"),
            ),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2020-05-06 10:11:12.5", None),
            ("yyyy-MM-dd", "2020-5-6", None),
            ("yyyy-MM-dd", "2020-02-30", Some("2020-02-29 00:00:00")),
            ("yy-MM-dd", "20-05-06", Some("2020-05-06 00:00:00")),
            ("MM-dd", "05-06", Some("1970-05-06 00:00:00")),
            (
                "yyyy-MM-dd hh:mm a",
                "2020-05-06 01:02 PM",
                Some("2020-05-06 13:02:00"),
            ),
            ("d MMM yyyy", "6 May 2020", Some("2020-05-06 00:00:00")),
            ("yyyy-MM-dd", "bad", None),
            ("yyyy-MM-dd", "2020-13-01", None),
        ] {
            assert_eq!(read(pattern, text).as_deref(), expected, "{pattern} {text}");
        }
    }
}
