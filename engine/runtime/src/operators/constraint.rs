//! The guard of a sink's NOT NULL columns.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use millrace_core::{Error, Result};
use millrace_expr::RowType;

use super::{Operator, kernel};
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

pub struct ConstraintEnforcer {
    not_null: Vec<usize>,
    drop: bool,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

impl ConstraintEnforcer {
    pub fn new(not_null: Vec<usize>, drop: bool, output: &RowType, metrics: Arc<TaskMetrics>) -> Self {
        ConstraintEnforcer {
            not_null,
            drop,
            schema: output.to_arrow(),
            metrics,
        }
    }
}

impl Operator for ConstraintEnforcer {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let mut batch = batch;
        let rows = &batch.change.rows;
        let offending = self
            .not_null
            .iter()
            .copied()
            .find(|&i| rows.column(i).null_count() > 0);
        if let Some(column) = offending {
            if !self.drop {
                return Err(Error::user(format!(
                    "column '{}' is NOT NULL, and a null value is being written into it",
                    self.schema.field(column).name()
                ))
                .with_hint(
                    "filter such rows out, or set 'table.exec.sink.not-null-enforcer' = 'DROP' to leave them out",
                ));
            }
            let mut keep = BooleanBuffer::new_set(rows.num_rows());
            for nulls in self.not_null.iter().filter_map(|&i| rows.column(i).nulls()) {
                keep = &keep & nulls.inner();
            }
            let keep = BooleanArray::new(keep, None);
            self.metrics
                .dropped_records
                .add((keep.len() - keep.true_count()) as u64);
            batch = batch.filter(&keep).map_err(kernel)?;
        }
        if batch.change.is_empty() {
            return Ok(());
        }
        let columns = batch.change.rows.columns().to_vec();
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
        Ok(())
    }
}
