//! The guard of a sink's NOT NULL columns.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::ChangeBatch;
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
    fn batch(&mut self, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let Batch {
            mut change,
            mut splits,
        } = batch;
        let offending = self
            .not_null
            .iter()
            .copied()
            .find(|&i| change.rows.column(i).null_count() > 0);
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
            let mut keep = BooleanBuffer::new_set(change.len());
            for nulls in self
                .not_null
                .iter()
                .filter_map(|&i| change.rows.column(i).nulls())
            {
                keep = &keep & nulls.inner();
            }
            let keep = BooleanArray::new(keep, None);
            self.metrics
                .dropped_records
                .add((change.len() - keep.true_count()) as u64);
            change = ChangeBatch {
                rows: filter_record_batch(&change.rows, &keep).map_err(kernel)?,
                kinds: match &change.kinds {
                    None => None,
                    Some(kinds) => Some(filter(kinds, &keep).map_err(kernel)?.to_data().into()),
                },
            };
            splits = None;
        }
        if change.is_empty() {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(change.len()));
        let rows =
            RecordBatch::try_new_with_options(self.schema.clone(), change.rows.columns().to_vec(), &options)
                .map_err(kernel)?;
        out.push(Element::Batch(Batch {
            change: ChangeBatch {
                rows,
                kinds: change.kinds,
            },
            splits,
        }));
        Ok(())
    }
}
