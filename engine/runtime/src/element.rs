//! What flows between operators.

use std::sync::Arc;

use millrace_connector_api::ChangeBatch;
use millrace_core::CheckpointId;

/// One element of a stream. Their order is kept on every edge.
#[derive(Debug, Clone)]
pub enum Element {
    Batch(Batch),
    /// No row with an earlier event time follows, in milliseconds since 1970; `i64::MAX` at the end.
    Watermark(i64),
    /// Nothing comes at present: this stream no longer holds the watermark back.
    Idle,
    Barrier(Barrier),
    /// No batch follows. Barriers still do: checkpoints go on until the job ends.
    EndOfInput,
}

/// Rows, with the source splits that they came from as long as operators keep them row by row.
#[derive(Debug, Clone)]
pub struct Batch {
    pub change: ChangeBatch,
    /// Runs of consecutive rows of one split: (split, rows).
    pub splits: Option<Arc<[(u32, usize)]>>,
}

impl From<ChangeBatch> for Batch {
    fn from(change: ChangeBatch) -> Self {
        Batch { change, splits: None }
    }
}

/// Divides what belongs to a checkpoint from what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    pub checkpoint: CheckpointId,
    /// Milliseconds since 1970, of the trigger.
    pub timestamp: i64,
    /// Nothing is read after this barrier: the job stops with it.
    pub stop: bool,
}
