//! A cluster that speaks TLS: who gets in and who does not, and that nothing can be read on the way.
//!
//! Stores are made by openssl and by the JDK's keytool, and openssl is a peer that shares no code with the engine.

mod cluster;
mod exchange;
mod logs;
#[path = "../it/model.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod model;
mod openssl;
mod peers;
mod stores;
mod tap;

use std::time::{Duration, Instant};

/// Waits for a condition; a hang is a failure that says what was waited for.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
