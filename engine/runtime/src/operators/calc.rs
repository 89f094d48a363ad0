//! Filter, then projection.

use arrow::array::Array;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::ChangeBatch;
use millrace_core::Result;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_expr::{Expr, RowType};

use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};

pub struct Calc {
    condition: Option<Program>,
    projection: Vec<Program>,
    schema: SchemaRef,
}

impl Calc {
    pub fn new(
        condition: Option<&Expr>,
        projection: &[Expr],
        output: &RowType,
        session: &Session,
    ) -> Result<Self> {
        Ok(Calc {
            condition: condition.map(|c| Program::compile(c, session)).transpose()?,
            projection: projection
                .iter()
                .map(|p| Program::compile(p, session))
                .collect::<Result<_>>()?,
            schema: output.to_arrow(),
        })
    }
}

impl Operator for Calc {
    fn batch(&mut self, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let Batch {
            mut change,
            mut splits,
        } = batch;
        if let Some(condition) = &self.condition {
            let mask = condition.filter_mask(&change.rows, &evaluation)?;
            let kept = mask.true_count();
            if kept == 0 {
                return Ok(());
            }
            if kept < change.len() {
                change = ChangeBatch {
                    rows: filter_record_batch(&change.rows, &mask).map_err(kernel)?,
                    kinds: match &change.kinds {
                        None => None,
                        Some(kinds) => {
                            let kinds = filter(kinds, &mask).map_err(kernel)?;
                            Some(kinds.to_data().into())
                        }
                    },
                };
                splits = None;
            }
        }
        let columns = self
            .projection
            .iter()
            .map(|program| program.evaluate(&change.rows, &evaluation))
            .collect::<Result<Vec<_>>>()?;
        let rows = RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(change.len())),
        )
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
