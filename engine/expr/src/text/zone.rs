//! Local times and instants in a zone, as `java.time.ZonedDateTime` resolves them.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::timestamp::Moment;

/// The offset from UTC in seconds at an instant. Beyond the years that the calendar library knows
/// it is that of the nearest.
pub fn offset_at(zone: Tz, instant_seconds: i64) -> i64 {
    if zone == Tz::UTC {
        return 0;
    }
    let clamped = instant_seconds.clamp(-8_000_000_000_000, 8_000_000_000_000);
    match DateTime::from_timestamp(clamped, 0) {
        Some(instant) => i64::from(
            zone.offset_from_utc_datetime(&instant.naive_utc())
                .fix()
                .local_minus_utc(),
        ),
        None => 0,
    }
}

/// What clocks in the zone show at an instant.
pub fn to_local(zone: Tz, instant: Moment) -> Moment {
    Moment {
        seconds: instant.seconds + offset_at(zone, instant.seconds),
        nanos: instant.nanos,
    }
}

/// The instant at which clocks in the zone show a time: the earlier one where they show it twice;
/// later by the length of the gap where they skip it.
pub fn to_instant(zone: Tz, local: Moment) -> Moment {
    if zone == Tz::UTC {
        return local;
    }
    let clamped = local.seconds.clamp(-8_000_000_000_000, 8_000_000_000_000);
    let offset = match DateTime::from_timestamp(clamped, 0).map(|t| t.naive_utc()) {
        Some(naive) => local_offset(zone, &naive),
        None => 0,
    };
    Moment {
        seconds: local.seconds - offset,
        nanos: local.nanos,
    }
}

fn local_offset(zone: Tz, naive: &NaiveDateTime) -> i64 {
    match zone.offset_from_local_datetime(naive) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
            i64::from(offset.fix().local_minus_utc())
        }
        // In a gap the offset before it holds: no gap is longer than a day.
        MappedLocalTime::None => offset_at(zone, naive.and_utc().timestamp() - 86_400),
    }
}

/// The machine's zone: TZ, else the target of /etc/localtime, else UTC.
pub fn machine() -> Tz {
    let known = |name: &str| name.parse::<Tz>().ok();
    let by_variable = || known(std::env::var("TZ").ok()?.trim_start_matches(':'));
    let by_link = || {
        let target = std::fs::read_link("/etc/localtime").ok()?;
        known(target.to_string_lossy().split_once("zoneinfo/")?.1)
    };
    by_variable().or_else(by_link).unwrap_or(Tz::UTC)
}

/// A zone by its name: a region (`Europe/Berlin`), `UTC`, `Z`, `GMT`, or one that has no rules
/// but an offset of whole hours, as `GMT+8`.
pub fn parse(name: &str) -> Option<Tz> {
    if let Ok(zone) = name.parse::<Tz>() {
        return Some(zone);
    }
    let offset = match name {
        "Z" | "UT" => return Some(Tz::UTC),
        _ => name
            .strip_prefix("GMT")
            .or_else(|| name.strip_prefix("UTC"))
            .unwrap_or(name),
    };
    let (sign, digits) = match offset.as_bytes() {
        [b'+', rest @ ..] => ("-", rest),
        [b'-', rest @ ..] => ("+", rest),
        _ => return None,
    };
    let text = std::str::from_utf8(digits).ok()?;
    let (hours, minutes) = text.split_once(':').unwrap_or((text, "00"));
    let hours: u32 = hours.parse().ok()?;
    if minutes != "00" || hours > 14 {
        return None;
    }
    // The names of these zones have the sign of POSIX, which is the other one.
    if hours == 0 {
        Some(Tz::UTC)
    } else {
        format!("Etc/GMT{sign}{hours}").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::timestamp::parse_iso;

    fn instant(zone: &str, local: &str) -> i64 {
        to_instant(parse(zone).unwrap(), parse_iso(local.as_bytes()).unwrap()).seconds
    }

    #[test]
    fn gaps_and_overlaps_resolve_as_in_java() {
        // 02:30 does not exist on the day; clocks go from 02:00 to 03:00 at 01:00 UTC.
        assert_eq!(instant("Europe/Berlin", "2024-03-31T02:30:00"), 1_711_848_600);
        assert_eq!(instant("Europe/Berlin", "2024-03-31T03:30:00"), 1_711_848_600);
        // 02:30 exists twice; the first is at 00:30 UTC.
        assert_eq!(instant("Europe/Berlin", "2024-10-27T02:30:00"), 1_729_989_000);
        assert_eq!(instant("GMT+08:00", "1970-01-01T08:00:00"), 0);
        assert_eq!(instant("UTC", "1970-01-01T00:00:00"), 0);
    }

    #[test]
    fn clocks_show_the_offset_of_the_instant() {
        let berlin = parse("Europe/Berlin").unwrap();
        assert_eq!(
            to_local(berlin, Moment { seconds: 0, nanos: 5 }),
            Moment {
                seconds: 3600,
                nanos: 5
            }
        );
        assert!(parse("Mars/Olympus").is_none());
    }
}
