//! The accumulators of all keys, and their results along rows.

use arrow::array::ArrayRef;
use millrace_core::Result;
use millrace_core::row::Rows;
use millrace_dataflow::OverCall;
use millrace_expr::aggregate::{AggregateCall, Grouped};
use millrace_state::keyed::{KeyedBackend, Table};

use crate::operators::groups::{State, with_maps};

pub(super) struct Accumulators {
    state: State,
    table: Table,
}

/// Rows in the order in which they are taken in or out.
pub(super) struct Along<'a> {
    pub slots: &'a [u32],
    pub columns: &'a [ArrayRef],
    /// Rows that leave; absent: none.
    pub retract: Option<&'a [bool]>,
}

impl Accumulators {
    /// `leaves`: rows leave windows.
    pub fn new(calls: &[OverCall], leaves: bool, backend: &KeyedBackend) -> Result<Self> {
        let calls: Vec<AggregateCall> = calls.iter().map(|call| call.call.clone()).collect();
        let state = State::new(&calls, leaves)?;
        let bytes = state.slot_bytes();
        let table = Table::open(&backend.store, "accumulators", bytes, backend.cache_bytes)?;
        Ok(Accumulators {
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("accumulators-maps")?,
            },
            state,
        })
    }

    /// Slots as they were given before are no longer valid.
    pub fn make_room(&mut self, rows: usize) -> Result<()> {
        let state = &self.state;
        self.table.make_room(rows, |slots, out| state.encode(slots, out))
    }

    pub fn flush(&mut self) -> Result<()> {
        let state = &self.state;
        self.table.flush(|slots, out| state.encode(slots, out))
    }

    /// The slots of keys, whose accumulators are brought into memory.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        self.state.resize(self.table.width());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        self.table.changed(slots.iter().copied());
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
        let (_, after) = with_maps(&mut self.table, &mut self.state, |state, maps| {
            state.calls.trace(&grouped, maps)
        })?;
        Ok(after)
    }
}
