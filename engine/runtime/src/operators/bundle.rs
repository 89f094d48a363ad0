//! Mini-batches: rows wait until there are enough of them, or until the first has waited long enough
//! (`table.exec.mini-batch.*`), and are then worked on together.

use arrow::array::{Array, UInt8Array};
use arrow::compute::{concat, concat_batches};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::{Result, RowKind};
use millrace_dataflow::MiniBatch;

use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};

/// An operator that takes many rows at once.
pub trait Bundled: Send {
    /// Works on the rows of a bundle, of which there are some.
    fn bundle(&mut self, change: ChangeBatch, out: &mut Vec<Element>) -> Result<()>;

    /// As `Operator::snapshot`; no rows wait.
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}

/// A bundle's rows at most, in memory: of long ones there are fewer than is asked for.
const MOST_BYTES: usize = 32 << 20;

/// The rows that wait before such an operator, and what came behind them.
pub struct Bundle<B> {
    inner: B,
    limits: MiniBatch,
    waiting: Vec<ChangeBatch>,
    rows: usize,
    bytes: usize,
    /// When the first row that waits came, in milliseconds since 1970.
    since: i64,
    /// Watermarks and the like, which follow the rows.
    behind: Vec<Element>,
}

impl<B: Bundled> Bundle<B> {
    pub fn new(inner: B, limits: MiniBatch) -> Self {
        Bundle {
            inner,
            limits,
            waiting: Vec::new(),
            rows: 0,
            bytes: 0,
            since: 0,
            behind: Vec::new(),
        }
    }

    fn finish(&mut self, out: &mut Vec<Element>) -> Result<()> {
        (self.rows, self.bytes) = (0, 0);
        if let Some(change) = together(std::mem::take(&mut self.waiting))? {
            self.inner.bundle(change, out)?;
        }
        out.append(&mut self.behind);
        Ok(())
    }
}

/// The rows of batches in one.
fn together(mut batches: Vec<ChangeBatch>) -> Result<Option<ChangeBatch>> {
    if batches.len() <= 1 {
        return Ok(batches.pop());
    }
    let kinds = match batches.iter().any(|batch| batch.kinds.is_some()) {
        false => None,
        true => {
            let kinds: Vec<UInt8Array> = batches
                .iter()
                .map(|batch| match &batch.kinds {
                    Some(kinds) => kinds.clone(),
                    None => UInt8Array::from(vec![RowKind::Insert as u8; batch.len()]),
                })
                .collect();
            let all: Vec<&dyn Array> = kinds.iter().map(|k| k as &dyn Array).collect();
            Some(concat(&all).map_err(kernel)?.to_data().into())
        }
    };
    let schema = batches[0].rows.schema();
    let rows: Vec<RecordBatch> = batches.into_iter().map(|batch| batch.rows).collect();
    Ok(Some(ChangeBatch {
        rows: concat_batches(&schema, &rows).map_err(kernel)?,
        kinds,
    }))
}

impl<B: Bundled> Operator for Bundle<B> {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        if batch.change.is_empty() {
            return Ok(());
        }
        if self.rows == 0 {
            self.since = now_millis();
        }
        self.rows += batch.change.len();
        self.bytes += batch.change.bytes();
        self.waiting.push(batch.change);
        match self.rows >= self.limits.rows || self.bytes >= MOST_BYTES {
            true => self.finish(out),
            false => Ok(()),
        }
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        match element {
            Element::EndOfInput => {
                self.finish(out)?;
                out.push(element);
            }
            _ if self.rows == 0 => out.push(element),
            Element::Watermark(_) if matches!(self.behind.last(), Some(Element::Watermark(_))) => {
                self.behind.pop();
                self.behind.push(element);
            }
            _ => self.behind.push(element),
        }
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        let waited = now_millis.saturating_sub(self.since);
        match self.rows > 0 && waited >= self.limits.latency_millis {
            true => self.finish(out),
            false => Ok(()),
        }
    }

    fn before_barrier(&mut self, out: &mut Vec<Element>) -> Result<()> {
        self.finish(out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.inner.snapshot()
    }
}
