//! Joins over all rows so far, as Flink's `StreamingJoinOperator` and `StreamingSemiAntiJoinOperator`
//! give them: both sides are kept, and each row meets those of the other side with its key.
//!
//! A side whose rows come with nulls where they have no partner counts the partners of each row:
//! the first one takes the row with nulls back, and when the last one goes it comes again.
//!
//! The other side does not change while a batch comes, but for those counts: its rows are looked up,
//! and the condition is computed, for many pairs at once. A batch goes through in rounds of so many rows as meet
//! some thousand others, and what they give goes out a batch at a time.
//!
//! Layout: `side` what is kept of a side, `joined` pairs of rows as a batch, `large` rows that meet more than fits into
//! memory.

pub(super) mod joined;
mod large;
pub(super) mod side;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind};
use millrace_dataflow::{Join as Plan, JoinKind};
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{KeyedBackend, MapTable};

use self::joined::{Joined, joined_schema};
use self::large::Piecewise;
use self::side::{Record, Side};
use super::now_millis;
use super::paced::{Gradual, Paced, Rest};
use crate::changes::{accumulates, kind_of, kinds_of};
use crate::element::{Batch, Element};

/// Pairs of a round, and bytes of the rows that are met in it, unless one row has more.
const PAIRS: usize = 1 << 14;
const MET_BYTES: usize = 16 << 20;

pub struct Join {
    kind: JoinKind,
    left: Side,
    right: Side,
    condition: Option<Program>,
    joined: SchemaRef,
    schema: SchemaRef,
    max_parallelism: u16,
    /// Memory for both sides.
    limit: usize,
    /// What goes out next.
    changes: Joined,
}

/// A batch whose rows meet those of the other side.
pub struct Arriving {
    is_left: bool,
    change: ChangeBatch,
    keys: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    rows: Rows,
    /// Their keys within their join key, where there are such.
    unique: Option<Rows>,
    /// Rows whose key equals none, for a part of it is null.
    never: Vec<bool>,
    /// The first row that has met nobody yet.
    next: usize,
    round: Option<Round>,
}

/// Rows of a batch with those of the other side that they meet.
struct Round {
    /// The first row's number.
    first: usize,
    /// Of each row the places of its key on both sides.
    slots: Vec<(u32, u32)>,
    /// Rows of the other side, and how many partners each has by now.
    records: Vec<Record>,
    /// For each row of the batch, from the first one on, the records that it meets.
    partners: Vec<Vec<usize>>,
    /// What the row that met its partners last still gives.
    gives: VecDeque<Give>,
    /// Its rows are taken in while both sides take no more memory.
    most: usize,
    /// Instead of all that, one row, and what is left to be done of it.
    piecewise: Option<Piecewise>,
}

/// What is done with those that a row meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Both are given together.
    Pairs,
    /// They count it, and come with nulls or no longer do.
    Partners,
    /// They count it, and are given or taken back by themselves.
    Asked,
}

/// Changes to be given: the row alone, a record alone, or both, so many times.
struct Give {
    kind: RowKind,
    own: bool,
    record: Option<usize>,
    times: i64,
}

impl Join {
    pub fn new(
        plan: &Plan,
        inputs: [&RowType; 2],
        output: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Paced<Self>> {
        let counts_left = plan.kind.keeps_left() || plan.kind.is_left_only();
        let columns = |side: fn(&millrace_dataflow::JoinKey) -> usize| {
            let keys = plan.keys.iter();
            keys.map(|key| (side(key), key.null_safe)).collect::<Vec<_>>()
        };
        Ok(Paced::new(
            backend.clock(),
            Join {
                kind: plan.kind,
                left: Side::new(
                    "left",
                    &columns(|k| k.left),
                    &plan.left,
                    counts_left,
                    inputs[0],
                    backend,
                )?,
                right: Side::new(
                    "right",
                    &columns(|k| k.right),
                    &plan.right,
                    plan.kind.keeps_right(),
                    inputs[1],
                    backend,
                )?,
                condition: plan
                    .condition
                    .as_ref()
                    .map(|condition| Program::compile(condition, session))
                    .transpose()?,
                joined: joined_schema(inputs),
                schema: output.to_arrow(),
                max_parallelism: backend.max_parallelism,
                limit: backend.cache_bytes,
                changes: Joined::default(),
            },
        ))
    }

    /// Slots as they were given before are no longer valid. In the middle of a batch maps stay that are too large
    /// to be read again and again.
    fn make_room(&mut self, is_between_batches: bool) -> Result<()> {
        MapTable::share(self.limit, &mut self.left.table, &mut self.right.table);
        for side in [&mut self.left, &mut self.right] {
            match is_between_batches {
                true => side.table.make_room()?,
                false => side.table.make_room_between()?,
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.left.table.bytes() + self.right.table.bytes()
    }

    /// What the next rows of a batch meet; a part of them, if there is much.
    fn meet(&mut self, batch: &Arriving) -> Result<Round> {
        self.make_room(batch.next == 0)?;
        let (own, other) = match batch.is_left {
            true => (&mut self.left, &mut self.right),
            false => (&mut self.right, &mut self.left),
        };
        let mut slots = Vec::new();
        let mut records: Vec<Record> = Vec::new();
        let mut of_slot: HashMap<u32, Range<usize>> = HashMap::new();
        let mut partners: Vec<Vec<usize>> = Vec::new();
        let (mut pairs, mut bytes) = (0, 0);
        let mut piecewise = None;
        for row in batch.next..batch.rows.len() {
            let is_much = pairs > PAIRS || bytes > MET_BYTES || own.table.is_over() || other.table.is_over();
            if is_much && row > batch.next {
                break;
            }
            let (key, hash, group) = (batch.keys.get(row), batch.hashes[row], batch.groups[row]);
            let slot = other.table.slot(key, hash, group)?;
            let both = (own.table.slot(key, hash, group)?, slot);
            if other.table.is_large(slot) && !batch.never[row] {
                piecewise = (row == batch.next).then(|| Piecewise::new(both));
                break;
            }
            slots.push(both);
            if batch.never[row] {
                partners.push(Vec::new());
                continue;
            }
            let range = match of_slot.get(&slot) {
                Some(range) => range.clone(),
                None => {
                    let start = records.len();
                    other.records(slot, &mut records)?;
                    bytes += records[start..].iter().map(|r| r.row.len()).sum::<usize>();
                    of_slot.insert(slot, start..records.len());
                    start..records.len()
                }
            };
            pairs += range.len();
            partners.push(range.collect());
        }
        if let Some(condition) = &self.condition {
            self.retain(condition, batch, batch.next, &records, &mut partners)?;
        }
        Ok(Round {
            first: batch.next,
            slots,
            records,
            partners,
            gives: VecDeque::new(),
            most: self.bytes() + self.limit / 8,
            piecewise,
        })
    }

    /// Retains the partners of rows from a first one on for which the condition is true.
    fn retain(
        &self,
        condition: &Program,
        batch: &Arriving,
        first: usize,
        records: &[Record],
        partners: &mut [Vec<usize>],
    ) -> Result<()> {
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mut candidates = Joined::default();
        let mut passes = Vec::new();
        let mut evaluate = |candidates: &mut Joined| -> Result<()> {
            let taken = candidates.take(&self.left.rows, &self.right.rows, &self.joined)?;
            if let Some((candidates, _)) = taken {
                passes.extend(condition.filter_mask(&candidates, &evaluation)?.values().iter());
            }
            Ok(())
        };
        for (row, met) in partners.iter().enumerate() {
            let own = batch.rows.get(first + row);
            for record in met {
                let other = &*records[*record].row;
                let (left, right) = if batch.is_left { (own, other) } else { (other, own) };
                candidates.push(RowKind::Insert, Some(left), Some(right));
                if candidates.is_full() {
                    evaluate(&mut candidates)?;
                }
            }
        }
        evaluate(&mut candidates)?;
        let mut passes = passes.into_iter();
        for met in partners {
            met.retain(|_| passes.next().unwrap_or(false));
        }
        Ok(())
    }

    /// One row meets its partners.
    fn row(
        &mut self,
        is_left: bool,
        at: &At,
        records: &mut [Record],
        met: &[usize],
        gives: &mut VecDeque<Give>,
    ) -> Result<()> {
        let partners = met.iter().map(|i| records[*i].times).sum();
        self.come(is_left, at, partners, gives)?;
        if self.only_asks(is_left) {
            return Ok(());
        }
        for pass in self.passes(is_left, accumulates(at.kind)) {
            self.pass(*pass, is_left, at, records, met, gives)?;
        }
        Ok(())
    }

    /// A row of the left of SEMI or ANTI, which goes on alone.
    fn only_asks(&self, is_left: bool) -> bool {
        is_left && self.kind.is_left_only()
    }

    fn other(&self, is_left: bool) -> &Side {
        if is_left { &self.right } else { &self.left }
    }

    /// A row comes to its own side, or goes; alone, where it meets nobody or nobody asks whom. `partners` counts where
    /// its side counts them.
    fn come(&mut self, is_left: bool, at: &At, partners: i64, gives: &mut VecDeque<Give>) -> Result<()> {
        let adds = accumulates(at.kind);
        let (own, is_outer) = match is_left {
            true => (&mut self.left, self.kind.keeps_left()),
            false => (&mut self.right, self.kind.keeps_right()),
        };
        match adds {
            true => own.add(at.slot, at.unique, at.row, partners)?,
            false => own.take_back(at.slot, at.unique, at.row)?,
        }
        if self.only_asks(is_left) {
            if (partners == 0) == (self.kind == JoinKind::Anti) {
                gives.push_back(Give::own(at.kind));
            }
        } else if is_outer && partners == 0 {
            gives.push_back(Give::own(if adds { RowKind::Insert } else { RowKind::Delete }));
        }
        Ok(())
    }

    /// How a row meets its partners: Flink goes through them once for each.
    fn passes(&self, is_left: bool, adds: bool) -> &'static [Pass] {
        let other_is_outer = match is_left {
            true => self.kind.keeps_right(),
            false => self.kind.keeps_left(),
        };
        match (self.kind.is_left_only(), other_is_outer, adds) {
            (true, _, _) => &[Pass::Asked],
            (false, false, _) => &[Pass::Pairs],
            (false, true, true) => &[Pass::Partners, Pass::Pairs],
            (false, true, false) => &[Pass::Pairs, Pass::Partners],
        }
    }

    /// One pass over some of its partners.
    fn pass(
        &mut self,
        pass: Pass,
        is_left: bool,
        at: &At,
        records: &mut [Record],
        met: &[usize],
        gives: &mut VecDeque<Give>,
    ) -> Result<()> {
        let adds = accumulates(at.kind);
        let (own_outer, other_outer, other) = match is_left {
            true => (self.kind.keeps_left(), self.kind.keeps_right(), &mut self.right),
            false => (self.kind.keeps_right(), self.kind.keeps_left(), &mut self.left),
        };
        if pass == Pass::Pairs {
            let kind = match adds {
                true if own_outer || other_outer => RowKind::Insert,
                false if own_outer => RowKind::Delete,
                _ => at.kind,
            };
            gives.extend(met.iter().map(|i| Give::pair(kind, *i, records[*i].times)));
            return Ok(());
        }
        let kind = match (pass, self.kind, adds) {
            (Pass::Partners, _, true) | (_, JoinKind::Anti, true) => RowKind::Delete,
            (Pass::Partners, _, false) | (_, JoinKind::Anti, false) => RowKind::Insert,
            _ => at.kind,
        };
        for i in met {
            let record = &mut records[*i];
            // The first partner that comes, or the last that goes.
            if record.partners == if adds { 0 } else { 1 } {
                gives.push_back(Give::record(kind, *i, record.times));
            }
            record.partners += if adds { 1 } else { -1 };
            other.set_partners(at.other_slot, record)?;
        }
        Ok(())
    }

    /// Puts what the last row of a round gives to what goes out; whether all of it had room.
    fn give(&mut self, batch: &Arriving, round: &mut Round) -> bool {
        while let Some(give) = round.gives.front_mut() {
            let own = give.own.then(|| batch.rows.get(batch.next - 1));
            let record = give.record.map(|record| &*round.records[record].row);
            let (left, right) = if batch.is_left {
                (own, record)
            } else {
                (record, own)
            };
            while give.times > 0 {
                if self.changes.is_full() {
                    return false;
                }
                self.changes.push(give.kind, left, right);
                give.times -= 1;
            }
            round.gives.pop_front();
        }
        true
    }
}

impl Give {
    fn own(kind: RowKind) -> Give {
        Give {
            kind,
            own: true,
            record: None,
            times: 1,
        }
    }

    fn record(kind: RowKind, record: usize, times: i64) -> Give {
        Give {
            kind,
            own: false,
            record: Some(record),
            times,
        }
    }

    fn pair(kind: RowKind, record: usize, times: i64) -> Give {
        Give {
            own: true,
            ..Give::record(kind, record, times)
        }
    }
}

impl Arriving {
    fn at(&self, row: usize, (slot, other_slot): (u32, u32)) -> At<'_> {
        At {
            kind: kind_of(&self.change, row),
            row: self.rows.get(row),
            unique: self.unique.as_ref().map_or(&[], |rows| rows.get(row)),
            slot,
            other_slot,
        }
    }
}

/// A row on its way in.
struct At<'a> {
    kind: RowKind,
    row: &'a [u8],
    /// Its key within its join key, where there is one.
    unique: &'a [u8],
    slot: u32,
    other_slot: u32,
}

impl Gradual for Join {
    type Arriving = Arriving;

    fn begin(&mut self, input: usize, batch: Batch, _: i64) -> Result<Arriving> {
        let is_left = input == 0;
        let (own, other) = match is_left {
            true => (&mut self.left, &mut self.right),
            false => (&mut self.right, &mut self.left),
        };
        own.table.read_clock();
        other.table.read_clock();
        let rows = &batch.change.rows;
        own.encode(rows)?;
        Ok(Arriving {
            is_left,
            groups: own.keys.groups(self.max_parallelism),
            keys: std::mem::take(&mut own.keys.rows),
            hashes: std::mem::take(&mut own.keys.hashes),
            rows: own.rows.encode(rows)?,
            unique: own.take_unique(),
            never: own.never(rows),
            change: batch.change,
            next: 0,
            round: None,
        })
    }

    fn arrive(&mut self, mut batch: Arriving, _: &mut Vec<Element>) -> Result<Rest<Arriving>> {
        loop {
            let mut round = match batch.round.take() {
                Some(round) => round,
                None if batch.next == batch.rows.len() => return Ok(Rest::Nothing),
                None => self.meet(&batch)?,
            };
            loop {
                if !self.give(&batch, &mut round) {
                    batch.round = Some(round);
                    return Ok(Rest::Later(batch));
                }
                if round.piecewise.is_some() {
                    match self.go_on(&mut batch, &mut round)? {
                        true => continue,
                        false => break,
                    }
                }
                let number = batch.next - round.first;
                // What is added takes memory too.
                let has_room = self.bytes() <= round.most || number == 0;
                let Some(partners) = round.partners.get(number).filter(|_| has_room) else {
                    break;
                };
                let at = batch.at(batch.next, round.slots[number]);
                let (records, gives) = (&mut round.records, &mut round.gives);
                self.row(batch.is_left, &at, records, partners, gives)?;
                batch.next += 1;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.changes.is_full()
    }

    fn settle(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let taken = self
            .changes
            .take(&self.left.rows, &self.right.rows, &self.schema)?;
        if let Some((rows, kinds)) = taken {
            let kinds = kinds_of(kinds);
            out.push(Element::Batch(ChangeBatch { rows, kinds }.into()));
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.left.table.flush()?;
        self.right.table.flush()?;
        Ok(Vec::new())
    }
}
