//! Aggregation by sessions: a key's session goes on as long as rows come within the gap, and its results
//! are given once the watermark, or the clock, has passed its end. A row that lies between two sessions
//! makes one of them; one whose session is over already is late: it is dropped and counted.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result, key_group};
use millrace_dataflow::WindowAggregate as Plan;
use millrace_expr::RowType;
use millrace_expr::text::zone::Zone;
use millrace_state::keyed::{KeyedBackend, Table};

use super::groups::{State, with_maps};
use super::window_table::bounds_columns;
use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::timers::{Timer, Timers, sorted};
use crate::windows::{Slice, Windows};

pub struct SessionAggregate {
    keys: Keys,
    /// From stored keys back to columns.
    codec: RowCodec,
    windows: Windows,
    sessions: Sessions,
    states: States,
    /// When sessions are over.
    timers: Timers,
    max_parallelism: u16,
    /// The watermark, or the time by the clock, up to which sessions are over.
    progress: i64,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// A session of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    start: i64,
    end: i64,
    /// What its state is found by: where the session began first. It is within the session ever after,
    /// so that no other session of the key has it.
    state: i64,
}

/// The sessions of each key that are not over, none of which touches another.
struct Sessions {
    table: Table,
    of_slot: Vec<Vec<Session>>,
}

/// The accumulators of each key's sessions.
struct States {
    table: Table,
    state: State,
}

/// Bytes of a stored session.
const STORED: usize = 24;

impl Sessions {
    fn open(backend: &KeyedBackend) -> Result<Self> {
        // Most keys have one.
        let bytes = size_of::<Vec<Session>>() + size_of::<Session>();
        Ok(Sessions {
            table: Table::open(&backend.store, "sessions", bytes, backend.cache_bytes / 2)?,
            of_slot: Vec::new(),
        })
    }

    /// The slots of keys, with their sessions in memory.
    fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        self.of_slot.resize(self.table.width(), Vec::new());
        for slot in resolved.fresh {
            self.of_slot[slot as usize].clear();
        }
        for (slot, stored) in resolved.loaded.iter().zip(resolved.values.iter()) {
            self.of_slot[*slot as usize] = decode(stored)?;
        }
        Ok(slots)
    }

    fn changed(&mut self, slot: u32) {
        match self.of_slot[slot as usize].is_empty() {
            true => self.table.remove(slot),
            false => self.table.changed([slot]),
        }
    }

    fn make_room(&mut self, rows: usize) -> Result<()> {
        let of_slot = &self.of_slot;
        self.table
            .make_room(rows, |slots, out| encode(of_slot, slots, out))
    }

    fn flush(&mut self) -> Result<()> {
        let of_slot = &self.of_slot;
        self.table.flush(|slots, out| encode(of_slot, slots, out))
    }
}

fn encode(of_slot: &[Vec<Session>], slots: &[u32], out: &mut Rows) -> Result<()> {
    for slot in slots {
        for session in &of_slot[*slot as usize] {
            for time in [session.start, session.end, session.state] {
                out.data.extend_from_slice(&time.to_be_bytes());
            }
        }
        out.ends.push(out.data.len());
    }
    Ok(())
}

fn decode(stored: &[u8]) -> Result<Vec<Session>> {
    let (sessions, rest) = stored.as_chunks::<STORED>();
    if !rest.is_empty() {
        return Err(Error::data_loss("the stored sessions of a key have another form"));
    }
    let time = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).unwrap_or_default();
    let session = |bytes: &[u8; STORED]| Session {
        start: time(&bytes[..8]),
        end: time(&bytes[8..16]),
        state: time(&bytes[16..]),
    };
    Ok(sessions.iter().map(session).collect())
}

impl States {
    fn open(plan: &Plan, backend: &KeyedBackend) -> Result<Self> {
        let state = State::new(&plan.calls, plan.retracts)?;
        let bytes = state.slot_bytes();
        Ok(States {
            table: Table::open(&backend.store, "states", bytes, backend.cache_bytes / 2)?,
            state,
        })
    }

    /// The slots of sessions' states: each row's key, with the session's `state`.
    fn resolve<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a [u8], i64)>,
        max_parallelism: u16,
    ) -> Result<Vec<u32>> {
        let mut full = Rows::default();
        let (mut hashes, mut groups) = (Vec::new(), Vec::new());
        for (key, state) in rows {
            groups.push(key_group::of_hash(key_group::hash(key), max_parallelism));
            full.data.extend_from_slice(key);
            full.push(&sorted(state).to_be_bytes());
            hashes.push(key_group::hash(full.get(full.len() - 1)));
        }
        let mut slots = Vec::with_capacity(full.len());
        let resolved = self.table.resolve(&full, &hashes, &groups, &mut slots)?;
        self.state.resize(self.table.width());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        Ok(slots)
    }

    fn make_room(&mut self, rows: usize) -> Result<()> {
        let state = &self.state;
        self.table.make_room(rows, |slots, out| state.encode(slots, out))
    }
}

/// Rows that have their session and are not in its state yet.
#[derive(Default)]
struct Pending {
    rows: Vec<u32>,
    /// The session's `state`, for each.
    states: Vec<i64>,
}

impl SessionAggregate {
    /// `restored` are the entries of all subtasks.
    pub fn new(
        plan: &Plan,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Self> {
        let schema = output.to_arrow();
        let types = schema.fields()[..plan.keys.len()]
            .iter()
            .map(|f| f.data_type().clone());
        let time = schema.fields().last().map(|f| f.data_type().clone());
        let windows = Windows::new(&plan.windowing, time.as_ref(), zone);
        let progress = windows.restored(restored)?;
        Ok(SessionAggregate {
            keys: Keys::new(&plan.keys, &input.to_arrow())?,
            codec: RowCodec::new(types)?,
            windows,
            sessions: Sessions::open(backend)?,
            states: States::open(plan, backend)?,
            timers: Timers::open(backend, "ends")?,
            max_parallelism: backend.max_parallelism,
            progress,
            schema,
            metrics,
        })
    }

    /// Takes pending rows into their sessions' states. Keys are those of the batch.
    fn accumulate(&mut self, batch: &Batch, pending: &mut Pending) -> Result<()> {
        if pending.rows.is_empty() {
            return Ok(());
        }
        self.states.make_room(pending.rows.len())?;
        let keys = pending.rows.iter().map(|row| self.keys.rows.get(*row as usize));
        let of_rows = keys.zip(pending.states.iter().copied());
        let slots = self.states.resolve(of_rows, self.max_parallelism)?;
        let part;
        let change = match pending.rows.len() == batch.change.len() {
            true => &batch.change,
            false => {
                let rows = UInt32Array::from(pending.rows.clone());
                part = batch.take(&rows).map_err(kernel)?.change;
                &part
            }
        };
        let States { table, state } = &mut self.states;
        with_maps(table, state, |state, maps| state.update(change, &slots, maps))?;
        self.states.table.changed(slots);
        pending.rows.clear();
        pending.states.clear();
        Ok(())
    }

    /// Adds the states of sessions to that of the first, which is the only one that stays.
    fn merge(&mut self, key: &[u8], sessions: &[Session]) -> Result<()> {
        self.states.make_room(sessions.len())?;
        let of_sessions = sessions.iter().map(|session| (key, session.state));
        let slots = self.states.resolve(of_sessions, self.max_parallelism)?;
        let states = self.states.state.columns(&slots[1..])?;
        self.states
            .state
            .merge(&vec![slots[0]; slots.len() - 1], &states)?;
        self.states.table.changed([slots[0]]);
        self.states.table.release(&slots[1..])
    }

    /// Gives the results of all sessions that are over with `to`.
    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<()> {
        self.progress = self.progress.max(to);
        let mut due: Vec<Timer> = Vec::new();
        while let Some(timer) = self.timers.pop(self.progress) {
            due.push(timer);
        }
        if due.is_empty() {
            return Ok(());
        }
        let mut keys = Rows::default();
        due.iter().for_each(|timer| keys.push(&timer.key));
        let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
        let groups: Vec<u16> = due.iter().map(|timer| timer.group).collect();
        let slots = self.sessions.resolve(&keys, &hashes, &groups)?;
        // In the order of the timers, which is that of the ends.
        let mut over: Vec<(&[u8], Session)> = Vec::with_capacity(due.len());
        for (timer, slot) in due.iter().zip(slots) {
            let ends_then = |session: &Session| self.windows.over_at(session.end) == timer.time;
            let sessions = &mut self.sessions.of_slot[slot as usize];
            over.extend(
                sessions
                    .iter()
                    .filter(|s| ends_then(s))
                    .map(|s| (&*timer.key, *s)),
            );
            sessions.retain(|session| !ends_then(session));
            self.sessions.changed(slot);
        }
        let states = over.iter().map(|(key, session)| (*key, session.state));
        let slots = self.states.resolve(states, self.max_parallelism)?;
        let is_there: Vec<bool> = slots
            .iter()
            .map(|slot| self.states.state.is_there(*slot))
            .collect();
        let mut flags = is_there.iter();
        over.retain(|_| flags.next() == Some(&true));
        let kept = slots.iter().zip(&is_there).filter(|(_, there)| **there);
        let kept: Vec<u32> = kept.map(|(slot, _)| *slot).collect();
        if !kept.is_empty() {
            let mut columns = self.codec.decode(over.iter().map(|(key, _)| *key))?;
            let States { table, state } = &mut self.states;
            columns.extend(with_maps(table, state, |state, maps| {
                state.calls.values(&kept, maps)
            })?);
            let (starts, ends): (Vec<i64>, Vec<i64>) = over.iter().map(|(_, s)| (s.start, s.end)).unzip();
            let times = ends.iter().map(|end| self.windows.time(*end)).collect();
            let fields = &self.schema.fields()[columns.len()..];
            columns.extend(bounds_columns(starts, ends, times, fields)?);
            let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(kernel)?;
            out.push(Element::Batch(ChangeBatch::inserts(rows).into()));
        }
        self.states.table.release(&slots)
    }
}

/// The sessions that touch a row's, and the one that they become with it.
fn joined(sessions: &[Session], row: Slice) -> (Vec<Session>, Session) {
    let touches = |session: &&Session| session.start <= row.end && row.start <= session.end;
    let touched: Vec<Session> = sessions.iter().filter(touches).copied().collect();
    let start = touched.iter().map(|s| s.start).chain([row.start]).min();
    let end = touched.iter().map(|s| s.end).chain([row.end]).max();
    let session = Session {
        start: start.unwrap_or(row.start),
        end: end.unwrap_or(row.end),
        state: touched.first().map_or(row.start, |first| first.state),
    };
    (touched, session)
}

impl Operator for SessionAggregate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        if let Some(time) = self.windows.over_by_clock(now_millis()) {
            self.advance(time, out)?;
        }
        let of_rows = self.windows.slices(&batch.change.rows)?;
        self.sessions.make_room(batch.change.len())?;
        self.keys.encode(&batch.change.rows)?;
        let most = self.max_parallelism;
        let groups: Vec<u16> = self
            .keys
            .hashes
            .iter()
            .map(|h| key_group::of_hash(*h, most))
            .collect();
        let slots = self
            .sessions
            .resolve(&self.keys.rows, &self.keys.hashes, &groups)?;
        let mut pending = Pending::default();
        let mut late = 0;
        for (row, window) in of_rows.into_iter().enumerate() {
            if let Some(watermarks) = &batch.watermarks
                && watermarks[row] > self.progress
            {
                // What is over has to be given without the rows that follow.
                if self.timers.next().is_some_and(|time| time <= watermarks[row]) {
                    self.accumulate(&batch, &mut pending)?;
                }
                self.advance(watermarks[row], out)?;
            }
            let slot = slots[row];
            let (touched, session) = joined(&self.sessions.of_slot[slot as usize], window);
            if self.windows.over_at(session.end) <= self.progress {
                late += 1;
                continue;
            }
            if touched.len() > 1 {
                self.accumulate(&batch, &mut pending)?;
                let key = self.keys.rows.get(row).to_vec();
                self.merge(&key, &touched)?;
            }
            if touched.as_slice() != [session] {
                let key = self.keys.rows.get(row);
                for gone in &touched {
                    self.timers
                        .delete(self.windows.over_at(gone.end), key, groups[row]);
                }
                self.timers
                    .register(self.windows.over_at(session.end), key, groups[row]);
                let sessions = &mut self.sessions.of_slot[slot as usize];
                sessions.retain(|s| !touched.contains(s));
                sessions.push(session);
                // The order in which they are merged is that of time.
                sessions.sort_unstable_by_key(|s| s.start);
                self.sessions.changed(slot);
            }
            pending.rows.push(row as u32);
            pending.states.push(session.state);
        }
        self.metrics.late_records.add(late);
        self.accumulate(&batch, &mut pending)
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        if let Some(time) = self.windows.over_with(&element) {
            self.advance(time, out)?;
        }
        out.push(element);
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        match self.windows.over_by_clock(now_millis) {
            Some(time) => self.advance(time, out),
            None => Ok(()),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.sessions.flush()?;
        let state = &self.states.state;
        self.states.table.flush(|slots, out| state.encode(slots, out))?;
        self.timers.flush()?;
        Ok(vec![self.progress.to_be_bytes().to_vec()])
    }
}
