//! GROUP BY over a stream: the result of a row's group, row by row, as Flink's `GroupAggFunction`
//! gives it. A group's first row inserts its result; others update it, or do nothing where the
//! result stays the same; and when all of a group's rows are taken back, its result is deleted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt8Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result, RowKind, key_group};
use millrace_dataflow::{Changelog, GroupAggregate as Plan};
use millrace_expr::RowType;
use millrace_expr::aggregate::{Accumulator, AggregateCall, Input};
use millrace_state::keyed::{KeyedBackend, Table};

use super::{Operator, kernel};
use crate::element::{Batch, Element};
use crate::keys::Keys;

pub struct GroupAggregate {
    key_columns: Vec<usize>,
    keys: Keys,
    calls: Calls,
    table: Table,
    max_parallelism: u16,
    /// Whether readers need what a result was before.
    update_before: bool,
    schema: SchemaRef,
}

/// What is kept of each group, by slot.
pub(super) struct Calls {
    /// Rows of each group, where rows can be taken back.
    rows: Option<Vec<i64>>,
    pub calls: Vec<Call>,
    codec: RowCodec,
}

pub(super) struct Call {
    pub arg: Option<usize>,
    pub filter: Option<usize>,
    pub accumulator: Box<dyn Accumulator>,
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
        let calls = Calls::new(&plan.calls, plan.retracts)?;
        Ok(GroupAggregate {
            keys: Keys::new(&plan.keys, &input.to_arrow())?,
            key_columns: plan.keys.clone(),
            table: Table::open(&backend.store, "groups", calls.slot_bytes(), backend.cache_bytes)?,
            calls,
            max_parallelism: backend.max_parallelism,
            update_before: changelog.before,
            schema: output.to_arrow(),
        })
    }

    /// Brings the groups of a batch's rows into memory: each row's slot, and whether it is the first
    /// of a slot that had no state.
    fn groups(&mut self, rows: &RecordBatch) -> Result<(Vec<u32>, Vec<bool>)> {
        let count = rows.num_rows();
        self.table
            .make_room(count, |slots, out| self.calls.store(slots, out))?;
        self.keys.encode(rows)?;
        let groups: Vec<u16> = self
            .keys
            .hashes
            .iter()
            .map(|hash| key_group::of_hash(*hash, self.max_parallelism))
            .collect();
        let mut slots = Vec::with_capacity(count);
        let resolved = self
            .table
            .resolve(&self.keys.rows, &self.keys.hashes, &groups, &mut slots)?;
        let width = self.table.width();
        self.calls.resize(width);
        self.calls.reset(&resolved.fresh);
        self.calls.load(&resolved.loaded, &resolved.values)?;
        let mut is_fresh = vec![false; width];
        for slot in resolved.fresh {
            is_fresh[slot as usize] = true;
        }
        let first = slots
            .iter()
            .map(|slot| std::mem::take(&mut is_fresh[*slot as usize]))
            .collect();
        Ok((slots, first))
    }
}

impl Calls {
    pub fn new(calls: &[AggregateCall], retracts: bool) -> Result<Self> {
        let calls = calls
            .iter()
            .map(|call| {
                Ok(Call {
                    arg: call.arg,
                    filter: call.filter,
                    accumulator: call.accumulator()?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let counter = retracts.then_some(DataType::Int64);
        let fields = calls.iter().flat_map(|c| c.accumulator.fields());
        let types = counter.into_iter().chain(fields.map(|f| f.data_type.to_arrow()));
        Ok(Calls {
            codec: RowCodec::new(types)?,
            rows: retracts.then(Vec::new),
            calls,
        })
    }

    pub fn slot_bytes(&self) -> usize {
        let counter = self.rows.is_some() as usize * size_of::<i64>();
        counter
            + self
                .calls
                .iter()
                .map(|c| c.accumulator.slot_bytes())
                .sum::<usize>()
    }

    pub fn resize(&mut self, width: usize) {
        if let Some(rows) = &mut self.rows {
            rows.resize(width, 0);
        }
        self.calls.iter_mut().for_each(|c| c.accumulator.resize(width));
    }

    pub fn reset(&mut self, slots: &[u32]) {
        if let Some(rows) = &mut self.rows {
            slots.iter().for_each(|slot| rows[*slot as usize] = 0);
        }
        self.calls.iter_mut().for_each(|c| c.accumulator.reset(slots));
    }

    pub fn load(&mut self, slots: &[u32], values: &Rows) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        self.reset(slots);
        self.merge(slots, &self.decode(values)?)
    }

    /// Stored states as columns.
    pub fn decode(&self, values: &Rows) -> Result<Vec<ArrayRef>> {
        self.codec.decode(values.iter())
    }

    /// Adds states to those of slots.
    pub fn merge(&mut self, slots: &[u32], states: &[ArrayRef]) -> Result<()> {
        let mut columns = states.iter();
        if let Some(rows) = &mut self.rows {
            let counts = columns.next().and_then(|c| c.as_primitive_opt::<Int64Type>());
            for (slot, count) in slots.iter().zip(counts.iter().flat_map(|c| c.values())) {
                rows[*slot as usize] += *count;
            }
        }
        for call in &mut self.calls {
            let fields = call.accumulator.fields().len();
            let stored: Vec<ArrayRef> = columns.by_ref().take(fields).cloned().collect();
            call.accumulator.merge(slots, &stored)?;
        }
        Ok(())
    }

    pub fn store(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        let columns = self.states(slots)?;
        match columns.is_empty() {
            true => out.ends.resize(slots.len(), 0),
            false => self.codec.encode(&columns, out)?,
        }
        Ok(())
    }

    /// The states of slots, a column each field.
    pub fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.codec.types().len());
        if let Some(rows) = &self.rows {
            let counts = slots.iter().map(|slot| rows[*slot as usize]);
            columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        }
        for call in &self.calls {
            columns.extend(call.accumulator.store(slots)?);
        }
        Ok(columns)
    }

    /// The results of slots, a column each call.
    pub fn values(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.calls
            .iter()
            .map(|call| call.accumulator.values(slots))
            .collect()
    }

    /// Counts rows in, or out.
    pub fn count(&mut self, slots: &[u32], retract: Option<&[bool]>) {
        if let Some(rows) = &mut self.rows {
            for (row, slot) in slots.iter().enumerate() {
                rows[*slot as usize] += if retract.is_some_and(|r| r[row]) { -1 } else { 1 };
            }
        }
    }

    /// Whether a group has rows left.
    pub fn is_there(&self, slot: u32) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows[slot as usize] != 0)
    }

    /// What each row does to its group; rows are counted on the way.
    fn turns(&mut self, slots: &[u32], first: &[bool], retract: Option<&[bool]>) -> Result<Vec<Turn>> {
        let Some(rows) = &mut self.rows else {
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
}

impl Operator for GroupAggregate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let change = batch.change;
        let count = change.len();
        if count == 0 {
            return Ok(());
        }
        let retract = retractions(&change);
        let (slots, first) = self.groups(&change.rows)?;
        let turns = self.calls.turns(&slots, &first, retract.as_deref())?;
        let first: Vec<bool> = turns.iter().map(|turn| *turn == Turn::First).collect();
        let counts = |row: usize| turns[row] != Turn::Void;
        let all_count = !turns.contains(&Turn::Void);
        let (mut before, mut after): (Vec<ArrayRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for call in &mut self.calls.calls {
            let pass = match call.filter {
                Some(column) => Some(passing(change.rows.column(column), counts)),
                None if all_count => None,
                None => Some((0..count).map(counts).collect()),
            };
            let trace = call.accumulator.trace(&Input {
                slots: &slots,
                arg: call.arg.map(|column| change.rows.column(column)),
                retract: retract.as_deref(),
                first: Some(&first),
                pass: pass.as_deref(),
            })?;
            before.push(trace.before);
            after.push(trace.after);
        }
        for (slot, turn) in slots.iter().zip(&turns) {
            match turn {
                Turn::Void => {}
                Turn::Last => self.table.remove(*slot),
                Turn::First | Turn::Next => self.table.changed([*slot]),
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
        self.table.flush(|slots, out| self.calls.store(slots, out))?;
        Ok(Vec::new())
    }
}

/// Rows of a batch that take something back.
pub(super) fn retractions(change: &ChangeBatch) -> Option<Vec<bool>> {
    let kinds = change.kinds.as_ref()?;
    let back = |kind: &u8| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
    Some(kinds.values().iter().map(back).collect())
}

/// Rows whose value is true (null is not), and that count at all.
pub(super) fn passing(column: &ArrayRef, counts: impl Fn(usize) -> bool) -> Vec<bool> {
    let column: &BooleanArray = column.as_boolean();
    (0..column.len())
        .map(|row| column.is_valid(row) && column.value(row) && counts(row))
        .collect()
}

/// Rows after which every result is what it was before.
fn unchanged(before: &[ArrayRef], after: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
    let mut same = BooleanArray::from(BooleanBuffer::new_set(rows));
    for (before, after) in before.iter().zip(after) {
        same = and(&same, &not_distinct(before, after).map_err(kernel)?).map_err(kernel)?;
    }
    Ok(same.values().clone())
}
