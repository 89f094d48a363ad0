//! Sessions: a key's session goes on as long as rows come within the gap, and what it has become is given
//! once the watermark, or the clock, has passed its end. A row that lies between two sessions makes one of
//! them; one whose session is over already is late: it is dropped and counted.
//!
//! Layout: `sessions` which sessions each key has; `aggregate` their accumulators, for an aggregation;
//! `rows` their rows, for the table function.

mod aggregate;
mod rows;
mod sessions;

use std::sync::Arc;

use millrace_core::row::Rows;
use millrace_core::{Result, key_group};
use millrace_dataflow::{WindowAggregate as AggregatePlan, WindowTable as TablePlan, Windowing};
use millrace_expr::RowType;
use millrace_expr::text::zone::Zone;
use millrace_state::keyed::KeyedBackend;

use self::aggregate::States;
use self::rows::StoredRows;
use self::sessions::{Session, Sessions, joined};
use super::BATCH;
use super::paced::{Paced, Timely};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::timers::{Timer, Timers};
use crate::windows::{Slice, Windows};

/// What is kept of sessions.
trait Content: Send {
    /// Takes some rows of a batch, by index, into their sessions: of each its key and the session's
    /// `state`.
    fn take(&mut self, batch: &Batch, rows: &[u32], of_rows: &[(&[u8], i64)]) -> Result<()>;

    /// So many sessions are given at once, at most.
    fn at_once(&self) -> usize {
        BATCH
    }

    /// Adds sessions of a key to the first, which is the only one that stays.
    fn merge(&mut self, key: &[u8], sessions: &[Session]) -> Result<()>;

    /// Gives what sessions have become, and forgets them; whether there is more than it gives at once.
    fn give(&mut self, over: &[(&[u8], Session)], windows: &Windows, out: &mut Vec<Element>) -> Result<bool>;

    /// Gives some more of them; whether there is more.
    fn give_more(&mut self, _windows: &Windows, _out: &mut Vec<Element>) -> Result<bool> {
        Ok(false)
    }

    fn flush(&mut self) -> Result<()>;

    /// What it has to know again that is of no key.
    fn note(&self) -> Vec<u8> {
        Vec::new()
    }
}

pub struct SessionWindows {
    keys: Keys,
    windows: Windows,
    sessions: Sessions,
    content: Box<dyn Content>,
    /// When sessions are over.
    timers: Timers,
    max_parallelism: u16,
    /// The watermark, or the time by the clock, up to which sessions are over.
    progress: i64,
    /// Sessions are being given, and there is more of them.
    giving: bool,
    /// How often slots have been given away.
    evictions: u64,
    metrics: Arc<TaskMetrics>,
}

/// A batch whose rows are taken in one after the other. `keys` are its own as long as it is there.
pub struct Arriving {
    batch: Batch,
    windows: Vec<Slice>,
    groups: Vec<u16>,
    /// Of the keys, as long as there were so many evictions.
    slots: Vec<u32>,
    evictions: Option<u64>,
    next: usize,
}

/// Rows that have their session and are not in its state yet.
#[derive(Default)]
struct Pending {
    rows: Vec<u32>,
    /// The session's `state`, for each.
    states: Vec<i64>,
}

impl SessionWindows {
    /// Aggregation by sessions. `restored` are the entries of all subtasks.
    pub fn aggregate(
        plan: &AggregatePlan,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let states = States::open(plan, output, backend)?;
        let open = Open {
            keys: &plan.keys,
            windowing: &plan.windowing,
            content: Box::new(states),
        };
        Self::open(open, input, output, backend, zone, restored, metrics)
    }

    /// Rows with their sessions.
    pub fn table(
        plan: &TablePlan,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        // Behind the watermark.
        let notes = restored.unwrap_or_default().iter();
        let notes = notes.map(|entry| entry.get(size_of::<i64>()..).unwrap_or_default());
        let rows = StoredRows::open(input, output, backend, notes)?;
        let windowing = Windowing::Laid {
            window: plan.window,
            time: plan.time,
        };
        let open = Open {
            keys: &plan.partition,
            windowing: &windowing,
            content: Box::new(rows),
        };
        Self::open(open, input, output, backend, zone, restored, metrics)
    }

    fn open(
        open: Open<'_>,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let time = output.to_arrow().fields().last().map(|f| f.data_type().clone());
        let windows = Windows::new(open.windowing, time.as_ref(), zone);
        let progress = windows.restored(restored)?;
        Ok(Paced::new(
            backend.clock(),
            SessionWindows {
                keys: Keys::new(open.keys, &input.to_arrow())?,
                windows,
                sessions: Sessions::open(backend)?,
                content: open.content,
                timers: Timers::open(backend, "ends")?,
                max_parallelism: backend.max_parallelism,
                progress,
                giving: false,
                evictions: 0,
                metrics,
            },
        ))
    }

    fn take_in(&mut self, mut arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        if arriving.evictions != Some(self.evictions) {
            self.sessions.make_room(arriving.windows.len())?;
            let (keys, hashes) = (&self.keys.rows, &self.keys.hashes);
            arriving.slots = self.sessions.resolve(keys, hashes, &arriving.groups)?;
            arriving.evictions = Some(self.evictions);
        }
        let mut pending = Pending::default();
        let mut late = 0;
        let first = arriving.next;
        for row in first..arriving.windows.len() {
            if let Some(watermarks) = &arriving.batch.watermarks
                && !self.windows.is_proctime()
                && watermarks[row] > self.progress
            {
                let to = watermarks[row];
                // What is over has to be given without the rows that follow.
                if self.timers.earliest()?.is_some_and(|time| time <= to) {
                    self.accumulate(&arriving.batch, &mut pending)?;
                    self.metrics.late_records.add(late);
                    arriving.next = row;
                    return Ok(Some((arriving, to)));
                }
                self.progress = to;
            }
            let (slot, window) = (arriving.slots[row], arriving.windows[row]);
            let (touched, session) = joined(self.sessions.of(slot), window);
            if self.windows.over_at(session.end) <= self.progress {
                late += 1;
                continue;
            }
            if touched.len() > 1 {
                self.accumulate(&arriving.batch, &mut pending)?;
                self.content.merge(self.keys.rows.get(row), &touched)?;
            }
            if touched.as_slice() != [session] {
                let (key, group) = (self.keys.rows.get(row), arriving.groups[row]);
                for gone in &touched {
                    self.timers.delete(self.windows.over_at(gone.end), key, group)?;
                }
                self.timers
                    .register(self.windows.over_at(session.end), key, group)?;
                self.sessions.replace(slot, &touched, session);
            }
            pending.rows.push(row as u32);
            pending.states.push(session.state);
        }
        self.metrics.late_records.add(late);
        self.accumulate(&arriving.batch, &mut pending)?;
        Ok(None)
    }

    /// Takes pending rows into their sessions' states. Keys are those of the batch.
    fn accumulate(&mut self, batch: &Batch, pending: &mut Pending) -> Result<()> {
        if pending.rows.is_empty() {
            return Ok(());
        }
        let keys = pending.rows.iter().map(|row| self.keys.rows.get(*row as usize));
        let of_rows: Vec<(&[u8], i64)> = keys.zip(pending.states.iter().copied()).collect();
        self.content.take(batch, &pending.rows, &of_rows)?;
        pending.rows.clear();
        pending.states.clear();
        Ok(())
    }

    fn give_some(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        if self.giving {
            self.giving = self.content.give_more(&self.windows, out)?;
            return Ok(true);
        }
        self.progress = self.progress.max(to);
        let mut due: Vec<Timer> = Vec::new();
        let most = self.content.at_once();
        while due.len() < most
            && let Some(timer) = self.timers.pop(self.progress)?
        {
            due.push(timer);
        }
        if due.is_empty() {
            return Ok(false);
        }
        let is_more = due.len() == most;
        if is_more {
            // So many may come that not all of them have room: rows that wait look their slots up again.
            self.sessions.make_room(most)?;
            self.evictions += 1;
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
            let ended = self.sessions.take(slot, ends_then);
            over.extend(ended.into_iter().map(|session| (&*timer.key, session)));
        }
        self.giving = self.content.give(&over, &self.windows, out)?;
        Ok(is_more || self.giving)
    }
}

/// In what sessions for an aggregation and for the table function differ.
struct Open<'a> {
    keys: &'a [usize],
    windowing: &'a Windowing,
    content: Box<dyn Content>,
}

impl Timely for SessionWindows {
    type Arriving = Arriving;

    fn windows(&self) -> &Windows {
        &self.windows
    }

    fn progress(&self) -> i64 {
        self.progress
    }

    fn begin(&mut self, _: usize, batch: Batch, now_millis: i64) -> Result<Arriving> {
        self.keys.encode(&batch.change.rows)?;
        Ok(Arriving {
            windows: self.windows.slices(&batch.change.rows, now_millis)?,
            groups: self.keys.groups(self.max_parallelism),
            slots: Vec::new(),
            evictions: None,
            next: 0,
            batch,
        })
    }

    fn arrive(&mut self, arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        self.take_in(arriving)
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        self.give_some(to, out)
    }

    fn fired_timers(&self) -> u64 {
        self.timers.fired()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.sessions.flush()?;
        self.content.flush()?;
        self.timers.flush()?;
        Ok(vec![
            [&self.progress.to_be_bytes()[..], &self.content.note()].concat(),
        ])
    }
}
