//! How long a command to a subtask may wait until it is taken: as long as the step lasts that is under way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use millrace_connector_api::metrics::Statistics;

/// Steps of which the length is kept: as many values as Flink's histogram of a mailbox has.
const KEPT: usize = 60;
/// Of the seconds that pass, the longest step of each is kept.
const SECOND_NANOS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub struct Latency(Mutex<Lengths>);

#[derive(Debug, Default)]
struct Lengths {
    /// In milliseconds.
    kept: VecDeque<f64>,
    count: u64,
    sum: f64,
    known: Statistics,
}

/// Belongs to the subtask's thread.
#[derive(Debug, Default)]
pub struct LongestStep {
    longest_nanos: u64,
    passed_nanos: u64,
}

impl LongestStep {
    /// A step has taken so long, and so much time has passed since the one before.
    pub fn took(&mut self, step_nanos: u64, passed_nanos: u64, latency: &Latency) {
        self.longest_nanos = self.longest_nanos.max(step_nanos);
        self.passed_nanos += passed_nanos;
        if self.passed_nanos >= SECOND_NANOS {
            latency.add(self.longest_nanos as f64 / 1e6);
            *self = LongestStep::default();
        }
    }
}

/// Parts of the statistics on the wire, in thousandths of milliseconds.
pub(super) const PARTS: usize = 13;

impl Latency {
    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn add(&self, millis: f64) {
        let mut lengths = self.lengths();
        lengths.kept.push_back(millis);
        if lengths.kept.len() > KEPT {
            lengths.kept.pop_front();
        }
        lengths.count += 1;
        lengths.sum += millis;
    }

    pub(super) fn refresh(&self) {
        let mut lengths = self.lengths();
        let (count, sum) = (lengths.count, lengths.sum);
        lengths.known = Statistics::of(lengths.kept.make_contiguous(), count, sum);
    }

    /// As of the last refresh.
    pub fn known(&self) -> Statistics {
        self.lengths().known
    }

    pub(super) fn values(&self) -> [i64; PARTS] {
        let known = self.known();
        let parts = [
            known.sum,
            known.min,
            known.max,
            known.mean,
            known.stddev,
            known.p50,
            known.p75,
            known.p90,
            known.p95,
            known.p98,
            known.p99,
            known.p999,
        ];
        let mut values = [known.count as i64; PARTS];
        for (value, part) in values[1..].iter_mut().zip(parts) {
            *value = (part * 1000.0).round() as i64;
        }
        values
    }

    pub(super) fn set_values(&self, values: &[i64]) {
        let Ok([count, parts @ ..]) = <[i64; PARTS]>::try_from(values) else {
            return;
        };
        let [sum, min, max, mean, stddev, p50, p75, p90, p95, p98, p99, p999] =
            parts.map(|part| part as f64 / 1000.0);
        self.lengths().known = Statistics {
            count: count as u64,
            sum,
            min,
            max,
            mean,
            stddev,
            p50,
            p75,
            p90,
            p95,
            p98,
            p99,
            p999,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_second_the_longest_step_is_kept() {
        let latency = Latency::default();
        let mut longest = LongestStep::default();
        for step in 1..=200 {
            longest.took(step * 10_000, 10_000_000, &latency);
        }
        latency.refresh();
        let known = latency.known();
        assert_eq!((known.count, known.min, known.max), (2, 1.0, 2.0));
        let there = Latency::default();
        there.set_values(&latency.values());
        assert_eq!(there.known().max, 2.0);
        assert_eq!(there.values(), latency.values());
    }
}
