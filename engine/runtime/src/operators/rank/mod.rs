//! Top-N: the rows whose number in their partition lies in a range, as Flink's rank functions give
//! them, one change after another.
//!
//! A partition's candidates are a sorted map: the sort key, and a number that keeps rows with equal
//! sort keys in the order in which they came.
//!
//! Layout: `append` over inserts, `update` over updates that only raise rows, `retract` over any
//! changes, `forgetful` the same where rows expire, `partition` a partition's candidates, `order` sort
//! keys as bytes.

mod append;
mod forgetful;
pub(super) mod order;
pub(super) mod partition;
mod retract;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ttl_tests;
mod update;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, Rank as Plan, RankStrategy, SortKey};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use self::forgetful::Counts;
use self::order::Order;
use self::partition::Partition;
use super::{BATCH, Operator};
use crate::changes::{Changes, WholeRows, accumulates, kind_of};
use crate::element::{Batch, Element};
use crate::keys::Keys;

pub struct Rank {
    keys: Keys,
    order: Order,
    rows: WholeRows,
    candidates: MapTable,
    algorithm: Algorithm,
    output: Output,
    arriving: Option<Arriving>,
    max_parallelism: u16,
    schema: SchemaRef,
}

/// A batch whose rows are taken in as there is room for what they need and give. Keys are those of the batch.
struct Arriving {
    change: ChangeBatch,
    watermarks: Option<Arc<[i64]>>,
    groups: Vec<u16>,
    order: Rows,
    rows: Rows,
    slots: Vec<u32>,
    count_slots: Vec<u32>,
    next: usize,
    /// Rows before it have their slots.
    placed: usize,
}

enum Algorithm {
    /// The first ones by arrival.
    FirstN,
    Top1,
    Append,
    /// Rows are known by a key.
    Update(Keys),
    Retract,
    /// With the counts of each partition's sort keys.
    Forgetful(Box<MapTable>),
}

/// The names of tables, as `crate::ttl` knows them.
pub const CANDIDATES: &str = "candidates";
pub const COUNTS: &str = "counts";

/// What goes on, of the numbers that are wanted.
struct Output {
    changes: Changes,
    start: u64,
    end: u64,
    /// The number is a column.
    with_number: bool,
    update_before: bool,
}

impl Rank {
    pub fn new(
        plan: &Plan,
        changelog: Changelog,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema = input.to_arrow();
        let mut candidates = MapTable::open(
            &backend.store,
            CANDIDATES,
            backend.cache_bytes - backend.cache_bytes / 8,
        )?;
        let first_n = matches!(plan.order.as_slice(), [key] if key.is_clock() && !key.descending);
        let algorithm = match &plan.strategy {
            RankStrategy::AppendFast if first_n => Algorithm::FirstN,
            RankStrategy::AppendFast | RankStrategy::UpdateFast { .. } if plan.is_top_1() => Algorithm::Top1,
            // Flink reads a partition into a cache, and looks for what has expired when it reads it again.
            RankStrategy::AppendFast => {
                candidates = candidates.looking_seldom();
                Algorithm::Append
            }
            RankStrategy::UpdateFast { keys } => {
                candidates = candidates.looking_seldom();
                Algorithm::Update(Keys::new(keys, &schema)?)
            }
            RankStrategy::Retract => match candidates.expires() {
                true => {
                    let counts = MapTable::open(&backend.store, COUNTS, backend.cache_bytes / 8)?;
                    Algorithm::Forgetful(Box::new(counts))
                }
                false => {
                    // Of a time in which rows expired; they would be wrong when they do again.
                    backend.store.drop_family(COUNTS)?;
                    Algorithm::Retract
                }
            },
        };
        // To Flink the clock has no value before it is read further down: all rows are equal by it.
        let order: Vec<&SortKey> = plan.order.iter().filter(|key| !key.is_clock()).collect();
        Ok(Rank {
            keys: Keys::new(&plan.partition, &schema)?,
            order: Order::new(&order, &schema)?,
            rows: WholeRows::new(&schema)?,
            candidates,
            algorithm,
            output: Output {
                changes: Changes::default(),
                start: plan.start,
                end: plan.end,
                with_number: plan.with_number,
                update_before: changelog.before,
            },
            arriving: None,
            max_parallelism: backend.max_parallelism,
            schema: output.to_arrow(),
        })
    }
}

impl Output {
    /// Whether a row's number decides what happens to it, beyond whether it is in at all.
    fn is_numbered(&self) -> bool {
        self.with_number || self.start > 1
    }

    /// A row at its number, if that is in the range.
    fn at(&mut self, kind: RowKind, row: &[u8], number: u64) {
        if number < self.start || number > self.end {
            return;
        }
        if kind == RowKind::UpdateBefore && !self.update_before {
            return;
        }
        match self.with_number {
            true => self.changes.push_numbered(kind, row, number),
            false => self.changes.push(kind, row),
        }
    }

    /// A row that is in, wherever.
    fn plain(&mut self, kind: RowKind, row: &[u8]) {
        if kind != RowKind::UpdateBefore || self.update_before {
            self.changes.push(kind, row);
        }
    }

    /// One row takes a number from another.
    fn replaced(&mut self, before: &[u8], after: &[u8], number: u64) {
        self.at(RowKind::UpdateBefore, before, number);
        self.at(RowKind::UpdateAfter, after, number);
    }
}

impl Operator for Rank {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let Batch {
            change, watermarks, ..
        } = batch;
        self.keys.encode(&change.rows)?;
        if let Algorithm::Update(keys) = &mut self.algorithm {
            keys.encode(&change.rows)?;
        }
        self.arriving = Some(Arriving {
            groups: self.keys.groups(self.max_parallelism),
            order: self.order.encode(&change.rows)?,
            rows: self.rows.encode(&change.rows)?,
            slots: Vec::with_capacity(change.len()),
            count_slots: Vec::new(),
            next: 0,
            placed: 0,
            change,
            watermarks,
        });
        self.resume(out)
    }

    fn has_more(&self) -> bool {
        self.arriving.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some(mut arriving) = self.arriving.take() else {
            return Ok(());
        };
        while arriving.next < arriving.change.len() && self.output.changes.count() < 2 * BATCH {
            if arriving.next == arriving.placed {
                self.place(&mut arriving)?;
            }
            self.take_in(&mut arriving)?;
        }
        if arriving.next < arriving.change.len() {
            self.arriving = Some(arriving);
        }
        self.output.changes.take(&self.rows, &self.schema, out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.candidates.flush()?;
        if let Algorithm::Forgetful(counts) = &mut self.algorithm {
            counts.flush()?;
        }
        Ok(Vec::new())
    }
}

impl Rank {
    /// Brings the partitions of the next rows into memory.
    fn place(&mut self, arriving: &mut Arriving) -> Result<()> {
        let (keys, hashes, from) = (&self.keys.rows, &self.keys.hashes, arriving.next);
        let make_room = match from {
            0 => MapTable::make_room,
            _ => MapTable::make_room_between,
        };
        make_room(&mut self.candidates)?;
        let (groups, slots) = (&arriving.groups, &mut arriving.slots);
        arriving.placed = self.candidates.resolve_some(from, keys, hashes, groups, slots)?;
        if let Algorithm::Forgetful(counts) = &mut self.algorithm {
            make_room(counts)?;
            let slots = &mut arriving.count_slots;
            let end = counts.resolve_some(from, keys, hashes, groups, slots)?;
            arriving.placed = end.min(arriving.placed);
        }
        Ok(())
    }

    /// Takes in the rows that have their slots, until they give much.
    fn take_in(&mut self, arriving: &mut Arriving) -> Result<()> {
        let Arriving {
            change,
            watermarks,
            order,
            rows,
            slots,
            count_slots,
            ..
        } = arriving;
        while arriving.next < arriving.placed && self.output.changes.count() < 2 * BATCH {
            let row = arriving.next;
            arriving.next += 1;
            let slot = slots[row];
            let kind = kind_of(change, row);
            self.output.changes.caused_by(watermarks.as_deref(), row);
            let mut partition = Partition {
                table: &mut self.candidates,
                slot,
            };
            let (order, bytes) = (order.get(row), rows.get(row));
            let output = &mut self.output;
            match &mut self.algorithm {
                Algorithm::Forgetful(counts) => {
                    let mut counts = Counts {
                        slot: count_slots[row],
                        table: counts,
                    };
                    match accumulates(kind) {
                        true => forgetful::add(&mut partition, &mut counts, order, bytes, output)?,
                        false => forgetful::take_back(&mut partition, &mut counts, order, bytes, output)?,
                    }
                }
                Algorithm::Retract => match accumulates(kind) {
                    true => retract::add(&mut partition, order, bytes, output),
                    false => retract::take_back(&mut partition, order, bytes, output),
                },
                _ if !accumulates(kind) => {
                    return Err(Error::internal(
                        "a rank that was planned over inserts or updates meets other rows",
                    ));
                }
                Algorithm::FirstN => append::first_n(&mut partition, bytes, output),
                Algorithm::Top1 => append::top_1(&mut partition, order, bytes, output),
                Algorithm::Append => append::row(&mut partition, order, bytes, output),
                Algorithm::Update(keys) => {
                    update::row(&mut partition, order, keys.rows.get(row), bytes, output)?
                }
            }
        }
        Ok(())
    }
}
