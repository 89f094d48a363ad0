//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks until there is an answer; an error says what was waited for, and the last reason.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let reason = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(e) => Some(e),
        };
        if start.elapsed() > limit {
            match reason {
                Some(e) => return Err(e.context(format!("{what}: not within {limit:?}"))),
                None => bail!("{what}: not within {limit:?}"),
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
