//! Filter, then projection.

use arrow::datatypes::SchemaRef;
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
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mut batch = batch;
        if let Some(condition) = &self.condition {
            let mask = condition.filter_mask(&batch.change.rows, &evaluation)?;
            let kept = mask.true_count();
            if kept == 0 {
                return Ok(());
            }
            if kept < batch.change.len() {
                batch = batch.filter(&mask).map_err(kernel)?;
            }
        }
        let columns = self
            .projection
            .iter()
            .map(|program| program.evaluate(&batch.change.rows, &evaluation))
            .collect::<Result<Vec<_>>>()?;
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
        Ok(())
    }
}
