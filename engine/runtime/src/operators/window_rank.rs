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

use super::BATCH;
use super::paced::{Paced, Timely};
use super::rank::order::Order;
use super::rank::partition::Partition;
use super::window_rows::{Placed, WindowRows};
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::windows::Windows;

pub struct WindowRank {
    keys: Keys,
    windows: Windows,
    order: Order,
    rows: WholeRows,
    /// Of each window and key the rows that count so far, in their order.
    candidates: MapTable,
    arrivals: WindowRows,
    plan: Plan,
    schema: SchemaRef,
}

pub struct Arriving {
    placed: Placed,
    order: Rows,
    rows: Rows,
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
        let arrivals = WindowRows::open(backend, &windows, restored, metrics)?;
        // To Flink the clock has no value before it is read further down: all rows are equal by it.
        let order: Vec<&SortKey> = plan.order.iter().filter(|key| !key.is_clock()).collect();
        Ok(Paced::new(
            backend.clock(),
            WindowRank {
                keys: Keys::new(&plan.partition, &schema)?,
                windows,
                order: Order::new(&order, &schema)?,
                rows: WholeRows::new(&schema)?,
                candidates: MapTable::open(&backend.store, "candidates", backend.row_bytes(1))?,
                arrivals,
                plan: plan.clone(),
                schema: output.to_arrow(),
            },
        ))
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

    fn progress(&self) -> i64 {
        self.arrivals.progress()
    }

    fn begin(&mut self, _: usize, batch: Batch, _: i64) -> Result<Arriving> {
        let rows = &batch.change.rows;
        self.keys.encode(rows)?;
        Ok(Arriving {
            placed: self.arrivals.place(&batch, &self.windows, &self.keys)?,
            order: self.order.encode(rows)?,
            rows: self.rows.encode(rows)?,
        })
    }

    fn arrive(&mut self, mut arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        let Arriving { placed, order, rows } = &mut arriving;
        let plan = &self.plan;
        let add = |table: &mut MapTable, slot, row| keep(plan, table, slot, order.get(row), rows.get(row));
        let waits = self.arrivals.take_in(placed, &mut self.candidates, add)?;
        Ok(waits.map(|to| (arriving, to)))
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        let mut changes = Changes::default();
        let mut looked_at = 0;
        while !changes.is_full() && looked_at < BATCH {
            let Some(timer) = self.arrivals.due(to, [&mut self.candidates])? else {
                changes.take(&self.rows, &self.schema, out)?;
                return Ok(false);
            };
            looked_at += 1;
            let slot = self.candidates.resolve_one(&timer.key, timer.group)?;
            self.give(slot, &mut changes);
        }
        self.arrivals.gave([&mut self.candidates])?;
        changes.take(&self.rows, &self.schema, out)?;
        Ok(true)
    }

    fn fired_timers(&self) -> u64 {
        self.arrivals.fired()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.arrivals.snapshot([&mut self.candidates])
    }
}

/// A row is kept among the others of its window and key, if it counts.
fn keep(plan: &Plan, table: &mut MapTable, slot: u32, order: &[u8], row: &[u8]) {
    let mut partition = Partition { table, slot };
    if plan.replaces_equal {
        let same = partition.with(order).next().map(|(entry, _)| entry.to_vec());
        if let Some(entry) = same {
            partition.remove(&entry);
        }
    }
    partition.add(order, row);
    if partition.len() as u64 > plan.end {
        let last = partition.last().map(|(entry, _)| entry.to_vec());
        if let Some(last) = last {
            partition.remove(&last);
        }
    }
}
