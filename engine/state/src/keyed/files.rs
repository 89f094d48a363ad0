//! A store's files in checkpoints. Table files never change once they are written, so a file that
//! a complete checkpoint holds already is named again, not written again.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use millrace_core::{CheckpointId, Error, Result};
use prost::Message;

use crate::job::StateWriter;
use crate::metadata::{Blob, FileRef, StateBlob};
use crate::store::Store;

/// Files that are put into a checkpoint at once: each waits for the disk or the object store, not for the
/// processor.
const UPLOADS: usize = 4;

/// The keyed state of one subtask in a checkpoint.
#[derive(Clone, PartialEq, Message)]
pub struct KeyedFiles {
    /// Key groups that it holds, from the first to before the last.
    #[prost(uint32, tag = "1")]
    pub first_group: u32,
    #[prost(uint32, tag = "2")]
    pub end_group: u32,
    /// Key groups that there are in all.
    #[prost(uint32, tag = "4")]
    pub max_parallelism: u32,
    #[prost(message, repeated, tag = "3")]
    pub files: Vec<NamedFile>,
    /// Tables whose values begin with the time at which they were written, each with the time up to which
    /// what was written had expired when the files were taken.
    #[prost(btree_map = "string, sint64", tag = "5")]
    pub timed: BTreeMap<String, i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedFile {
    /// In the store's folder.
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub blob: Option<StateBlob>,
}

/// Which of a store's files checkpoints hold already.
#[derive(Debug, Default)]
pub struct Uploads {
    /// Table files of the newest complete checkpoint that is known, by name.
    complete: HashMap<String, FileRef>,
    /// Of checkpoints that may complete yet.
    pending: BTreeMap<CheckpointId, HashMap<String, FileRef>>,
}

impl Uploads {
    /// A store that was opened with a checkpoint's files goes on numbering where they end. Files that are
    /// not below the job's own folder are not named again: whoever owns them may delete them.
    pub fn restored(files: &KeyedFiles, own: Option<&str>) -> Self {
        let is_own = |path: &str| {
            let below = own.and_then(|own| path.strip_prefix(own));
            below.is_some_and(|below| below.starts_with('/'))
        };
        let mut complete = table_files(files);
        complete.retain(|_, file| is_own(&file.path));
        Uploads {
            complete,
            pending: BTreeMap::new(),
        }
    }

    /// Only what the newest complete checkpoint holds is safe: other files may be deleted at any time.
    /// May be told twice, and after a newer one.
    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        if let Some(files) = self.pending.remove(&checkpoint) {
            self.complete = files;
        }
        self.pending = self.pending.split_off(&checkpoint.next());
    }

    pub fn known(&self) -> HashMap<String, FileRef> {
        self.complete.clone()
    }

    pub fn written(&mut self, checkpoint: CheckpointId, files: &KeyedFiles) {
        self.pending.insert(checkpoint, table_files(files));
    }
}

fn table_files(files: &KeyedFiles) -> HashMap<String, FileRef> {
    let tables = files.files.iter().filter(|f| f.name.ends_with(".sst"));
    tables
        .filter_map(|f| match f.blob.as_ref()?.blob.as_ref()? {
            Blob::File(file) => Some((f.name.clone(), file.clone())),
            Blob::Inline(_) => None,
        })
        .collect()
}

impl KeyedFiles {
    /// Puts the files of a snapshot's folder into the checkpoint. Blocks.
    pub fn put_away(
        folder: &Path,
        groups: std::ops::Range<u16>,
        max_parallelism: u16,
        known: &HashMap<String, FileRef>,
        checkpoint: CheckpointId,
        writer: &StateWriter,
    ) -> Result<KeyedFiles> {
        let mut names: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|e| Ok(e?.path())).collect())
            .map_err(|e| unreadable(folder, e))?;
        names.sort();
        let put = |path: &PathBuf, name: &str| match known.get(name) {
            Some(file) => Ok(writer.name_again(file, path)),
            // A table file is a file in the checkpoint too, however small: it is named again.
            None if name.ends_with(".sst") => writer.put_file(checkpoint, path),
            None => {
                let bytes = fs::read(path).map_err(|e| unreadable(path, e))?;
                writer.put(checkpoint, bytes)
            }
        };
        let files = side_by_side(&names, |path| {
            let name = path.file_name().and_then(|n| n.to_str());
            // What the store keeps for people, and the empty log that there has to be none of.
            let is_state =
                |n: &&str| !(n.starts_with("OPTIONS-") || n.starts_with("LOG") || n.ends_with(".log"));
            let Some(name) = name.filter(is_state) else {
                return Ok(None);
            };
            let blob = Some(put(path, name)?);
            let name = name.to_owned();
            Ok(Some(NamedFile { name, blob }))
        })?;
        Ok(KeyedFiles {
            first_group: groups.start.into(),
            end_group: groups.end.into(),
            max_parallelism: max_parallelism.into(),
            files: files.into_iter().flatten().collect(),
            timed: BTreeMap::new(),
        })
    }

    pub fn groups(&self) -> std::ops::Range<u16> {
        self.first_group as u16..self.end_group as u16
    }

    /// Lays the files into a folder, as the store had them.
    pub fn fetch(&self, folder: &Path, store: &dyn Store) -> Result<()> {
        fs::create_dir_all(folder).map_err(|e| unwritable(folder, e))?;
        for file in &self.files {
            let is_plain = Path::new(&file.name)
                .file_name()
                .is_some_and(|n| n == file.name.as_str());
            let Some(blob) = file.blob.as_ref().filter(|_| is_plain) else {
                return Err(
                    Error::data_loss("the checkpoint names a file of keyed state that cannot be")
                        .with_detail(file.name.clone())
                        .with_hint("start from another checkpoint with --from"),
                );
            };
            let path = folder.join(&file.name);
            // A table file is never written to: the copy is as good as one of it.
            if let Some(Blob::File(named)) = &blob.blob
                && file.name.ends_with(".sst")
                && let Some((_, copy)) = store.copy_of(named)
                && fs::hard_link(copy, &path).is_ok()
            {
                continue;
            }
            fs::write(&path, blob.load(store)?).map_err(|e| unwritable(&path, e))?;
        }
        Ok(())
    }

    pub fn file_refs(&self) -> impl Iterator<Item = &FileRef> {
        self.files
            .iter()
            .filter_map(|f| match f.blob.as_ref()?.blob.as_ref()? {
                Blob::File(file) => Some(file),
                Blob::Inline(_) => None,
            })
    }

    /// Bytes of what stands in the description itself.
    pub fn inline_bytes(&self) -> u64 {
        let blobs = self.files.iter().filter_map(|f| f.blob.as_ref());
        blobs
            .filter(|blob| blob.as_file().is_none())
            .map(StateBlob::len)
            .sum()
    }

    /// The same, to be named otherwise.
    pub fn file_refs_mut(&mut self) -> impl Iterator<Item = &mut FileRef> {
        self.files
            .iter_mut()
            .filter_map(|f| match f.blob.as_mut()?.blob.as_mut()? {
                Blob::File(file) => Some(file),
                Blob::Inline(_) => None,
            })
    }
}

/// What `work` makes of each item, in their order; or the error of one.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut made = Vec::new();
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            let result = work(item);
            // The others need not begin anything more.
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            made.push((at, result));
        }
        made
    };
    let mut made = thread::scope(|scope| {
        let others: Vec<_> = (1..UPLOADS.min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut made = worker();
        for other in others {
            made.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        made
    });
    made.sort_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, result)| result).collect()
}

fn unreadable(path: &Path, e: std::io::Error) -> Error {
    Error::external("a snapshot of keyed state cannot be read")
        .with_detail(path.display().to_string())
        .with_source(e)
}

fn unwritable(path: &Path, e: std::io::Error) -> Error {
    Error::external("keyed state cannot be written")
        .with_detail(path.display().to_string())
        .with_source(e)
        .with_hint("see whether the disk of io.tmp.dirs has room and can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_side_by_side_keeps_its_order_or_fails_as_one() {
        let items: Vec<usize> = (0..100).collect();
        for count in [0, 1, 3, 100] {
            let made = side_by_side(&items[..count], |i| Ok(i * 2)).unwrap();
            assert_eq!(made, items[..count].iter().map(|i| i * 2).collect::<Vec<_>>());
        }
        let fails = |i: &usize| match i {
            40 => Err(Error::external("the fortieth")),
            _ => Ok(*i),
        };
        let error = side_by_side(&items, fails).unwrap_err();
        assert!(error.to_string().contains("the fortieth"), "{error}");
    }
}
