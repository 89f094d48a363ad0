//! When a failed job is tried again: Flink's restart strategies.

use std::time::{Duration, Instant};

use millrace_core::{Configuration, Error, ErrorKind, Result, options};

#[derive(Debug)]
pub enum RestartStrategy {
    None,
    FixedDelay {
        attempts: u32,
        delay: Duration,
    },
    /// The pause doubles with every failure, up to a bound; a long quiet run resets it.
    ExponentialDelay {
        initial: Duration,
        longest: Duration,
        next: Duration,
        last_failure: Option<Instant>,
    },
}

/// A run without a failure for so long starts again with the first pause (Flink's
/// `restart-strategy.exponential-delay.reset-backoff-threshold`).
const QUIET: Duration = Duration::from_secs(3600);

impl RestartStrategy {
    pub fn from_config(config: &Configuration, has_checkpoints: bool) -> Result<Self> {
        let named = config.get_optional(&options::RESTART_STRATEGY)?;
        let exponential = || -> Result<Self> {
            let initial = config.get(&options::RESTART_INITIAL_BACKOFF)?;
            let longest = config.get(&options::RESTART_MAX_BACKOFF)?;
            Ok(RestartStrategy::ExponentialDelay {
                initial,
                longest,
                next: initial,
                last_failure: None,
            })
        };
        match named.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None if has_checkpoints => exponential(),
            None | Some("none" | "off" | "disable" | "disabled" | "false") => Ok(RestartStrategy::None),
            Some("fixed-delay" | "fixeddelay") => Ok(RestartStrategy::FixedDelay {
                attempts: config.get(&options::RESTART_ATTEMPTS)?,
                delay: config.get(&options::RESTART_DELAY)?,
            }),
            Some("exponential-delay" | "exponentialdelay") => exponential(),
            Some(other) => Err(Error::unsupported(format!("the restart strategy '{other}'"))
                .with_hint("restart-strategy.type takes none, fixed-delay or exponential-delay")),
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
            RestartStrategy::ExponentialDelay {
                initial,
                longest,
                next,
                last_failure,
            } => {
                if last_failure.is_some_and(|at| now.duration_since(at) > QUIET) {
                    *next = *initial;
                }
                *last_failure = Some(now);
                let pause = *next;
                *next = (*next * 2).min(*longest);
                Some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_what_cannot_be_mended_is_not_tried_again() {
        let mut config = Configuration::default();
        config.set("restart-strategy.exponential-delay.max-backoff", "3 s");
        let mut strategy = RestartStrategy::from_config(&config, true).unwrap();
        let now = Instant::now();
        let mut pause = || strategy.after(&Error::external("x"), now).map(|d| d.as_secs());
        assert_eq!(
            [pause(), pause(), pause(), pause()],
            [Some(1), Some(2), Some(3), Some(3)]
        );
        for error in [Error::user("x"), Error::fenced("x"), Error::data_loss("x")] {
            assert_eq!(strategy.after(&error, now), None);
        }
        assert!(matches!(
            RestartStrategy::from_config(&config, false).unwrap(),
            RestartStrategy::None
        ));
    }

    #[test]
    fn fixed_delay_gives_up() {
        let mut config = Configuration::default();
        config.set("restart-strategy.type", "fixed-delay");
        config.set("restart-strategy.fixed-delay.attempts", "2");
        let mut strategy = RestartStrategy::from_config(&config, true).unwrap();
        let now = Instant::now();
        let tries: Vec<_> = (0..3)
            .map(|_| strategy.after(&Error::external("x"), now).is_some())
            .collect();
        assert_eq!(tries, [true, true, false]);
    }
}
