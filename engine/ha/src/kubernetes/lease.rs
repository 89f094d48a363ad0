//! The lease: the election record of Kubernetes' clients, as JSON, in the form of the one that Flink 2.1 uses.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the annotation holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lease {
    /// Who holds it; empty after a release.
    #[serde(default)]
    holder_identity: Option<String>,
    /// `PT15S`, or a number of seconds.
    #[serde(default)]
    lease_duration: Value,
    #[serde(default)]
    acquire_time: Option<String>,
    #[serde(default)]
    renew_time: Option<String>,
    #[serde(default)]
    leader_transitions: i64,
}

impl Lease {
    /// Of a new holder.
    pub(super) fn acquired(before: Option<&Lease>, holder: String, duration: Duration) -> Lease {
        let now = now();
        Lease {
            holder_identity: Some(holder),
            lease_duration: seconds(duration),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            leader_transitions: before.map_or(0, |lease| lease.leader_transitions + 1),
        }
    }

    /// Of the same holder, now.
    pub(super) fn renewed(&self) -> Lease {
        Lease {
            renew_time: Some(now()),
            ..self.clone()
        }
    }

    /// Of nobody.
    pub(super) fn released(&self) -> Lease {
        Lease {
            holder_identity: Some(String::new()),
            lease_duration: seconds(Duration::from_secs(1)),
            renew_time: Some(now()),
            ..self.clone()
        }
    }

    pub(super) fn parse(text: &str) -> Option<Lease> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn holder(&self) -> Option<&str> {
        self.holder_identity
            .as_deref()
            .filter(|holder| !holder.is_empty())
    }

    /// How long it lasts after a renewal; nothing if that is not said.
    pub(super) fn duration(&self) -> Option<Duration> {
        match &self.lease_duration {
            Value::Number(seconds) => Duration::try_from_secs_f64(seconds.as_f64()?).ok(),
            Value::String(text) => parse_duration(text),
            _ => None,
        }
    }

    /// How long it still lasts by this machine's clock and the holder's, if the holder does not renew it.
    pub(super) fn left_by_clock(&self) -> Option<Duration> {
        let renewed: Timestamp = self.renew_time.as_ref()?.parse().ok()?;
        let since = Timestamp::now().duration_since(renewed);
        let since = Duration::try_from(since).unwrap_or_default();
        Some(self.duration()?.saturating_sub(since))
    }
}

fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// ISO 8601, as Java's `Duration` reads it.
fn seconds(duration: Duration) -> Value {
    let seconds = duration.as_secs();
    match duration.subsec_millis() {
        0 => Value::from(format!("PT{seconds}S")),
        millis => Value::from(format!("PT{seconds}.{millis:03}S")),
    }
}

/// `PT1H2M3.5S`, as Java's `Duration` writes it.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix("PT")?;
    let mut total = 0.0;
    for (unit, seconds) in [('H', 3600.0), ('M', 60.0), ('S', 1.0)] {
        if let Some((number, after)) = rest.split_once(unit) {
            total += number.parse::<f64>().ok()? * seconds;
            rest = after;
        }
    }
    (rest.is_empty() && text.len() > 2)
        .then(|| Duration::try_from_secs_f64(total).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_flink_writes_it() {
        let text = r#"{"holderIdentity":"id","leaseDuration":"PT15S","acquireTime":"2026-11-28T22:17:32.123456Z","renewTime":"2026-11-28T22:17:32.000000Z","leaderTransitions":3}"#;
        let lease = Lease::parse(text).unwrap();
        assert_eq!(lease.holder(), Some("id"));
        assert_eq!(lease.duration(), Some(Duration::from_secs(15)));
        assert_eq!(lease.left_by_clock(), Some(Duration::ZERO));
        assert_eq!(lease.to_text(), text);
    }

    #[test]
    fn durations_are_written_in_one_form_and_read_in_all() {
        for millis in [500, 3000, 15_000, 90_250, 3_600_000] {
            let duration = Duration::from_millis(millis);
            let lease = Lease::acquired(None, "a".to_owned(), duration);
            let read = Lease::parse(&lease.to_text()).unwrap();
            assert_eq!(read, lease);
            assert_eq!(read.duration(), Some(duration));
            assert!(read.left_by_clock().unwrap() <= duration);
        }
        for (text, seconds) in [
            ("\"PT1M30.5S\"", 90.5),
            ("15.000000000", 15.0),
            ("\"PT1H\"", 3600.0),
        ] {
            let lease = Lease::parse(&format!("{{\"leaseDuration\":{text}}}")).unwrap();
            assert_eq!(lease.duration(), Some(Duration::from_secs_f64(seconds)));
            assert_eq!(lease.holder(), None);
        }
        for text in ["PT", "P1D", "15", "PT-1S", ""] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn transitions_are_counted_and_a_release_has_no_holder() {
        let first = Lease::acquired(None, "a".to_owned(), Duration::from_secs(3));
        let second = Lease::acquired(Some(&first), "b".to_owned(), Duration::from_secs(3));
        assert_eq!(second.leader_transitions, 1);
        assert_eq!(second.renewed().holder(), Some("b"));
        assert_eq!(second.released().holder(), None);
    }
}
