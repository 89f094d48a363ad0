//! Logs on standard error.

use tracing_subscriber::EnvFilter;

use crate::terminal::{self, Stderr};

pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,millrace=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal::is_terminal())
        .with_target(false)
        .with_writer(|| Stderr)
        .init();
}
