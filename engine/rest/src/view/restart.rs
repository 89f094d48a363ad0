//! A job's restart strategy in words.

use std::time::Duration;

use millrace_core::{Configuration, Result, options};

/// As Flink describes it.
pub fn in_words(config: &Configuration) -> Result<String> {
    let strategy = config.get_optional(&options::RESTART_STRATEGY)?;
    let strategy = strategy.unwrap_or_default().to_ascii_lowercase();
    Ok(match strategy.as_str() {
        "none" | "off" | "disable" => "Restart deactivated.".to_owned(),
        "fixed-delay" | "fixeddelay" => format!(
            "Restart with fixed delay ({}). #{} restart attempts.",
            iso(config.get(&options::RESTART_DELAY)?),
            config.get(&options::RESTART_ATTEMPTS)?
        ),
        "failure-rate" | "failurerate" => format!(
            "Failure rate restart with maximum of {} failures within interval {} and fixed delay {}.",
            config.get(&options::RESTART_RATE_FAILURES)?,
            iso(config.get(&options::RESTART_RATE_INTERVAL)?),
            iso(config.get(&options::RESTART_RATE_DELAY)?)
        ),
        "exponential-delay" | "exponentialdelay" => format!(
            "Restart with exponential delay (initial backoff {}, maximum backoff {}, multiplier {}).",
            iso(config.get(&options::RESTART_INITIAL_BACKOFF)?),
            iso(config.get(&options::RESTART_MAX_BACKOFF)?),
            config.get(&options::RESTART_BACKOFF_MULTIPLIER)?
        ),
        _ => "Cluster level default restart strategy".to_owned(),
    })
}

/// ISO 8601, as Java writes a duration.
fn iso(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = "PT".to_owned();
    if hours > 0 {
        out += &format!("{hours}H");
    }
    if minutes > 0 {
        out += &format!("{minutes}M");
    }
    let millis = duration.subsec_millis();
    if millis > 0 {
        let fraction = format!("{millis:03}");
        out += &format!("{rest}.{}S", fraction.trim_end_matches('0'));
    } else if rest > 0 || out == "PT" {
        out += &format!("{rest}S");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_javas() {
        let written = |millis| iso(Duration::from_millis(millis));
        assert_eq!(
            [
                written(100),
                written(0),
                written(61_000),
                written(3_600_000),
                written(1_050)
            ],
            ["PT0.1S", "PT0S", "PT1M1S", "PT1H", "PT1.05S"]
        );
    }

    #[test]
    fn strategies_have_flinks_words() {
        let mut config = Configuration::default();
        assert!(in_words(&config).unwrap().starts_with("Cluster level"));
        config.set("restart-strategy.type", "fixed-delay");
        config.set("restart-strategy.fixed-delay.attempts", "3");
        config.set("restart-strategy.fixed-delay.delay", "100 ms");
        assert_eq!(
            in_words(&config).unwrap(),
            "Restart with fixed delay (PT0.1S). #3 restart attempts."
        );
    }
}
