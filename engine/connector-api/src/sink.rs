//! The writing side of a connector.
//!
//! A writer's part in a checkpoint, in this order: `begin_checkpoint` when the barrier is there;
//! `poll_checkpoint` until it gives the writer's state, which must name everything that is written
//! and not yet visible (Kafka: handles of flushed, open transactions), of earlier checkpoints too;
//! `checkpoint_complete` once the job's head object has been swapped, and only then, makes all of
//! it up to that checkpoint visible; `poll_commits` until that is done. A checkpoint that is
//! declined, times out or fails changes nothing: what it held rides on in the next one's state.

use std::task::Poll;

use millrace_core::{CheckpointId, Configuration, Result};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::Field;

use crate::source::tokio_handle::Handle;
use crate::{ChangeBatch, Metric, Waker};

/// What the planner and the JobManager ask of a writable connector.
pub trait SinkFactory: Send + Sync {
    /// Metadata that a table can write: key and type.
    fn metadata(&self, table: &TableSpec) -> Result<Vec<Field>>;

    /// Checks options and column types; touches nothing outside the process.
    fn validate(&self, table: &TableSpec) -> Result<SinkTraits>;

    /// Asks the outside system whether the table can be written, before anything is started.
    fn check(&self, spec: &SinkSpec) -> Result<()>;

    /// What must be known of this attempt to fence it later (Kafka: transactional ids that it may
    /// use). Written durably before any writer of the attempt is opened. Empty: nothing.
    fn attempt_record(&self, spec: &SinkSpec, attempt: u64, parallelism: usize) -> Result<Vec<u8>>;

    /// Brings the outside system to the restored checkpoint, once a sink, before any writer of the
    /// new attempt is opened: commits what the checkpoint holds, fences and aborts the rest of
    /// all earlier attempts. Repeatable: a crash within it is followed by another call. May block.
    fn recover(&self, spec: &SinkSpec, context: RecoverContext) -> Result<Recovered>;

    /// Opens the writer of one subtask. May block for as long as opening takes.
    fn open(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn SinkWriter>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkTraits {
    /// Whether output becomes visible only by completed checkpoints: the job must have them.
    pub needs_checkpoints: bool,
    /// `sink.parallelism`.
    pub parallelism: Option<usize>,
    /// The kinds of rows that it takes.
    pub changelog: SinkChangelog,
}

/// What a sink can do with rows that are no inserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkChangelog {
    /// Nothing: such rows are refused by the planner.
    Inserts,
    /// `+U` and `-D` find the row by its key; `-U` is not wanted.
    Upsert,
    /// All kinds.
    All,
}

#[derive(Clone)]
pub struct RecoverContext {
    pub config: Configuration,
    /// The sink's uid, as its writers get it.
    pub uid: String,
    pub runtime: Handle,
    /// Writer states of the checkpoint that the job restores; everything in them is committed.
    pub restored: Vec<Vec<u8>>,
    /// The job's own record proves that all that `restored` holds was committed before (a clean
    /// stop wrote it): nothing of it must be committed again, and its absence is no loss.
    pub committed: bool,
    /// Writer states of the job's newest complete checkpoint where that is another one than the
    /// restored (an older one was asked for): what `restored` holds and these do not was
    /// committed before and must not be again; what only these hold is aborted.
    pub newest: Option<Vec<Vec<u8>>>,
    /// `attempt_record`s of earlier attempts. A record is given again at every recovery until one
    /// has restored a checkpoint that a later attempt took, so ids that must not be fenced yet
    /// (handles of `restored` stand on them) are fenced by a later recovery.
    pub earlier_attempts: Vec<Vec<u8>>,
    /// `restored` was taken by another job, or lies at another place: that `newest` does not hold it
    /// proves nothing.
    pub elsewhere: bool,
    /// What can no longer be committed is reported and given up, for the user wants to go on without
    /// it. Else it fails the recovery as a loss.
    pub may_lose: bool,
}

/// What a recovery did, for logs, metrics and the torture test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    pub committed: u64,
    /// Restored, to be committed, and found committed already: the death came between two commits,
    /// or after the last one and before anything said so.
    pub repeated: u64,
    pub fenced: u64,
    /// Given up where `may_lose` allowed it.
    pub lost: u64,
}

/// What one subtask's writer is opened with.
pub struct SinkContext {
    pub config: Configuration,
    pub job_name: String,
    pub uid: String,
    pub subtask: usize,
    pub parallelism: usize,
    /// Number of this run of the job: grows with every restart, never used twice.
    pub attempt: u64,
    /// Whether barriers reach the writer behind its records, through a channel: a writer that takes
    /// no more records then gets no barrier either, and must not wait for a checkpoint to complete.
    pub gated: bool,
    pub waker: Waker,
    pub runtime: Handle,
}

/// A writer of one subtask, driven by one thread.
pub trait SinkWriter: Send {
    /// Whether the next batch can be taken; `Pending` is back-pressure, the waker will be called.
    fn poll_ready(&mut self) -> Result<Poll<()>>;

    /// Takes a batch whole. Only after `poll_ready` said `Ready`.
    fn write(&mut self, batch: &ChangeBatch) -> Result<()>;

    /// No row follows whose event time is at or before this, in milliseconds since 1970; `i64::MAX` at
    /// the end of the input.
    fn watermark(&mut self, _millis: i64) {}

    /// The input is idle: what lingers may be sent now. Must not wait for it.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()>;

    /// The same where the job ends or stops with the checkpoint: no row follows, and everything that
    /// was written is to become visible with it.
    fn begin_last_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.begin_checkpoint(checkpoint)
    }

    /// Gives the state for the checkpoint that was begun. An error declines it and fails the task.
    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>>;

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()>;

    /// Drives outstanding commits; `Ready` when there are none.
    fn poll_commits(&mut self) -> Result<Poll<()>>;

    /// Bytes of records that were handed to the outside, since the writer was opened, if the connector counts them.
    fn bytes_written(&self) -> Option<u64> {
        None
    }

    /// What else the connector knows, below the sink's operator. Asked for about once a second.
    fn metrics(&mut self) -> Vec<Metric> {
        Vec::new()
    }
}
