//! Pauses between attempts, and the end of patience.

use std::fmt::Display;
use std::time::Duration;

use millrace_core::{Error, Result};
use rand::Rng;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub struct Retry {
    what: String,
    started: Instant,
    limit: Duration,
    pause: Duration,
}

impl Retry {
    pub fn new(what: impl Into<String>, limit: Duration) -> Self {
        Retry {
            what: what.into(),
            started: Instant::now(),
            limit,
            pause: FIRST_PAUSE,
        }
    }

    /// Time left for the next attempt.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Waits before the next attempt, or says that there is none.
    pub async fn after(&mut self, reason: &(dyn Display + Sync)) -> Result<()> {
        // Some noise, so that clients that failed together do not come back together.
        let pause = self.pause.mul_f64(rand::rng().random_range(0.8..1.2));
        if pause >= self.left() {
            return Err(Error::external(format!("Kafka did not {} in time", self.what))
                .with_detail(format!("tried for {} s; at last: {reason}", self.limit.as_secs()))
                .with_hint(
                    "see whether the brokers are up and reachable; it is tried again when the job restarts",
                ));
        }
        tracing::debug!(what = self.what, %reason, pause_ms = pause.as_millis() as u64, "retrying");
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The error for what no other attempt can mend.
    pub fn hopeless(&self, reason: &dyn Display) -> Error {
        Error::external(format!("Kafka could not {}", self.what)).with_detail(reason.to_string())
    }
}
