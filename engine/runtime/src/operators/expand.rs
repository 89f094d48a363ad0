//! Grouping sets: each row once for each of them, without the columns that the set does not group by.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::Result;
use millrace_dataflow::Expansion;
use millrace_expr::RowType;

use super::{Operator, kernel};
use crate::element::{Batch, Element};

pub struct Expand {
    expansions: Vec<Expansion>,
    schema: SchemaRef,
}

impl Expand {
    pub fn new(expansions: Vec<Expansion>, output: &RowType) -> Self {
        Expand {
            expansions,
            schema: output.to_arrow(),
        }
    }
}

impl Operator for Expand {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let (rows, sets) = (batch.change.len(), self.expansions.len());
        if rows == 0 {
            return Ok(());
        }
        let repeated = UInt32Array::from_iter_values((0..rows * sets).map(|i| (i / sets) as u32));
        let input = batch.change.rows.columns();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(input.len() + 1);
        for (index, column) in input.iter().enumerate() {
            let is_null = |i: usize| self.expansions[i % sets].nulls.contains(&index);
            let taken = match (0..sets).any(is_null) {
                false => take(column, &repeated, None).map_err(kernel)?,
                true => {
                    // The row behind the last is null.
                    let null = new_null_array(column.data_type(), 1);
                    let padded = concat(&[column, &null]).map_err(kernel)?;
                    let pick = |i: usize| if is_null(i) { rows } else { i / sets };
                    let picked = UInt32Array::from_iter_values((0..rows * sets).map(|i| pick(i) as u32));
                    take(&padded, &picked, None).map_err(kernel)?
                }
            };
            columns.push(taken);
        }
        let ids = (0..rows * sets).map(|i| self.expansions[i % sets].id);
        columns.push(Arc::new(Int64Array::from_iter_values(ids)));
        let kinds = match &batch.change.kinds {
            None => None,
            Some(kinds) => {
                Some(arrow::array::Array::to_data(&take(kinds, &repeated, None).map_err(kernel)?).into())
            }
        };
        let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(kernel)?;
        let watermarks = batch.watermarks.map(|watermarks| {
            let each = watermarks.iter().flat_map(|w| std::iter::repeat_n(*w, sets));
            each.collect()
        });
        out.push(Element::Batch(Batch {
            watermarks,
            ..ChangeBatch { rows, kinds }.into()
        }));
        Ok(())
    }
}
