//! Ctrl-C and SIGTERM as a flag.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn ask(_: libc::c_int) {
    ASKED.store(true, Ordering::SeqCst);
}

/// From now on SIGINT and SIGTERM end nothing by themselves: they set this flag.
pub fn watch() -> &'static AtomicBool {
    let handler = ask as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which a signal handler may do.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    &ASKED
}
