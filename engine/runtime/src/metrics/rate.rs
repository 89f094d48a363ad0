//! How fast a counter grows: looked at every five seconds, over the last minute.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard};

use super::Counter;

/// Milliseconds between two looks at a counter, and over how many it is taken.
pub(super) const LOOK: i64 = 5_000;
pub(super) const LOOKS: usize = 12;

/// A counter whose growth is known too.
#[derive(Debug, Default)]
pub struct Meter {
    count: Counter,
    looks: Mutex<VecDeque<(i64, u64)>>,
}

impl Deref for Meter {
    type Target = Counter;

    fn deref(&self) -> &Counter {
        &self.count
    }
}

impl Meter {
    fn looks(&self) -> MutexGuard<'_, VecDeque<(i64, u64)>> {
        self.looks.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn look(&self, now_millis: i64) {
        let mut looks = self.looks();
        looks.push_back((now_millis, self.count.get()));
        if looks.len() > LOOKS + 1 {
            looks.pop_front();
        }
    }

    /// As Flink's `MeterView`: over a minute, also where less than that has passed.
    pub fn per_second(&self) -> f64 {
        let looks = self.looks();
        match (looks.front(), looks.back()) {
            (Some((_, first)), Some((_, last))) => {
                last.saturating_sub(*first) as f64 * 1000.0 / (LOOK * LOOKS as i64) as f64
            }
            _ => 0.0,
        }
    }

    /// Of a counter of nanoseconds, as Flink's `TimerGauge`: how many milliseconds of a second, on average over the
    /// last minute or what has passed of it.
    pub fn millis_per_second(&self) -> i64 {
        let looks = self.looks();
        match (looks.front(), looks.back()) {
            (Some((from, first)), Some((to, last))) if to > from => {
                let millis = last.saturating_sub(*first) / 1_000_000;
                (millis as i64 * 1000 / (to - from)).clamp(0, 1000)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let meter = Meter::default();
        for look in 0..30 {
            // 10 a second, then none for 30 seconds.
            meter.set(50 * look.min(24) as u64);
            meter.look(look * LOOK);
        }
        assert_eq!(meter.per_second(), 7.0 * 50.0 / 60.0);
    }

    #[test]
    fn a_share_of_time_is_an_average_from_the_first_look_on() {
        let busy = Meter::default();
        busy.look(0);
        assert_eq!(busy.millis_per_second(), 0);
        busy.add(2_000_000_000);
        busy.look(LOOK);
        assert_eq!(busy.millis_per_second(), 400);
        // More than all of the time: what a long step took is counted at its end.
        busy.add(60_000_000_000);
        busy.look(2 * LOOK);
        assert_eq!(busy.millis_per_second(), 1000);
    }
}
