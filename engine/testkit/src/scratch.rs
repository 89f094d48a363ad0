//! A folder for one server or one test, removed when dropped and kept when the test fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

use anyhow::{Context, Result};

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new empty folder below the system's temporary folder; what dead processes left is removed.
    pub fn new(name: &str) -> Result<Scratch> {
        Scratch::below(&std::env::temp_dir(), name)
    }

    /// The same in memory, where the machine has such a place: for what dies by `kill -9` and not with the
    /// machine, and would wait for the disk all the time.
    pub fn in_memory(name: &str) -> Result<Scratch> {
        match Path::new("/dev/shm") {
            memory if memory.is_dir() => Scratch::below(memory, name),
            _ => Scratch::new(name),
        }
    }

    fn below(parent: &Path, name: &str) -> Result<Scratch> {
        let base = parent.join("millrace-testkit");
        fs::create_dir_all(&base).with_context(|| format!("creating {}", base.display()))?;
        remove_leftovers(&base);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{}-{n}-{name}", std::process::id()));
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Scratch { path, keep: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is kept when dropped, for a look at what went wrong.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep || std::thread::panicking() {
            let name = self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let kept = self.path.with_file_name(format!("kept-{name}"));
            let _ = fs::rename(&self.path, &kept);
            eprintln!("kept for a look: {}", kept.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

// A shared server lives in a static, which is never dropped, and a killed test drops nothing.
fn remove_leftovers(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|n| n.split('-').next())
            .and_then(|n| n.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
