//! Rows of a batch and rows out of state, in the order in which an operator sends them on.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt8Array, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Result, RowKind};

use super::kernel;
use crate::element::Batch;

#[derive(Default)]
pub struct Outgoing {
    /// Of each row its place among the batch's rows and, behind those, the stored ones.
    places: Vec<u32>,
    /// The row of the batch that it is sent for.
    causes: Vec<u32>,
    kinds: Vec<u8>,
    stored: Rows,
    rows: u32,
}

impl Outgoing {
    /// For a batch of so many rows.
    pub fn new(rows: usize) -> Self {
        Outgoing {
            rows: rows as u32,
            ..Outgoing::default()
        }
    }

    /// The batch's row itself.
    pub fn own(&mut self, row: usize, kind: RowKind) {
        self.push(row as u32, row, kind);
    }

    /// A row out of state, encoded, that is sent for a row of the batch.
    pub fn stored(&mut self, bytes: &[u8], row: usize, kind: RowKind) {
        let place = self.rows + self.stored.len() as u32;
        self.stored.push(bytes);
        self.push(place, row, kind);
    }

    fn push(&mut self, place: u32, cause: usize, kind: RowKind) {
        self.places.push(place);
        self.causes.push(cause as u32);
        self.kinds.push(kind as u8);
    }

    /// The rows; nothing if there are none.
    pub fn finish(self, batch: &Batch, codec: &RowCodec, schema: &SchemaRef) -> Result<Option<Batch>> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let places = UInt32Array::from(self.places);
        let own = batch.change.rows.columns();
        let columns: std::result::Result<Vec<ArrayRef>, _> = match self.stored.is_empty() {
            true => own.iter().map(|c| take(c, &places, None)).collect(),
            false => {
                let stored = codec.decode(self.stored.iter())?;
                let both = own
                    .iter()
                    .zip(&stored)
                    .map(|(own, stored)| concat(&[own, stored]));
                both.map(|c| take(&c?, &places, None)).collect()
            }
        };
        let columns = columns.map_err(kernel)?;
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?;
        let watermarks = batch.watermarks.as_ref().map(|watermarks| {
            let of_rows = self.causes.iter().map(|row| watermarks[*row as usize]);
            of_rows.collect::<Arc<[i64]>>()
        });
        Ok(Some(Batch {
            change: ChangeBatch {
                rows,
                kinds: Some(UInt8Array::from(self.kinds)),
            },
            splits: None,
            watermarks,
        }))
    }
}
