//! GROUP BY before its exchange: the rows of a bundle are summed up by key, and what goes over the edge
//! is a state for each group, not a row for each row. It keeps nothing from bundle to bundle.

use std::collections::HashMap;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::ChangeBatch;
use millrace_core::Result;
use millrace_dataflow::GroupAggregate as Plan;
use millrace_expr::RowType;
use millrace_expr::aggregate::{Grouped, HeapMaps};

use super::bundle::Bundled;
use super::group_aggregate::retractions;
use super::groups::State;
use super::kernel;
use crate::element::Element;
use crate::keys::Keys;

pub struct LocalGroupAggregate {
    keys: Keys,
    key_columns: Vec<usize>,
    state: State,
    schema: SchemaRef,
}

impl LocalGroupAggregate {
    pub fn new(plan: &Plan, input: &RowType, output: &RowType) -> Result<Self> {
        Ok(LocalGroupAggregate {
            keys: Keys::new(&plan.keys, &input.to_arrow())?,
            key_columns: plan.keys.clone(),
            state: State::new(&plan.calls, plan.retracts)?,
            schema: output.to_arrow(),
        })
    }
}

impl Bundled for LocalGroupAggregate {
    fn bundle(&mut self, change: ChangeBatch, out: &mut Vec<Element>) -> Result<()> {
        self.keys.encode(&change.rows)?;
        let mut index: HashMap<&[u8], u32> = HashMap::new();
        let (mut slots, mut first_rows) = (Vec::with_capacity(change.len()), Vec::new());
        for (row, key) in self.keys.rows.iter().enumerate() {
            let slot = *index.entry(key).or_insert_with(|| {
                first_rows.push(row as u64);
                (first_rows.len() - 1) as u32
            });
            slots.push(slot);
        }
        let groups: Vec<u32> = (0..first_rows.len() as u32).collect();
        self.state.resize(groups.len());
        self.state.reset(&groups);
        let retract = retractions(&change);
        if let Some(rows) = &mut self.state.rows {
            for (row, slot) in slots.iter().enumerate() {
                let back = retract.as_ref().is_some_and(|retract| retract[row]);
                rows[*slot as usize] += if back { -1 } else { 1 };
            }
        }
        let grouped = Grouped {
            columns: change.rows.columns(),
            slots: &slots,
            retract: retract.as_deref(),
            first: None,
            pass: None,
        };
        // What needs maps is not done in two phases.
        self.state.calls.update(&grouped, &mut HeapMaps::default())?;
        let first_rows = UInt64Array::from(first_rows);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for key in &self.key_columns {
            columns.push(take(change.rows.column(*key), &first_rows, None).map_err(kernel)?);
        }
        columns.extend(self.state.columns(&groups)?);
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        let rows =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(kernel)?;
        out.push(Element::Batch(ChangeBatch { rows, kinds: None }.into()));
        Ok(())
    }
}
