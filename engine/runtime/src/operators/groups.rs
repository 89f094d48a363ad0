//! The groups of an updating aggregation: their keys, their accumulators by slot, and the table in
//! which they rest.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::memory::widen;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};
use millrace_expr::aggregate::{AggregateCall, Calls, Entries, Grouped, HeapMaps, Maps};
use millrace_state::keyed::{Columns, KeyedBackend, Table};

use super::group_aggregate::retractions;
use crate::element::Batch;
use crate::keys::Keys;
use crate::maps::StateMaps;

pub(super) struct Groups {
    keys: Keys,
    table: Table,
    pub state: State,
    max_parallelism: u16,
}

/// What is kept of each group, by slot.
pub(super) struct State {
    /// Rows of each group, where rows can be taken back.
    pub rows: Option<Vec<i64>>,
    pub calls: Calls,
    codec: RowCodec,
}

impl Groups {
    /// `keys` are columns of batches with this schema; `retracts`: rows can be taken back.
    pub fn open(
        keys: &[usize],
        schema: &SchemaRef,
        calls: &[AggregateCall],
        retracts: bool,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let state = State::new(calls, retracts)?;
        let table = Table::open(&backend.store, "groups", state.slot_bytes(), backend.cache_bytes)?;
        Ok(Groups {
            keys: Keys::new(keys, schema)?,
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("groups-maps", state.calls.with_row().to_vec())?,
            },
            state,
            max_parallelism: backend.max_parallelism,
        })
    }

    /// See `Operator::look_ahead`.
    pub fn look_ahead(&self) -> usize {
        self.table.look_ahead()
    }

    /// See `Operator::prefetch`.
    pub fn prefetch(&mut self, coming: &[(usize, &Batch)]) -> Result<()> {
        let rows = coming.iter().map(|(_, batch)| batch.change.len()).sum();
        self.table.make_room(rows, &mut self.state)?;
        self.keys
            .encode_all(coming.iter().map(|(_, batch)| &batch.change.rows))?;
        let groups = self.keys.groups(self.max_parallelism);
        let found = self.table.prefetch(&self.keys.rows, &self.keys.hashes, &groups)?;
        self.state.resize(self.table.width());
        self.state.load(&found.loaded, &found.values)
    }

    /// Brings the groups of a batch's rows into memory: each row's slot, and whether it is the first
    /// of a slot that had no state.
    pub fn resolve(&mut self, rows: &RecordBatch) -> Result<(Vec<u32>, Vec<bool>)> {
        let count = rows.num_rows();
        self.table.make_room(count, &mut self.state)?;
        self.keys.encode(rows)?;
        let groups = self.keys.groups(self.max_parallelism);
        let mut slots = Vec::with_capacity(count);
        let resolved = self
            .table
            .resolve(&self.keys.rows, &self.keys.hashes, &groups, &mut slots)?;
        let width = self.table.width();
        self.state.resize(width);
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
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

    /// The accumulators with the maps that they need.
    pub fn with_maps<T>(&mut self, work: impl FnOnce(&mut State, &mut dyn Maps) -> Result<T>) -> Result<T> {
        with_maps(&mut self.table, &mut self.state, work)
    }

    /// Whether groups are forgotten that have not changed for long.
    pub fn expires(&self) -> bool {
        self.table.expires()
    }

    /// What belongs to the rows of groups that have changed is written with them.
    pub fn keep_with_rows(&mut self, slots: &[u32]) -> Result<()> {
        self.table.keep_with_rows(slots)
    }

    /// The group has changed.
    pub fn changed(&mut self, slot: u32) {
        self.table.changed([slot]);
    }

    /// The group is gone.
    pub fn remove(&mut self, slot: u32) {
        self.table.remove(slot);
    }

    /// Writes all that has changed to the store.
    pub fn flush(&mut self) -> Result<()> {
        self.table.flush(&mut self.state)
    }
}

/// States with the maps beside the rows of their table.
pub(super) fn with_maps<T>(
    table: &mut Table,
    state: &mut State,
    work: impl FnOnce(&mut State, &mut dyn Maps) -> Result<T>,
) -> Result<T> {
    match table.maps() {
        Some(maps) => work(state, &mut StateMaps(maps)),
        None => work(state, &mut HeapMaps::default()),
    }
}

impl State {
    pub fn new(calls: &[AggregateCall], retracts: bool) -> Result<Self> {
        let calls = Calls::new(calls, retracts)?;
        let counter = retracts.then_some(DataType::Int64);
        let fields = calls.fields().map(|f| f.data_type.to_arrow());
        Ok(State {
            codec: RowCodec::compact(counter.into_iter().chain(fields))?,
            rows: retracts.then(Vec::new),
            calls,
        })
    }

    pub fn slot_bytes(&self) -> usize {
        self.rows.is_some() as usize * size_of::<i64>() + self.calls.slot_bytes()
    }

    pub fn resize(&mut self, width: usize) {
        if let Some(rows) = &mut self.rows {
            widen(rows, width, 0);
        }
        self.calls.resize(width);
    }

    pub fn reset(&mut self, slots: &[u32]) {
        if let Some(rows) = &mut self.rows {
            slots.iter().for_each(|slot| rows[*slot as usize] = 0);
        }
        self.calls.reset(slots);
    }

    pub fn load(&mut self, slots: &[u32], values: &Rows) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        if let Some(rows) = &mut self.rows {
            slots.iter().for_each(|slot| rows[*slot as usize] = 0);
        }
        let columns = self.decode(values)?;
        let fields = self.count_stored(slots, &columns)?;
        self.calls.load(slots, fields)
    }

    /// Stored states as columns.
    pub fn decode(&self, values: &Rows) -> Result<Vec<ArrayRef>> {
        self.codec.decode(values.iter())
    }

    /// Adds states, in columns, to those of slots; without their maps.
    pub fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let fields = self.count_stored(slots, columns)?;
        self.calls.merge(slots, fields)
    }

    /// The maps of slots, where maps are kept.
    pub fn entries(&self, slots: &[u32], maps: &mut dyn Maps) -> Result<Vec<Entries>> {
        match self.calls.uses_maps() {
            false => Ok(Vec::new()),
            true => slots.iter().map(|slot| Entries::of(*slot, maps)).collect(),
        }
    }

    /// Adds states, in columns and with their maps, to those of slots.
    pub fn absorb(
        &mut self,
        slots: &[u32],
        columns: &[ArrayRef],
        entries: &[Entries],
        maps: &mut dyn Maps,
    ) -> Result<()> {
        if !self.calls.uses_maps() {
            return self.merge(slots, columns);
        }
        let fields = self.count_stored(slots, columns)?;
        self.calls.absorb(slots, fields, entries, maps)
    }

    /// Adds the rows of stored states; the rest is the calls' fields.
    fn count_stored<'a>(&mut self, slots: &[u32], columns: &'a [ArrayRef]) -> Result<&'a [ArrayRef]> {
        let Some(rows) = &mut self.rows else {
            return Ok(columns);
        };
        let stored = columns.split_first().and_then(|(counts, fields)| {
            let counts = counts.as_primitive_opt::<Int64Type>()?;
            Some((counts, fields))
        });
        let (counts, fields) =
            stored.ok_or_else(|| Error::data_loss("the state of a group has not the number of its rows"))?;
        for (slot, count) in slots.iter().zip(counts.values()) {
            rows[*slot as usize] += count;
        }
        Ok(fields)
    }

    /// Takes the rows of a batch into the states of their slots.
    pub fn update(&mut self, change: &ChangeBatch, slots: &[u32], maps: &mut dyn Maps) -> Result<()> {
        let retract = retractions(change);
        if let Some(rows) = &mut self.rows {
            for (row, slot) in slots.iter().enumerate() {
                let back = retract.as_ref().is_some_and(|retract| retract[row]);
                rows[*slot as usize] += if back { -1 } else { 1 };
            }
        }
        let grouped = Grouped {
            columns: change.rows.columns(),
            slots,
            retract: retract.as_deref(),
            first: None,
            pass: None,
        };
        self.calls.update(&grouped, maps)
    }

    /// Whether a slot has rows left.
    pub fn is_there(&self, slot: u32) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows[slot as usize] != 0)
    }

    /// The state of slots as columns: how many rows, where that is kept, then the calls' fields.
    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.codec.types().len());
        if let Some(rows) = &self.rows {
            let counts = slots.iter().map(|slot| rows[*slot as usize]);
            columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        }
        columns.extend(self.calls.store(slots)?);
        Ok(columns)
    }
}

impl Columns for State {
    fn held_bytes(&self) -> usize {
        self.calls.held_bytes()
    }

    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        let columns = self.columns(slots)?;
        match columns.is_empty() {
            true => out.ends.resize(slots.len(), 0),
            false => self.codec.encode(&columns, out)?,
        }
        Ok(())
    }

    fn release(&mut self, slots: &[u32]) {
        self.calls.release(slots);
    }
}
