//! Rows of state as changes: encoded rows with their kinds, gathered and decoded a batch at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt8Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Result, RowKind};

use crate::element::{Batch, Element};
use crate::operators::{BATCH, BATCH_BYTES, kernel};

/// Encodes and decodes whole rows of a schema.
pub struct WholeRows {
    codec: RowCodec,
}

impl WholeRows {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let types = schema.fields().iter().map(|f| f.data_type().clone());
        Ok(WholeRows {
            codec: RowCodec::new(types)?,
        })
    }

    pub fn encode(&self, batch: &RecordBatch) -> Result<Rows> {
        let mut rows = Rows::default();
        self.codec.encode(batch.columns(), &mut rows)?;
        Ok(rows)
    }

    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.codec.decode(rows)
    }
}

/// Changes on their way out.
#[derive(Default)]
pub struct Changes {
    kinds: Vec<u8>,
    rows: Rows,
    /// A last column of row numbers, where there is one.
    numbers: Vec<i64>,
    /// The watermark before each.
    watermarks: Vec<i64>,
    watermark: Option<i64>,
}

impl Changes {
    /// What follows is sent for a row of a batch, and so with the watermark before it.
    pub fn caused_by(&mut self, watermarks: Option<&[i64]>, row: usize) {
        self.watermark = watermarks.map(|watermarks| watermarks[row]);
    }

    pub fn push(&mut self, kind: RowKind, row: &[u8]) {
        self.kinds.push(kind as u8);
        self.rows.push(row);
        self.watermarks.push(self.watermark.unwrap_or(i64::MIN));
    }

    pub fn push_numbered(&mut self, kind: RowKind, row: &[u8], number: u64) {
        self.push(kind, row);
        self.numbers.push(number as i64);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.kinds.len()
    }

    /// Whether they are enough for a batch.
    pub fn is_full(&self) -> bool {
        self.count() >= BATCH || self.rows.data.len() >= BATCH_BYTES
    }

    /// Gives what was gathered, and begins anew.
    pub fn take(&mut self, codec: &WholeRows, schema: &SchemaRef, out: &mut Vec<Element>) -> Result<()> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        let mut columns = codec.decode(self.rows.iter())?;
        if columns.len() < schema.fields().len() {
            columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.numbers))));
        }
        self.numbers.clear();
        self.rows.clear();
        let kinds = std::mem::take(&mut self.kinds);
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?;
        self.watermark = None;
        let watermarks = std::mem::take(&mut self.watermarks);
        let change = ChangeBatch {
            rows,
            kinds: kinds_of(kinds),
        };
        out.push(Element::Batch(Batch {
            watermarks: watermarks
                .iter()
                .any(|w| *w > i64::MIN)
                .then(|| watermarks.into()),
            ..change.into()
        }));
        Ok(())
    }
}

/// Kinds as a batch has them: none where all rows are inserts.
pub fn kinds_of(kinds: Vec<u8>) -> Option<UInt8Array> {
    let inserts = kinds.iter().all(|kind| *kind == RowKind::Insert as u8);
    (!inserts).then(|| UInt8Array::from(kinds))
}

/// The kind of a row of a batch.
pub fn kind_of(change: &ChangeBatch, row: usize) -> RowKind {
    match &change.kinds {
        None => RowKind::Insert,
        Some(kinds) => match kinds.value(row) {
            k if k == RowKind::UpdateBefore as u8 => RowKind::UpdateBefore,
            k if k == RowKind::UpdateAfter as u8 => RowKind::UpdateAfter,
            k if k == RowKind::Delete as u8 => RowKind::Delete,
            _ => RowKind::Insert,
        },
    }
}

/// Whether a row adds to the table, rather than takes from it.
pub fn accumulates(kind: RowKind) -> bool {
    matches!(kind, RowKind::Insert | RowKind::UpdateAfter)
}
