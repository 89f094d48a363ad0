//! Logs on standard error, in step with the progress line.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;

/// Whether a progress line stands on the terminal at present.
static LINE: AtomicBool = AtomicBool::new(false);

pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,millrace=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(|| Stderr)
        .init();
}

/// Draws the progress line over itself.
pub fn draw_line(text: &str) {
    LINE.store(true, Ordering::Relaxed);
    eprint!("\r\x1b[K{text}");
    let _ = std::io::stderr().flush();
}

/// Takes the progress line away, so that what follows begins a line of its own.
pub fn clear_line() {
    if LINE.swap(false, Ordering::Relaxed) {
        eprint!("\r\x1b[K");
    }
}

struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        clear_line();
        std::io::stderr().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
