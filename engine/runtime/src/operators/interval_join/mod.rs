//! Joins of rows whose times are near to one another, as Flink's `TimeIntervalJoin` gives them.
//!
//! A row meets the rows of the other side that are kept and within its bounds, and is kept for as
//! long as one may come that it meets. A timer of its key removes rows whose time is over; those of
//! an outer side that have met nobody come with nulls then.
//!
//! A batch goes through in rounds of so many rows as have some thousand rows within their bounds; what they give,
//! and what timers do, goes out a batch at a time.
//!
//! Layout: `side` what is kept of a side.

mod side;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind};
use millrace_dataflow::IntervalJoin as Plan;
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{KeyedBackend, MapTable};

use self::side::{MET, Side, TIMER, alone, expiration, expire, place, split};
use super::join::joined::{Joined, joined_schema};
use super::now_millis;
use super::paced::{Gradual, Paced, Rest};
use crate::element::{Batch, Element};
use crate::time::millis;
use crate::timers::{Timer, Timers};

/// Pairs of a round whose condition is computed, unless one row has more.
const PAIRS: usize = 1 << 14;

pub struct IntervalJoin {
    left: Side,
    right: Side,
    condition: Option<Program>,
    is_rowtime: bool,
    /// No time is within the bounds.
    is_empty: bool,
    timers: Timers,
    watermark: i64,
    /// The watermark before it came to this one: what timers give comes with it.
    before: i64,
    /// Memory for both sides.
    limit: usize,
    joined: SchemaRef,
    schema: SchemaRef,
    max_parallelism: u16,
    /// What goes out next.
    output: Joined,
    /// The watermark before each pair.
    watermarks: Vec<i64>,
    /// A timer that has gone off, and the side of its key that is looked through.
    looking: Option<(Timer, bool)>,
    /// How often keys have left memory.
    evictions: u64,
}

/// A batch whose rows are taken in one after the other.
pub struct Arriving {
    is_left: bool,
    /// The time by the clock.
    clock: i64,
    keys: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    rows: Rows,
    times: Vec<i64>,
    watermarks: Option<Arc<[i64]>>,
    /// Rows that meet nobody, for a part of their key is null.
    never: Vec<bool>,
    next: usize,
    /// The watermark is that before the next row.
    has_risen: bool,
    round: Option<Round>,
}

/// Rows of a batch that are taken in while their keys are in memory.
struct Round {
    /// The first row's number.
    first: usize,
    /// Of each row the places of its key on both sides, as long as there were so many evictions.
    slots: Vec<(u32, u32)>,
    evictions: u64,
    /// Its rows are taken in while both sides take no more memory.
    most: usize,
    /// The pairs for which the condition is true: a row's number, and the entry of the other. Only fewer are
    /// kept when the row's turn comes.
    matches: HashSet<(usize, Vec<u8>)>,
    /// Where the next row is, if it has begun.
    within: Option<Within>,
}

/// Where a row is that gives more than a batch.
struct Within {
    has_met: bool,
    /// The entry of the other side that it meets next.
    from: Vec<u8>,
}

impl IntervalJoin {
    pub fn new(
        plan: &Plan,
        inputs: [&RowType; 2],
        output: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Paced<Self>> {
        let bounds = plan.bounds;
        let left: Vec<_> = plan.keys.iter().map(|key| (key.left, key.null_safe)).collect();
        let right: Vec<_> = plan.keys.iter().map(|key| (key.right, key.null_safe)).collect();
        let (keeps_left, keeps_right) = (plan.kind.keeps_left(), plan.kind.keeps_right());
        Ok(Paced::new(
            backend.clock(),
            IntervalJoin {
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
                before: i64::MIN,
                limit: backend.row_bytes(1),
                joined: joined_schema(inputs),
                schema: output.to_arrow(),
                max_parallelism: backend.max_parallelism,
                output: Joined::default(),
                watermarks: Vec::new(),
                looking: None,
                evictions: 0,
            },
        ))
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

    /// Looks through one side of a key; whether all that goes with it had room.
    fn look_through(&mut self, is_left: bool, timer: &Timer, now: i64) -> Result<bool> {
        let pause = self.pause();
        let (side, _, output) = self.sides(is_left);
        let slot = side.table.resolve_one(&timer.key, timer.group)?;
        if side.timer(slot)? != Some(timer.time) {
            return Ok(true);
        }
        side.expired = expiration(now, side.reach);
        if !expire(side, is_left, slot, output)? {
            return Ok(false);
        }
        match side.earliest(slot)? {
            Some(earliest) => {
                let next = earliest
                    .saturating_add(side.reach)
                    .saturating_add(pause)
                    .saturating_add(1);
                side.set_timer(slot, next)?;
                self.timers.register(next, &timer.key, timer.group)?;
            }
            None => side.table.write(slot, TIMER, None)?,
        }
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.left.table.bytes() + self.right.table.bytes()
    }

    fn is_over(&self) -> bool {
        self.left.table.is_over() || self.right.table.is_over()
    }

    /// Slots as they were given before are no longer valid.
    fn make_room(&mut self) -> Result<()> {
        MapTable::share(self.limit, &mut self.left.table, &mut self.right.table);
        self.evictions += 1;
        self.left.table.make_room()?;
        self.right.table.make_room()
    }

    /// The same in the middle of a batch, where there is too much: maps stay that are too large to be read again
    /// and again.
    fn make_room_between(&mut self) -> Result<()> {
        if self.is_over() {
            MapTable::share(self.limit, &mut self.left.table, &mut self.right.table);
            self.evictions += 1;
        }
        self.left.table.make_room_between()?;
        self.right.table.make_room_between()
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

    fn rise(&mut self, watermark: i64) {
        self.before = self.watermark;
        self.watermark = self.watermark.max(watermark);
    }

    /// The time by which a row comes.
    fn time_before(&self, batch: &Arriving, row: usize) -> i64 {
        match (&batch.watermarks, self.is_rowtime) {
            (_, false) => batch.clock,
            (None, true) => self.watermark,
            (Some(watermarks), true) => self.watermark.max(watermarks[row]),
        }
    }

    /// Brings the keys of the next rows into memory, and looks which rows that are kept the condition lets them
    /// meet.
    fn begin_round(&mut self, batch: &Arriving) -> Result<Round> {
        match batch.next {
            0 => self.make_room()?,
            _ => self.make_room_between()?,
        }
        let mut round = Round {
            first: batch.next,
            slots: Vec::new(),
            evictions: self.evictions,
            most: 0,
            matches: HashSet::new(),
            within: None,
        };
        let mut candidates = Joined::default();
        let mut places = Vec::new();
        let mut pairs = 0;
        for row in batch.next..batch.rows.len() {
            let (own, other, _) = self.sides(batch.is_left);
            let is_much = pairs > PAIRS || own.table.is_over() || other.table.is_over();
            if is_much && row > batch.next {
                break;
            }
            let (key, hash, group) = (batch.keys.get(row), batch.hashes[row], batch.groups[row]);
            let slots = (
                own.table.slot(key, hash, group)?,
                other.table.slot(key, hash, group)?,
            );
            round.slots.push(slots);
            let is_large = other.table.is_large(slots.1);
            // Where not all of those are in memory that a row may meet, it looks for itself.
            if self.condition.is_none() || batch.never[row] || is_large {
                continue;
            }
            let (own, other) = match batch.is_left {
                true => (&self.left, &self.right),
                false => (&self.right, &self.left),
            };
            let (from, to) = batch.bounds(row, own, other);
            other.each(slots.1, &place(from, 0), to, |entry, value| {
                let (own, other) = (batch.rows.get(row), split(value)?.1);
                let (left, right) = if batch.is_left { (own, other) } else { (other, own) };
                candidates.push(RowKind::Insert, Some(left), Some(right));
                places.push((row, entry.to_vec()));
                pairs += 1;
                if candidates.is_full() {
                    self.match_pairs(&mut candidates, &mut places, &mut round.matches)?;
                }
                Ok(true)
            })?;
        }
        self.match_pairs(&mut candidates, &mut places, &mut round.matches)?;
        round.most = self.bytes() + self.limit / 8;
        Ok(round)
    }

    /// Whether a round has a row, whose key is still in memory.
    fn is_good_for(&self, round: &Round, row: usize) -> bool {
        row < round.first + round.slots.len() && round.evictions == self.evictions
    }

    /// Adds those of some pairs to the matches for which the condition is true.
    fn match_pairs(
        &self,
        candidates: &mut Joined,
        places: &mut Vec<(usize, Vec<u8>)>,
        matches: &mut HashSet<(usize, Vec<u8>)>,
    ) -> Result<()> {
        let Some(condition) = &self.condition else {
            return Ok(());
        };
        let Some((rows, _)) = candidates.take(&self.left.rows, &self.right.rows, &self.joined)? else {
            return Ok(());
        };
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mask = condition.filter_mask(&rows, &evaluation)?;
        let passing = places.drain(..).enumerate().filter(|(i, _)| mask.value(*i));
        matches.extend(passing.map(|(_, place)| place));
        Ok(())
    }

    /// Of the rows of the other side from an entry on, some that the next row meets; the entry behind those that were
    /// looked at, if there is one.
    fn match_some(
        &self,
        batch: &Arriving,
        slot: u32,
        from: &[u8],
        matches: &mut HashSet<(usize, Vec<u8>)>,
    ) -> Result<Option<Vec<u8>>> {
        let (own, other) = match batch.is_left {
            true => (&self.left, &self.right),
            false => (&self.right, &self.left),
        };
        let (mut candidates, mut places, mut next) = (Joined::default(), Vec::new(), None);
        let (_, to) = batch.bounds(batch.next, own, other);
        other.each(slot, from, to, |entry, value| {
            if candidates.is_full() {
                next = Some(entry.to_vec());
                return Ok(false);
            }
            let (own, other) = (batch.rows.get(batch.next), split(value)?.1);
            let (left, right) = if batch.is_left { (own, other) } else { (other, own) };
            candidates.push(RowKind::Insert, Some(left), Some(right));
            places.push((batch.next, entry.to_vec()));
            Ok(true)
        })?;
        self.match_pairs(&mut candidates, &mut places, matches)?;
        Ok(next)
    }

    /// The next row meets those that are kept, and is kept; whether all that it gives had room.
    fn row(&mut self, batch: &Arriving, round: &mut Round, now: i64) -> Result<bool> {
        let (is_left, number) = (batch.is_left, batch.next);
        let (pause, is_empty, has_condition) = (self.pause(), self.is_empty, self.condition.is_some());
        let (slot, other_slot) = round.slots[number - round.first];
        let (time, row) = (batch.times[number], batch.rows.get(number));
        let (own, other, _) = self.sides(is_left);
        let (from, to) = batch.bounds(number, own, other);
        let within = match round.within.take() {
            Some(within) => Some(within),
            None if !is_empty && other.expired < to => {
                other.expired = expiration(now, other.reach);
                Some(Within {
                    has_met: false,
                    from: place(from, 0),
                })
            }
            None => None,
        };
        let is_alone = batch.never[number];
        // Of a part of them, up to `until`.
        let (mut found, mut until) = (HashSet::new(), None);
        let looks = has_condition && !is_alone && other.table.is_large(other_slot);
        if let Some(within) = within.as_ref().filter(|_| looks) {
            until = self.match_some(batch, other_slot, &within.from, &mut found)?;
        }
        let (own, other, output) = self.sides(is_left);
        let matches = if looks { &found } else { &round.matches };
        let mut has_met = false;
        if let Some(mut within) = within {
            let mut marked = Vec::new();
            let mut next = None;
            if !is_alone {
                other.each(other_slot, &within.from, to, |entry, value| {
                    if output.is_full() || until.as_deref() == Some(entry) {
                        next = Some(entry.to_vec());
                        return Ok(false);
                    }
                    if has_condition && !matches.contains(&(number, entry.to_vec())) {
                        return Ok(true);
                    }
                    let (met_before, other_row) = split(value)?;
                    match is_left {
                        true => output.push(RowKind::Insert, Some(row), Some(other_row)),
                        false => output.push(RowKind::Insert, Some(other_row), Some(row)),
                    }
                    within.has_met = true;
                    if other.is_outer && !met_before {
                        marked.push((entry.to_vec(), [&[MET], other_row].concat()));
                    }
                    Ok(true)
                })?;
            }
            for (entry, value) in marked {
                other.table.write(other_slot, &entry, Some(&value))?;
            }
            let next = match next {
                Some(next) => Some(next),
                None if expire(other, !is_left, other_slot, output)? => None,
                // It has met all of them.
                None => Some(place(i64::MAX, u64::MAX)),
            };
            has_met = within.has_met;
            if let Some(from) = next {
                round.within = Some(Within { has_met, from });
                return Ok(false);
            }
        }
        if !is_empty && now < to {
            own.keep(slot, time, row, has_met)?;
            if own.timer(slot)?.is_none() {
                let look = time
                    .saturating_add(own.reach)
                    .saturating_add(pause)
                    .saturating_add(1);
                own.set_timer(slot, look)?;
                self.timers
                    .register(look, batch.keys.get(number), batch.groups[number])?;
            }
        } else if !has_met && own.is_outer {
            alone(is_left, row, output);
        }
        Ok(true)
    }
}

impl Arriving {
    /// The times of the other side that are within a row's bounds.
    fn bounds(&self, row: usize, own: &Side, other: &Side) -> (i64, i64) {
        let time = self.times[row];
        (time.saturating_sub(other.reach), time.saturating_add(own.reach))
    }
}

impl Gradual for IntervalJoin {
    type Arriving = Arriving;

    fn due_by_clock(&self, now_millis: i64) -> Option<i64> {
        (!self.is_rowtime).then_some(now_millis)
    }

    fn due_with(&mut self, element: &Element) -> Option<i64> {
        match element {
            Element::Watermark(watermark) if self.is_rowtime => {
                self.rise(*watermark);
                Some(self.watermark)
            }
            // Nothing is met any more.
            Element::EndOfInput if !self.is_rowtime => Some(i64::MAX),
            _ => None,
        }
    }

    fn passing(&self, element: Element) -> Element {
        match element {
            Element::Watermark(watermark) if self.is_rowtime => Element::Watermark(self.held(watermark)),
            other => other,
        }
    }

    fn begin(&mut self, input: usize, batch: Batch, now_millis: i64) -> Result<Arriving> {
        let is_left = input == 0;
        let (is_rowtime, max) = (self.is_rowtime, self.max_parallelism);
        let rows = &batch.change.rows;
        let (own, _, _) = self.sides(is_left);
        own.keys.encode(rows)?;
        let times = match is_rowtime {
            true => millis(rows.column(own.time))?,
            false => vec![now_millis; rows.num_rows()],
        };
        let strict: Vec<_> = own.strict.iter().map(|c| rows.column(*c)).collect();
        let never = (0..rows.num_rows()).map(|row| strict.iter().any(|column| column.is_null(row)));
        Ok(Arriving {
            is_left,
            clock: now_millis,
            never: never.collect(),
            groups: own.keys.groups(max),
            keys: std::mem::take(&mut own.keys.rows),
            hashes: std::mem::take(&mut own.keys.hashes),
            rows: own.rows.encode(rows)?,
            times,
            watermarks: batch.watermarks,
            next: 0,
            has_risen: false,
            round: None,
        })
    }

    fn arrive(&mut self, mut batch: Arriving, out: &mut Vec<Element>) -> Result<Rest<Arriving>> {
        while batch.next < batch.rows.len() {
            let now = self.time_before(&batch, batch.next);
            if self.is_rowtime && !batch.has_risen {
                self.rise(now);
                batch.has_risen = true;
            }
            let is_due = self.looking.is_some() || self.timers.earliest()?.is_some_and(|time| time <= now);
            if is_due && self.advance(now, out)? {
                return Ok(Rest::Later(batch));
            }
            let mut round = match batch.round.take() {
                Some(round) if self.is_good_for(&round, batch.next) => round,
                _ => self.begin_round(&batch)?,
            };
            let is_done = self.row(&batch, &mut round, now)?;
            self.came_with(self.watermark);
            if !is_done {
                batch.round = Some(round);
                return Ok(Rest::Later(batch));
            }
            batch.next += 1;
            batch.has_risen = false;
            // What is kept takes memory too.
            batch.round = (self.bytes() <= round.most).then_some(round);
        }
        Ok(Rest::Nothing)
    }

    /// Gives and removes what is expired, of all keys with a timer until then.
    fn advance(&mut self, until: i64, _: &mut Vec<Element>) -> Result<bool> {
        while !self.output.is_full() {
            let (timer, is_left) = match self.looking.take() {
                Some(looking) => looking,
                None => match self.timers.pop(until)? {
                    Some(timer) => (timer, false),
                    None => return Ok(false),
                },
            };
            let is_done = self.look_through(is_left, &timer, until)?;
            self.came_with(self.before);
            match (is_done, is_left) {
                (false, _) => self.looking = Some((timer, is_left)),
                (true, false) => self.looking = Some((timer, true)),
                (true, true) => self.make_room_between()?,
            }
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.output.is_full()
    }

    fn settle(&mut self, out: &mut Vec<Element>) -> Result<()> {
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

    fn fired_timers(&self) -> u64 {
        self.timers.fired()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.left.table.flush()?;
        self.right.table.flush()?;
        self.timers.flush()?;
        Ok(Vec::new())
    }
}
