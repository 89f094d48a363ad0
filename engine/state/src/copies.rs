//! Copies of a job's state files on this machine: who restores here reads them instead of the checkpoint
//! folder. They are hints: one that is missing or damaged is read from where it was written to.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_core::{Error, JobId, Result};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::metadata::FileRef;
use crate::store::{self, HeadVersion, Store};

/// The copies of one job's files, in a folder of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Copies {
    folder: Arc<PathBuf>,
}

impl Copies {
    /// Makes the job's folder below `root`, or goes on with one that is there.
    pub fn open(root: &Path, job: JobId) -> Result<Copies> {
        let folder = root.join(job.to_string());
        fs::create_dir_all(&folder).map_err(|e| {
            Error::external("the folder for local copies of state cannot be written")
                .with_detail(folder.display().to_string())
                .with_source(e)
                .with_hint(
                    "set execution.checkpointing.local-backup.dirs to a folder on a disk with room, \
                     or execution.state-recovery.from-local to false",
                )
        })?;
        Ok(Copies {
            folder: Arc::new(folder),
        })
    }

    /// Files of all checkpoints have paths of their own: so have their copies.
    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(format!("{:032x}", xxh3_128(path.as_bytes())))
    }

    /// Keeps a copy of a file that was written to the checkpoint folder.
    pub fn keep(&self, file: &FileRef, bytes: &[u8]) {
        let place = self.place(&file.path);
        if place.exists() {
            return;
        }
        // Under another name until it is whole.
        let part = place.with_extension("part");
        if let Err(error) = fs::write(&part, bytes).and_then(|()| fs::rename(&part, &place)) {
            let _ = fs::remove_file(&part);
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "a state file has no local copy: a restart here reads the checkpoint");
        }
    }

    /// As `keep`; `from` is a file on this machine with the same bytes, which never change.
    pub fn keep_link(&self, file: &FileRef, from: &Path) {
        let place = self.place(&file.path);
        if !place.exists() && fs::hard_link(from, &place).is_err() {
            match fs::read(from) {
                Ok(bytes) => self.keep(file, &bytes),
                Err(error) => tracing::warn!(%error, "a state file has no local copy"),
            }
        }
    }

    /// A copy with the bytes that were written, and where it is.
    fn verified(&self, file: &FileRef) -> Option<(Vec<u8>, PathBuf)> {
        let place = self.place(&file.path);
        let bytes = fs::read(&place).ok()?;
        if bytes.len() as u64 == file.bytes && xxh3_64(&bytes) == file.xxh3 {
            return Some((bytes, place));
        }
        let path = place.display();
        tracing::warn!(%path, "a local copy of state is damaged: the checkpoint is read");
        let _ = fs::remove_file(&place);
        None
    }

    /// Removes the copies of all other files.
    pub fn retain<'a>(&self, files: impl Iterator<Item = &'a FileRef>) {
        let kept: HashSet<PathBuf> = files.map(|file| self.place(&file.path)).collect();
        let Ok(entries) = fs::read_dir(self.folder.as_path()) else {
            return;
        };
        for place in entries.flatten().map(|entry| entry.path()) {
            if !kept.contains(&place) {
                let _ = fs::remove_file(place);
            }
        }
    }

    /// Removes all of them, and the folder.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(self.folder.as_path());
    }
}

/// A checkpoint folder, some of whose files have copies on this machine.
pub struct WithCopies {
    store: Arc<dyn Store>,
    copies: Copies,
}

impl WithCopies {
    pub fn new(store: Arc<dyn Store>, copies: Copies) -> WithCopies {
        WithCopies { store, copies }
    }
}

impl Store for WithCopies {
    fn create(&self, path: &str, bytes: &[u8]) -> store::Result<()> {
        self.store.create(path, bytes)
    }

    fn create_from(&self, path: &str, file: &Path) -> store::Result<FileRef> {
        self.store.create_from(path, file)
    }

    fn get(&self, path: &str) -> store::Result<Option<Vec<u8>>> {
        self.store.get(path)
    }

    fn list(&self, folder: &str) -> store::Result<Vec<String>> {
        self.store.list(folder)
    }

    fn delete(&self, path: &str) -> store::Result<()> {
        self.store.delete(path)
    }

    fn read_head(&self, folder: &str) -> store::Result<Option<(HeadVersion, Vec<u8>)>> {
        self.store.read_head(folder)
    }

    fn swap_head(
        &self,
        folder: &str,
        expected: Option<&HeadVersion>,
        body: &[u8],
    ) -> store::Result<HeadVersion> {
        self.store.swap_head(folder, expected, body)
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn copy_of(&self, file: &FileRef) -> Option<(Vec<u8>, PathBuf)> {
        self.copies.verified(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalStore;
    use crate::metadata::{Blob, StateBlob};

    fn file(blob: &StateBlob) -> &FileRef {
        match &blob.blob {
            Some(Blob::File(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_copy_is_read_if_it_is_whole_and_the_checkpoint_else() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(directory.path().join("checkpoints")));
        let copies = Copies::open(&directory.path().join("local"), JobId::from_name("job")).unwrap();
        let blob = StateBlob::file(FileRef::of("job/chk-1/a", b"the state"));
        copies.keep(file(&blob), b"the state");
        let restored = WithCopies::new(store.clone(), copies.clone());
        assert_eq!(blob.load(&restored).unwrap(), b"the state", "the folder is empty");

        for damage in [b"the stale".as_slice(), b"the stat", b""] {
            fs::write(copies.place("job/chk-1/a"), damage).unwrap();
            let error = blob.load(&restored).unwrap_err();
            assert!(error.to_string().contains("missing"), "{error}");
            assert!(!copies.place("job/chk-1/a").exists(), "it is not looked at again");
        }
        store.create("job/chk-1/a", b"the state").unwrap();
        assert_eq!(blob.load(&restored).unwrap(), b"the state");
    }

    #[test]
    fn copies_of_files_that_are_no_longer_named_go() {
        let directory = tempfile::tempdir().unwrap();
        let copies = Copies::open(directory.path(), JobId::from_name("job")).unwrap();
        let from = directory.path().join("table.sst");
        fs::write(&from, b"rows").unwrap();
        let blobs =
            ["a", "b", "c"].map(|name| StateBlob::file(FileRef::of(format!("job/chk-1/{name}"), b"rows")));
        for blob in &blobs {
            copies.keep_link(file(blob), &from);
        }
        copies.retain(blobs[1..].iter().map(file));
        let there = blobs.each_ref().map(|blob| copies.verified(file(blob)).is_some());
        assert_eq!(there, [false, true, true]);
        copies.remove();
        assert!(copies.verified(file(&blobs[1])).is_none() && from.exists());
    }
}
