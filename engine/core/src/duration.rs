//! Flink's notation of durations: `500 ms`, `1s`, `10 min`, `1 d`; a bare number is milliseconds.

use std::time::Duration;

/// Parses a duration as Flink's `TimeUtils.parseDuration` does.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let value: u64 = text[..digits].parse().ok()?;
    let nanos_per_unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "µs" | "us" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    value.checked_mul(nanos_per_unit).map(Duration::from_nanos)
}

/// Writes a duration in the largest unit that holds it exactly.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, size) in [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ] {
        if nanos > 0 && nanos.is_multiple_of(size) {
            return format!("{} {unit}", nanos / size);
        }
    }
    if nanos == 0 {
        "0 ms".to_owned()
    } else {
        format!("{nanos} ns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_refuses_the_rest() {
        assert_eq!(parse("500"), Some(Duration::from_millis(500)));
        assert_eq!(parse(" 1 s "), Some(Duration::from_secs(1)));
        assert_eq!(parse("2min"), Some(Duration::from_secs(120)));
        assert_eq!(parse("1 D"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse("3 fortnights"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("-1 s"), None);
        assert_eq!(parse("99999999999999999 d"), None);
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["1 s", "250 ms", "3 min", "2 h", "1 d", "0 ms", "7 ns"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
