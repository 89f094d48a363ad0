//! The keyed state of one operator's subtask: its store, and its part in checkpoints.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use millrace_core::{CheckpointId, Error, Result, key_group};

use super::files::{KeyedFiles, Uploads};
use super::limits::Limits;
use super::store::{Conversion, Folder, KeyedStore};
use super::ttl::{self, Clock, Lifetimes};
use crate::job::StateWriter;
use crate::store::Store;

/// What the keyed operators of a process share, and where their state comes from. Cheap to clone.
#[derive(Clone)]
pub struct KeyedResources {
    pub limits: Limits,
    /// The folder of this run in this process; nobody else writes there.
    pub folder: PathBuf,
    /// Memory for the rows that one operator's subtask keeps at hand.
    pub cache_bytes: usize,
    /// Where checkpoints are read from.
    pub checkpoints: Option<Arc<dyn Store>>,
    /// Files below this path are this job's own, which its later checkpoints may name again. None, where it is
    /// restored from elsewhere: there a path may be the same and the file another.
    pub own: Option<String>,
    /// What rows that expire go by.
    pub clock: Clock,
}

/// Numbers the folders of stores, which are never used twice.
static FOLDERS: AtomicU64 = AtomicU64::new(0);

impl KeyedResources {
    /// Opens the state of an operator's key groups, with what a checkpoint has of them. Blocks.
    ///
    /// Rows keep the times at which they were written, and those that had expired when the checkpoint was taken
    /// are gone; rows of a table that has a lifetime now and had none then count as written at this moment.
    pub fn open(
        &self,
        uid: &str,
        lifetimes: &Lifetimes,
        groups: Range<u16>,
        max_parallelism: u16,
        restored: &[KeyedFiles],
    ) -> Result<KeyedBackend> {
        let name = format!(
            "{:016x}-{}",
            key_group::hash(uid.as_bytes()),
            FOLDERS.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Arc::new(Folder(self.folder.join(name)));
        let open = |lifetimes: &Lifetimes| {
            KeyedStore::open_with(&folder.0.join("store"), &self.limits, lifetimes, &self.clock)
        };
        let overlapping: Vec<&KeyedFiles> = restored
            .iter()
            .filter(|files| {
                let theirs = files.groups();
                theirs.start < groups.end && groups.start < theirs.end
            })
            .collect();
        let mut uploads = Uploads::default();
        let store = match overlapping.as_slice() {
            // The same groups, and values of the same form: the store goes on with its own files.
            [same] if same.groups() == groups && lifetimes.are_of(&same.timed) => {
                same.fetch(&folder.0.join("store"), self.checkpoints()?)?;
                uploads = Uploads::restored(same, self.own.as_deref());
                open(&lifetimes.clone().going_on(&same.timed))?
            }
            others => {
                let store = open(lifetimes)?;
                // The same for all of an operator's tables: none of what belongs together outlives the rest.
                let now = self.clock.now_millis();
                for (number, files) in others.iter().enumerate() {
                    let from = format!("from-{number}");
                    let place = folder.0.join(&from);
                    files.fetch(&place, self.checkpoints()?)?;
                    let old = KeyedStore::open(&place, &self.limits)?;
                    let convert = |table: &str| conversion(table, files, lifetimes, now);
                    store.take_from(&old, groups.clone(), &convert)?;
                    // First: a store that closes and finds its files gone waits a second.
                    drop(old);
                    let _ = fs::remove_dir_all(place);
                }
                store
            }
        };
        Ok(KeyedBackend {
            store: Arc::new(store.within(&folder)),
            uploads: Arc::new(Mutex::new(uploads)),
            groups,
            max_parallelism,
            cache_bytes: self.cache_bytes,
            folder,
        })
    }

    fn checkpoints(&self) -> Result<&dyn Store> {
        self.checkpoints
            .as_deref()
            .ok_or_else(|| Error::internal("keyed state is restored without a checkpoint folder"))
    }
}

/// How the values of a table of these files become those of a store with other lifetimes.
fn conversion<'a>(
    table: &str,
    files: &KeyedFiles,
    lifetimes: &'a Lifetimes,
    now: i64,
) -> Option<Conversion<'a>> {
    let name = table.to_owned();
    match (
        files.timed.get(table).copied(),
        lifetimes.of(table, now).is_some(),
    ) {
        (None, false) => None,
        (None, true) => Some(Box::new(move |key, value| {
            let written = lifetimes.written(&name, key, now);
            Ok(Some(Cow::Owned(ttl::timed(written, value).into())))
        })),
        (Some(gone), keeps_times) => Some(Box::new(move |_, stored| {
            let (written, value) = ttl::split(stored)?;
            let value = if keeps_times { stored } else { value };
            Ok((written > gone).then_some(Cow::Borrowed(value)))
        })),
    }
}

pub struct KeyedBackend {
    pub store: Arc<KeyedStore>,
    uploads: Arc<Mutex<Uploads>>,
    groups: Range<u16>,
    pub max_parallelism: u16,
    /// Memory for all that the operator keeps at hand.
    pub cache_bytes: usize,
    folder: Arc<Folder>,
}

impl KeyedBackend {
    /// The key groups of the subtask.
    pub fn groups(&self) -> Range<u16> {
        self.groups.clone()
    }

    /// A snapshot of what is in the store now, which may name files of the checkpoint that is the newest
    /// complete one. Nothing is written to the store until it is put away or dropped: who writes waits.
    pub fn snapshot(&self, checkpoint: CheckpointId, complete: Option<CheckpointId>) -> KeyedSnapshot {
        if let Some(complete) = complete {
            self.checkpoint_complete(complete);
        }
        self.store.freeze();
        KeyedSnapshot {
            frozen: Some(Frozen(self.store.clone())),
            uploads: self.uploads.clone(),
            groups: self.groups.clone(),
            max_parallelism: self.max_parallelism,
            checkpoint,
            folder: self.folder.clone(),
        }
    }

    /// Memory for each of the operator's sets of timers, an eighth.
    pub fn timer_bytes(&self) -> usize {
        self.cache_bytes / 8
    }

    /// Memory for rows beside so many sets of timers.
    pub fn row_bytes(&self, timers: usize) -> usize {
        self.cache_bytes - timers * self.timer_bytes()
    }

    /// What time it is to the operator.
    pub fn clock(&self) -> Clock {
        self.store.clock.clone()
    }

    /// The checkpoint is durably complete.
    pub fn checkpoint_complete(&self, checkpoint: CheckpointId) {
        locked(&self.uploads).checkpoint_complete(checkpoint);
    }
}

fn locked(uploads: &Mutex<Uploads>) -> MutexGuard<'_, Uploads> {
    uploads.lock().unwrap_or_else(|e| e.into_inner())
}

/// A store that takes no writes; it does again when this is gone.
struct Frozen(Arc<KeyedStore>);

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

/// State that belongs to a checkpoint, in a store that is held still for it.
pub struct KeyedSnapshot {
    frozen: Option<Frozen>,
    uploads: Arc<Mutex<Uploads>>,
    groups: Range<u16>,
    max_parallelism: u16,
    checkpoint: CheckpointId,
    folder: Arc<Folder>,
}

impl std::fmt::Debug for KeyedSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyedSnapshot({}, {:?})", self.checkpoint, self.groups)
    }
}

impl KeyedSnapshot {
    /// Writes to the checkpoint folder what it has not yet. Blocks; the store goes on as soon as its
    /// files are linked.
    pub fn put_away(mut self, writer: &StateWriter) -> Result<KeyedFiles> {
        let links = self.folder.0.join(format!("chk-{}", self.checkpoint));
        let mut timed = BTreeMap::new();
        if let Some(frozen) = self.frozen.take() {
            frozen.0.link_files(&links)?;
            // After it: no compaction that has a part in these files took more for expired.
            timed = frozen.0.timed();
        }
        let _links = Folder(links.clone());
        let known = locked(&self.uploads).known();
        let mut files = KeyedFiles::put_away(
            &links,
            self.groups.clone(),
            self.max_parallelism,
            &known,
            self.checkpoint,
            writer,
        )?;
        files.timed = timed;
        locked(&self.uploads).written(self.checkpoint, &files);
        Ok(files)
    }
}

/// Makes the folder of a run of this process below `parent`, and removes those of processes that are
/// gone. It stands as long as the value does.
pub struct RunFolder {
    path: PathBuf,
    _lock: fs::File,
}

impl RunFolder {
    pub fn create(parent: &Path) -> Result<RunFolder> {
        let unwritable = |e: std::io::Error| {
            Error::external("the folder for keyed state cannot be written")
                .with_detail(parent.display().to_string())
                .with_source(e)
                .with_hint(
                    "set io.tmp.dirs or state.backend.rocksdb.localdir to a folder on a disk with room",
                )
        };
        fs::create_dir_all(parent).map_err(unwritable)?;
        sweep(parent);
        let id = uuid::Uuid::new_v4().simple();
        // Under another name until its lock is held: else who sweeps could take the lock, and the folder.
        let young = parent.join(format!("new-{id}"));
        fs::create_dir(&young).map_err(unwritable)?;
        let lock = fs::File::create(young.join(LOCK)).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        let path = parent.join(format!("run-{id}"));
        fs::rename(&young, &path).map_err(unwritable)?;
        Ok(RunFolder { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

const LOCK: &str = "lock";
/// It takes a moment to make a folder.
const LONG_MADE: Duration = Duration::from_secs(3600);

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes folders whose process has ended without doing so: nobody holds their lock.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("new-") {
            // Its process ended while it made it, unless it is about to rename it.
            let age = entry.metadata().and_then(|m| m.modified()).map(|at| at.elapsed());
            if age.is_ok_and(|age| age.is_ok_and(|age| age > LONG_MADE)) {
                let _ = fs::remove_dir_all(entry.path());
            }
            continue;
        }
        if !name.starts_with("run-") {
            continue;
        }
        let Ok(lock) = fs::File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newborn_folder_is_not_swept() {
        let parent = tempfile::tempdir().unwrap();
        let go = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    go.wait();
                    // Each sweeps what it finds.
                    for _ in 0..200 {
                        let folder = RunFolder::create(parent.path()).unwrap();
                        assert!(folder.path().join(LOCK).is_file());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn folders_of_processes_that_are_gone_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let gone = parent.path().join("run-gone");
        fs::create_dir(&gone).unwrap();
        fs::write(gone.join(LOCK), []).unwrap();
        let unborn = parent.path().join("new-gone");
        fs::create_dir(&unborn).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * LONG_MADE;
        fs::File::open(&unborn).unwrap().set_modified(long_ago).unwrap();
        let first = RunFolder::create(parent.path()).unwrap();
        let second = RunFolder::create(parent.path()).unwrap();
        assert!(!gone.exists() && !unborn.exists() && first.path().is_dir() && second.path().is_dir());
    }
}
