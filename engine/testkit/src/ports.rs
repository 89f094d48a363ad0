//! Free ports of 127.0.0.1.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

// Below Linux's range of ephemeral ports (32768 and up): a server that is killed and started
// again must not find its port taken by somebody's outgoing connection meanwhile.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nothing listens on now. Two calls of one process never give the same.
pub fn free() -> Result<u16> {
    // Processes begin far apart from one another, so that they seldom try the same port.
    let start = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + (start.wrapping_add(n)) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "no port between {FIRST} and {} of 127.0.0.1 is free",
        FIRST + COUNT
    )
}
