//! When a failed job is tried again: Flink's restart strategies.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use millrace_core::{Configuration, Error, ErrorKind, Result, options};

#[derive(Debug)]
pub enum RestartStrategy {
    None,
    FixedDelay {
        attempts: u32,
        delay: Duration,
    },
    /// It gives up when there were more failures within the interval than that.
    FailureRate {
        most: usize,
        interval: Duration,
        delay: Duration,
        failures: VecDeque<Instant>,
    },
    ExponentialDelay(Backoff),
}

/// Pauses that grow with every failure, up to a bound; a long quiet run begins anew.
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    longest: Duration,
    multiplier: f64,
    /// Share of a pause that it is longer or shorter by, at random: jobs that failed together do not come back together.
    jitter: f64,
    quiet: Duration,
    /// Restarts before the pauses begin anew.
    attempts: u32,
    tried: u32,
    next: Duration,
    last_failure: Option<Instant>,
}

impl Backoff {
    fn from_config(config: &Configuration) -> Result<Self> {
        let initial = config.get(&options::RESTART_INITIAL_BACKOFF)?;
        let multiplier = config.get(&options::RESTART_BACKOFF_MULTIPLIER)?;
        let jitter = config.get(&options::RESTART_JITTER)?;
        if multiplier < 1.0 || !(0.0..=1.0).contains(&jitter) {
            return Err(
                Error::user("the restart strategy has a value that is out of range")
                    .with_detail(format!("backoff-multiplier {multiplier}, jitter-factor {jitter}"))
                    .with_hint("backoff-multiplier is at least 1, jitter-factor 0 to 1"),
            );
        }
        Ok(Backoff {
            initial,
            longest: config.get(&options::RESTART_MAX_BACKOFF)?.max(initial),
            multiplier,
            jitter,
            quiet: config.get(&options::RESTART_RESET_BACKOFF)?,
            attempts: config.get(&options::RESTART_BACKOFF_ATTEMPTS)?,
            tried: 0,
            next: initial,
            last_failure: None,
        })
    }

    fn pause(&mut self, now: Instant) -> Duration {
        let was_quiet = self
            .last_failure
            .is_some_and(|at| now.duration_since(at) > self.quiet);
        if was_quiet || self.tried >= self.attempts {
            self.next = self.initial;
            self.tried = 0;
        }
        self.last_failure = Some(now);
        self.tried += 1;
        let pause = self.next;
        self.next = pause.mul_f64(self.multiplier).min(self.longest);
        // -1 to 1.
        let random = f64::from(uuid::Uuid::new_v4().as_u128() as u32) / f64::from(u32::MAX) * 2.0 - 1.0;
        pause.mul_f64(1.0 + self.jitter * random).min(self.longest)
    }
}

impl RestartStrategy {
    pub fn from_config(config: &Configuration, has_checkpoints: bool) -> Result<Self> {
        let named = config.get_optional(&options::RESTART_STRATEGY)?;
        let exponential = || Backoff::from_config(config).map(RestartStrategy::ExponentialDelay);
        match named.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None if has_checkpoints => exponential(),
            None | Some("none" | "off" | "disable" | "disabled" | "false") => Ok(RestartStrategy::None),
            Some("fixed-delay" | "fixeddelay") => Ok(RestartStrategy::FixedDelay {
                attempts: config.get(&options::RESTART_ATTEMPTS)?,
                delay: config.get(&options::RESTART_DELAY)?,
            }),
            Some("failure-rate" | "failurerate") => Ok(RestartStrategy::FailureRate {
                most: config.get(&options::RESTART_RATE_FAILURES)?,
                interval: config.get(&options::RESTART_RATE_INTERVAL)?,
                delay: config.get(&options::RESTART_RATE_DELAY)?,
                failures: VecDeque::new(),
            }),
            Some("exponential-delay" | "exponentialdelay") => exponential(),
            Some(other) => Err(
                Error::unsupported(format!("the restart strategy '{other}'")).with_hint(
                    "restart-strategy.type takes none, fixed-delay, failure-rate or exponential-delay",
                ),
            ),
        }
    }

    /// The pause before the next attempt, or nothing if there is none: never for what a restart
    /// cannot mend.
    pub fn after(&mut self, error: &Error, now: Instant) -> Option<Duration> {
        if matches!(
            error.kind(),
            ErrorKind::User | ErrorKind::Fenced | ErrorKind::DataLoss
        ) {
            return None;
        }
        match self {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                *attempts = attempts.checked_sub(1)?;
                Some(*delay)
            }
            RestartStrategy::FailureRate {
                most,
                interval,
                delay,
                failures,
            } => {
                failures.retain(|at| now.duration_since(*at) <= *interval);
                failures.push_back(now);
                (failures.len() <= *most).then_some(*delay)
            }
            RestartStrategy::ExponentialDelay(backoff) => Some(backoff.pause(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(settings: &[(&str, &str)]) -> RestartStrategy {
        let mut config = Configuration::default();
        for (key, value) in settings {
            config.set(format!("restart-strategy.{key}"), *value);
        }
        RestartStrategy::from_config(&config, true).unwrap()
    }

    #[test]
    fn pauses_grow_to_their_bound_and_what_cannot_be_mended_is_not_tried_again() {
        let mut strategy = strategy(&[
            ("exponential-delay.max-backoff", "3 s"),
            ("exponential-delay.backoff-multiplier", "2"),
            ("exponential-delay.jitter-factor", "0"),
            ("exponential-delay.reset-backoff-threshold", "1 min"),
        ]);
        let now = Instant::now();
        let mut pause = |at| strategy.after(&Error::external("x"), at).map(|d| d.as_secs());
        assert_eq!(
            [pause(now), pause(now), pause(now), pause(now)],
            [Some(1), Some(2), Some(3), Some(3)]
        );
        assert_eq!(pause(now + Duration::from_secs(61)), Some(1));
        for error in [Error::user("x"), Error::fenced("x"), Error::data_loss("x")] {
            assert_eq!(strategy.after(&error, now), None);
        }
        assert!(matches!(
            RestartStrategy::from_config(&Configuration::default(), false).unwrap(),
            RestartStrategy::None
        ));
    }

    #[test]
    fn pauses_are_spread_about_their_length() {
        let mut strategy = strategy(&[
            ("exponential-delay.backoff-multiplier", "1"),
            ("exponential-delay.jitter-factor", "0.5"),
        ]);
        let now = Instant::now();
        let pauses: Vec<f64> = (0..100)
            .map(|_| strategy.after(&Error::external("x"), now).unwrap().as_secs_f64())
            .collect();
        assert!(pauses.iter().all(|pause| (0.5..=1.5).contains(pause)));
        assert!(pauses.iter().any(|p| *p < 0.9) && pauses.iter().any(|p| *p > 1.1));
    }

    #[test]
    fn fixed_delay_gives_up() {
        let mut strategy = strategy(&[("type", "fixed-delay"), ("fixed-delay.attempts", "2")]);
        let now = Instant::now();
        let tries: Vec<_> = (0..3)
            .map(|_| strategy.after(&Error::external("x"), now).is_some())
            .collect();
        assert_eq!(tries, [true, true, false]);
    }

    #[test]
    fn failure_rate_gives_up_when_failures_come_too_fast() {
        let mut strategy = strategy(&[
            ("type", "failure-rate"),
            ("failure-rate.max-failures-per-interval", "2"),
            ("failure-rate.failure-rate-interval", "10 s"),
            ("failure-rate.delay", "3 s"),
        ]);
        let start = Instant::now();
        let mut tried = |second| {
            let now = start + Duration::from_secs(second);
            strategy.after(&Error::external("x"), now).map(|d| d.as_secs())
        };
        assert_eq!([tried(0), tried(9), tried(11)], [Some(3); 3]);
        assert_eq!(tried(12), None, "the third within ten seconds");
    }
}
