//! Named points at which a test kills the process with `kill -9`.
//!
//! The points lie beside checkpoints and commits, never on the path of a record. Nothing is
//! armed unless the environment variable `MILLRACE_FAIL_POINT` is set to `name` or `name:n`;
//! the process then sends itself SIGKILL at the n-th passage (default 1). With `name:n:stop` it
//! sends itself SIGSTOP: it stands still there until somebody has it go on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub const VARIABLE: &str = "MILLRACE_FAIL_POINT";

struct Armed {
    name: String,
    passages_left: AtomicU64,
    stops: bool,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

fn armed() -> Option<&'static Armed> {
    ARMED
        .get_or_init(|| {
            let text = std::env::var(VARIABLE).ok()?;
            let mut parts = text.split(':');
            Some(Armed {
                name: parts.next().unwrap_or_default().to_owned(),
                passages_left: AtomicU64::new(parts.next().and_then(|n| n.parse().ok()).unwrap_or(1)),
                stops: parts.next() == Some("stop"),
            })
        })
        .as_ref()
}

/// Dies here if this point is armed and its count is reached.
pub fn pass(name: &str) {
    let Some(point) = armed() else { return };
    if point.name == name && point.passages_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        eprintln!("fail point {name} reached");
        match point.stops {
            true => stop(),
            false => die(),
        }
    }
}

fn stop() {
    // SAFETY: both calls take and give numbers only.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

/// No handler, no unwinding, no flush: what a test sees of this death it would see of any.
fn die() -> ! {
    // SAFETY: both calls take and give numbers only.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

/// Every point that the engine passes, so that the torture test can walk through all of them.
pub const ALL: &[&str] = &[
    "sink.before-flush",
    "sink.after-flush",
    "sink.after-handle",
    "checkpoint.after-acknowledge",
    "checkpoint.before-metadata",
    "checkpoint.after-metadata",
    "checkpoint.before-head",
    "checkpoint.after-head",
    "sink.before-commit",
    "sink.between-commits",
    "sink.after-commit",
    "recovery.before-commit",
    "recovery.between-commits",
    "recovery.after-commit",
    "recovery.before-fence",
    "recovery.after-fence",
];
