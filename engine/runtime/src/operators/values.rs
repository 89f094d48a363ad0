//! VALUES as a source: the rows of the statement, once over the whole life of the job.

use arrow::compute::concat_batches;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::source::{SourceBatch, SourcePoll, SourceReader};
use millrace_core::{CheckpointId, Error, Result};
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_expr::{Expr, RowType};

use super::{kernel, now_millis};

pub struct ValuesReader {
    /// What is still to be given; none when all rows have been.
    batch: Option<RecordBatch>,
    subtask: usize,
}

const DONE: u8 = 1;
const NOT_DONE: u8 = 0;

impl ValuesReader {
    pub fn open(
        rows: &[Vec<Expr>],
        output: &RowType,
        session: &Session,
        subtask: usize,
        restored: Option<&[Vec<u8>]>,
    ) -> Result<Self> {
        let done = match restored {
            None => false,
            Some(entries) => entries.iter().any(|e| e.as_slice() == [DONE]),
        };
        if subtask != 0 || done || rows.is_empty() {
            return Ok(ValuesReader { batch: None, subtask });
        }
        let schema = output.to_arrow();
        let no_columns = RecordBatch::try_new_with_options(
            std::sync::Arc::new(arrow::datatypes::Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(1)),
        )
        .map_err(kernel)?;
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mut batches = Vec::with_capacity(rows.len());
        for row in rows {
            let columns = row
                .iter()
                .map(|e| Program::compile(e, session)?.evaluate(&no_columns, &evaluation))
                .collect::<Result<Vec<_>>>()?;
            batches.push(RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?);
        }
        Ok(ValuesReader {
            batch: Some(concat_batches(&schema, &batches).map_err(kernel)?),
            subtask,
        })
    }
}

impl SourceReader for ValuesReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        Ok(match self.batch.take() {
            Some(rows) => {
                let splits = vec![(0, rows.num_rows())];
                SourcePoll::Batch(SourceBatch {
                    batch: ChangeBatch::inserts(rows),
                    splits,
                })
            }
            None => SourcePoll::End,
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>> {
        Ok(match self.subtask {
            0 => vec![vec![if self.batch.is_none() { DONE } else { NOT_DONE }]],
            _ => Vec::new(),
        })
    }

    fn checkpoint_complete(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn pending_records(&self) -> Option<u64> {
        Some(self.batch.as_ref().map_or(0, |b| b.num_rows() as u64))
    }
}

/// The state's only values are 0 and 1; anything else was not written by this source.
pub fn check_state(entries: &[Vec<u8>]) -> Result<()> {
    match entries
        .iter()
        .all(|e| matches!(e.as_slice(), [DONE] | [NOT_DONE]))
    {
        true => Ok(()),
        false => Err(
            Error::external("the state of a VALUES source in the checkpoint is not readable")
                .with_hint("the statement has changed since: start with --fresh"),
        ),
    }
}
