//! What is made of files, and made anew when they change: certificates are exchanged under a running process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use millrace_core::Result;

/// Files are looked at no more often.
const EVERY: Duration = Duration::from_secs(5);

pub struct Reloading<T> {
    files: Vec<PathBuf>,
    build: Box<dyn Fn() -> Result<T> + Send + Sync>,
    every: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the files that it was made of.
    stamps: Vec<Stamp>,
    /// Of files that nothing could be made of, which is not told again.
    wrong: Vec<Stamp>,
    looked: Instant,
}

/// By which a change of a file is seen. None: it is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

impl<T: Send + Sync + 'static> Reloading<T> {
    /// An error, where nothing can be made of the files as they are.
    pub fn new(
        files: Vec<PathBuf>,
        build: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        Reloading::looking_every(EVERY, files, build)
    }

    fn looking_every(
        every: Duration,
        files: Vec<PathBuf>,
        build: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        // Before they are read: what changes meanwhile is seen later.
        let stamps = stamps(&files);
        let state = State {
            value: Arc::new(build()?),
            stamps,
            wrong: Vec::new(),
            looked: Instant::now(),
        };
        Ok(Arc::new(Reloading {
            files,
            build: Box::new(build),
            every,
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Made of the files as they are, or as they were a few seconds ago.
    pub async fn current(self: &Arc<Self>) -> Arc<T> {
        {
            let mut state = self.state();
            if state.looked.elapsed() < self.every {
                return state.value.clone();
            }
            // Nobody else looks meanwhile.
            state.looked = Instant::now();
        }
        let this = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
            tracing::error!(%error, "files of TLS could not be looked at");
        }
        self.state().value.clone()
    }

    /// What cannot be read leaves all as it was.
    fn look(&self) {
        let stamps = stamps(&self.files);
        {
            let state = self.state();
            if stamps == state.stamps {
                return;
            }
        }
        let built = (self.build)();
        let mut state = self.state();
        match built {
            Ok(value) => {
                state.value = Arc::new(value);
                state.stamps = stamps;
                tracing::info!(files = ?self.files, "stores of TLS have changed: new connections are made with what is in them now");
            }
            Err(error) if stamps != state.wrong => {
                state.wrong = stamps;
                tracing::warn!(%error, "stores of TLS have changed and cannot be used: what was in them before stays");
            }
            Err(_) => {}
        }
    }
}

/// Through links: where they lead to is what changes in Kubernetes.
fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len(), about.ino()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_read_anew_and_a_wrong_one_leaves_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let number = path.clone();
        let read = move || {
            let text = fs::read_to_string(&number)?;
            let parsed = text.parse::<u32>();
            parsed.map_err(|_| millrace_core::Error::user("no number"))
        };
        assert!(Reloading::looking_every(Duration::ZERO, vec![path.clone()], read.clone()).is_err());
        // Another length each time: the clock of a file system may be coarse.
        fs::write(&path, "1").unwrap();
        let reloading = Reloading::looking_every(Duration::ZERO, vec![path.clone()], read).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let current = || *runtime.block_on(reloading.current());
        assert_eq!(current(), 1);
        fs::write(&path, "22").unwrap();
        assert_eq!(current(), 22);
        fs::write(&path, "three").unwrap();
        assert_eq!(current(), 22);
        fs::remove_file(&path).unwrap();
        assert_eq!(current(), 22);
        fs::write(&path, "4444").unwrap();
        assert_eq!(current(), 4444);
    }
}
