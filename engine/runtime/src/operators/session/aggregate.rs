//! The accumulators of sessions, and their results.

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Result, key_group};
use millrace_dataflow::WindowAggregate as Plan;
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, Table};

use super::super::groups::{State, with_maps};
use super::super::parts::Parts;
use super::super::window_table::bounds_columns;
use super::super::{BATCH, kernel};
use super::Content;
use super::sessions::Session;
use crate::element::{Batch, Element};
use crate::timers::sorted;
use crate::windows::Windows;

pub(super) struct States {
    table: Table,
    state: State,
    /// From stored keys back to columns.
    codec: RowCodec,
    schema: SchemaRef,
    max_parallelism: u16,
    /// How many sessions are given at once.
    parts: Parts,
}

impl States {
    pub fn open(plan: &Plan, output: &RowType, backend: &KeyedBackend) -> Result<Self> {
        let schema = output.to_arrow();
        let state = State::new(&plan.calls, plan.retracts)?;
        let table = Table::open(
            &backend.store,
            "states",
            state.slot_bytes(),
            backend.row_bytes(1) / 2,
        )?;
        let types = schema.fields()[..plan.keys.len()]
            .iter()
            .map(|f| f.data_type().clone());
        Ok(States {
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("states-maps", Vec::new())?,
            },
            parts: Parts::new(state.calls.uses_maps()),
            state,
            codec: RowCodec::new(types)?,
            schema,
            max_parallelism: backend.max_parallelism,
        })
    }

    /// The slots of sessions' states: each row's key, with the session's `state`.
    fn resolve<'a>(&mut self, rows: impl Iterator<Item = (&'a [u8], i64)>) -> Result<Vec<u32>> {
        let (full, hashes, groups) = places(rows, self.max_parallelism);
        self.table.make_room(full.len(), &mut self.state)?;
        let mut slots = Vec::with_capacity(full.len());
        let resolved = self.table.resolve(&full, &hashes, &groups, &mut slots)?;
        self.state.resize(self.table.width());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        Ok(slots)
    }
}

/// Where what sessions have is kept: behind each key the session's `state`.
pub(super) fn places<'a>(
    sessions: impl Iterator<Item = (&'a [u8], i64)>,
    max_parallelism: u16,
) -> (Rows, Vec<u64>, Vec<u16>) {
    let mut full = Rows::default();
    let (mut hashes, mut groups) = (Vec::new(), Vec::new());
    for (key, state) in sessions {
        groups.push(key_group::of_hash(key_group::hash(key), max_parallelism));
        full.data.extend_from_slice(key);
        full.push(&sorted(state).to_be_bytes());
        hashes.push(key_group::hash(full.get(full.len() - 1)));
    }
    (full, hashes, groups)
}

impl Content for States {
    fn take(&mut self, batch: &Batch, rows: &[u32], of_rows: &[(&[u8], i64)]) -> Result<()> {
        let slots = self.resolve(of_rows.iter().copied())?;
        let part;
        let change = match rows.len() == batch.change.len() {
            true => &batch.change,
            false => {
                let rows = UInt32Array::from(rows.to_vec());
                part = batch.take(&rows).map_err(kernel)?.change;
                &part
            }
        };
        let States { table, state, .. } = self;
        with_maps(table, state, |state, maps| state.update(change, &slots, maps))?;
        self.table.changed(slots);
        Ok(())
    }

    fn merge(&mut self, key: &[u8], sessions: &[Session]) -> Result<()> {
        let of_sessions = sessions.iter().map(|session| (key, session.state));
        let slots = self.resolve(of_sessions)?;
        let Some((first, others)) = slots.split_first() else {
            return Ok(());
        };
        let States { table, state, .. } = self;
        with_maps(table, state, |state, maps| {
            let columns = state.columns(others)?;
            let entries = state.entries(others, maps)?;
            state.absorb(&vec![*first; others.len()], &columns, &entries, maps)
        })?;
        self.table.changed([*first]);
        self.table.release(others, &mut self.state)
    }

    fn at_once(&self) -> usize {
        self.parts.end(0, BATCH)
    }

    fn give(&mut self, over: &[(&[u8], Session)], windows: &Windows, out: &mut Vec<Element>) -> Result<bool> {
        let states = over.iter().map(|(key, session)| (*key, session.state));
        let slots = self.resolve(states)?;
        // Of some all rows were taken back.
        let there: Vec<usize> = (0..slots.len())
            .filter(|i| self.state.is_there(slots[*i]))
            .collect();
        if !there.is_empty() {
            let kept: Vec<u32> = there.iter().map(|i| slots[*i]).collect();
            let mut columns = self.codec.decode(there.iter().map(|i| over[*i].0))?;
            let States { table, state, .. } = self;
            let values = with_maps(table, state, |state, maps| state.calls.values(&kept, maps))?;
            self.parts.gave(kept.len(), &values);
            columns.extend(values);
            let sessions = || there.iter().map(|i| over[*i].1);
            let fields = &self.schema.fields()[columns.len()..];
            columns.extend(bounds_columns(
                sessions().map(|s| s.start).collect(),
                sessions().map(|s| s.end).collect(),
                sessions().map(|s| windows.time(s.end)).collect(),
                fields,
            )?);
            let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(kernel)?;
            out.push(Element::Batch(ChangeBatch::inserts(rows).into()));
        }
        self.table.release(&slots, &mut self.state)?;
        Ok(false)
    }

    fn flush(&mut self) -> Result<()> {
        self.table.flush(&mut self.state)
    }
}
