//! Medians, percentiles, and the steady part of a run.

use serde::{Deserialize, Serialize};

/// What was seen at one moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Since the watch began.
    pub seconds: f64,
    /// Records in the output so far.
    pub records: u64,
    /// CPU time that the watched processes have used so far.
    pub cpu_seconds: f64,
}

/// The part of a run between its first and its last tenth of the records: start-up, the first
/// fetches and the last checkpoint are outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steady {
    /// Records a second.
    pub rate: f64,
    /// CPU seconds for a million records.
    pub cpu_seconds_per_million: f64,
    /// Length of the part in seconds.
    pub seconds: f64,
}

/// A shorter steady part has too few checkpoints in it to be one.
const SHORTEST: f64 = 5.0;

/// The steady part of a run that wrote `total` records, or nothing if it was too short to be seen.
pub fn steady(samples: &[Sample], total: u64) -> Option<Steady> {
    let (low, high) = (0.1 * total as f64, 0.9 * total as f64);
    let from = crossing(samples, low)?;
    let to = crossing(samples, high)?;
    let seconds = to.0 - from.0;
    if seconds < SHORTEST {
        return None;
    }
    Some(Steady {
        rate: (high - low) / seconds,
        cpu_seconds_per_million: (to.1 - from.1) / (high - low) * 1e6,
        seconds,
    })
}

/// Time and CPU time at which the count of records passed `level`, between two samples in proportion.
fn crossing(samples: &[Sample], level: f64) -> Option<(f64, f64)> {
    samples.windows(2).find_map(|pair| {
        let [a, b] = pair else { return None };
        let (before, after) = (a.records as f64, b.records as f64);
        if before > level || after < level || before == after {
            return None;
        }
        let part = (level - before) / (after - before);
        Some((
            a.seconds + part * (b.seconds - a.seconds),
            a.cpu_seconds + part * (b.cpu_seconds - a.cpu_seconds),
        ))
    })
}

/// The median; of an even number of values the mean of the two in the middle. Nothing of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Smallest and largest value.
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// How many were measured.
    pub count: u64,
}

/// The percentiles of latencies given in microseconds, by nearest rank: each is a latency that was seen.
pub fn percentiles(micros: &mut [u64]) -> Option<Percentiles> {
    micros.sort_unstable();
    let at = |quantile: f64| {
        let rank = (quantile * micros.len() as f64).ceil() as usize;
        micros
            .get(rank.clamp(1, micros.len().max(1)) - 1)
            .map(|us| *us as f64 / 1000.0)
    };
    Some(Percentiles {
        p50: at(0.5)?,
        p90: at(0.9)?,
        p99: at(0.99)?,
        p999: at(0.999)?,
        max: at(1.0)?,
        count: micros.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(range(&[4.0, 1.0, 9.0]), Some((1.0, 9.0)));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn percentiles_are_latencies_that_were_seen() {
        let mut micros: Vec<u64> = (1..=1000).rev().map(|ms| ms * 1000).collect();
        let got = percentiles(&mut micros).unwrap();
        assert_eq!(
            got,
            Percentiles {
                p50: 500.0,
                p90: 900.0,
                p99: 990.0,
                p999: 999.0,
                max: 1000.0,
                count: 1000
            }
        );
        assert_eq!(percentiles(&mut [1500]).unwrap().p50, 1.5);
        assert_eq!(percentiles(&mut []), None);
    }

    /// A second of waiting, eight at a steady rate, a slow tail: the rate is the steady one.
    #[test]
    fn start_and_tail_are_outside_of_the_steady_part() {
        let mut samples = Vec::new();
        for tenth in 0..150u64 {
            let seconds = tenth as f64 / 10.0;
            let records = match tenth {
                0..=10 => 0,
                11..=90 => (tenth - 10) * 12_500,
                _ => 1_000_000 + (tenth - 90) * 200,
            };
            samples.push(Sample {
                seconds,
                records,
                cpu_seconds: 2.0 * seconds,
            });
        }
        let got = steady(&samples, 1_011_800).unwrap();
        assert!((got.rate - 125_000.0).abs() < 1.0, "{got:?}");
        assert!((got.cpu_seconds_per_million - 16.0).abs() < 0.001, "{got:?}");
    }

    #[test]
    fn a_run_that_is_over_at_once_has_no_steady_part() {
        let samples = [
            Sample {
                seconds: 0.0,
                records: 0,
                cpu_seconds: 0.0,
            },
            Sample {
                seconds: 0.1,
                records: 1000,
                cpu_seconds: 0.1,
            },
        ];
        assert_eq!(steady(&samples, 1000), None);
        assert_eq!(steady(&[], 1000), None);
    }
}
