//! Joins over all rows so far, as Flink's `StreamingJoinOperator` and `StreamingSemiAntiJoinOperator`
//! give them: both sides are kept, and each row meets those of the other side with its key.
//!
//! A side whose rows come with nulls where they have no partner counts the partners of each row:
//! the first one takes the row with nulls back, and when the last one goes it comes again.
//!
//! The other side does not change while a batch comes, but for those counts: its rows are looked up,
//! and the condition is computed, for many pairs at once.
//!
//! Layout: `side` what is kept of a side, `joined` pairs of rows as a batch.

pub(super) mod joined;
pub(super) mod side;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
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
use self::side::{Record, Side};
use super::{BATCH, Operator, now_millis, rows_of};
use crate::changes::{accumulates, kind_of, kinds_of};
use crate::element::{Batch, Element};

/// Pairs whose condition is computed at once, and their bytes, unless one row has more.
const PAIRS: usize = 1 << 14;
const PAIR_BYTES: usize = 16 << 20;

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
    arriving: Option<Arriving>,
}

/// Rows of a batch with those of the other side that they meet.
struct Met {
    /// Rows of the other side, and how many partners each has by now.
    records: Vec<Record>,
    /// For each row of the batch, from the first one on, the records that it meets.
    partners: Vec<Vec<usize>>,
}

impl Join {
    pub fn new(
        plan: &Plan,
        inputs: [&RowType; 2],
        output: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let counts_left = plan.kind.keeps_left() || plan.kind.is_left_only();
        let columns = |side: fn(&millrace_dataflow::JoinKey) -> usize| {
            let keys = plan.keys.iter();
            keys.map(|key| (side(key), key.null_safe)).collect::<Vec<_>>()
        };
        Ok(Join {
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
            arriving: None,
        })
    }

    /// What the next rows of a batch meet; of some of them, if there is much.
    fn meet(&self, batch: &Arriving) -> Result<Met> {
        let (is_left, from) = (batch.is_left, batch.next);
        let other = if is_left { &self.right } else { &self.left };
        let mut records: Vec<Record> = Vec::new();
        let mut of_slot: HashMap<u32, Range<usize>> = HashMap::new();
        let mut partners: Vec<Vec<usize>> = Vec::new();
        let (mut pairs, mut bytes) = (0, 0);
        for row in from..batch.placed {
            if pairs > PAIRS || bytes > PAIR_BYTES {
                break;
            }
            if batch.never[row] {
                partners.push(Vec::new());
                continue;
            }
            let slot = batch.other_slots[row];
            let range = match of_slot.get(&slot) {
                Some(range) => range.clone(),
                None => {
                    let start = records.len();
                    other.records(slot, &mut records)?;
                    of_slot.insert(slot, start..records.len());
                    start..records.len()
                }
            };
            pairs += range.len();
            bytes += range.len() * batch.rows.get(row).len();
            bytes += records[range.clone()].iter().map(|r| r.row.len()).sum::<usize>();
            partners.push(range.collect());
        }
        let Some(condition) = &self.condition else {
            return Ok(Met { records, partners });
        };
        let mut candidates = Joined::default();
        for (row, met) in partners.iter().enumerate() {
            let own = batch.rows.get(from + row);
            for record in met {
                let other = &*records[*record].row;
                let (left, right) = if is_left { (own, other) } else { (other, own) };
                candidates.push(RowKind::Insert, Some(left), Some(right));
            }
        }
        let Some((candidates, _)) = candidates.take(&self.left.rows, &self.right.rows, &self.joined)? else {
            return Ok(Met { records, partners });
        };
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        let mask = condition.filter_mask(&candidates, &evaluation)?;
        let mut number = 0;
        for met in &mut partners {
            met.retain(|_| {
                number += 1;
                mask.value(number - 1)
            });
        }
        Ok(Met { records, partners })
    }

    /// One row meets its partners.
    fn row(&mut self, is_left: bool, at: &At, records: &mut [Record], met: &[usize], out: &mut Joined) {
        if self.kind.is_left_only() {
            return match is_left {
                true => self.asking(at, records, met, out),
                false => self.asked(at, records, met, out),
            };
        }
        let (own_outer, other_outer) = match is_left {
            true => (self.kind.keeps_left(), self.kind.keeps_right()),
            false => (self.kind.keeps_right(), self.kind.keeps_left()),
        };
        let (own, other) = match is_left {
            true => (&mut self.left, &mut self.right),
            false => (&mut self.right, &mut self.left),
        };
        let put = |out: &mut Joined, kind: RowKind, own: Option<&[u8]>, other: Option<&[u8]>| match is_left {
            true => out.push(kind, own, other),
            false => out.push(kind, other, own),
        };
        let partners: i64 = met.iter().map(|i| records[*i].times).sum();
        if accumulates(at.kind) {
            if own_outer && met.is_empty() {
                put(out, RowKind::Insert, Some(at.row), None);
                own.add(at.slot, at.unique, at.row, 0);
                return;
            }
            if other_outer {
                for i in met {
                    let record = &mut records[*i];
                    if record.partners == 0 {
                        for _ in 0..record.times {
                            put(out, RowKind::Delete, None, Some(&record.row));
                        }
                    }
                    record.partners += 1;
                    other.set_partners(at.other_slot, record);
                }
            }
            let kind = match own_outer || other_outer {
                true => RowKind::Insert,
                false => at.kind,
            };
            for i in met {
                for _ in 0..records[*i].times {
                    put(out, kind, Some(at.row), Some(&records[*i].row));
                }
            }
            own.add(at.slot, at.unique, at.row, partners);
            return;
        }
        own.take_back(at.slot, at.unique, at.row);
        if met.is_empty() {
            if own_outer {
                put(out, RowKind::Delete, Some(at.row), None);
            }
            return;
        }
        let kind = if own_outer { RowKind::Delete } else { at.kind };
        for i in met {
            for _ in 0..records[*i].times {
                put(out, kind, Some(at.row), Some(&records[*i].row));
            }
        }
        if other_outer {
            for i in met {
                let record = &mut records[*i];
                if record.partners == 1 {
                    for _ in 0..record.times {
                        put(out, RowKind::Insert, None, Some(&record.row));
                    }
                }
                record.partners -= 1;
                other.set_partners(at.other_slot, record);
            }
        }
    }

    /// A row of the left of SEMI or ANTI.
    fn asking(&mut self, at: &At, records: &[Record], met: &[usize], out: &mut Joined) {
        if met.is_empty() == (self.kind == JoinKind::Anti) {
            out.push(at.kind, Some(at.row), None);
        }
        match accumulates(at.kind) {
            true => {
                let partners = met.iter().map(|i| records[*i].times).sum();
                self.left.add(at.slot, at.unique, at.row, partners);
            }
            false => self.left.take_back(at.slot, at.unique, at.row),
        }
    }

    /// A row of the right of SEMI or ANTI.
    fn asked(&mut self, at: &At, records: &mut [Record], met: &[usize], out: &mut Joined) {
        let adds = accumulates(at.kind);
        match adds {
            true => self.right.add(at.slot, at.unique, at.row, 0),
            false => self.right.take_back(at.slot, at.unique, at.row),
        }
        for i in met {
            let record = &mut records[*i];
            let decides = record.partners == if adds { 0 } else { 1 };
            let kind = match (self.kind, adds) {
                (JoinKind::Anti, true) => RowKind::Delete,
                (JoinKind::Anti, false) => RowKind::Insert,
                _ => at.kind,
            };
            if decides {
                for _ in 0..record.times {
                    out.push(kind, Some(&record.row), None);
                }
            }
            record.partners += if adds { 1 } else { -1 };
            self.left.set_partners(at.other_slot, record);
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

/// A batch whose rows are taken in as there is room for what they need and give. Keys are those of the batch.
struct Arriving {
    is_left: bool,
    change: ChangeBatch,
    rows: Rows,
    unique: Option<Rows>,
    groups: Vec<u16>,
    /// Rows whose key equals none, for a part of it is null.
    never: Vec<bool>,
    /// The places of their keys on both sides, of rows before `placed`.
    slots: Vec<u32>,
    other_slots: Vec<u32>,
    placed: usize,
    next: usize,
}

impl Join {
    fn sides(&mut self, is_left: bool) -> (&mut Side, &mut Side) {
        match is_left {
            true => (&mut self.left, &mut self.right),
            false => (&mut self.right, &mut self.left),
        }
    }

    fn begin(&mut self, is_left: bool, change: ChangeBatch) -> Result<Arriving> {
        let max = self.max_parallelism;
        let (own, _) = self.sides(is_left);
        own.encode(&change.rows)?;
        Ok(Arriving {
            is_left,
            rows: own.rows.encode(&change.rows)?,
            unique: own.take_unique(),
            groups: own.keys.groups(max),
            never: own.never(&change.rows),
            slots: Vec::with_capacity(change.len()),
            other_slots: Vec::with_capacity(change.len()),
            placed: 0,
            next: 0,
            change,
        })
    }

    /// Brings the rows of the next keys into memory.
    fn place(&mut self, arriving: &mut Arriving) -> Result<()> {
        let limit = self.limit;
        let (own, other) = self.sides(arriving.is_left);
        MapTable::share(limit, &mut own.table, &mut other.table);
        let from = arriving.next;
        for table in [&mut own.table, &mut other.table] {
            match from {
                0 => table.make_room()?,
                _ => table.make_room_between()?,
            }
        }
        let (keys, hashes, groups) = (&own.keys.rows, &own.keys.hashes, &arriving.groups);
        let placed = own
            .table
            .resolve_some(from, keys, hashes, groups, &mut arriving.slots)?;
        let met = other
            .table
            .resolve_some(from, keys, hashes, groups, &mut arriving.other_slots)?;
        arriving.placed = placed.min(met);
        Ok(())
    }

    /// Takes in some of the next rows, and gives what they meet.
    fn take_in(&mut self, arriving: &mut Arriving, out: &mut Vec<Element>) -> Result<()> {
        let mut changes = Joined::default();
        let mut met = self.meet(arriving)?;
        for partners in &met.partners {
            let next = arriving.next;
            let at = At {
                kind: kind_of(&arriving.change, next),
                row: arriving.rows.get(next),
                unique: arriving.unique.as_ref().map_or(&[], |rows| rows.get(next)),
                slot: arriving.slots[next],
                other_slot: arriving.other_slots[next],
            };
            self.row(arriving.is_left, &at, &mut met.records, partners, &mut changes);
            arriving.next += 1;
        }
        self.emit(&mut changes, out)
    }

    fn emit(&self, changes: &mut Joined, out: &mut Vec<Element>) -> Result<()> {
        if let Some((rows, kinds)) = changes.take(&self.left.rows, &self.right.rows, &self.schema)? {
            let kinds = kinds_of(kinds);
            out.push(Element::Batch(ChangeBatch { rows, kinds }.into()));
        }
        Ok(())
    }
}

impl Operator for Join {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        self.arriving = Some(self.begin(input == 0, batch.change)?);
        self.resume(out)
    }

    fn has_more(&self) -> bool {
        self.arriving.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some(mut arriving) = self.arriving.take() else {
            return Ok(());
        };
        while arriving.next < arriving.change.len() && rows_of(out) < BATCH {
            if arriving.next == arriving.placed {
                self.place(&mut arriving)?;
            }
            self.take_in(&mut arriving, out)?;
        }
        if arriving.next < arriving.change.len() {
            self.arriving = Some(arriving);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.left.table.flush()?;
        self.right.table.flush()?;
        Ok(Vec::new())
    }
}
