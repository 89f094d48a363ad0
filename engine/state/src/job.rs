//! One job's checkpoints: who may write them, which of them count, when their files go.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use millrace_core::{CheckpointId, Configuration, Error, JobId, Result, failpoint};
use tokio::runtime::Handle;

use crate::copies::Copies;
use crate::head::{AttemptRecord, CompletedCheckpoint, Head, Resume, Status};
use crate::location;
use crate::metadata::{FileRef, Metadata, StateBlob};
use crate::store::{HeadVersion, Store, StoreError};

/// State bytes up to this size stand in `_metadata`; Flink's
/// `execution.checkpointing.data-inline-threshold`.
pub const INLINE_BYTES: usize = 20 * 1024;

/// The folder of one job in a checkpoint folder.
#[derive(Clone)]
pub struct JobStore {
    store: Arc<dyn Store>,
    job: JobId,
    name: String,
}

impl JobStore {
    /// Of a job that is found again by its name.
    pub fn new(store: Arc<dyn Store>, name: &str) -> Self {
        Self::with_id(store, JobId::from_name(name), name)
    }

    /// Of a job that is found again by its id.
    pub fn with_id(store: Arc<dyn Store>, job: JobId, name: &str) -> Self {
        JobStore {
            store,
            job,
            name: name.to_owned(),
        }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn job_id(&self) -> JobId {
        self.job
    }

    fn folder(&self) -> String {
        self.job.to_string()
    }

    /// Where a person finds a checkpoint.
    pub fn describe_checkpoint(&self, checkpoint: &CompletedCheckpoint) -> String {
        format!("{}/{}", self.store.describe(), checkpoint.folder)
    }

    fn checkpoint_folder(&self, id: CheckpointId) -> String {
        format!("{}/chk-{id}", self.job)
    }

    /// The head as it is, for looking only.
    pub fn head(&self) -> Result<Option<Head>> {
        Ok(self.versioned_head()?.map(|(_, head)| head))
    }

    fn versioned_head(&self) -> Result<Option<(HeadVersion, Head)>> {
        let found = self
            .store
            .read_head(&self.folder())
            .map_err(|e| e.into_error("reading the job's head"))?;
        let Some((version, bytes)) = found else {
            return Ok(None);
        };
        let place = format!("{}/{}/head", self.store.describe(), self.job);
        Ok(Some((version, Head::decode(&bytes, &place)?)))
    }

    /// Makes this process the job's only leader: raises the epoch in the head. `change` may alter
    /// the rest of the head in the same swap, given the new epoch.
    pub fn take_over(&self, change: impl Fn(&mut Head) -> Result<()>) -> Result<Leadership> {
        // Each conflict means that another process took over in between; that ends soon.
        for _ in 0..20 {
            let (expected, mut head) = match self.versioned_head()? {
                Some((version, head)) => (Some(version), head),
                None => (None, Head::new(&self.name)),
            };
            head.epoch += 1;
            change(&mut head)?;
            head.nonce = uuid::Uuid::new_v4().simple().to_string();
            match self
                .store
                .swap_head(&self.folder(), expected.as_ref(), &head.encode()?)
            {
                Ok(version) => {
                    let next = self.first_free_id(&head)?;
                    let leadership = Leadership {
                        job: self.clone(),
                        head,
                        version,
                        next,
                        uncertain: Vec::new(),
                        newest: None,
                        swept: next,
                        given_up: Vec::new(),
                        has_recovered: false,
                        has_deleted_claimed: false,
                        pinned: BTreeMap::new(),
                    };
                    return Ok(leadership);
                }
                Err(StoreError::Conflict | StoreError::Exists) => continue,
                Err(e) => return Err(e.into_error("taking over the job")),
            }
        }
        Err(Error::external("the job could not be taken over: others take it over all the time")
            .with_detail(format!("job '{}' in {}", self.name, self.store.describe()))
            .with_hint("stop the other processes that run a job of this pipeline.name with this checkpoint folder"))
    }

    /// A number above all that were given, as far as the head says, and above all that a folder exists for,
    /// complete or not: a head may have been lost.
    fn first_free_id(&self, head: &Head) -> Result<CheckpointId> {
        let listed = self
            .store
            .list(&self.folder())
            .map_err(|e| e.into_error("listing the job's checkpoints"))?;
        let seen = listed
            .iter()
            .filter_map(|path| checkpoint_of(path, &self.folder()));
        let newest = seen.chain(head.completed.iter().map(|c| c.id)).max();
        let resumed = match head.resume {
            Resume::Checkpoint(id) => Some(id),
            _ => None,
        };
        let above = newest.max(resumed).unwrap_or(CheckpointId(0)).next();
        Ok(above.max(head.next_checkpoint))
    }

    /// Reads a checkpoint of this job that its head refers to.
    pub fn read(&self, head: &Head, id: CheckpointId) -> Result<Metadata> {
        let folder = match head.completed.iter().find(|c| c.id == id) {
            Some(completed) => completed.folder.clone(),
            None => self.checkpoint_folder(id),
        };
        read_metadata(self.store.as_ref(), &format!("{folder}/_metadata"))
    }
}

/// Reads a `_metadata` by its path in a store.
pub fn read_metadata(store: &dyn Store, path: &str) -> Result<Metadata> {
    let place = format!("{}/{path}", store.describe());
    let bytes = store
        .get(path)
        .map_err(|e| e.into_error("reading a checkpoint"))?
        .ok_or_else(|| {
            Error::user("there is no checkpoint at that place")
                .with_detail(place.clone())
                .with_hint("give the folder that holds _metadata, such as <checkpoint folder>/<job>/chk-12")
        })?;
    Metadata::decode_file(&bytes, &place)
}

/// Finds a checkpoint by the path or URI of its folder, `<checkpoint folder>/<job>/chk-<n>`, or of its
/// `_metadata`: the checkpoint folder, which the files' paths are relative to, and what it holds. A savepoint is found
/// the same way; its files' paths are relative to its own folder, wherever that has been moved to.
pub fn find_checkpoint(
    path: &str,
    config: &Configuration,
    runtime: &Handle,
) -> Result<(Arc<dyn Store>, Metadata)> {
    let given = path.trim_end_matches('/').trim_end_matches("/_metadata");
    // Of a local path the parts may be left out that lead here.
    let given = match given.contains(':') {
        true => given.to_owned(),
        false => std::path::absolute(given).map_or(given.to_owned(), |p| p.display().to_string()),
    };
    let mut parts = given.rsplitn(3, '/');
    let (Some(checkpoint), Some(job), Some(folder)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::user("this is not the path of a checkpoint")
            .with_detail(path)
            .with_hint("give the whole path, <checkpoint folder>/<job>/chk-<n>"));
    };
    let store = location::open(folder, config, runtime)?;
    let metadata = read_metadata(store.as_ref(), &format!("{job}/{checkpoint}/_metadata"))?;
    match metadata.is_self_contained {
        true => Ok((location::open(&given, config, runtime)?, metadata)),
        false => Ok((store, metadata)),
    }
}

fn checkpoint_of(path: &str, folder: &str) -> Option<CheckpointId> {
    let rest = path.strip_prefix(folder)?.strip_prefix("/chk-")?;
    rest.split(['/', '-']).next()?.parse().ok().map(CheckpointId)
}

/// The right to complete checkpoints of a job, for as long as nobody else takes over.
pub struct Leadership {
    job: JobStore,
    head: Head,
    version: HeadVersion,
    next: CheckpointId,
    /// Nonces of swaps that failed without saying whether they took effect, since the last that did.
    uncertain: Vec<String>,
    /// What it completed last.
    newest: Option<Metadata>,
    /// Of checkpoints below this number nothing is left that is not referenced, but for those of `given_up`.
    swept: CheckpointId,
    /// The last ones that were given up: who took them may be slow, and still writing.
    given_up: Vec<CheckpointId>,
    /// An attempt of this leader has restored what the head says.
    has_recovered: bool,
    /// What it had claimed is deleted, which the next swap writes down.
    has_deleted_claimed: bool,
    /// Checkpoints whose files are being copied, with these.
    pinned: BTreeMap<CheckpointId, Vec<String>>,
}

impl Leadership {
    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn epoch(&self) -> u64 {
        self.head.epoch
    }

    pub fn job(&self) -> &JobStore {
        &self.job
    }

    /// A checkpoint that the head refers to; the one that was completed last is not read again.
    pub fn read(&self, id: CheckpointId) -> Result<Metadata> {
        match &self.newest {
            Some(newest) if newest.checkpoint == id.0 => Ok(newest.clone()),
            _ => self.job.read(&self.head, id),
        }
    }

    /// A number for the next checkpoint; each is given once.
    pub fn next_id(&mut self) -> CheckpointId {
        let id = self.next;
        self.next = id.next();
        id
    }

    /// Begins a further attempt of the same leader, whose checkpoints have numbers from `next` on: the
    /// epoch grows. May be tried again after an error that is not `Fenced`.
    pub fn next_attempt(&mut self, next: CheckpointId) -> Result<()> {
        let before = self.head.completed.clone();
        self.next = self.next.max(next);
        self.swap(|head| {
            head.epoch += 1;
            head.status = Status::Running;
            Ok(())
        })?;
        // Where the answer to a swap of the attempt before was lost.
        self.delete_dropped(&before);
        self.sweep(next);
        Ok(())
    }

    /// Writes down that the sinks were recovered to where this attempt begins, so that nothing of
    /// it is decided twice: what the restored checkpoint holds is committed, and so is what complete
    /// checkpoints of an earlier run hold where this one begins anew; where an older checkpoint was
    /// restored, newer ones no longer count, for what only they held was aborted. Of earlier
    /// attempts only the one that took the restored checkpoint can have ids that are not fenced.
    /// `record` is what this attempt's sinks may leave behind; none of them is open yet.
    pub fn recovered(&mut self, record: &AttemptRecord) -> Result<()> {
        let before = self.head.completed.clone();
        self.swap(|head| {
            let newest = head.completed.last().map(|c| c.id);
            let mut keep = None;
            match &mut head.resume {
                Resume::Fresh => head.committed_through = head.committed_through.max(newest),
                &mut Resume::Checkpoint(id) => {
                    head.committed_through = head.committed_through.max(Some(id));
                    keep = head.completed.iter().find(|c| c.id == id).map(|c| c.epoch);
                    head.completed.retain(|c| c.id <= id);
                }
                // The handles that were committed now may stand on ids of any attempt of ours.
                Resume::Elsewhere { committed, .. } if !*committed => {
                    *committed = true;
                    head.attempts.push(record.clone());
                    return Ok(());
                }
                Resume::Elsewhere { .. } => {}
            }
            head.attempts.retain(|a| Some(a.epoch) == keep);
            head.attempts.push(record.clone());
            Ok(())
        })?;
        self.delete_dropped(&before);
        // Not before: where the head was rolled back, what it does not know may be all that there is.
        if !self.has_recovered {
            self.has_recovered = true;
            self.delete_unreferenced();
        }
        Ok(())
    }

    /// How large a checkpoint of this job is.
    pub fn size(&self, metadata: &Metadata, completed: &CompletedCheckpoint) -> CheckpointSize {
        let own = format!("{}/", self.job.checkpoint_folder(completed.id));
        let of_files = |wanted: &dyn Fn(&str) -> bool| -> u64 {
            let files = metadata.state_files().filter(|f| wanted(&f.path));
            files.map(|f| f.bytes).sum()
        };
        CheckpointSize {
            bytes: completed.bytes,
            written: completed.bytes - of_files(&|path| !path.starts_with(&own)),
        }
    }

    /// Writes `_metadata` and swaps the head: at the return of `Ok` the checkpoint is complete.
    /// An error of kind `Fenced` says that another process leads; any other leaves the checkpoint
    /// incomplete for this leader, whose next swap finds out what really happened.
    pub fn complete(&mut self, metadata: &Metadata, retained: usize) -> Result<CompletedCheckpoint> {
        let id = CheckpointId(metadata.checkpoint);
        // Whoever counts the numbers: those up to here are given, which the swap writes down.
        self.next = self.next.max(id.next());
        let mut folder = self.job.checkpoint_folder(id);
        self.check_files(metadata)?;
        let file = metadata.encode_file();
        failpoint::pass("checkpoint.before-metadata");
        let mut written = self.job.store.create(&format!("{folder}/_metadata"), &file);
        if matches!(written, Err(StoreError::Exists)) {
            // A leader that does not know yet that it was deposed took the number too. Its file
            // will never count, but it is not ours to delete before the swap says who leads.
            folder = format!("{folder}-{}", self.head.epoch);
            written = self.job.store.create(&format!("{folder}/_metadata"), &file);
        }
        written.map_err(|e| e.into_error("writing a checkpoint's _metadata"))?;
        let path = format!("{folder}/_metadata");
        failpoint::pass("checkpoint.after-metadata");
        let mut files: Vec<_> = metadata.state_files().map(|f| f.path.clone()).collect();
        files.push(path);
        let bytes = file.len() as u64 + metadata.state_files().map(|f| f.bytes).sum::<u64>();
        let completed = CompletedCheckpoint {
            id,
            epoch: metadata.epoch,
            timestamp: metadata.timestamp,
            folder,
            files,
            bytes,
        };
        let before = self.head.completed.clone();
        failpoint::pass("checkpoint.before-head");
        self.swap(|head| {
            head.resume = Resume::Checkpoint(id);
            if !head.completed.iter().any(|c| c.id == id) {
                head.completed.push(completed.clone());
            }
            let surplus = head.completed.len().saturating_sub(retained.max(1));
            head.completed.drain(..surplus);
            Ok(())
        })?;
        failpoint::pass("checkpoint.after-head");
        self.newest = Some(metadata.clone());
        self.delete_dropped(&before);
        self.sweep(id.next());
        Ok(completed)
    }

    /// A checkpoint may name its own files and those of complete ones: others may be gone.
    fn check_files(&self, metadata: &Metadata) -> Result<()> {
        let own = format!(
            "{}/",
            self.job.checkpoint_folder(CheckpointId(metadata.checkpoint))
        );
        let complete: HashSet<&String> = self.head.completed.iter().flat_map(|c| &c.files).collect();
        let stray = metadata
            .state_files()
            .find(|file| !file.path.starts_with(&own) && !complete.contains(&file.path));
        match stray {
            None => Ok(()),
            Some(file) => Err(Error::internal(
                "a checkpoint names a file that no complete checkpoint holds",
            )
            .with_detail(format!("checkpoint {}: {}", metadata.checkpoint, file.path))
            .with_hint("this is a bug of the engine: please report it; the job goes on from the checkpoint before")),
        }
    }

    /// Writes down that everything of the newest checkpoint is committed, and how the job ended.
    pub fn close(&mut self, status: Status) -> Result<()> {
        self.swap(|head| {
            head.status = status;
            if let Resume::Checkpoint(id) = head.resume {
                head.committed_through = Some(id);
            }
            Ok(())
        })
    }

    fn swap(&mut self, change: impl Fn(&mut Head) -> Result<()>) -> Result<()> {
        let mut tries = 0;
        loop {
            let mut head = self.head.clone();
            change(&mut head)?;
            if self.has_deleted_claimed {
                head.claimed = None;
            }
            head.next_checkpoint = head.next_checkpoint.max(self.next);
            head.nonce = uuid::Uuid::new_v4().simple().to_string();
            match self
                .job
                .store
                .swap_head(&self.job.folder(), Some(&self.version), &head.encode()?)
            {
                Ok(version) => {
                    self.version = version;
                    self.head = head;
                    self.uncertain.clear();
                    return Ok(());
                }
                Err(StoreError::Failed(e)) => {
                    self.uncertain.push(head.nonce);
                    return Err(e);
                }
                Err(StoreError::Conflict | StoreError::Exists) => {
                    tries += 1;
                    // Either another leader, or an earlier swap of our own whose answer was lost.
                    let Some((version, there)) = self.job.versioned_head()? else {
                        return Err(Error::external("the head of the running job has been deleted")
                            .with_detail(format!("{}/{}/head", self.job.store.describe(), self.job.job))
                            .with_hint(
                                "stop deleting in the checkpoint folder; the job is found by its head",
                            ));
                    };
                    let ours = there.epoch == self.head.epoch || self.uncertain.contains(&there.nonce);
                    if !ours || tries > 3 {
                        return Err(
                            Error::fenced("another run of this job has taken over: this one stops")
                                .with_detail(format!(
                                    "job '{}' in {}: epoch {} leads, this run has {}",
                                    self.job.name,
                                    self.job.store.describe(),
                                    there.epoch,
                                    self.head.epoch
                                ))
                                .with_hint(
                                    "run a job of one pipeline.name and checkpoint folder once at a time",
                                ),
                        );
                    }
                    self.version = version;
                    self.head = there;
                }
            }
        }
    }

    /// Deletes files that a confirmed swap has made unreferenced.
    fn delete_dropped(&self, before: &[CompletedCheckpoint]) {
        let dropped = before
            .iter()
            .filter(|c| !self.head.completed.iter().any(|k| k.id == c.id));
        for path in dropped.flat_map(|c| &c.files).filter(|path| !self.is_kept(path)) {
            self.delete(path);
        }
    }

    /// Whether a complete checkpoint that is kept has this file, or one that is being copied.
    fn is_kept(&self, path: &String) -> bool {
        self.head.completed.iter().any(|c| c.files.contains(path))
            || self.pinned.values().any(|files| files.contains(path))
    }

    /// What is to be deleted now that a checkpoint of the job's own is complete.
    pub fn claimed(&self) -> Option<String> {
        self.head.claimed.clone().filter(|_| !self.has_deleted_claimed)
    }

    /// It is deleted, or cannot be.
    pub fn forget_claimed(&mut self) {
        self.has_deleted_claimed = true;
    }

    /// Writes down what this attempt's sinks may leave behind, in place of what `recovered` was given: before one of
    /// them is opened.
    pub fn opens(&mut self, record: &AttemptRecord) -> Result<()> {
        self.swap(|head| {
            head.attempts.retain(|a| a.epoch != record.epoch);
            head.attempts.push(record.clone());
            Ok(())
        })
    }

    /// From now on the files of this complete checkpoint stay, also when newer ones take its place.
    pub fn pin(&mut self, id: CheckpointId) {
        if let Some(completed) = self.head.completed.iter().find(|c| c.id == id) {
            self.pinned.insert(id, completed.files.clone());
        }
    }

    /// It has been copied, or that was given up: what only it has goes.
    pub fn unpin(&mut self, id: CheckpointId) {
        let files = self.pinned.remove(&id).unwrap_or_default();
        for path in files.iter().filter(|path| !self.is_kept(path)) {
            self.delete(path);
        }
    }

    /// Deletes all of the job's checkpoints: it is over, and a run of the same id begins anew. The head stays, a few
    /// hundred bytes: without it, who was deposed long ago could take a new run's head for its own.
    pub fn delete_all(&mut self) -> Result<()> {
        self.swap(|head| {
            head.status = Status::Finished;
            head.resume = Resume::Fresh;
            head.completed.clear();
            Ok(())
        })?;
        let folder = self.job.folder();
        let listed = self.job.store.list(&folder);
        for path in listed.map_err(|e| e.into_error("deleting the job's checkpoints"))? {
            if checkpoint_of(&path, &folder).is_some_and(|id| id < self.head.next_checkpoint) {
                self.delete(&path);
            }
        }
        Ok(())
    }

    fn delete(&self, path: &str) {
        if let Err(e) = self.job.store.delete(path) {
            tracing::warn!(path, error = %e.into_error("deleting"), "an unreferenced checkpoint file stays");
        }
    }

    /// Deletes what checkpoints below `end` left that were given up, after a swap that says who leads. No other
    /// leader takes their numbers, for that swap has written down which were given.
    fn sweep(&mut self, end: CheckpointId) {
        let end = end.min(self.head.next_checkpoint);
        let ended = (self.swept.0..end.0).map(CheckpointId);
        self.given_up
            .extend(ended.filter(|id| self.head.completed.iter().all(|c| c.id != *id)));
        for id in &self.given_up {
            let listed = self.job.store.list(&self.job.checkpoint_folder(*id));
            for path in listed
                .unwrap_or_default()
                .iter()
                .filter(|path| !self.is_kept(path))
            {
                self.delete(path);
            }
        }
        let surplus = self.given_up.len().saturating_sub(LOOKED_AT_AGAIN);
        self.given_up.drain(..surplus);
        self.swept = self.swept.max(end);
    }

    /// Deletes what attempts of earlier epochs left unfinished, after a swap that says who leads.
    fn delete_unreferenced(&self) {
        let folder = self.job.folder();
        let (Ok(needed), Ok(listed)) = (self.needed_by_restored(), self.job.store.list(&folder)) else {
            return;
        };
        for path in listed {
            let Some(id) = checkpoint_of(&path, &folder) else {
                continue;
            };
            let is_kept = self.is_kept(&path) || self.head.completed.iter().any(|c| c.id == id);
            if id < self.head.next_checkpoint && !is_kept && !needed.contains(&path) {
                let _ = self.job.store.delete(&path);
            }
        }
    }

    /// Files of a checkpoint of this job that was restored though the head does not know it any more. It may be
    /// restored again: nothing newer is complete.
    fn needed_by_restored(&self) -> Result<HashSet<String>> {
        let folder = self.job.folder();
        let restored = match &self.head.resume {
            Resume::Fresh => None,
            Resume::Checkpoint(id) => Some(self.job.checkpoint_folder(*id)),
            Resume::Elsewhere { path, .. } => path.rfind(&folder).map(|at| {
                let given = path[at..].trim_end_matches('/');
                given.trim_end_matches("/_metadata").to_owned()
            }),
        };
        let Some(restored) = restored else {
            return Ok(HashSet::new());
        };
        let path = format!("{restored}/_metadata");
        let read = self.job.store.get(&path);
        // What was restored may be of another checkpoint folder, in which this job has the same name.
        let Some(bytes) = read.map_err(|e| e.into_error("reading a checkpoint"))? else {
            return Ok(HashSet::new());
        };
        let metadata = Metadata::decode_file(&bytes, &path)?;
        let files = metadata.state_files().map(|file| file.path.clone());
        Ok(files.chain([path]).collect())
    }
}

/// Checkpoints that were given up whose folders are looked at again.
const LOOKED_AT_AGAIN: usize = 16;

/// Bytes of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSize {
    /// Of all files that it needs.
    pub bytes: u64,
    /// Of those that were written for it; the others stand there from checkpoints before.
    pub written: u64,
}

/// Where the state files of a checkpoint that is being taken go; cheap to clone, for every subtask.
#[derive(Clone)]
pub struct StateWriter {
    job: JobStore,
    copies: Option<Copies>,
}

impl StateWriter {
    pub fn new(job: JobStore) -> Self {
        StateWriter { job, copies: None }
    }

    /// What is written is kept on this machine too.
    pub fn with_copies(self, copies: Copies) -> Self {
        StateWriter {
            copies: Some(copies),
            ..self
        }
    }

    /// The job's folder, which all of its files are below.
    pub fn folder(&self) -> String {
        self.job.folder()
    }

    /// Puts one state entry away: small ones stay in the description, large ones become a file.
    pub fn put(&self, checkpoint: CheckpointId, bytes: Vec<u8>) -> Result<StateBlob> {
        if bytes.len() <= INLINE_BYTES {
            return Ok(StateBlob::inline(bytes));
        }
        let path = self.new_file(checkpoint);
        let created = self.job.store.create(&path, &bytes);
        created.map_err(|e| e.into_error(WRITING))?;
        let file = FileRef::of(path, &bytes);
        if let Some(copies) = &self.copies {
            copies.keep(&file, &bytes);
        }
        Ok(StateBlob::file(file))
    }

    /// Puts a file of this machine away, whose bytes never change: later checkpoints can name it too.
    pub fn put_file(&self, checkpoint: CheckpointId, from: &Path) -> Result<StateBlob> {
        let created = self.job.store.create_from(&self.new_file(checkpoint), from);
        Ok(self.name_again(&created.map_err(|e| e.into_error(WRITING))?, from))
    }

    /// A file of an earlier checkpoint is named again; `from` is a file on this machine with its bytes,
    /// which never change.
    pub fn name_again(&self, file: &FileRef, from: &Path) -> StateBlob {
        if let Some(copies) = &self.copies {
            copies.keep_link(file, from);
        }
        StateBlob::file(file.clone())
    }

    fn new_file(&self, checkpoint: CheckpointId) -> String {
        let folder = self.job.checkpoint_folder(checkpoint);
        format!("{folder}/{}", uuid::Uuid::new_v4().simple())
    }
}

const WRITING: &str = "writing a state file";

#[cfg(test)]
pub(crate) mod tests {
    use millrace_core::ErrorKind;

    use super::*;
    use crate::head::AttemptRecord;
    use crate::keyed::KeyedFiles;
    use crate::local::LocalStore;
    use crate::metadata::{OperatorState, SubtaskState};

    fn job() -> (tempfile::TempDir, JobStore) {
        let directory = tempfile::tempdir().unwrap();
        let job = JobStore::new(Arc::new(LocalStore::new(directory.path())), "job");
        (directory, job)
    }

    fn metadata(leader: &mut Leadership, state: Vec<u8>) -> Metadata {
        let id = leader.next_id();
        let blob = StateWriter::new(leader.job().clone()).put(id, state).unwrap();
        metadata_of(leader, id, vec![blob], None)
    }

    /// A checkpoint with the state of one subtask.
    pub(crate) fn metadata_of(
        leader: &Leadership,
        id: CheckpointId,
        entries: Vec<StateBlob>,
        keyed: Option<KeyedFiles>,
    ) -> Metadata {
        Metadata {
            checkpoint: id.0,
            epoch: leader.epoch(),
            timestamp: 1,
            job_name: "job".into(),
            operators: vec![OperatorState {
                uid: "u".into(),
                name: "n".into(),
                subtasks: vec![SubtaskState {
                    subtask: 0,
                    entries,
                    keyed,
                }],
                schema: None,
            }],
            ..Metadata::default()
        }
    }

    #[test]
    fn a_deposed_leader_completes_nothing() {
        let (_directory, job) = job();
        let mut old = job.take_over(|_| Ok(())).unwrap();
        let first = metadata(&mut old, vec![1]);
        old.complete(&first, 1).unwrap();
        let late = metadata(&mut old, vec![2]);
        let new = job.take_over(|_| Ok(())).unwrap();
        assert_eq!(new.epoch(), 2);
        assert_eq!(old.complete(&late, 1).unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(
            job.head().unwrap().unwrap().resume,
            Resume::Checkpoint(CheckpointId(1))
        );
    }

    #[test]
    fn old_checkpoints_go_when_a_newer_one_is_complete() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        for _ in 0..3 {
            let m = metadata(&mut leader, vec![7; INLINE_BYTES + 1]);
            leader.complete(&m, 2).unwrap();
        }
        assert!(job.read(leader.head(), CheckpointId(1)).is_err());
        for id in [2, 3] {
            let m = job.read(leader.head(), CheckpointId(id)).unwrap();
            let blob = &m.operators[0].subtasks[0].entries[0];
            assert_eq!(
                blob.load(job.store().as_ref()).unwrap(),
                vec![7; INLINE_BYTES + 1]
            );
        }
        let files = job.store().list(&job.folder()).unwrap();
        assert_eq!(
            files.iter().filter(|f| f.contains("/chk-")).count(),
            4,
            "{files:?}"
        );
    }

    #[test]
    fn a_number_is_not_used_twice_though_its_checkpoint_failed() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let id = leader.next_id();
        StateWriter::new(job.clone())
            .put(id, vec![0; INLINE_BYTES + 1])
            .unwrap();
        let mut next = job.take_over(|_| Ok(())).unwrap();
        assert!(next.next_id() > id);
    }

    fn chk_files(job: &JobStore, id: u64) -> usize {
        let listed = job.store().list(&format!("{}/chk-{id}", job.folder()));
        listed.unwrap().len()
    }

    #[test]
    fn files_of_failed_checkpoints_go() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let large = || vec![3; INLINE_BYTES + 1];
        let first = metadata(&mut leader, large());
        leader.complete(&first, 1).unwrap();
        // Two that never complete; what the one after them needs stays.
        for _ in 0..2 {
            metadata(&mut leader, large());
        }
        assert_eq!([chk_files(&job, 2), chk_files(&job, 3)], [1, 1]);
        let mut fourth = metadata(&mut leader, large());
        let shared = first.operators[0].subtasks[0].entries[0].clone();
        fourth.operators[0].subtasks[0].entries.push(shared);
        leader.complete(&fourth, 1).unwrap();
        assert_eq!([chk_files(&job, 2), chk_files(&job, 3)], [0, 0]);
        assert_eq!(chk_files(&job, 1), 1, "what the newest names");
        let failed = metadata(&mut leader, large());
        let next = leader.next_id();
        leader.next_attempt(next).unwrap();
        assert_eq!(chk_files(&job, failed.checkpoint), 0);
        assert_eq!(chk_files(&job, fourth.checkpoint), 2);
    }

    #[test]
    fn a_checkpoint_that_names_a_file_which_may_be_gone_does_not_complete() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let first = metadata(&mut leader, vec![3; INLINE_BYTES + 1]);
        leader.complete(&first, 1).unwrap();
        let second = metadata(&mut leader, vec![4; INLINE_BYTES + 1]);
        leader.complete(&second, 1).unwrap();
        let mut third = metadata(&mut leader, vec![5]);
        let stray = first.operators[0].subtasks[0].entries[0].clone();
        third.operators[0].subtasks[0].entries.push(stray);
        let error = leader.complete(&third, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        assert_eq!(
            job.head().unwrap().unwrap().resume,
            Resume::Checkpoint(CheckpointId(2))
        );
    }

    fn record(leader: &Leadership) -> AttemptRecord {
        AttemptRecord {
            epoch: leader.epoch(),
            sinks: Default::default(),
        }
    }

    fn shared(metadata: &Metadata) -> StateBlob {
        metadata.operators[0].subtasks[0].entries[0].clone()
    }

    #[test]
    fn what_the_head_does_not_know_goes_after_a_recovery_only() {
        let (directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let first = metadata(&mut leader, vec![3; INLINE_BYTES + 1]);
        leader.complete(&first, 9).unwrap();
        metadata(&mut leader, vec![3; INLINE_BYTES + 1]);
        let mut third = metadata(&mut leader, vec![3; INLINE_BYTES + 1]);
        third.operators[0].subtasks[0].entries.push(shared(&first));
        leader.complete(&third, 9).unwrap();
        // The head is lost, and the newest checkpoint is given by its path: one of its files is the first's.
        std::fs::remove_dir_all(directory.path().join(job.folder()).join("head")).unwrap();
        for given in ["chk-3", "chk-3/", "chk-3/_metadata"] {
            let path = format!("/elsewhere/{}/{given}", job.folder());
            let resume = Resume::Elsewhere {
                path,
                committed: false,
            };
            let mut next = job
                .take_over(|head| {
                    head.resume = resume.clone();
                    Ok(())
                })
                .unwrap();
            next.recovered(&record(&next)).unwrap();
            assert_eq!([1, 2, 3].map(|id| chk_files(&job, id)), [1, 0, 2], "{given}");
        }
        // Nor does who comes before a newer checkpoint is complete take it away.
        let mut again = job.take_over(|_| Ok(())).unwrap();
        again.recovered(&record(&again)).unwrap();
        assert_eq!([1, 2, 3].map(|id| chk_files(&job, id)), [1, 0, 2]);
    }

    #[test]
    fn who_was_deposed_deletes_nothing_of_the_next() {
        let large = || vec![3; INLINE_BYTES + 1];
        let (_directory, job) = job();
        let mut old = job.take_over(|_| Ok(())).unwrap();
        // Numbers that were given, and of which nothing was written.
        let next = [(); 3].map(|()| old.next_id())[2].next();
        old.next_attempt(next).unwrap();
        let mut new = job.take_over(|_| Ok(())).unwrap();
        let complete = metadata(&mut new, large());
        new.complete(&complete, 1).unwrap();
        // What the old leader was about to do once its swap was through.
        old.swept = CheckpointId(0);
        old.sweep(CheckpointId(100));
        old.delete_unreferenced();
        assert_eq!(chk_files(&job, complete.checkpoint), 2);
        assert!(complete.checkpoint >= next.0);
    }

    #[test]
    fn what_is_written_for_a_checkpoint_that_was_given_up_goes_too() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let slow = leader.next_id();
        for _ in 0..3 {
            let late = StateWriter::new(job.clone()).put(slow, vec![1; INLINE_BYTES + 1]);
            late.unwrap();
            let complete = metadata(&mut leader, vec![2]);
            leader.complete(&complete, 1).unwrap();
            assert_eq!(chk_files(&job, slow.0), 0);
        }
    }

    #[test]
    fn numbers_that_somebody_else_has_counted_are_given_too() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let large = || vec![1; INLINE_BYTES + 1];
        let of = |leader: &Leadership, id: u64| {
            let blob = StateWriter::new(job.clone()).put(CheckpointId(id), large());
            metadata_of(leader, CheckpointId(id), vec![blob.unwrap()], None)
        };
        // The fifth is given up, and goes with the sixth.
        of(&leader, 5);
        let sixth = of(&leader, 6);
        leader.complete(&sixth, 1).unwrap();
        assert_eq!([chk_files(&job, 5), chk_files(&job, 6)], [0, 2]);
        of(&leader, 7);
        leader.next_attempt(CheckpointId(8)).unwrap();
        assert_eq!(chk_files(&job, 7), 0);
        leader.delete_all().unwrap();
        assert_eq!(chk_files(&job, 6), 0);
    }

    #[test]
    fn what_a_swap_dropped_whose_answer_was_lost_goes() {
        let (_directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let first = metadata(&mut leader, vec![1; INLINE_BYTES + 1]);
        leader.complete(&first, 1).unwrap();
        let second = metadata(&mut leader, vec![2]);
        let (before, version) = (leader.head.clone(), leader.version.clone());
        leader.complete(&second, 1).unwrap();
        // As if the swap had failed, with its effect unknown.
        let file = StateWriter::new(job.clone()).put(CheckpointId(1), vec![1; INLINE_BYTES + 1]);
        let Some(crate::metadata::Blob::File(file)) = file.unwrap().blob else {
            panic!("a file was written");
        };
        leader.uncertain.push(leader.head.nonce.clone());
        (leader.head, leader.version) = (before, version);
        leader.head.completed[0].files.push(file.path);
        assert_eq!(chk_files(&job, 1), 1);
        let next = leader.next_id();
        leader.next_attempt(next).unwrap();
        assert_eq!(chk_files(&job, 1), 0);
        assert_eq!(chk_files(&job, 2), 1);
    }

    #[test]
    fn a_missing_a_cut_and_an_altered_state_file_are_found() {
        let (directory, job) = job();
        let mut leader = job.take_over(|_| Ok(())).unwrap();
        let m = metadata(&mut leader, vec![9; INLINE_BYTES + 1]);
        leader.complete(&m, 1).unwrap();
        let file = directory.path().join(&m.state_files().next().unwrap().path);
        let load = || {
            job.read(leader.head(), CheckpointId(m.checkpoint))
                .unwrap()
                .operators[0]
                .subtasks[0]
                .entries[0]
                .load(job.store().as_ref())
        };
        assert!(load().is_ok());
        let good = std::fs::read(&file).unwrap();
        std::fs::write(&file, &good[1..]).unwrap();
        assert!(load().unwrap_err().to_string().contains("bytes where"));
        let mut bad = good.clone();
        bad[5] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        assert!(load().unwrap_err().to_string().contains("checksum"));
        std::fs::remove_file(&file).unwrap();
        assert!(load().unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn an_attempt_is_remembered_until_one_restores_a_checkpoint_of_another() {
        let (_directory, job) = job();
        let lead = || job.take_over(|_| Ok(())).unwrap();
        let recover = |l: &mut Leadership| {
            let record = AttemptRecord {
                epoch: l.epoch(),
                sinks: Default::default(),
            };
            l.recovered(&record).unwrap();
        };
        let epochs = |l: &Leadership| l.head().attempts.iter().map(|a| a.epoch).collect::<Vec<_>>();
        let mut first = lead();
        recover(&mut first);
        let m = metadata(&mut first, vec![1]);
        first.complete(&m, 1).unwrap();
        // Attempts that fail before a checkpoint do not pile up, and those that open no sink leave nothing.
        for epoch in [2, 4] {
            let mut failed = lead();
            recover(&mut failed);
            assert_eq!(epochs(&failed), [1, epoch]);
            assert_eq!(epochs(&lead()), [1, epoch], "its recovery failed");
        }
        let mut sixth = lead();
        recover(&mut sixth);
        for _ in 0..2 {
            let m = metadata(&mut sixth, vec![1]);
            sixth.complete(&m, 1).unwrap();
            assert_eq!(
                epochs(&sixth),
                [1, 6],
                "handles of attempt 1 stood in what was restored"
            );
        }
        let mut seventh = lead();
        assert_eq!(
            epochs(&seventh),
            [1, 6],
            "the seventh's recovery fences attempt 1 whole"
        );
        recover(&mut seventh);
        assert_eq!(epochs(&seventh), [6, 7]);
    }

    #[test]
    fn what_recovery_decided_is_not_decided_again() {
        let (_directory, job) = job();
        let mut first = job.take_over(|_| Ok(())).unwrap();
        for _ in 0..3 {
            let m = metadata(&mut first, vec![1]);
            first.complete(&m, 9).unwrap();
        }
        let older = |head: &mut Head| {
            head.resume = Resume::Checkpoint(CheckpointId(2));
            Ok(())
        };
        let mut second = job.take_over(older).unwrap();
        let record = AttemptRecord {
            epoch: second.epoch(),
            sinks: Default::default(),
        };
        second.recovered(&record).unwrap();
        let ids: Vec<_> = second.head().completed.iter().map(|c| c.id.0).collect();
        assert_eq!(ids, [1, 2], "what only checkpoint 3 held was aborted");
        assert_eq!(second.head().committed_through, Some(CheckpointId(2)));
    }
}
