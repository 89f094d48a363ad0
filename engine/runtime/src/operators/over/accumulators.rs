//! The accumulators of all keys, and their results along rows.

use arrow::array::ArrayRef;
use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_dataflow::{OverCall, OverFunction};
use millrace_expr::aggregate::{AggregateCall, Grouped};
use millrace_state::keyed::{Columns, KeyedBackend, Table};

use super::lag::Lag;
use crate::operators::groups::{State, with_maps};

pub(super) struct Accumulators {
    state: Kept,
    table: Table,
    /// Of each call: whether it is LAG, and its number among such.
    order: Vec<bool>,
}

/// The accumulators by slot, and the values that LAG keeps.
struct Kept {
    state: State,
    lags: Vec<Lag>,
}

/// Rows in the order in which they are taken in or out.
pub(super) struct Along<'a> {
    pub slots: &'a [u32],
    pub columns: &'a [ArrayRef],
    /// Rows that leave; absent: none.
    pub retract: Option<&'a [bool]>,
}

impl Accumulators {
    /// `leaves`: rows leave windows; `cache_bytes`: what may be in memory.
    pub fn new(calls: &[OverCall], leaves: bool, backend: &KeyedBackend, cache_bytes: usize) -> Result<Self> {
        let aggregates: Vec<AggregateCall> = calls.iter().filter_map(OverCall::aggregate).collect();
        let mut lags = Vec::new();
        for call in calls {
            if let OverFunction::Lag { offset } = call.function {
                lags.push(Lag::new(offset, call)?);
            }
        }
        let state = State::new(&aggregates, leaves)?;
        let bytes = state.slot_bytes() + lags.iter().map(Lag::slot_bytes).sum::<usize>();
        let table = Table::open(&backend.store, "accumulators", bytes, cache_bytes)?;
        Ok(Accumulators {
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("accumulators-maps", state.calls.with_row().to_vec())?,
            },
            state: Kept { state, lags },
            order: calls.iter().map(|call| call.aggregate().is_none()).collect(),
        })
    }

    /// Whether a result may be put together of much.
    pub fn may_be_long(&self) -> bool {
        self.state.state.calls.uses_maps()
    }

    /// See `Operator::look_ahead`.
    pub fn look_ahead(&self) -> usize {
        self.table.look_ahead()
    }

    /// Brings the accumulators of keys that come soon into memory.
    pub fn prefetch(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<()> {
        self.make_room(keys.len())?;
        let found = self.table.prefetch(keys, hashes, groups)?;
        self.state.resize(self.table.width());
        self.state.load(&found.loaded, &found.values)
    }

    /// Slots as they were given before are no longer valid.
    pub fn make_room(&mut self, rows: usize) -> Result<()> {
        self.table.make_room(rows, &mut self.state)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    pub fn flush(&mut self) -> Result<()> {
        self.table.flush(&mut self.state)
    }

    /// The slots of keys, whose accumulators are brought into memory.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        self.state.resize(self.table.width());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        self.table.changed(slots.iter().copied());
        self.table.keep_with_rows(&slots)?;
        Ok(slots)
    }

    pub fn remove(&mut self, slot: u32) {
        self.table.remove(slot);
    }

    /// Takes the rows in or out; each call's result after each of them.
    pub fn results(&mut self, along: &Along<'_>) -> Result<Vec<ArrayRef>> {
        let grouped = Grouped {
            columns: along.columns,
            slots: along.slots,
            retract: along.retract,
            first: None,
            pass: None,
        };
        let (_, after) = with_maps(&mut self.table, &mut self.state.state, |state, maps| {
            state.calls.trace(&grouped, maps)
        })?;
        if self.state.lags.is_empty() {
            return Ok(after);
        }
        let (mut after, mut lags) = (after.into_iter(), self.state.lags.iter_mut());
        let result = |is_lag: &bool| match is_lag {
            true => lags.next().map(|lag| lag.results(along.slots, along.columns)),
            false => after.next().map(Ok),
        };
        self.order
            .iter()
            .map(result)
            .map(|result| result.ok_or_else(|| Error::internal("a function of OVER has no result"))?)
            .collect()
    }
}

impl Kept {
    fn resize(&mut self, width: usize) {
        self.state.resize(width);
        self.lags.iter_mut().for_each(|lag| lag.resize(width));
    }

    fn reset(&mut self, slots: &[u32]) {
        self.state.reset(slots);
        self.lags.iter_mut().for_each(|lag| lag.reset(slots));
    }

    fn load(&mut self, slots: &[u32], values: &Rows) -> Result<()> {
        if self.lags.is_empty() {
            return self.state.load(slots, values);
        }
        let damaged = || Error::data_loss("the stored state of an OVER has another form");
        let mut rows = Rows::default();
        for (slot, value) in slots.iter().zip(values.iter()) {
            let (length, rest) = value.split_first_chunk().ok_or_else(damaged)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (row, mut rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
            rows.push(row);
            for lag in &mut self.lags {
                rest = lag.load(*slot, rest).ok_or_else(damaged)?;
            }
        }
        self.state.load(slots, &rows)
    }
}

impl Columns for Kept {
    fn held_bytes(&self) -> usize {
        self.state.held_bytes() + self.lags.iter().map(Lag::held_bytes).sum::<usize>()
    }

    fn release(&mut self, slots: &[u32]) {
        self.state.release(slots);
        self.lags.iter_mut().for_each(|lag| lag.reset(slots));
    }

    /// The accumulators' row, behind its length in four bytes, and then the values of each LAG;
    /// without one the row alone.
    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        if self.lags.is_empty() {
            return self.state.encode(slots, out);
        }
        let mut rows = Rows::default();
        self.state.encode(slots, &mut rows)?;
        for (row, slot) in slots.iter().enumerate() {
            let row = rows.get(row);
            out.data.extend_from_slice(&(row.len() as u32).to_be_bytes());
            out.data.extend_from_slice(row);
            self.lags.iter().for_each(|lag| lag.store(*slot, &mut out.data));
            out.ends.push(out.data.len());
        }
        Ok(())
    }
}
