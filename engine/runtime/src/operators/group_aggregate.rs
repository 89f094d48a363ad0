//! GROUP BY over a stream: the result of a row's group, row by row, as Flink's `GroupAggFunction`
//! gives it. A group's first row inserts its result; others update it, or do nothing where the
//! result stays the same; and when all of a group's rows are taken back, its result is deleted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt8Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result, RowKind, key_group};
use millrace_expr::RowType;
use millrace_expr::aggregate::{Accumulator, AggregateCall, Input};
use millrace_state::keyed::{KeyedStore, Table};

use super::{Operator, kernel};
use crate::element::{Batch, Element};

pub struct GroupAggregate {
    keys: Vec<usize>,
    key_codec: RowCodec,
    calls: Vec<Call>,
    /// Rows of each group, where rows can be taken back; the first field of the state.
    rows: Option<Box<dyn Accumulator>>,
    state_codec: RowCodec,
    table: Table,
    max_parallelism: u16,
    /// Whether readers need what a result was before.
    update_before: bool,
    schema: SchemaRef,
}

struct Call {
    arg: Option<usize>,
    filter: Option<usize>,
    accumulator: Box<dyn Accumulator>,
}

/// What the planner has decided about one aggregation.
pub struct Plan<'a> {
    pub keys: &'a [usize],
    pub calls: &'a [AggregateCall],
    /// The input takes rows back.
    pub retracts: bool,
    pub update_before: bool,
    pub input: &'a RowType,
    /// Keys, then results.
    pub output: &'a RowType,
}

impl GroupAggregate {
    /// `limit` is the memory of the groups that are kept at hand, in bytes.
    pub fn new(plan: &Plan<'_>, store: &Arc<KeyedStore>, uid: &str, max_parallelism: u16, limit: usize) -> Result<Self> {
        let key_types = plan.keys.iter().map(|k| plan.input.fields[*k].data_type.to_arrow());
        let calls = plan
            .calls
            .iter()
            .map(|call| {
                Ok(Call {
                    arg: call.arg,
                    filter: call.filter,
                    accumulator: call.accumulator()?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = match plan.retracts {
            true => Some(count_of_rows()?),
            false => None,
        };
        let all = || rows.iter().chain(calls.iter().map(|c| &c.accumulator));
        let state_types: Vec<_> = all()
            .flat_map(|a| a.fields())
            .map(|f| f.data_type.to_arrow())
            .collect();
        let slot_bytes = all().map(|a| a.slot_bytes()).sum();
        Ok(GroupAggregate {
            keys: plan.keys.to_vec(),
            key_codec: RowCodec::new(key_types)?,
            state_codec: RowCodec::new(state_types)?,
            table: Table::open(store, uid, slot_bytes, limit)?,
            calls,
            rows,
            max_parallelism,
            update_before: plan.update_before,
            schema: plan.output.to_arrow(),
        })
    }

    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        encode(&self.rows, &self.calls, &self.state_codec, slots, out)
    }

    /// Brings the groups of a batch's rows into memory; gives each row's slot, and which rows are the
    /// first that their group ever had.
    fn groups(&mut self, rows: &RecordBatch) -> Result<(Vec<u32>, Vec<bool>)> {
        let count = rows.num_rows();
        let (counter, calls, codec) = (&self.rows, &self.calls, &self.state_codec);
        self.table
            .make_room(count, |slots, out| encode(counter, calls, codec, slots, out))?;
        let columns: Vec<ArrayRef> = self.keys.iter().map(|k| rows.column(*k).clone()).collect();
        let mut keys = Rows::default();
        match columns.is_empty() {
            // Without keys all rows are one group.
            true => keys.ends.resize(count, 0),
            false => self.key_codec.encode(&columns, &mut keys)?,
        }
        let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
        let groups: Vec<u16> = hashes
            .iter()
            .map(|hash| key_group::of_hash(*hash, self.max_parallelism))
            .collect();
        let mut slots = Vec::with_capacity(count);
        let resolved = self.table.resolve(&keys, &hashes, &groups, &mut slots)?;
        let width = self.table.width();
        let mut stored = self.state_codec.decode(resolved.values.iter())?;
        for accumulator in accumulators(&mut self.rows, &mut self.calls) {
            accumulator.resize(width);
            accumulator.reset(&resolved.fresh);
            let rest = stored.split_off(accumulator.fields().len().min(stored.len()));
            accumulator.load(&resolved.loaded, &stored)?;
            stored = rest;
        }
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

fn count_of_rows() -> Result<Box<dyn Accumulator>> {
    AggregateCall {
        function: millrace_expr::aggregate::AggregateFunction::Count,
        arg: None,
        arg_type: None,
        filter: None,
        data_type: millrace_expr::DataType::not_null(millrace_expr::TypeKind::BigInt),
    }
    .accumulator()
}

fn accumulators<'a>(
    rows: &'a mut Option<Box<dyn Accumulator>>,
    calls: &'a mut [Call],
) -> impl Iterator<Item = &'a mut Box<dyn Accumulator>> {
    rows.iter_mut().chain(calls.iter_mut().map(|c| &mut c.accumulator))
}

fn encode(
    rows: &Option<Box<dyn Accumulator>>,
    calls: &[Call],
    codec: &RowCodec,
    slots: &[u32],
    out: &mut Rows,
) -> Result<()> {
    let mut columns = Vec::with_capacity(codec.types().len());
    for accumulator in rows.iter().chain(calls.iter().map(|c| &c.accumulator)) {
        columns.extend(accumulator.store(slots)?);
    }
    match columns.is_empty() {
        true => out.ends.resize(slots.len(), 0),
        false => codec.encode(&columns, out)?,
    }
    Ok(())
}

/// Rows of a batch that take something back.
fn retractions(change: &ChangeBatch) -> Option<Vec<bool>> {
    let kinds = change.kinds.as_ref()?;
    let back = |kind: &u8| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
    Some(kinds.values().iter().map(back).collect())
}

impl Operator for GroupAggregate {
    fn batch(&mut self, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let change = batch.change;
        let count = change.len();
        if count == 0 {
            return Ok(());
        }
        let retract = retractions(&change);
        if retract.is_some() && self.rows.is_none() {
            return Err(Error::internal("an aggregation that was planned over inserts meets other rows"));
        }
        let (slots, mut first) = self.groups(&change.rows)?;
        // Which rows end their group, and which of them ignore what there is nothing of.
        let mut last = vec![false; count];
        let mut void = vec![false; count];
        if let Some(counter) = &mut self.rows {
            let back = |row: usize| retract.as_ref().is_some_and(|r| r[row]);
            let trace = counter.trace(&Input {
                slots: &slots,
                arg: None,
                retract: retract.as_deref(),
                first: None,
                pass: None,
            })?;
            let before = trace.before.as_primitive::<arrow::datatypes::Int64Type>();
            for row in 0..count {
                let rows = before.value(row);
                first[row] = rows == 0 && !back(row);
                // Flink drops a retraction of a group that it does not know.
                void[row] = rows == 0 && back(row);
                last[row] = rows == 1 && back(row);
            }
            if void.contains(&true) {
                return Err(Error::unsupported("a row is taken back that was never there"));
            }
        }
        let (mut before, mut after): (Vec<ArrayRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for call in &mut self.calls {
            let pass = call.filter.map(|column| passing(change.rows.column(column)));
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
        for (row, slot) in slots.iter().enumerate() {
            match last[row] {
                true => self.table.remove(*slot),
                false => self.table.changed([*slot]),
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
        for row in 0..count {
            if first[row] {
                push(row, true, RowKind::Insert);
            } else if last[row] {
                push(row, false, RowKind::Delete);
            } else if !same.value(row) {
                if self.update_before {
                    push(row, false, RowKind::UpdateBefore);
                }
                push(row, true, RowKind::UpdateAfter);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let (rows, results) = (UInt64Array::from(rows), UInt64Array::from(results));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for key in &self.keys {
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
}

/// Rows whose value is true: null is not.
fn passing(column: &ArrayRef) -> Vec<bool> {
    let column: &BooleanArray = column.as_boolean();
    (0..column.len())
        .map(|row| column.is_valid(row) && column.value(row))
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
