//! Rows with their kinds.

use arrow::array::{Array, UInt8Array};
use arrow::record_batch::RecordBatch;
use millrace_core::RowKind;

/// Rows of a stream. `kinds` is absent where all of them are inserts.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    pub rows: RecordBatch,
    /// `RowKind as u8`, one a row, never null.
    pub kinds: Option<UInt8Array>,
}

impl ChangeBatch {
    pub fn inserts(rows: RecordBatch) -> Self {
        ChangeBatch { rows, kinds: None }
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }

    pub fn kind(&self, row: usize) -> RowKind {
        match &self.kinds {
            None => RowKind::Insert,
            Some(kinds) => RowKind::from_u8(kinds.value(row)).unwrap_or(RowKind::Insert),
        }
    }

    /// Bytes of the columns in memory.
    pub fn bytes(&self) -> usize {
        self.rows
            .columns()
            .iter()
            .map(|c| c.get_buffer_memory_size())
            .sum()
    }
}
