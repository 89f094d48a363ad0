//! Joins of rows whose times are near to one another, as Flink's `TimeIntervalJoin` gives them.
//!
//! A row meets the rows of the other side that are kept and within its bounds, and is kept for as
//! long as one may come that it meets. A timer of its key removes rows whose time is over; those of
//! an outer side that have met nobody come with nulls then.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Bound;

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::IntervalJoin as Plan;
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::join::joined::{Joined, joined_schema};
use super::{BATCH, Operator, now_millis};
use crate::changes::WholeRows;
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::time::millis;
use crate::timers::{Timers, sorted};

pub struct IntervalJoin {
    left: Side,
    right: Side,
    condition: Option<Program>,
    is_rowtime: bool,
    /// No time is within the bounds.
    is_empty: bool,
    timers: Timers,
    watermark: i64,
    /// A watermark that is sent on when all that it sets free has been given, and the one before it.
    passing: Option<(i64, i64)>,
    /// Memory for both sides.
    limit: usize,
    joined: SchemaRef,
    schema: SchemaRef,
    max_parallelism: u16,
    output: Joined,
    /// The watermark before each pair.
    watermarks: Vec<i64>,
}

struct Side {
    keys: Keys,
    /// Key columns in which a null equals nothing.
    strict: Vec<usize>,
    rows: WholeRows,
    /// Of each key its rows by time and arrival, and when they are looked through next.
    table: MapTable,
    time: usize,
    is_outer: bool,
    /// How long after a row of this side one of the other may be: negative, before it.
    reach: i64,
    /// Rows up to here may have been removed.
    expired: i64,
}

const TIMER: &[u8] = b"t";
const ROW: u8 = b'r';
/// Before each row: whether it has met one of the other side.
const ALONE: u8 = 0;
const MET: u8 = 1;

impl Side {
    fn new(
        name: &str,
        keys: &[(usize, bool)],
        time: usize,
        reach: i64,
        is_outer: bool,
        input: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema = input.to_arrow();
        let columns: Vec<usize> = keys.iter().map(|(column, _)| *column).collect();
        let strict = keys.iter().filter(|(_, null_safe)| !null_safe);
        Ok(Side {
            keys: Keys::new(&columns, &schema)?,
            strict: strict.map(|(column, _)| *column).collect(),
            rows: WholeRows::new(&schema)?,
            table: MapTable::open(&backend.store, name, backend.cache_bytes)?,
            time,
            is_outer,
            reach,
            expired: 0,
        })
    }

    /// When the key's rows are looked through next.
    fn timer(&self, slot: u32) -> Option<i64> {
        let stored = self.table.get(slot, TIMER)?;
        stored.try_into().ok().map(i64::from_be_bytes)
    }

    /// The rows between two times, both included.
    fn between(&self, slot: u32, from: i64, to: i64) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let first = place(from, 0);
        let last = place(to, u64::MAX);
        // A map has no range that begins behind its end.
        let last = if from > to { first.clone() } else { last };
        self.table
            .range(slot, Bound::Included(&first), Bound::Excluded(&last))
    }

    fn keep(&mut self, slot: u32, time: i64, row: &[u8], has_met: bool) {
        let last = self.between(slot, time, time).next_back();
        let arrived = last.and_then(|(entry, _)| {
            let arrived: [u8; 8] = entry[9..].try_into().ok()?;
            Some(u64::from_be_bytes(arrived) + 1)
        });
        let value = [&[if has_met { MET } else { ALONE }], row].concat();
        self.table.put(slot, &place(time, arrived.unwrap_or(0)), &value);
    }
}

fn place(time: i64, arrived: u64) -> Vec<u8> {
    let mut place = vec![ROW];
    place.extend_from_slice(&sorted(time).to_be_bytes());
    place.extend_from_slice(&arrived.to_be_bytes());
    place
}

fn time_of(entry: &[u8]) -> i64 {
    let bytes = entry.get(1..9).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(i64::MIN, |bytes| sorted(i64::from_be_bytes(bytes)))
}

fn split(value: &[u8]) -> Result<(bool, &[u8])> {
    value
        .split_first()
        .map(|(met, row)| (*met == MET, row))
        .ok_or_else(|| Error::data_loss("the stored rows of an interval join have another form"))
}

/// The time at which rows of a side are expired, of the time by which the operator is.
fn expiration(now: i64, reach: i64) -> i64 {
    match now {
        i64::MAX => i64::MAX,
        _ => now.saturating_sub(reach).saturating_sub(1),
    }
}

impl IntervalJoin {
    pub fn new(
        plan: &Plan,
        inputs: [&RowType; 2],
        output: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let bounds = plan.bounds;
        let left: Vec<_> = plan.keys.iter().map(|key| (key.left, key.null_safe)).collect();
        let right: Vec<_> = plan.keys.iter().map(|key| (key.right, key.null_safe)).collect();
        let (keeps_left, keeps_right) = (plan.kind.keeps_left(), plan.kind.keeps_right());
        Ok(IntervalJoin {
            left: Side::new(
                "left",
                &left,
                bounds.left_time,
                bounds.lower.saturating_neg(),
                keeps_left,
                inputs[0],
                backend,
            )?,
            right: Side::new(
                "right",
                &right,
                bounds.right_time,
                bounds.upper,
                keeps_right,
                inputs[1],
                backend,
            )?,
            condition: plan
                .condition
                .as_ref()
                .map(|condition| Program::compile(condition, session))
                .transpose()?,
            is_rowtime: bounds.is_rowtime,
            is_empty: bounds.upper < bounds.lower,
            timers: Timers::open(backend, "timers")?,
            watermark: i64::MIN,
            passing: None,
            limit: backend.row_bytes(1),
            joined: joined_schema(inputs),
            schema: output.to_arrow(),
            max_parallelism: backend.max_parallelism,
            output: Joined::default(),
            watermarks: Vec::new(),
        })
    }

    fn sides(&mut self, is_left: bool) -> (&mut Side, &mut Side, &mut Joined) {
        match is_left {
            true => (&mut self.left, &mut self.right, &mut self.output),
            false => (&mut self.right, &mut self.left, &mut self.output),
        }
    }

    /// Between two looks through a key's rows.
    fn pause(&self) -> i64 {
        (self.left.reach + self.right.reach) / 2
    }

    /// Gives and removes what is expired, of keys with a timer until then, so many at most; whether there may be
    /// more.
    fn advance(&mut self, until: i64, now: i64, most: usize) -> Result<bool> {
        let mut looked_at = 0;
        while looked_at < most {
            let Some(timer) = self.timers.pop(until)? else {
                return Ok(false);
            };
            looked_at += 1;
            for is_left in [false, true] {
                self.look_through(is_left, &timer.key, timer.group, timer.time, now)?;
            }
        }
        Ok(true)
    }

    /// The same of all of them, between batches.
    fn advance_all(&mut self, to: i64, out: &mut Vec<Element>) -> Result<()> {
        while self.advance(to, to, BATCH)? {
            self.emit(out)?;
            self.make_room(0)?;
        }
        self.emit(out)
    }

    /// Slots as they were given before are no longer valid. `row` is that of a batch before which it is done.
    fn make_room(&mut self, row: usize) -> Result<()> {
        MapTable::share(self.limit, &mut self.left.table, &mut self.right.table);
        for side in [&mut self.left, &mut self.right] {
            match row {
                0 => side.table.make_room()?,
                _ => side.table.make_room_between()?,
            }
        }
        Ok(())
    }

    /// Brings the rows of keys from one on into memory, as many as have room: the end of those that have slots.
    fn place(
        &mut self,
        is_left: bool,
        from: usize,
        (keys, hashes, groups): (&Rows, &[u64], &[u16]),
        slots: &mut Vec<u32>,
        other_slots: &mut Vec<u32>,
    ) -> Result<usize> {
        self.make_room(from)?;
        let (own, other, _) = self.sides(is_left);
        let placed = own.table.resolve_some(from, keys, hashes, groups, slots)?;
        let met = other
            .table
            .resolve_some(from, keys, hashes, groups, other_slots)?;
        Ok(placed.min(met))
    }

    fn look_through(&mut self, is_left: bool, key: &[u8], group: u16, at: i64, now: i64) -> Result<()> {
        let pause = self.pause();
        let (side, _, output) = self.sides(is_left);
        let slot = side.table.resolve_one(key, group)?;
        if side.timer(slot) != Some(at) {
            return Ok(());
        }
        side.expired = expiration(now, side.reach);
        expire(side, is_left, slot, output)?;
        let next = side.between(slot, i64::MIN, i64::MAX).next();
        match next.map(|(entry, _)| time_of(entry)) {
            Some(earliest) => {
                let next = earliest
                    .saturating_add(side.reach)
                    .saturating_add(pause)
                    .saturating_add(1);
                side.table.put(slot, TIMER, &next.to_be_bytes());
                self.timers.register(next, key, group)?;
            }
            None => side.table.remove(slot, TIMER),
        }
        Ok(())
    }

    fn emit(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let taken = self
            .output
            .take(&self.left.rows, &self.right.rows, &self.schema)?;
        let watermarks = std::mem::take(&mut self.watermarks);
        if let Some((rows, _)) = taken {
            let is_known = watermarks.last().is_some_and(|last| *last > i64::MIN);
            out.push(Element::Batch(Batch {
                watermarks: is_known.then(|| watermarks.into()),
                ..ChangeBatch::inserts(rows).into()
            }));
        }
        Ok(())
    }

    /// What goes on with a watermark: what comes later may be as old as the oldest row that is kept.
    fn held(&self, watermark: i64) -> i64 {
        let late = self.left.reach.max(self.right.reach).max(0);
        match watermark {
            i64::MAX => i64::MAX,
            _ => watermark.saturating_sub(late),
        }
    }

    /// The pairs since the last call came with this watermark.
    fn came_with(&mut self, watermark: i64) {
        let watermark = self.held(watermark);
        self.watermarks.resize(self.output.count(), watermark);
    }

    /// The pairs of rows of a batch and rows that are kept for which the condition is true. Only
    /// fewer are kept when the rows' turn comes.
    fn matches(&self, is_left: bool, at: &[At]) -> Result<HashSet<(usize, Vec<u8>)>> {
        let Some(condition) = &self.condition else {
            return Ok(HashSet::new());
        };
        let (own, other) = match is_left {
            true => (&self.left, &self.right),
            false => (&self.right, &self.left),
        };
        let mut candidates = Joined::default();
        let mut places = Vec::new();
        for (number, at) in at.iter().enumerate().filter(|(_, at)| !at.never) {
            let (from, to) = at.bounds(own, other);
            for (entry, value) in other.between(at.other_slot, from, to) {
                let row = split(value)?.1;
                let (left, right) = if is_left { (at.row, row) } else { (row, at.row) };
                candidates.push(RowKind::Insert, Some(left), Some(right));
                places.push((number, entry.to_vec()));
            }
        }
        let Some((rows, _)) = candidates.take(&self.left.rows, &self.right.rows, &self.joined)? else {
            return Ok(HashSet::new());
        };
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mask = condition.filter_mask(&rows, &evaluation)?;
        let passing = places.into_iter().enumerate().filter(|(i, _)| mask.value(*i));
        Ok(passing.map(|(_, place)| place).collect())
    }

    /// One row meets those that are kept, and is kept.
    fn row(
        &mut self,
        is_left: bool,
        number: usize,
        at: &At,
        now: i64,
        matches: &HashSet<(usize, Vec<u8>)>,
    ) -> Result<()> {
        let (pause, is_empty, has_condition) = (self.pause(), self.is_empty, self.condition.is_some());
        let (own, other, output) = self.sides(is_left);
        let (from, to) = at.bounds(own, other);
        let mut has_met = false;
        if !is_empty && other.expired < to {
            other.expired = expiration(now, other.reach);
            let mut marked = Vec::new();
            for (entry, value) in other.between(at.other_slot, from, to) {
                let passes = !at.never && (!has_condition || matches.contains(&(number, entry.to_vec())));
                if !passes {
                    continue;
                }
                let (met_before, row) = split(value)?;
                match is_left {
                    true => output.push(RowKind::Insert, Some(at.row), Some(row)),
                    false => output.push(RowKind::Insert, Some(row), Some(at.row)),
                }
                has_met = true;
                if other.is_outer && !met_before {
                    marked.push((entry.to_vec(), [&[MET], row].concat()));
                }
            }
            for (entry, value) in marked {
                other.table.put(at.other_slot, &entry, &value);
            }
            expire(other, !is_left, at.other_slot, output)?;
        }
        if !is_empty && now < to {
            own.keep(at.slot, at.time, at.row, has_met);
            if own.timer(at.slot).is_none() {
                let look = at
                    .time
                    .saturating_add(own.reach)
                    .saturating_add(pause)
                    .saturating_add(1);
                own.table.put(at.slot, TIMER, &look.to_be_bytes());
                self.timers.register(look, at.key, at.group)?;
            }
        } else if !has_met && own.is_outer {
            alone(is_left, at.row, output);
        }
        Ok(())
    }
}

/// Removes the expired rows of a key; of an outer side, those that have met nobody come with nulls.
fn expire(side: &mut Side, is_left: bool, slot: u32, output: &mut Joined) -> Result<()> {
    let mut gone = Vec::new();
    for (entry, value) in side.between(slot, i64::MIN, side.expired) {
        let (has_met, row) = split(value)?;
        if side.is_outer && !has_met {
            alone(is_left, row, output);
        }
        gone.push(entry.to_vec());
    }
    for entry in gone {
        side.table.remove(slot, &entry);
    }
    Ok(())
}

fn alone(is_left: bool, row: &[u8], output: &mut Joined) {
    match is_left {
        true => output.push(RowKind::Insert, Some(row), None),
        false => output.push(RowKind::Insert, None, Some(row)),
    }
}

/// A row on its way in.
struct At<'a> {
    key: &'a [u8],
    group: u16,
    row: &'a [u8],
    time: i64,
    /// It meets nobody, for a part of its key is null.
    never: bool,
    slot: u32,
    other_slot: u32,
}

impl At<'_> {
    /// The times of the other side that are within its bounds.
    fn bounds(&self, own: &Side, other: &Side) -> (i64, i64) {
        (
            self.time.saturating_sub(other.reach),
            self.time.saturating_add(own.reach),
        )
    }
}

impl Operator for IntervalJoin {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let is_left = input == 0;
        let (is_rowtime, max) = (self.is_rowtime, self.max_parallelism);
        let clock = now_millis();
        let rows = &batch.change.rows;
        let (own, ..) = self.sides(is_left);
        own.keys.encode(rows)?;
        let groups = own.keys.groups(max);
        let (mut slots, mut other_slots) = (Vec::new(), Vec::new());
        let bytes: Rows = own.rows.encode(rows)?;
        let times = match is_rowtime {
            true => millis(rows.column(own.time))?,
            false => vec![clock; rows.num_rows()],
        };
        let strict: Vec<_> = own.strict.iter().map(|c| rows.column(*c).clone()).collect();
        let keys = std::mem::take(&mut own.keys.rows);
        let hashes = std::mem::take(&mut own.keys.hashes);
        let mut next = 0;
        while next < rows.num_rows() {
            let places = (&keys, hashes.as_slice(), groups.as_slice());
            let placed = self.place(is_left, next, places, &mut slots, &mut other_slots)?;
            let at: Vec<At> = (next..placed)
                .map(|row| At {
                    key: keys.get(row),
                    group: groups[row],
                    row: bytes.get(row),
                    time: times[row],
                    never: strict.iter().any(|column| column.is_null(row)),
                    slot: slots[row],
                    other_slot: other_slots[row],
                })
                .collect();
            let matches = self.matches(is_left, &at)?;
            for (number, at) in at.iter().enumerate() {
                let before = self.watermark;
                let now = match is_rowtime {
                    false => clock,
                    true => {
                        if let Some(watermarks) = &batch.watermarks {
                            self.watermark = self.watermark.max(watermarks[next + number]);
                        }
                        self.watermark
                    }
                };
                self.advance(now, now, usize::MAX)?;
                self.came_with(before);
                self.row(is_left, number, at, now, &matches)?;
                self.came_with(self.watermark);
            }
            self.emit(out)?;
            next = placed;
        }
        Ok(())
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        match element {
            Element::Watermark(watermark) if self.is_rowtime => {
                let before = self.watermark;
                self.watermark = self.watermark.max(watermark);
                self.passing = Some((before, watermark));
                return self.resume(out);
            }
            // Nothing is met any more.
            Element::EndOfInput if !self.is_rowtime => {
                self.advance_all(i64::MAX, out)?;
            }
            _ => {}
        }
        out.push(element);
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        if !self.is_rowtime {
            self.advance_all(now_millis, out)?;
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.passing.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some((before, watermark)) = self.passing.take() else {
            return Ok(());
        };
        self.make_room(0)?;
        let has_more = self.advance(self.watermark, self.watermark, BATCH)?;
        self.came_with(before);
        self.emit(out)?;
        match has_more {
            true => self.passing = Some((before, watermark)),
            false => out.push(Element::Watermark(self.held(watermark))),
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.left.table.flush()?;
        self.right.table.flush()?;
        self.timers.flush()?;
        Ok(Vec::new())
    }
}
