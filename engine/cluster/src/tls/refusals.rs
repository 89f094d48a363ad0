//! Log lines about peers that are refused: few, however many there are.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many lines in a row.
const LINES: u32 = 10;
/// And then one more for so long.
const PAUSE: Duration = Duration::from_secs(6);

/// The refusals of one port.
pub struct Refusals {
    /// What the port is for, as a person is told.
    port: &'static str,
    budget: Mutex<Budget>,
}

struct Budget {
    lines: u32,
    /// When the last line was given back.
    filled: Instant,
    left_out: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Budget {
            lines: LINES,
            filled: now,
            left_out: 0,
        }
    }

    /// Whether there may be a line now; then how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let pauses = now.saturating_duration_since(self.filled).as_secs() / PAUSE.as_secs();
        if pauses > 0 {
            self.lines = LINES.min(self.lines.saturating_add(u32::try_from(pauses).unwrap_or(LINES)));
            self.filled = now;
        }
        if self.lines == 0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Refusals {
    pub fn new(port: &'static str) -> Self {
        Refusals {
            port,
            budget: Mutex::new(Budget::new(Instant::now())),
        }
    }

    pub fn tell(&self, peer: SocketAddr, why: &str) {
        let mut budget = self.budget.lock().unwrap_or_else(|e| e.into_inner());
        let port = self.port;
        match budget.take(Instant::now()) {
            None => tracing::debug!(%peer, port, why, "a connection is refused"),
            Some(0) => tracing::warn!(%peer, port, why, "a connection is refused"),
            Some(more) => tracing::warn!(
                %peer, port, why, more,
                "a connection is refused, and more were since the last line about it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_few_lines_and_all_are_counted() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let told = |budget: &mut Budget, now| (0..1000).filter_map(|_| budget.take(now)).collect::<Vec<_>>();
        assert_eq!(told(&mut budget, start), [0; LINES as usize]);
        assert_eq!(told(&mut budget, start + PAUSE / 2), []);
        let before = 1000 - u64::from(LINES) + 1000;
        assert_eq!(told(&mut budget, start + PAUSE), [before]);
        let later = start + 100 * PAUSE;
        assert_eq!(told(&mut budget, later)[0], 999);
    }
}
