//! Pairs of rows, either of which may be missing, as a batch: the left columns, then the right ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind};
use millrace_expr::RowType;

use crate::changes::WholeRows;
use crate::operators::{BATCH, BATCH_BYTES, kernel};

#[derive(Default)]
pub struct Joined {
    kinds: Vec<u8>,
    left: Half,
    right: Half,
}

#[derive(Default)]
struct Half {
    rows: Rows,
    /// Of each pair the row, if there is one.
    place: Vec<Option<u32>>,
}

impl Half {
    fn push(&mut self, row: Option<&[u8]>) {
        self.place.push(row.map(|row| {
            self.rows.push(row);
            (self.rows.len() - 1) as u32
        }));
    }

    fn columns(&mut self, codec: &WholeRows) -> Result<Vec<ArrayRef>> {
        let decoded = codec.decode(self.rows.iter())?;
        let place = std::mem::take(&mut self.place);
        let is_whole = place.len() == self.rows.len();
        self.rows.clear();
        if is_whole {
            return Ok(decoded);
        }
        let place = UInt32Array::from(place);
        let columns = decoded
            .iter()
            .map(|column| take(column, &place, None).map_err(kernel));
        columns.collect()
    }
}

impl Joined {
    pub fn push(&mut self, kind: RowKind, left: Option<&[u8]>, right: Option<&[u8]>) {
        self.kinds.push(kind as u8);
        self.left.push(left);
        self.right.push(right);
    }

    /// How many pairs there are.
    pub fn count(&self) -> usize {
        self.kinds.len()
    }

    /// Whether they are enough for a batch.
    pub fn is_full(&self) -> bool {
        let bytes = self.left.rows.data.len() + self.right.rows.data.len();
        self.count() >= BATCH || bytes >= BATCH_BYTES
    }

    /// What was gathered, and its kinds. A schema of the left columns alone leaves the right out.
    pub fn take(
        &mut self,
        left: &WholeRows,
        right: &WholeRows,
        schema: &SchemaRef,
    ) -> Result<Option<(RecordBatch, Vec<u8>)>> {
        if self.kinds.is_empty() {
            return Ok(None);
        }
        let mut columns = self.left.columns(left)?;
        match columns.len() < schema.fields().len() {
            true => columns.extend(self.right.columns(right)?),
            false => self.right = Half::default(),
        }
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?;
        Ok(Some((rows, std::mem::take(&mut self.kinds))))
    }
}

/// The columns of both inputs, all of which may be null.
pub fn joined_schema(inputs: [&RowType; 2]) -> SchemaRef {
    let fields = inputs.iter().flat_map(|input| &input.fields);
    let fields = fields.enumerate().map(|(i, field)| {
        // Names may be there twice; nobody asks for one.
        Field::new(format!("{i}"), field.data_type.to_arrow(), true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
