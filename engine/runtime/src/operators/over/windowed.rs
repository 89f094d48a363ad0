//! Windows that wait for their time, or that rows leave again, as Flink's OVER functions have them.
//!
//! By event time a row waits until the watermark has reached it; a row that comes later than one of
//! its key's rows that went out is dropped (from the first row on: later than the watermark). RANGE
//! gives rows of the same time together. By arrival, RANGE waits until the millisecond is over.
//!
//! A key has its rows in a map by time and arrival: those that wait, and those in the window. What a watermark
//! sets free goes out a batch at a time, but that the rows of a key and time go together.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, key_group};
use millrace_dataflow::{Frame, OverAggregate, TimeKind};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::accumulators::Accumulators;
use super::cleanup::Cleanup;
use super::steps::Steps;
use crate::changes::WholeRows;
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::operators::paced::{Gradual, Paced, Rest};
use crate::operators::{BATCH, rows_of};
use crate::time::millis;
use crate::timers::{Timer, Timers, sorted};

pub(super) struct Windowed {
    keys: Keys,
    time: usize,
    kind: TimeKind,
    frame: Frame,
    rows: WholeRows,
    /// Of each key its `Notes`, and its rows by time and arrival.
    table: MapTable,
    timers: Timers,
    cleanup: Option<Cleanup>,
    accumulators: Accumulators,
    steps: Steps,
    watermark: i64,
    max_parallelism: u16,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// A batch whose rows are taken in one after the other.
pub(super) struct Arriving {
    keys: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    rows: Rows,
    times: Vec<i64>,
    watermarks: Option<Arc<[i64]>>,
    /// What the clock shows, where that counts.
    now: Option<i64>,
    next: usize,
    /// The watermark rises before that row.
    advances: bool,
}

/// What is known of a key beside its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Notes {
    /// The time up to which rows went out.
    triggered: i64,
    /// Rows in a window of so many rows.
    count: u64,
    /// When nothing of the key is needed any more, if nothing more comes; 0: not known.
    cleanup: i64,
}

const NOTES: &[u8] = b"n";
const ROW: u8 = b'r';
/// Bytes of an entry before the number of its arrival.
const PLACE: usize = 9;
/// Rows that leave at once.
const PIECE: usize = 1 << 10;

impl Notes {
    fn read(stored: Option<&[u8]>) -> Result<Notes> {
        let Some(bytes) = stored else {
            return Ok(Notes::default());
        };
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(i64::from_be_bytes);
        let notes = || {
            Some(Notes {
                triggered: number(0)?,
                count: number(8)? as u64,
                cleanup: number(16)?,
            })
        };
        notes().ok_or_else(damaged)
    }

    fn write(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.triggered.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.count.to_be_bytes());
        bytes[16..].copy_from_slice(&self.cleanup.to_be_bytes());
        bytes
    }
}

fn damaged() -> Error {
    Error::data_loss("the stored rows of an OVER have another form")
}

/// A key at work.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub key: &'a [u8],
    pub group: u16,
    pub slot: u32,
}

impl Windowed {
    pub fn new(
        plan: &OverAggregate,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        ttl_millis: i64,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let schema = input.to_arrow();
        let is_bounded = !matches!(plan.frame, Frame::Rows(None) | Frame::Range(None));
        // Rows and accumulators beside timers, and those that forget.
        let cache_bytes = backend.row_bytes(2) / 2;
        Ok(Paced::new(
            backend.clock(),
            Windowed {
                keys: Keys::new(&plan.partition, &schema)?,
                time: plan.time,
                kind: plan.kind,
                frame: plan.frame,
                rows: WholeRows::new(&schema)?,
                table: MapTable::open(&backend.store, "rows", cache_bytes)?.with_large_maps(),
                timers: Timers::open(backend, "timers")?,
                cleanup: Cleanup::open(backend, ttl_millis)?,
                accumulators: Accumulators::new(&plan.calls, is_bounded, backend, cache_bytes)?,
                steps: Steps::new(),
                watermark: i64::MIN,
                max_parallelism: backend.max_parallelism,
                schema: output.to_arrow(),
                metrics,
            },
        ))
    }

    #[cfg(test)]
    pub fn bytes(&self) -> [usize; 2] {
        [self.table.bytes(), self.accumulators.bytes()]
    }

    fn notes(&self, slot: u32) -> Result<Notes> {
        Notes::read(self.table.read(slot, NOTES)?.as_deref())
    }

    fn set_notes(&mut self, slot: u32, notes: Notes) -> Result<()> {
        self.table.write(slot, NOTES, Some(&notes.write()))
    }

    /// The slot of a key's accumulators.
    fn accumulators_of(&mut self, at: At) -> Result<u32> {
        let keys = Rows {
            data: at.key.to_vec(),
            ends: vec![at.key.len()],
        };
        let slots = self
            .accumulators
            .resolve(&keys, &[key_group::hash(at.key)], &[at.group])?;
        slots
            .first()
            .copied()
            .ok_or_else(|| Error::internal("a key has no accumulators"))
    }

    /// Adds a row behind those of its time.
    fn keep(&mut self, slot: u32, time: i64, row: &[u8]) -> Result<()> {
        let arrived = match self.table.last_under(slot, &place(time))? {
            None => 0,
            Some(last) => {
                let arrived = last[PLACE..].try_into().map_err(|_| damaged())?;
                u64::from_be_bytes(arrived) + 1
            }
        };
        let entry = [&place(time)[..], &arrived.to_be_bytes()].concat();
        self.table.write(slot, &entry, Some(row))
    }

    /// Copies of a key's rows from a place on, up to another, with their entries: so many at most.
    fn taken(&self, slot: u32, from: &[u8], to: &[u8], most: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut rows = Vec::new();
        self.table.each_from(slot, from, |entry, row| {
            if entry >= to || rows.len() == most {
                return Ok(false);
            }
            rows.push((entry.to_vec(), row.to_vec()));
            Ok(true)
        })?;
        Ok(rows)
    }

    fn taken_at(&self, slot: u32, time: i64) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // Behind the last that may arrive.
        let end = [&place(time)[..], &[u8::MAX; 9]].concat();
        self.taken(slot, &place(time), &end, usize::MAX)
    }

    /// A row by event time, or one of RANGE by arrival.
    fn wait(&mut self, at: At, time: i64, row: &[u8]) -> Result<()> {
        let mut notes = self.notes(at.slot)?;
        let is_late = match (self.kind, self.frame) {
            (TimeKind::Processing, _) => false,
            (_, Frame::Rows(None) | Frame::Range(None)) => time <= self.watermark,
            _ => time <= notes.triggered,
        };
        if is_late {
            self.metrics.late_records.add(1);
            return Ok(());
        }
        self.timers.register(time, at.key, at.group)?;
        self.keep(at.slot, time, row)?;
        if let Frame::Range(Some(length)) = self.frame {
            let earliest = time.saturating_add(length).saturating_add(1);
            if notes.cleanup < earliest {
                notes.cleanup = time.saturating_add(length + length / 2).saturating_add(1);
                self.timers.register(notes.cleanup, at.key, at.group)?;
                self.set_notes(at.slot, notes)?;
            }
        }
        Ok(())
    }

    /// The key is used.
    fn touched(&mut self, at: At, now: Option<i64>) -> Result<()> {
        match (&mut self.cleanup, now) {
            (Some(cleanup), Some(now)) => cleanup.touched(&mut self.table, at, now),
            _ => Ok(()),
        }
    }

    /// What the clock shows, where that counts.
    fn now(&self) -> Option<i64> {
        self.cleanup.as_ref().map(Cleanup::now)
    }

    /// Forgets keys that were not used for long, unless rows of theirs wait.
    fn forget(&mut self, now: i64, out: &mut Vec<Element>) -> Result<()> {
        while let Some(cleanup) = &mut self.cleanup {
            self.table.make_room_between()?;
            let Some((timer, slot)) = cleanup.due(&mut self.table, now)? else {
                break;
            };
            let at = At {
                key: &timer.key,
                group: timer.group,
                slot,
            };
            match self.waits(slot)? {
                true => self.touched(at, Some(now))?,
                false => self.clear(at, out)?,
            }
        }
        Ok(())
    }

    /// Whether rows of a key wait for the watermark.
    fn waits(&self, slot: u32) -> Result<bool> {
        let last = self.table.last_under(slot, &[ROW])?;
        match (self.kind, self.frame, last) {
            (TimeKind::Processing, ..) | (.., None) => Ok(false),
            (_, Frame::Rows(Some(_)), Some(last)) => {
                let triggered = place(self.notes(slot)?.triggered);
                Ok(last
                    .get(..triggered.len())
                    .is_some_and(|last| last > &triggered[..]))
            }
            (.., Some(_)) => Ok(true),
        }
    }

    /// What becomes known with a watermark comes before it.
    fn rise(&mut self, watermark: i64) {
        self.steps.watermark = self.watermark;
        self.watermark = self.watermark.max(watermark);
    }

    /// The rows of a key and time, whose time has come.
    fn go_off(&mut self, timer: &Timer, out: &mut Vec<Element>) -> Result<()> {
        self.table.make_room_between()?;
        let at = At {
            key: &timer.key,
            group: timer.group,
            slot: self.table.resolve_one(&timer.key, timer.group)?,
        };
        match self.frame {
            Frame::Rows(None) => self.since_the_first(at, timer.time, false)?,
            Frame::Range(None) => self.since_the_first(at, timer.time, true)?,
            Frame::Rows(Some(before)) => self.so_many_rows(at, timer.time, before)?,
            Frame::Range(Some(length)) => self.so_long(at, timer.time, length, out)?,
        }
        self.touched(at, self.now())
    }

    /// The rows of a time, over all before them; none has to stay.
    fn since_the_first(&mut self, at: At, time: i64, together: bool) -> Result<()> {
        let rows = self.taken_at(at.slot, time)?;
        if rows.is_empty() {
            return Ok(());
        }
        let slot = self.accumulators_of(at)?;
        let mut steps = Vec::with_capacity(rows.len());
        for (entry, row) in rows {
            steps.push(self.steps.enter(slot, &row));
            self.table.write(at.slot, &entry, None)?;
        }
        let last = steps.last().copied();
        for step in steps {
            let results = if together { last.unwrap_or(step) } else { step };
            self.steps.give(step, results);
        }
        Ok(())
    }

    fn so_many_rows(&mut self, at: At, time: i64, before: u64) -> Result<()> {
        let rows = self.taken_at(at.slot, time)?;
        if !rows.is_empty() {
            let slot = self.accumulators_of(at)?;
            for (_, row) in rows {
                self.next_row(at.slot, slot, &row, before)?;
            }
        }
        let mut notes = self.notes(at.slot)?;
        notes.triggered = time;
        self.set_notes(at.slot, notes)
    }

    /// A row, which is kept already, enters a window of so many rows before it.
    fn next_row(&mut self, key: u32, slot: u32, row: &[u8], before: u64) -> Result<()> {
        let mut notes = self.notes(key)?;
        let leaving = match notes.count > before {
            true => self.taken(key, &[ROW], &[ROW + 1], 1)?.pop(),
            false => None,
        };
        match leaving {
            Some((oldest, left)) => {
                self.steps.leave(slot, &left);
                self.table.write(key, &oldest, None)?;
            }
            None => {
                notes.count += 1;
                self.set_notes(key, notes)?;
            }
        }
        let step = self.steps.enter(slot, row);
        self.steps.give(step, step);
        Ok(())
    }

    fn so_long(&mut self, at: At, time: i64, length: i64, out: &mut Vec<Element>) -> Result<()> {
        let mut notes = self.notes(at.slot)?;
        if notes.cleanup != 0 && notes.cleanup <= time {
            return self.clear(at, out);
        }
        let rows = self.taken_at(at.slot, time)?;
        if !rows.is_empty() {
            let slot = self.accumulators_of(at)?;
            let from = place(time.saturating_sub(length));
            loop {
                let left = self.taken(at.slot, &[ROW], &from, PIECE)?;
                for (entry, row) in &left {
                    self.steps.leave(slot, row);
                    self.table.write(at.slot, entry, None)?;
                }
                if left.len() < PIECE {
                    break;
                }
            }
            let count = rows.len() as u32;
            let steps = rows.iter().map(|(_, row)| self.steps.enter(slot, row));
            let last = steps.last().unwrap_or_default();
            // The rows of this time are the last ones that came in.
            for step in last + 1 - count..=last {
                self.steps.give(step, last);
            }
        }
        notes.triggered = time;
        self.set_notes(at.slot, notes)
    }

    /// Nothing of a key's rows can be in a window any more.
    fn clear(&mut self, at: At, out: &mut Vec<Element>) -> Result<()> {
        loop {
            let some = self.taken(at.slot, &[], &[u8::MAX], PIECE)?;
            for (entry, _) in &some {
                self.table.write(at.slot, entry, None)?;
            }
            if some.len() < PIECE {
                break;
            }
        }
        // What is still to be computed comes first.
        self.settle(out)?;
        let slot = self.accumulators_of(at)?;
        self.accumulators.remove(slot);
        Ok(())
    }
}

/// Where the rows of a time begin.
fn place(time: i64) -> [u8; PLACE] {
    let mut place = [ROW; PLACE];
    place[1..].copy_from_slice(&sorted(time).to_be_bytes());
    place
}

impl Gradual for Windowed {
    type Arriving = Arriving;

    fn due_by_clock(&self, now_millis: i64) -> Option<i64> {
        (self.kind == TimeKind::Processing).then_some(now_millis - 1)
    }

    fn due_with(&mut self, element: &Element) -> Option<i64> {
        match (self.kind, element) {
            (TimeKind::Event, Element::Watermark(watermark)) => {
                self.rise(*watermark);
                Some(self.watermark)
            }
            // No row joins the last millisecond any more.
            (TimeKind::Processing, Element::EndOfInput) => Some(i64::MAX),
            _ => None,
        }
    }

    fn begin(&mut self, _: usize, batch: Batch, now_millis: i64) -> Result<Arriving> {
        let rows = &batch.change.rows;
        let count = rows.num_rows();
        self.keys.encode(rows)?;
        Ok(Arriving {
            groups: self.keys.groups(self.max_parallelism),
            keys: std::mem::take(&mut self.keys.rows),
            hashes: std::mem::take(&mut self.keys.hashes),
            rows: self.rows.encode(rows)?,
            times: match self.kind {
                TimeKind::Event => millis(rows.column(self.time))?,
                TimeKind::Processing => vec![now_millis; count],
            },
            watermarks: batch.watermarks,
            now: self.now(),
            next: 0,
            advances: false,
        })
    }

    fn arrive(&mut self, mut batch: Arriving, out: &mut Vec<Element>) -> Result<Rest<Arriving>> {
        if batch.next == 0 {
            self.settle(out)?;
            self.table.make_room()?;
            self.accumulators.make_room(BATCH.min(batch.rows.len()))?;
            if let Some(now) = batch.now {
                self.forget(now, out)?;
            }
        }
        while batch.next < batch.rows.len() {
            let row = batch.next;
            if let (TimeKind::Event, Some(watermarks)) = (self.kind, &batch.watermarks)
                && watermarks[row] > self.watermark
            {
                self.rise(watermarks[row]);
                batch.advances = true;
            }
            // Only then: a row that comes late, and not too late, waits for the next watermark.
            if batch.advances && self.advance(self.watermark, out)? {
                return Ok(Rest::Later(batch));
            }
            batch.advances = false;
            if self.steps.is_full() {
                return Ok(Rest::Later(batch));
            }
            self.table.make_room_between()?;
            let (key, group) = (batch.keys.get(row), batch.groups[row]);
            let slot = self.table.slot(key, batch.hashes[row], group)?;
            let at = At { key, group, slot };
            self.touched(at, batch.now)?;
            let encoded = batch.rows.get(row);
            match (self.kind, self.frame) {
                (TimeKind::Processing, Frame::Rows(Some(before))) => {
                    // Arrival alone counts.
                    self.keep(slot, 0, encoded)?;
                    let of_key = self.accumulators_of(at)?;
                    self.next_row(slot, of_key, encoded, before)?;
                }
                _ => self.wait(at, batch.times[row], encoded)?,
            }
            batch.next += 1;
        }
        Ok(Rest::Nothing)
    }

    fn advance(&mut self, until: i64, out: &mut Vec<Element>) -> Result<bool> {
        let (mut elements, mut rows) = (out.len(), rows_of(out));
        while !self.steps.is_full() && rows < BATCH {
            match self.timers.pop(until)? {
                Some(timer) => self.go_off(&timer, out)?,
                None => return Ok(false),
            }
            rows += rows_of(&out[elements..]);
            elements = out.len();
        }
        Ok(true)
    }

    fn look_at_clock(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        self.forget(now_millis, out)
    }

    fn is_full(&self) -> bool {
        self.steps.is_full()
    }

    fn settle(&mut self, out: &mut Vec<Element>) -> Result<()> {
        // As many may come again; no step holds a slot then.
        let more = if self.steps.is_full() { BATCH } else { 1 };
        self.steps
            .settle(&mut self.accumulators, &self.rows, &self.schema, out)?;
        self.accumulators.make_room(more)
    }

    fn fired_timers(&self) -> u64 {
        self.timers.fired() + self.cleanup.as_ref().map_or(0, Cleanup::fired)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.table.flush()?;
        self.accumulators.flush()?;
        self.timers.flush()?;
        if let Some(cleanup) = &mut self.cleanup {
            cleanup.flush()?;
        }
        Ok(Vec::new())
    }
}
