//! Savepoints: a complete checkpoint, copied with all of its files into a folder of its own, which can be moved.

use std::sync::Arc;

use millrace_core::{Configuration, Error, JobId, Result};
use tokio::runtime::Handle;

use crate::location;
use crate::metadata::{FileRef, Metadata};
use crate::store::Store;

/// A savepoint that is being written. Without a word of `finish` nothing of it counts.
pub struct Savepoint {
    store: Arc<dyn Store>,
    /// Its folder, below the folder that was asked for.
    name: String,
    location: String,
    metadata: Metadata,
    written: Vec<String>,
}

impl Savepoint {
    /// In a new folder `savepoint-<job>-<random>` of `target`, a path or URI.
    pub fn begin(
        target: &str,
        job: JobId,
        metadata: Metadata,
        config: &Configuration,
        runtime: &Handle,
    ) -> Result<Self> {
        let store = location::open(target, config, runtime)?;
        let (job, random) = (job.to_string(), uuid::Uuid::new_v4().simple().to_string());
        let name = format!("savepoint-{}-{}", &job[..6], &random[..12]);
        Ok(Savepoint {
            location: format!("{}/{name}", target.trim_end_matches('/')),
            store,
            name,
            metadata,
            written: Vec::new(),
        })
    }

    /// Its folder, as a path or URI: what it is restored by.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Copies the state files from a checkpoint folder, one after the other. `is_wanted` is asked before each.
    pub fn copy(&mut self, from: &dyn Store, is_wanted: &dyn Fn() -> bool) -> Result<()> {
        for (number, file) in self.metadata.state_files_mut().enumerate() {
            if !is_wanted() {
                return Err(Error::external("the savepoint was given up"));
            }
            let bytes = from
                .get(&file.path)
                .map_err(|e| e.into_error("reading a state file for a savepoint"))?
                .ok_or_else(|| {
                    Error::external("a state file for a savepoint is gone")
                        .with_detail(format!("{}/{}", from.describe(), file.path))
                        .with_hint("take the savepoint again")
                })?;
            let copy = FileRef::of(format!("state-{number}"), &bytes);
            if (copy.bytes, copy.xxh3) != (file.bytes, file.xxh3) {
                return Err(
                    Error::data_loss("a state file was altered: its checksum is another one")
                        .with_detail(format!("{}/{}", from.describe(), file.path)),
                );
            }
            let path = format!("{}/{}", self.name, copy.path);
            self.store
                .create(&path, &bytes)
                .map_err(|e| e.into_error("writing a savepoint"))?;
            self.written.push(path);
            *file = copy;
        }
        Ok(())
    }

    /// Writes `_metadata`, which makes it a savepoint. All that its sinks hold must be committed by then.
    pub fn finish(mut self) -> Result<String> {
        self.metadata.is_committed = true;
        self.metadata.is_self_contained = true;
        let path = format!("{}/_metadata", self.name);
        self.store
            .create(&path, &self.metadata.encode_file())
            .map_err(|e| e.into_error("writing a savepoint's _metadata"))?;
        Ok(self.location)
    }

    /// Deletes what was written of one that is not to be.
    pub fn abandon(self) {
        for path in &self.written {
            if let Err(e) = self.store.delete(path) {
                tracing::warn!(path, error = %e.into_error("deleting"), "a file of a savepoint that failed stays");
            }
        }
    }
}

/// Deletes a savepoint by the path or URI of its folder, or of its `_metadata`. A job's own checkpoint is refused.
pub fn dispose(path: &str, config: &Configuration, runtime: &Handle) -> Result<()> {
    let (store, metadata) = crate::job::find_checkpoint(path, config, runtime)?;
    if !metadata.is_self_contained {
        return Err(Error::user("this is a checkpoint of a job, not a savepoint")
            .with_detail(path)
            .with_hint("checkpoints go by themselves, as execution.checkpointing.num-retained says"));
    }
    delete(store.as_ref(), &metadata)
}

/// Deletes what a savepoint's folder holds: its description first, so that no half of it is ever taken for one.
pub fn delete(store: &dyn Store, metadata: &Metadata) -> Result<()> {
    let files = metadata.state_files().map(|file| file.path.as_str());
    for path in std::iter::once("_metadata").chain(files) {
        store
            .delete(path)
            .map_err(|e| e.into_error("deleting a savepoint"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_core::CheckpointId;

    use super::*;
    use crate::job::tests::metadata_of;
    use crate::job::{JobStore, StateWriter, find_checkpoint};
    use crate::local::LocalStore;

    #[test]
    fn a_savepoint_is_whole_wherever_it_is_moved_and_goes_as_a_whole() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let config = Configuration::default();
        let folder = tempfile::tempdir().unwrap();
        let job = JobStore::new(
            Arc::new(LocalStore::new(folder.path().join("checkpoints"))),
            "job",
        );
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let state = vec![5; crate::job::INLINE_BYTES + 1];
        let entries = vec![
            StateWriter::new(job.clone())
                .put(CheckpointId(1), state.clone())
                .unwrap(),
        ];
        let id = leader.next_id();
        let metadata = metadata_of(&leader, id, entries, None);
        leader.complete(&metadata, 1).unwrap();

        let target = folder.path().join("savepoints").display().to_string();
        let mut savepoint =
            Savepoint::begin(&target, job.job_id(), metadata, &config, runtime.handle()).unwrap();
        savepoint.copy(job.store().as_ref(), &|| true).unwrap();
        let written = savepoint.finish().unwrap();
        let moved = folder.path().join("moved").display().to_string();
        std::fs::rename(&written, &moved).unwrap();
        let (store, found) = find_checkpoint(&moved, &config, runtime.handle()).unwrap();
        assert!(found.is_committed);
        let blob = &found.operators[0].subtasks[0].entries[0];
        assert_eq!(blob.load(store.as_ref()).unwrap(), state);

        dispose(&format!("{moved}/_metadata"), &config, runtime.handle()).unwrap();
        assert_eq!(store.list("").unwrap(), Vec::<String>::new());
        let own = job.describe_checkpoint(&leader.head().completed[0]);
        let refused = dispose(&own, &config, runtime.handle()).unwrap_err();
        assert!(refused.to_string().contains("not a savepoint"), "{refused}");
    }

    #[test]
    fn files_that_are_copied_stay_until_that_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let job = JobStore::new(Arc::new(LocalStore::new(folder.path())), "job");
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let mut complete = || {
            let id = leader.next_id();
            let large = vec![id.0 as u8; crate::job::INLINE_BYTES + 1];
            let entries = vec![StateWriter::new(job.clone()).put(id, large).unwrap()];
            let metadata = metadata_of(&leader, id, entries, None);
            leader.complete(&metadata, 1).unwrap();
            if id.0 == 1 {
                leader.pin(id);
            }
            metadata
        };
        let first = complete();
        complete();
        let file = first.state_files().next().unwrap().path.clone();
        assert!(job.store().get(&file).unwrap().is_some());
        leader.unpin(CheckpointId(1));
        assert!(job.store().get(&file).unwrap().is_none());
    }
}
