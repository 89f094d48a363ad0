//! What flows between operators.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::{filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
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
    /// The splits of a source that may give rows yet; only between a source and what it forwards to.
    Splits(Arc<[u32]>),
    /// No batch follows. Barriers still do: checkpoints go on until the job ends.
    EndOfInput,
}

impl Element {
    /// Rows of a batch; none of anything else.
    pub fn rows(&self) -> usize {
        match self {
            Element::Batch(batch) => batch.change.len(),
            _ => 0,
        }
    }
}

/// Rows, with what belongs to each of them beside its columns.
#[derive(Debug, Clone)]
pub struct Batch {
    pub change: ChangeBatch,
    /// Runs of consecutive rows of one split: (split, rows). As long as operators keep rows as they
    /// came from the source.
    pub splits: Option<Arc<[(u32, usize)]>>,
    /// The watermark before each row; absent where it did not rise within the batch. Whether a row is
    /// late depends on it, and so not on where batches end.
    pub watermarks: Option<Arc<[i64]>>,
}

impl From<ChangeBatch> for Batch {
    fn from(change: ChangeBatch) -> Self {
        Batch {
            change,
            splits: None,
            watermarks: None,
        }
    }
}

impl Batch {
    /// The rows of a mask without nulls.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Batch, ArrowError> {
        let kinds = match &self.change.kinds {
            None => None,
            Some(kinds) => Some(filter(kinds, mask)?.to_data().into()),
        };
        let watermarks = self.watermarks.as_ref().map(|watermarks| {
            let kept = mask.values().set_indices().map(|row| watermarks[row]);
            kept.collect()
        });
        Ok(Batch {
            change: ChangeBatch {
                rows: filter_record_batch(&self.change.rows, mask)?,
                kinds,
            },
            splits: None,
            watermarks,
        })
    }

    /// Rows by index, in that order.
    pub fn take(&self, rows: &UInt32Array) -> Result<Batch, ArrowError> {
        let kinds = match &self.change.kinds {
            None => None,
            Some(kinds) => Some(take(kinds, rows, None)?.to_data().into()),
        };
        let watermarks = self.watermarks.as_ref().map(|watermarks| {
            rows.values()
                .iter()
                .map(|row| watermarks[*row as usize])
                .collect()
        });
        Ok(Batch {
            change: ChangeBatch {
                rows: take_record_batch(&self.change.rows, rows)?,
                kinds,
            },
            splits: None,
            watermarks,
        })
    }

    /// The same rows with other columns.
    pub fn with_columns(self, schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<Batch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.change.len()));
        Ok(Batch {
            change: ChangeBatch {
                rows: RecordBatch::try_new_with_options(schema, columns, &options)?,
                kinds: self.change.kinds,
            },
            ..self
        })
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
    /// Before a barrier that stops the job, every window and timer fires: sources send the highest watermark.
    pub drain: bool,
    /// The newest complete checkpoint of the attempt when this one was triggered. That it is complete is
    /// said by a command too, which a barrier may overtake.
    pub complete: Option<CheckpointId>,
}
