//! Dates: days since 1970-01-01 in the proleptic Gregorian calendar.

use super::{digits, push_two, trim_spaces, two_digits};

/// The day number of a date that exists or not: months count on over the end of the year, days
/// over the end of the month.
pub fn from_civil(year: i32, month: u32, day: u32) -> i32 {
    // Years start in March here, so that the leap day is their last.
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) as i32
}

/// Year, month (1 to 12) and day (1 to 31) of a day number.
pub fn to_civil(days: i32) -> (i32, u32, u32) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    (
        (year_of_era + era * 400 + i64::from(month <= 2)) as i32,
        month,
        day,
    )
}

pub fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day number of a date that exists.
pub fn checked(year: i32, month: u32, day: u32) -> Option<i32> {
    let exists = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    exists.then(|| from_civil(year, month, day))
}

/// A date as CAST takes it: `2020-01-02`, `2020-1-2`, `2020-01`, `2020`, spaces at the ends, and
/// whatever stands behind a space after the day.
pub fn parse(text: &[u8]) -> Option<i32> {
    let text = trim_spaces(text);
    if let Some(days) = parse_iso(text) {
        return Some(days);
    }
    let text = match memchr::memchr(b' ', text) {
        Some(space) => &text[..space],
        None => text,
    };
    let (year, rest) = digits(text, 4)?;
    let year = year as i32;
    let [b'-', rest @ ..] = rest else {
        return if rest.is_empty() {
            checked(year, 1, 1)
        } else {
            None
        };
    };
    let (month, rest) = digits(rest, 2)?;
    let [b'-', rest @ ..] = rest else {
        return if rest.is_empty() {
            checked(year, month, 1)
        } else {
            None
        };
    };
    let (day, rest) = digits(rest, 2)?;
    if rest.is_empty() {
        checked(year, month, day)
    } else {
        None
    }
}

/// A date as ISO 8601 has it: `2020-01-02` and nothing else.
pub fn parse_iso(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
    checked(year as i32, two_digits(text, 5)?, two_digits(text, 8)?)
}

/// Appends `2020-01-02`. Years outside 0 to 9999 have a sign, as in Java's `LocalDate`.
pub fn write(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = to_civil(days);
    write_year(year, out);
    out.push(b'-');
    push_two(out, month);
    out.push(b'-');
    push_two(out, day);
}

fn write_year(year: i32, out: &mut Vec<u8>) {
    let magnitude = year.unsigned_abs();
    match year {
        0..=9999 => {}
        10_000.. => out.push(b'+'),
        _ => out.push(b'-'),
    }
    if magnitude > 9999 {
        out.extend_from_slice(itoa::Buffer::new().format(magnitude).as_bytes());
    } else {
        push_two(out, magnitude / 100);
        push_two(out, magnitude % 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(days: i32) -> String {
        let mut out = Vec::new();
        write(days, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_and_dates_are_one_another() {
        let mut previous = from_civil(1599, 12, 31);
        for year in 1600..2401 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    let days = from_civil(year, month, day);
                    assert_eq!(days, previous + 1);
                    assert_eq!(to_civil(days), (year, month, day));
                    previous = days;
                }
            }
        }
        assert_eq!(from_civil(1970, 1, 1), 0);
        assert_eq!(from_civil(2000, 3, 1), 11_017);
    }

    #[test]
    fn casts_take_short_forms() {
        let day = Some(from_civil(2020, 1, 1));
        for text in [
            "2020-01-01",
            "2020-1-1",
            "2020",
            "2020-01",
            " 2020-01-01 ",
            "2020-01-01 10:00:00",
        ] {
            assert_eq!(parse(text.as_bytes()), day, "{text}");
        }
        for text in [
            "",
            "2020-13-01",
            "2020-02-30",
            "2020-01-01T10:00:00",
            "20200101",
            "12020-01-01",
            "-0001-01-01",
            "2020-01-01x",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_iso(b"2020-1-1"), None);
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0001-01-01", "1969-12-31", "2024-02-29", "9999-12-31"] {
            assert_eq!(written(parse(text.as_bytes()).unwrap()), text);
        }
        assert_eq!(written(from_civil(12_345, 6, 7)), "+12345-06-07");
    }
}
