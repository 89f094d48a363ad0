//! What groups' results become on their way out: which of them have changed, and the rows that say so.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt8Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Result, RowKind};

use super::kernel;

/// Of each output row: the input row that its keys are from, which of the results it has (those before,
/// then those after), its kind.
#[derive(Default)]
pub(super) struct GroupResults {
    rows: Vec<u64>,
    results: Vec<u64>,
    kinds: Vec<u8>,
}

impl GroupResults {
    pub fn with_capacity(rows: usize) -> Self {
        GroupResults {
            rows: Vec::with_capacity(rows),
            results: Vec::with_capacity(rows),
            kinds: Vec::with_capacity(rows),
        }
    }

    pub fn push(&mut self, row: usize, result: usize, kind: RowKind) {
        self.rows.push(row as u64);
        self.results.push(result as u64);
        self.kinds.push(kind as u8);
    }

    /// The rows: keys, then results, a column each call. None, if there are no rows.
    pub fn batch(
        self,
        input: &ChangeBatch,
        keys: &[usize],
        before: &[ArrayRef],
        after: &[ArrayRef],
        schema: &SchemaRef,
    ) -> Result<Option<ChangeBatch>> {
        if self.kinds.is_empty() {
            return Ok(None);
        }
        let (rows, results) = (UInt64Array::from(self.rows), UInt64Array::from(self.results));
        let mut columns = Vec::with_capacity(schema.fields().len());
        for key in keys {
            columns.push(take(input.rows.column(*key), &rows, None).map_err(kernel)?);
        }
        for (before, after) in before.iter().zip(after) {
            let both = concat(&[before, after]).map_err(kernel)?;
            columns.push(take(&both, &results, None).map_err(kernel)?);
        }
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?;
        let kinds = Some(UInt8Array::from(self.kinds));
        Ok(Some(ChangeBatch { rows, kinds }))
    }
}

/// Rows after which every result is what it was before.
pub(super) fn unchanged(before: &[ArrayRef], after: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
    let mut same = BooleanArray::from(BooleanBuffer::new_set(rows));
    for (before, after) in before.iter().zip(after) {
        let each = match before.data_type().is_nested() {
            false => not_distinct(before, after).map_err(kernel)?,
            true => equal_rows(before, after)?,
        };
        same = and(&same, &each).map_err(kernel)?;
    }
    Ok(same.values().clone())
}

/// The same for arrays, maps and rows, which kernels do not compare.
fn equal_rows(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    let codec = RowCodec::new([before.data_type().clone()])?;
    let (mut a, mut b) = (Rows::default(), Rows::default());
    codec.encode(std::slice::from_ref(before), &mut a)?;
    codec.encode(std::slice::from_ref(after), &mut b)?;
    Ok(a.iter().zip(b.iter()).map(|(a, b)| Some(a == b)).collect())
}
