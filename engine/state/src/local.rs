//! A checkpoint folder on a file system (a disk, or one that several machines mount).
//!
//! The head is a sequence of create-only files `head/<n>`: `link(2)` is atomic everywhere, NFS
//! included, and refuses an existing name, where rename replaces silently. The newest number is
//! the head. Old numbers are deleted, so a writer that slept through many swaps could create one
//! of them anew: after creating, it looks again. A number goes only when the newest is more than
//! `OLD_HEADS` above it, so one that is closer to the newest was free because it never was there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use millrace_core::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::metadata::FileRef;
use crate::store::{HeadVersion, Result, Store, StoreError};

/// Heads that are kept behind the newest one, to be looked at when something went wrong.
const OLD_HEADS: u64 = 16;

/// Bytes of a file that are copied at once.
const PIECE: usize = 1 << 18;

pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        LocalStore { root: root.into() }
    }

    fn head_numbers(&self, folder: &str) -> Result<Vec<u64>> {
        let directory = self.root.join(folder).join("head");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("listing heads", &directory, e)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed("listing heads", &directory, e))?;
            // Temporary files of writers that died stand here too.
            if let Some(n) = entry.file_name().to_str().and_then(|n| n.parse().ok()) {
                numbers.push(n);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn failed(what: &str, path: &Path, e: std::io::Error) -> StoreError {
    let hint = match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("give the user of this process the right to write there")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("make room on that disk"),
        _ => None,
    };
    let mut error = Error::external(format!("{what} failed"))
        .with_detail(path.display().to_string())
        .with_source(e);
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    StoreError::Failed(error)
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates missing folders and makes their entries durable in their parents.
fn create_directories(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        // The parent of a relative path of one part is the working folder.
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        create_directories(parent)?;
        match fs::create_dir(directory) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => sync_directory(parent)?,
        }
    }
    Ok(())
}

fn create_file(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    create_directories(directory).map_err(|e| failed("creating a checkpoint folder", directory, e))?;
    let temporary = directory.join(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        write(&mut file)?;
        file.sync_all()
    })();
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    // Whatever happened, the temporary name goes; a failure to remove it does no harm.
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => sync_directory(directory).map_err(|e| failed("making a file durable", directory, e)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(StoreError::Exists),
        Err(e) => Err(failed("writing a checkpoint file", path, e)),
    }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("reading a checkpoint file", path, e)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|e| failed("reading a checkpoint file", path, e))?;
    Ok(Some(bytes))
}

impl Store for LocalStore {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()> {
        create_file(&self.root.join(path), |file| file.write_all(bytes))
    }

    fn create_from(&self, path: &str, file: &Path) -> Result<FileRef> {
        let mut written = FileRef::of(path, &[]);
        create_file(&self.root.join(path), |to| {
            let unread = |e: io::Error| io::Error::other(format!("{} cannot be read: {e}", file.display()));
            let mut from = File::open(file).map_err(unread)?;
            let mut hasher = Xxh3::new();
            let mut piece = vec![0; PIECE];
            loop {
                match from.read(&mut piece).map_err(unread)? {
                    0 => break,
                    n => {
                        hasher.update(&piece[..n]);
                        to.write_all(&piece[..n])?;
                        written.bytes += n as u64;
                    }
                }
            }
            written.xxh3 = hasher.digest();
            Ok(())
        })?;
        Ok(written)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        read_file(&self.root.join(path))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let directory = self.root.join(&folder);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(failed("listing a checkpoint folder", &directory, e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed("listing a checkpoint folder", &directory, e))?;
                let Some(name) = entry.file_name().to_str().map(|n| format!("{folder}/{n}")) else {
                    continue;
                };
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    folders.push(name);
                } else {
                    found.push(name);
                }
            }
        }
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<()> {
        let full = self.root.join(path);
        match fs::remove_file(&full) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("deleting a checkpoint file", &full, e)),
            _ => {
                // Goes only when it is empty.
                if let Some(directory) = full.parent() {
                    let _ = fs::remove_dir(directory);
                }
                Ok(())
            }
        }
    }

    fn read_head(&self, folder: &str) -> Result<Option<(HeadVersion, Vec<u8>)>> {
        // A head can be deleted between listing and reading only by a newer one's writer.
        for _ in 0..100 {
            let Some(newest) = self.head_numbers(folder)?.last().copied() else {
                return Ok(None);
            };
            if let Some(bytes) = read_file(&self.root.join(folder).join("head").join(newest.to_string()))? {
                return Ok(Some((HeadVersion(newest.to_string()), bytes)));
            }
        }
        Err(StoreError::Failed(
            Error::external("the head of a job changes faster than it can be read")
                .with_detail(self.root.join(folder).display().to_string())
                .with_hint("look for another process that runs the same job"),
        ))
    }

    fn swap_head(&self, folder: &str, expected: Option<&HeadVersion>, body: &[u8]) -> Result<HeadVersion> {
        let number = match expected {
            None => 1,
            Some(HeadVersion(text)) => text
                .parse::<u64>()
                .map(|n| n + 1)
                .map_err(|_| StoreError::Conflict)?,
        };
        if self.head_numbers(folder)?.last().copied().unwrap_or(0) != number - 1 {
            return Err(StoreError::Conflict);
        }
        let directory = self.root.join(folder).join("head");
        match create_file(&directory.join(number.to_string()), |file| file.write_all(body)) {
            Err(StoreError::Exists) => return Err(StoreError::Conflict),
            other => other?,
        }
        let numbers = self.head_numbers(folder)?;
        // Not the newest is fine: another writer has read ours and swapped in turn.
        if numbers
            .last()
            .is_none_or(|newest| newest - number.min(*newest) > OLD_HEADS)
        {
            return Err(StoreError::Conflict);
        }
        for old in numbers.iter().filter(|n| **n + OLD_HEADS < number) {
            let _ = fs::remove_file(directory.join(old.to_string()));
        }
        Ok(HeadVersion(number.to_string()))
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::new(directory.path());
        (directory, store)
    }

    #[test]
    fn a_file_is_created_once() {
        let (_directory, store) = store();
        store.create("a/b", b"1").unwrap();
        assert!(matches!(store.create("a/b", b"2"), Err(StoreError::Exists)));
        assert_eq!(store.get("a/b").unwrap().unwrap(), b"1");
        assert_eq!(store.list("a").unwrap(), ["a/b"]);
        store.delete("a/b").unwrap();
        store.delete("a/b").unwrap();
        assert_eq!(store.get("a/b").unwrap(), None);
    }

    #[test]
    fn of_two_swaps_of_one_version_one_wins() {
        let (_directory, store) = store();
        let first = store.swap_head("j", None, b"1").unwrap();
        assert!(matches!(
            store.swap_head("j", None, b"x"),
            Err(StoreError::Conflict)
        ));
        store.swap_head("j", Some(&first), b"2").unwrap();
        assert!(matches!(
            store.swap_head("j", Some(&first), b"3"),
            Err(StoreError::Conflict)
        ));
        assert_eq!(store.read_head("j").unwrap().unwrap().1, b"2");
    }

    #[test]
    fn a_writer_that_slept_through_deleted_heads_is_refused() {
        let (_directory, store) = store();
        let slept = store.swap_head("j", None, b"old").unwrap();
        let mut version = slept.clone();
        for _ in 0..2 * OLD_HEADS {
            version = store.swap_head("j", Some(&version), b"new").unwrap();
        }
        assert!(
            store.get("j/head/2").unwrap().is_none(),
            "deleted, so its name is free again"
        );
        assert!(matches!(
            store.swap_head("j", Some(&slept), b"late"),
            Err(StoreError::Conflict)
        ));
        assert_eq!(store.read_head("j").unwrap().unwrap().1, b"new");
    }
}
