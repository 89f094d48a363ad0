//! The right to write, for as long as the leadership lasts.

use std::fmt;
use std::sync::Arc;

use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Error, Result};
use uuid::Uuid;

use crate::{MAX_ENTRY, kubernetes, zookeeper};

/// A grant of the leadership. It may be kept and used after it is over: the store then refuses what is written with
/// it, with an error of kind `Fenced`.
#[derive(Clone)]
pub struct Leadership {
    session: Uuid,
    store: Arc<Store>,
}

#[derive(Clone)]
pub(crate) enum Store {
    ZooKeeper(zookeeper::Tenure),
    Kubernetes(kubernetes::Tenure),
}

impl Leadership {
    pub(crate) fn new(session: Uuid, store: Store) -> Leadership {
        Leadership {
            session,
            store: Arc::new(store),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The id of this grant, which others know as [`crate::LeaderInfo::session`].
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// Writes a job's entry, for the next leader to find with [`crate::HaServices::jobs`]: at most [`MAX_ENTRY`] bytes.
    pub async fn put_job(&self, job: JobId, entry: &[u8]) -> Result<()> {
        check_size(job, entry)?;
        match self.store() {
            Store::ZooKeeper(tenure) => tenure.put_job(job, entry).await,
            Store::Kubernetes(tenure) => tenure.put_job(job, entry).await,
        }
    }

    /// Writes a pointer to a checkpoint, and deletes those of all but the `keep` newest.
    pub async fn put_checkpoint(
        &self,
        job: JobId,
        id: CheckpointId,
        pointer: &[u8],
        keep: usize,
    ) -> Result<()> {
        check_size(job, pointer)?;
        match self.store() {
            Store::ZooKeeper(tenure) => tenure.put_checkpoint(job, id, pointer, keep.max(1)).await,
            Store::Kubernetes(tenure) => tenure.put_checkpoint(job, id, pointer, keep.max(1)).await,
        }
    }

    /// Removes all that a job has: its pointers to checkpoints, and last its entry.
    pub async fn remove_job(&self, job: JobId) -> Result<()> {
        match self.store() {
            Store::ZooKeeper(tenure) => tenure.remove_job(job).await,
            Store::Kubernetes(tenure) => tenure.remove_job(job).await,
        }
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leadership({})", self.session)
    }
}

impl PartialEq for Leadership {
    fn eq(&self, other: &Self) -> bool {
        self.session == other.session
    }
}

fn check_size(job: JobId, entry: &[u8]) -> Result<()> {
    if entry.len() <= MAX_ENTRY {
        return Ok(());
    }
    Err(Error::user("an HA entry is too large")
        .with_detail(format!(
            "job {job}: {} bytes, where at most {MAX_ENTRY} are allowed",
            entry.len()
        ))
        .with_hint("what is large goes to high-availability.storageDir, and its path into the entry"))
}

/// What a write is answered with that comes too late.
pub(crate) fn fenced(session: Uuid) -> Error {
    Error::fenced("this JobManager does not lead any more")
        .with_detail(format!("session {session} is over: its write has been refused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_entry_is_refused_with_what_to_do() {
        let job = JobId::from_name("j");
        assert!(check_size(job, &vec![0; MAX_ENTRY]).is_ok());
        let e = check_size(job, &vec![0; MAX_ENTRY + 1]).unwrap_err();
        assert!(e.to_string().contains("storageDir"), "{e}");
    }
}
