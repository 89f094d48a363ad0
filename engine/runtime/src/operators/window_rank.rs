//! Top-N and deduplication within windows, as Flink's `WindowRankOperator` and `WindowDeduplicateOperator`
//! give them: the rows that count are kept for each window and key, and given in their order, as inserts,
//! once the watermark has passed the window's end. Rows that come later are dropped and counted.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind};
use millrace_dataflow::{SortKey, WindowRank as Plan};
use millrace_expr::RowType;
use millrace_expr::text::zone::Zone;
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::paced::{Paced, Timely};
use super::rank::order::Order;
use super::rank::partition::Partition;
use super::{BATCH, rows_of};
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::timers::Timers;
use crate::windows::{Slice, Windows, keyed_by};

pub struct WindowRank {
    keys: Keys,
    windows: Windows,
    order: Order,
    rows: WholeRows,
    /// Of each window and key the rows that count so far, in their order.
    candidates: MapTable,
    /// When windows are over, of each with its key.
    timers: Timers,
    plan: Plan,
    max_parallelism: u16,
    /// The watermark up to which windows are over.
    progress: i64,
    /// How often slots have been given away.
    evictions: u64,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

pub struct Arriving {
    batch: Batch,
    windows: Vec<Slice>,
    /// The windows with the keys.
    places: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    order: Rows,
    rows: Rows,
    /// Of the places, as long as there were so many evictions.
    slots: Vec<u32>,
    evictions: Option<u64>,
    next: usize,
}

impl WindowRank {
    /// `restored` are the entries of all subtasks.
    pub fn open(
        plan: &Plan,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let schema = input.to_arrow();
        let windows = Windows::given(&plan.window, zone);
        let progress = windows.restored(restored)?;
        // To Flink the clock has no value before it is read further down: all rows are equal by it.
        let order: Vec<&SortKey> = plan.order.iter().filter(|key| !key.is_clock()).collect();
        Ok(Paced::new(WindowRank {
            keys: Keys::new(&plan.partition, &schema)?,
            windows,
            order: Order::new(&order, &schema)?,
            rows: WholeRows::new(&schema)?,
            candidates: MapTable::open(&backend.store, "candidates", backend.row_bytes(1))?,
            timers: Timers::open(backend, "ends")?,
            plan: plan.clone(),
            max_parallelism: backend.max_parallelism,
            progress,
            evictions: 0,
            schema: output.to_arrow(),
            metrics,
        }))
    }

    fn row(&mut self, slot: u32, order: &[u8], row: &[u8]) {
        let mut partition = Partition {
            table: &mut self.candidates,
            slot,
        };
        if self.plan.replaces_equal {
            let same = partition.with(order).next().map(|(entry, _)| entry.to_vec());
            if let Some(entry) = same {
                partition.remove(&entry);
            }
        }
        partition.add(order, row);
        if partition.len() as u64 > self.plan.end {
            let last = partition.last().map(|(entry, _)| entry.to_vec());
            if let Some(last) = last {
                partition.remove(&last);
            }
        }
    }

    fn give(&mut self, slot: u32, changes: &mut Changes) {
        let entries: Vec<Vec<u8>> = self.candidates.iter(slot).map(|(e, _)| e.to_vec()).collect();
        for (number, (_, row)) in (1..).zip(self.candidates.iter(slot)) {
            if number < self.plan.start {
                continue;
            }
            match self.plan.with_number {
                true => changes.push_numbered(RowKind::Insert, row, number),
                false => changes.push(RowKind::Insert, row),
            }
        }
        entries
            .iter()
            .for_each(|entry| self.candidates.remove(slot, entry));
    }
}

impl Timely for WindowRank {
    type Arriving = Arriving;

    fn windows(&self) -> &Windows {
        &self.windows
    }

    fn begin(&mut self, _: usize, batch: Batch) -> Result<Arriving> {
        let rows = &batch.change.rows;
        self.keys.encode(rows)?;
        let windows = self.windows.slices(rows)?;
        let (places, hashes) = keyed_by(&windows, &self.keys.rows);
        Ok(Arriving {
            windows,
            places,
            hashes,
            groups: self.keys.groups(self.max_parallelism),
            order: self.order.encode(rows)?,
            rows: self.rows.encode(rows)?,
            slots: Vec::new(),
            evictions: None,
            next: 0,
            batch,
        })
    }

    fn arrive(&mut self, mut arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        if arriving.evictions != Some(self.evictions) {
            self.candidates.make_room()?;
            self.candidates.resolve(
                &arriving.places,
                &arriving.hashes,
                &arriving.groups,
                &mut arriving.slots,
            )?;
            arriving.evictions = Some(self.evictions);
        }
        let mut late = 0;
        for row in arriving.next..arriving.windows.len() {
            if let Some(watermarks) = &arriving.batch.watermarks
                && watermarks[row] > self.progress
            {
                let to = watermarks[row];
                if self.timers.earliest()?.is_some_and(|time| time <= to) {
                    self.metrics.late_records.add(late);
                    arriving.next = row;
                    return Ok(Some((arriving, to)));
                }
                self.progress = to;
            }
            let over_at = self.windows.over_at(arriving.windows[row].end);
            if over_at <= self.progress {
                late += 1;
                continue;
            }
            let slot = arriving.slots[row];
            if self.candidates.is_empty(slot) {
                self.timers
                    .register(over_at, arriving.places.get(row), arriving.groups[row])?;
            }
            self.row(slot, arriving.order.get(row), arriving.rows.get(row));
        }
        self.metrics.late_records.add(late);
        Ok(None)
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        self.progress = self.progress.max(to);
        let mut changes = Changes::default();
        let mut looked_at = 0;
        while rows_of(out) + changes.count() < BATCH && looked_at < BATCH {
            let Some(timer) = self.timers.pop(self.progress)? else {
                changes.take(&self.rows, &self.schema, out)?;
                return Ok(false);
            };
            looked_at += 1;
            let slot = self.candidates.resolve_one(&timer.key, timer.group)?;
            self.give(slot, &mut changes);
        }
        // So many may come that not all of them have room: rows that wait look their slots up again.
        self.candidates.make_room()?;
        self.evictions += 1;
        changes.take(&self.rows, &self.schema, out)?;
        Ok(true)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.candidates.flush()?;
        self.timers.flush()?;
        Ok(vec![self.progress.to_be_bytes().to_vec()])
    }
}
