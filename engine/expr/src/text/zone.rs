//! Local times and instants in a zone, as `java.time.ZonedDateTime` resolves them.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::timestamp::Moment;

/// A region with its rules, or an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Region(Tz),
    /// Seconds east of Greenwich.
    Fixed(i32),
}

impl Zone {
    pub const UTC: Zone = Zone::Fixed(0);
}

/// Which of two instants is meant where clocks show a time twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// As `java.time` takes it.
    Earlier,
    /// As `java.util.GregorianCalendar` takes it, in standard time.
    Later,
}

/// The offset from UTC in seconds at an instant. Beyond the years that the calendar library knows
/// it is that of the nearest.
pub fn offset_at(zone: Zone, instant_seconds: i64) -> i64 {
    let region = match zone {
        Zone::Fixed(offset) => return offset.into(),
        Zone::Region(region) => region,
    };
    let clamped = instant_seconds.clamp(-8_000_000_000_000, 8_000_000_000_000);
    match DateTime::from_timestamp(clamped, 0) {
        Some(instant) => i64::from(
            region
                .offset_from_utc_datetime(&instant.naive_utc())
                .fix()
                .local_minus_utc(),
        ),
        None => 0,
    }
}

/// What clocks in the zone show at an instant.
pub fn to_local(zone: Zone, instant: Moment) -> Moment {
    Moment {
        seconds: instant.seconds + offset_at(zone, instant.seconds),
        nanos: instant.nanos,
    }
}

/// The instant at which clocks in the zone show a time: the earlier one where they show it twice;
/// later by the length of the gap where they skip it.
pub fn to_instant(zone: Zone, local: Moment) -> Moment {
    resolve(zone, local, Overlap::Earlier)
}

/// As `to_instant`, with the choice of the instant where clocks show a time twice.
pub fn resolve(zone: Zone, local: Moment, overlap: Overlap) -> Moment {
    let clamped = local.seconds.clamp(-8_000_000_000_000, 8_000_000_000_000);
    let offset = match (zone, DateTime::from_timestamp(clamped, 0)) {
        (Zone::Fixed(offset), _) => offset.into(),
        (Zone::Region(region), Some(time)) => local_offset(region, &time.naive_utc(), overlap),
        (_, None) => 0,
    };
    Moment {
        seconds: local.seconds - offset,
        nanos: local.nanos,
    }
}

fn local_offset(region: Tz, naive: &NaiveDateTime, overlap: Overlap) -> i64 {
    match (region.offset_from_local_datetime(naive), overlap) {
        (MappedLocalTime::Ambiguous(_, offset), Overlap::Later)
        | (MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _), _) => {
            i64::from(offset.fix().local_minus_utc())
        }
        // In a gap the offset before it holds: no gap is longer than a day.
        (MappedLocalTime::None, _) => offset_at(Zone::Region(region), naive.and_utc().timestamp() - 86_400),
    }
}

/// The machine's zone: TZ, else the target of /etc/localtime, else UTC.
pub fn machine() -> Zone {
    let by_variable = || parse(std::env::var("TZ").ok()?.trim_start_matches(':'));
    let by_link = || {
        let target = std::fs::read_link("/etc/localtime").ok()?;
        parse(target.to_string_lossy().split_once("zoneinfo/")?.1)
    };
    by_variable().or_else(by_link).unwrap_or(Zone::UTC)
}

/// A zone by a name of `java.time.ZoneId`: a region (`Europe/Berlin`), `UTC`, `Z`, or an offset
/// (`GMT+8`, `UTC-05:30`, `+08:00`).
pub fn parse(name: &str) -> Option<Zone> {
    match name {
        "Z" | "UT" | "UTC" | "GMT" => return Some(Zone::UTC),
        // Java has these as abbreviations only.
        "EST" | "MST" | "HST" => return None,
        _ => {}
    }
    if let Ok(region) = name.parse::<Tz>() {
        return Some(Zone::Region(region));
    }
    let offset = ["GMT", "UTC", "UT", ""]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    offset.and_then(self::offset).map(Zone::Fixed)
}

/// The session's zone, `table.local-time-zone`. Flink takes what means the same for
/// `java.util.TimeZone` and `java.time.ZoneId`: a region, `UTC`, or `GMT` with an offset.
pub fn session(name: &str) -> Option<Zone> {
    let zone = parse(name)?;
    let same = match zone {
        Zone::Region(_) => true,
        Zone::Fixed(_) => name == "UTC" || name.starts_with("GMT"),
    };
    same.then_some(zone)
}

/// A zone as `java.util.TimeZone.getTimeZone` understands a name: what it does not know is GMT.
pub fn legacy(name: &str) -> Zone {
    if let Some((_, region)) = ABBREVIATIONS.iter().find(|(short, _)| *short == name) {
        return region.parse().map_or(Zone::UTC, Zone::Region);
    }
    match name {
        "EST" => return Zone::Fixed(-5 * 3600),
        "MST" => return Zone::Fixed(-7 * 3600),
        "HST" => return Zone::Fixed(-10 * 3600),
        _ => {}
    }
    match name.strip_prefix("GMT").and_then(offset) {
        Some(offset) => Zone::Fixed(offset),
        None => name.parse().map_or(Zone::UTC, Zone::Region),
    }
}

/// `java.time.ZoneId.SHORT_IDS` without those that are offsets.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

/// `+8`, `-08`, `+05:30`, `+530`, `+0530` in seconds: up to 23 hours, minutes in two digits.
fn offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes): (&[u8], &[u8]) = match digits {
        [_] | [_, _] => (digits, b"00"),
        [h @ .., b':', _, _] if matches!(h.len(), 1 | 2) => (h, &digits[h.len() + 1..]),
        [_, _, _] | [_, _, _, _] => digits.split_at(digits.len() - 2),
        _ => return None,
    };
    let number = |digits: &[u8]| -> Option<i32> {
        let text = std::str::from_utf8(digits).ok()?;
        let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if all { text.parse().ok() } else { None }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
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
        assert_eq!(offset_at(parse("GMT+05:30").unwrap(), 0), 19_800);
        assert_eq!(offset_at(legacy("PST"), 0), -28_800);
        assert_eq!(legacy("GMT-530"), Zone::Fixed(-19_800));
        for unknown in [
            "GMT+24",
            "GMT+5:60",
            "GMT+05:3",
            "GMT+5 ",
            "UTC+8",
            "+08:00",
            "",
            "Mars/Olympus",
        ] {
            assert_eq!(offset_at(legacy(unknown), 0), 0, "{unknown}");
        }
        for (name, known) in [
            ("GMT-08:00", true),
            ("GMT-8", true),
            ("UTC", true),
            ("Asia/Shanghai", true),
            ("UTC+8", false),
            ("PST", false),
            ("EST", false),
            ("+05:30", false),
        ] {
            assert_eq!(session(name).is_some(), known, "{name}");
        }
    }
}
