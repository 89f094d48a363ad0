//! Batches that are worked on in parts, where what comes of a row may be much: a list of all of its group's
//! values, say. What one part gives goes out before the next is begun.

use arrow::array::ArrayRef;
use millrace_connector_api::ChangeBatch;

use super::BATCH;

/// Bytes of a part's results, about.
const BYTES: usize = 8 << 20;
/// Rows of the first part, where nothing is known yet.
const FIRST: usize = 16;

/// How many rows a part has, by what the parts before it gave.
pub(super) struct Parts {
    rows: usize,
}

impl Parts {
    /// `may_be_long`: a result may be put together of much. Where it is not, whole batches are parts.
    pub fn new(may_be_long: bool) -> Self {
        Parts {
            rows: if may_be_long { FIRST } else { usize::MAX },
        }
    }

    /// The end of the part that begins at a row.
    pub fn end(&self, from: usize, rows: usize) -> usize {
        rows.min(from.saturating_add(self.rows))
    }

    /// What a part of so many rows gave.
    pub fn gave(&mut self, rows: usize, results: &[ArrayRef]) {
        if self.rows == usize::MAX || rows == 0 {
            return;
        }
        let bytes: usize = results.iter().map(|r| r.get_buffer_memory_size()).sum();
        let fitting = BYTES / (bytes / rows).max(1);
        self.rows = fitting.min(2 * self.rows).clamp(1, BATCH);
    }
}

/// Some rows of a batch.
pub(super) fn slice(change: &ChangeBatch, from: usize, to: usize) -> ChangeBatch {
    match (from, to) {
        (0, to) if to == change.len() => change.clone(),
        _ => ChangeBatch {
            rows: change.rows.slice(from, to - from),
            kinds: change.kinds.as_ref().map(|kinds| kinds.slice(from, to - from)),
        },
    }
}
