//! The last part of what a process has logged, in memory: what is shown of a process whose log goes to a terminal or to
//! a container's log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that are kept.
const KEPT: usize = 1 << 20;

/// Lines, the oldest of which go when there are too many.
#[derive(Debug)]
pub struct LogTail {
    kept: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    written: i64,
}

/// The process's.
pub fn of_the_process() -> &'static LogTail {
    static TAIL: OnceLock<LogTail> = OnceLock::new();
    TAIL.get_or_init(|| LogTail::new(KEPT))
}

impl LogTail {
    pub fn new(kept: usize) -> Self {
        LogTail {
            kept,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes whole lines.
    pub fn write(&self, lines: &[u8]) {
        let mut state = self.state();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        state.written = now.map_or(0, |since| since.as_millis() as i64);
        state.bytes.extend(lines);
        let Some(too_many) = state.bytes.len().checked_sub(self.kept).filter(|n| *n > 0) else {
            return;
        };
        // What is left begins with a line.
        let end = state.bytes.iter().skip(too_many - 1).position(|b| *b == b'\n');
        let gone = end.map_or(state.bytes.len(), |end| too_many + end);
        state.bytes.drain(..gone);
    }

    pub fn text(&self) -> Vec<u8> {
        self.state().bytes.iter().copied().collect()
    }

    /// Bytes that are there, and when something was written last, in milliseconds since 1970; 0: never.
    pub fn size(&self) -> (usize, i64) {
        let state = self.state();
        (state.bytes.len(), state.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let tail = LogTail::new(12);
        assert_eq!(tail.size(), (0, 0));
        for line in ["one\n", "two\n", "three\n"] {
            tail.write(line.as_bytes());
        }
        assert_eq!(tail.text(), b"two\nthree\n");
        assert_eq!(tail.size().0, 10);
        assert!(tail.size().1 > 0);
        tail.write(b"a line that is longer than all\n");
        assert_eq!(tail.text(), b"");
        tail.write(b"12 bytes is\n");
        assert_eq!(tail.text(), b"12 bytes is\n");
    }
}
