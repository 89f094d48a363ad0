//! The images, run as their users run them. They need a Docker engine, and `make images` before.

mod building;
mod contract;
mod flights;
mod flink;
mod kafka;
mod loading;
mod memory;
mod pushing;
mod registry;
mod servers;
mod zookeeper;

use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Held by a test with a cluster of three brokers: two such at once are more than a small machine does in time.
fn alone() -> MutexGuard<'static, ()> {
    static CLUSTER: Mutex<()> = Mutex::new(());
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with these files that any user may read, to be mounted.
fn readable(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Of a folder of the host's.
fn mounted(folder: &TempDir, at: &str) -> testcontainers::core::Mount {
    testcontainers::core::Mount::bind_mount(folder.path().to_str().unwrap(), at)
}

/// Whether a test may do what only root can; if not, that it is skipped is said.
fn is_root(what: &str) -> bool {
    let output = std::process::Command::new("id").arg("-u").output().unwrap();
    let root = output.stdout.trim_ascii() == b"0";
    if !root {
        millrace_images::say(&format!(
            "skipped on this machine: {what}, which only root can make"
        ));
    }
    root
}
