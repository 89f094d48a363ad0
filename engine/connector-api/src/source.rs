//! The reading side of a connector.

use std::time::Duration;

use millrace_core::{CheckpointId, Configuration, Result};
use millrace_dataflow::{SourceSpec, TableSpec};
use millrace_expr::Field;

use crate::{ChangeBatch, Metric, Waker};

/// What the planner and the JobManager ask of a readable connector.
pub trait SourceFactory: Send + Sync {
    /// Metadata that a table can read: key and type.
    fn metadata(&self, table: &TableSpec) -> Result<Vec<Field>>;

    /// Checks options and column types; touches nothing outside the process.
    fn validate(&self, table: &TableSpec) -> Result<SourceTraits>;

    /// Asks the outside system whether the table can be read (topic exists, file is there) before
    /// anything is started. May block for some seconds.
    fn check(&self, spec: &SourceSpec) -> Result<()>;

    /// Opens the reader of one subtask. May block for as long as opening takes.
    fn open(&self, spec: &SourceSpec, context: SourceContext) -> Result<Box<dyn SourceReader>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceTraits {
    /// Whether the source ends by itself.
    pub bounded: bool,
    /// `scan.parallelism`.
    pub parallelism: Option<usize>,
    /// The kinds of rows that it gives.
    pub changelog: SourceChangelog,
    /// `scan.watermark.idle-timeout`: instead of `table.exec.source.idle-timeout`.
    pub idle_timeout: Option<Duration>,
}

/// The kinds of a source's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceChangelog {
    Inserts,
    /// All kinds, `-U` before each `+U`.
    All,
    /// Each row is the newest of its key, or deletes the key's: of a row that deletes only the key
    /// columns mean anything.
    Upsert,
}

/// What one subtask's reader is opened with.
pub struct SourceContext {
    pub config: Configuration,
    pub job_name: String,
    pub uid: String,
    pub subtask: usize,
    pub parallelism: usize,
    /// Rows of a batch at most.
    pub max_rows: usize,
    /// Wakes the subtask's thread; call it whenever `poll` would no longer say `Pending`.
    pub waker: Waker,
    /// `None` at a fresh start, and where the restored checkpoint does not know the source, which was added to
    /// its job since. Else the states of all splits of all subtasks of the restored
    /// checkpoint; every reader gets all and takes those that fall to it at this parallelism.
    pub restored: Option<Vec<Vec<u8>>>,
    /// For connectors that do asynchronous I/O.
    pub runtime: tokio_handle::Handle,
}

/// Kept apart so that this crate names its runtime in one place.
pub mod tokio_handle {
    pub use tokio::runtime::Handle;
}

/// A reader of one subtask, driven by one thread.
pub trait SourceReader: Send {
    fn poll(&mut self) -> Result<SourcePoll>;

    /// The state of each split of this reader, as of the last batch that `poll` gave.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>>;

    /// The checkpoint is durably complete (Kafka: commit its offsets to the group; best effort).
    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()>;

    /// The splits that are read and not at their end, by their numbers: each of them holds the watermark back
    /// from when it is there, as a split of Flink's that takes watermarks into the source. Without, all
    /// rows of the reader are one stream to event time.
    fn open_splits(&self) -> Option<Vec<u32>> {
        None
    }

    /// Records that wait outside and are not read yet, if the connector can tell.
    fn pending_records(&self) -> Option<u64>;

    /// Records that were skipped because they did not parse, since the reader was opened.
    fn skipped_records(&self) -> u64 {
        0
    }

    /// Bytes that were read, since the reader was opened, if the connector counts them.
    fn bytes_read(&self) -> Option<u64> {
        None
    }

    /// What else the connector knows, below the source's operator. Asked for about once a second.
    fn metrics(&mut self) -> Vec<Metric> {
        Vec::new()
    }
}

/// What a poll gave.
pub enum SourcePoll {
    Batch(SourceBatch),
    /// Nothing at present; the waker will be called.
    Pending,
    /// A bounded source is at its end. Later polls say `End` again.
    End,
}

/// Rows in the order in which they were read, and which split each run of them comes from.
pub struct SourceBatch {
    pub batch: ChangeBatch,
    /// Runs of consecutive rows of one split: (the split's number in this reader, rows).
    pub splits: Vec<(u32, usize)>,
}
