//! Rows that enter and leave windows, one after another over all keys, gathered so that each
//! function runs over many of them at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::Result;
use millrace_core::row::Rows;

use super::accumulators::{Accumulators, Along};
use crate::changes::WholeRows;
use crate::element::{Batch, Element};
use crate::operators::{BATCH, BATCH_BYTES, kernel};

pub(super) struct Steps {
    rows: Rows,
    slots: Vec<u32>,
    retract: Vec<bool>,
    /// Rows to give out: the step that has the row, and the one after which it has its results.
    given: Vec<(u32, u32)>,
    /// The watermark before each of these.
    watermarks: Vec<i64>,
    /// The one before what is given next.
    pub watermark: i64,
}

impl Steps {
    pub fn new() -> Self {
        Steps {
            rows: Rows::default(),
            slots: Vec::new(),
            retract: Vec::new(),
            given: Vec::new(),
            watermarks: Vec::new(),
            watermark: i64::MIN,
        }
    }

    /// A row enters the window of a slot. Gives the step's number.
    pub fn enter(&mut self, slot: u32, row: &[u8]) -> u32 {
        self.push(slot, row, false)
    }

    pub fn leave(&mut self, slot: u32, row: &[u8]) {
        self.push(slot, row, true);
    }

    fn push(&mut self, slot: u32, row: &[u8], retract: bool) -> u32 {
        self.rows.push(row);
        self.slots.push(slot);
        self.retract.push(retract);
        (self.slots.len() - 1) as u32
    }

    pub fn give(&mut self, row: u32, results: u32) {
        self.given.push((row, results));
        self.watermarks.push(self.watermark);
    }

    /// Whether they are enough for a batch.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= BATCH || self.rows.data.len() >= BATCH_BYTES
    }

    /// Takes all steps; what is given goes out.
    pub fn settle(
        &mut self,
        accumulators: &mut Accumulators,
        codec: &WholeRows,
        schema: &SchemaRef,
        out: &mut Vec<Element>,
    ) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let next = Steps {
            watermark: self.watermark,
            ..Steps::new()
        };
        let steps = std::mem::replace(self, next);
        let columns = codec.decode(steps.rows.iter())?;
        let results = accumulators.results(&Along {
            slots: &steps.slots,
            columns: &columns,
            retract: steps.retract.contains(&true).then_some(&steps.retract),
        })?;
        if steps.given.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(steps.given.iter().map(|(row, _)| *row));
        let after = UInt32Array::from_iter_values(steps.given.iter().map(|(_, after)| *after));
        let pick = |column: &ArrayRef, at: &UInt32Array| take(column, at, None).map_err(kernel);
        let mut all = Vec::with_capacity(columns.len() + results.len());
        for column in &columns {
            all.push(pick(column, &rows)?);
        }
        for column in &results {
            all.push(pick(column, &after)?);
        }
        let rows = RecordBatch::try_new(Arc::clone(schema), all).map_err(kernel)?;
        let is_known = steps.watermarks.last().is_some_and(|last| *last > i64::MIN);
        out.push(Element::Batch(Batch {
            watermarks: is_known.then(|| steps.watermarks.into()),
            ..ChangeBatch::inserts(rows).into()
        }));
        Ok(())
    }
}
