//! GROUP BY over a stream: the result of a row's group, row by row, as Flink's `GroupAggFunction`
//! gives it. A group's first row inserts its result; others update it, or do nothing where the
//! result stays the same; and when all of a group's rows are taken back, its result is deleted.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt8Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, GroupAggregate as Plan};
use millrace_expr::RowType;
use millrace_expr::aggregate::Grouped;
use millrace_state::keyed::KeyedBackend;

use super::groups::{Groups, State};
use super::{Operator, kernel};
use crate::element::{Batch, Element};

pub struct GroupAggregate {
    key_columns: Vec<usize>,
    groups: Groups,
    /// Whether readers need what a result was before.
    update_before: bool,
    schema: SchemaRef,
}

/// What a row does to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Next,
    /// Takes the group's only row back.
    Last,
    /// Takes a row back from a group that has none: as in Flink, nothing.
    Void,
}

impl GroupAggregate {
    pub fn new(
        plan: &Plan,
        changelog: Changelog,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        Ok(GroupAggregate {
            groups: Groups::open(&plan.keys, &input.to_arrow(), &plan.calls, plan.retracts, backend)?,
            key_columns: plan.keys.clone(),
            update_before: changelog.before,
            schema: output.to_arrow(),
        })
    }
}

/// What each row does to its group; rows are counted on the way.
fn turns(state: &mut State, slots: &[u32], first: &[bool], retract: Option<&[bool]>) -> Result<Vec<Turn>> {
    let Some(rows) = &mut state.rows else {
        if retract.is_some() {
            return Err(Error::internal(
                "an aggregation that was planned over inserts meets other rows",
            ));
        }
        let turn = |first: &bool| if *first { Turn::First } else { Turn::Next };
        return Ok(first.iter().map(turn).collect());
    };
    let turn = |(row, slot): (usize, &u32)| {
        let count = &mut rows[*slot as usize];
        match (retract.is_some_and(|r| r[row]), *count) {
            (true, 0) => Turn::Void,
            (true, n) => {
                *count -= 1;
                if n == 1 { Turn::Last } else { Turn::Next }
            }
            (false, n) => {
                *count += 1;
                if n == 0 { Turn::First } else { Turn::Next }
            }
        }
    };
    Ok(slots.iter().enumerate().map(turn).collect())
}

impl Operator for GroupAggregate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let change = batch.change;
        let count = change.len();
        if count == 0 {
            return Ok(());
        }
        let retract = retractions(&change);
        let (slots, first) = self.groups.resolve(&change.rows)?;
        let turns = turns(&mut self.groups.state, &slots, &first, retract.as_deref())?;
        let first: Vec<bool> = turns.iter().map(|turn| *turn == Turn::First).collect();
        let pass: Option<Vec<bool>> = match turns.contains(&Turn::Void) {
            true => Some(turns.iter().map(|turn| *turn != Turn::Void).collect()),
            false => None,
        };
        let grouped = Grouped {
            columns: change.rows.columns(),
            slots: &slots,
            retract: retract.as_deref(),
            first: Some(&first),
            pass: pass.as_deref(),
        };
        let (before, after) = self
            .groups
            .with_maps(|state, maps| state.calls.trace(&grouped, maps))?;
        for (slot, turn) in slots.iter().zip(&turns) {
            match turn {
                Turn::Void => {}
                Turn::Last => self.groups.remove(*slot),
                Turn::First | Turn::Next => self.groups.changed(*slot),
            }
        }
        let same = unchanged(&before, &after, count)?;
        // Of each output row: the input row, whether its results are those before it, its kind.
        let mut rows: Vec<u64> = Vec::with_capacity(2 * count);
        let mut results: Vec<u64> = Vec::with_capacity(2 * count);
        let mut kinds: Vec<u8> = Vec::with_capacity(2 * count);
        let mut push = |row: usize, is_after: bool, kind: RowKind| {
            rows.push(row as u64);
            results.push(if is_after { count + row } else { row } as u64);
            kinds.push(kind as u8);
        };
        for (row, turn) in turns.iter().enumerate() {
            match turn {
                Turn::First => push(row, true, RowKind::Insert),
                Turn::Last => push(row, false, RowKind::Delete),
                Turn::Next if !same.value(row) => {
                    if self.update_before {
                        push(row, false, RowKind::UpdateBefore);
                    }
                    push(row, true, RowKind::UpdateAfter);
                }
                Turn::Next | Turn::Void => {}
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let (rows, results) = (UInt64Array::from(rows), UInt64Array::from(results));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for key in &self.key_columns {
            columns.push(take(change.rows.column(*key), &rows, None).map_err(kernel)?);
        }
        for (before, after) in before.iter().zip(&after) {
            let both = concat(&[before, after]).map_err(kernel)?;
            columns.push(take(&both, &results, None).map_err(kernel)?);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(kernel)?;
        let kinds = Some(UInt8Array::from(kinds));
        out.push(Element::Batch(ChangeBatch { rows, kinds }.into()));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.groups.flush()?;
        Ok(Vec::new())
    }
}

/// Rows of a batch that take something back.
pub(super) fn retractions(change: &ChangeBatch) -> Option<Vec<bool>> {
    let kinds = change.kinds.as_ref()?;
    let back = |kind: &u8| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
    Some(kinds.values().iter().map(back).collect())
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
