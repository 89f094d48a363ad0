//! The first or the last row of each key by time, as Flink's deduplicate functions give it.
//!
//! By arrival the first row is an insert and all others are nothing; the last one is updated with
//! each that differs. By event time the last one is updated with each that is not older; the first
//! one is known, and given once, when the watermark has passed it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, Deduplicate as Kept, Rank};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::{BATCH, Operator};
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::time::millis;
use crate::timers::Timers;

pub struct Deduplicate {
    keys: Keys,
    kept: Kept,
    rows: WholeRows,
    /// Of each key one entry: its kind below, with the time before the row where it counts.
    table: MapTable,
    timers: Timers,
    watermark: i64,
    /// A watermark that is sent on when all that it sets free has been given.
    passing: Option<i64>,
    changes: Changes,
    update_before: bool,
    max_parallelism: u16,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// The row that counts, or waits for its time.
const ROW: &[u8] = b"r";
/// The first row was given.
const DONE: &[u8] = b"d";

impl Deduplicate {
    pub fn new(
        plan: &Rank,
        kept: Kept,
        changelog: Changelog,
        input: &RowType,
        backend: &KeyedBackend,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Self> {
        let schema = input.to_arrow();
        Ok(Deduplicate {
            keys: Keys::new(&plan.partition, &schema)?,
            kept,
            rows: WholeRows::new(&schema)?,
            table: MapTable::open(&backend.store, "rows", backend.row_bytes(1))?,
            timers: Timers::open(backend, "timers")?,
            watermark: i64::MIN,
            passing: None,
            changes: Changes::default(),
            update_before: changelog.before,
            max_parallelism: backend.max_parallelism,
            schema,
            metrics,
        })
    }

    fn first_by_arrival(&mut self, slot: u32, row: &[u8]) {
        if self.table.is_empty(slot) {
            self.table.put(slot, DONE, &[]);
            self.changes.push(RowKind::Insert, row);
        }
    }

    fn last_by_arrival(&mut self, slot: u32, row: &[u8]) {
        match self.table.get(slot, ROW) {
            None => self.changes.push(RowKind::Insert, row),
            // Where rows expire, whoever reads them has to hear of each.
            Some(same) if same == row && !self.table.expires() => return,
            Some(before) => {
                if self.update_before {
                    self.changes.push(RowKind::UpdateBefore, before);
                }
                self.changes.push(RowKind::UpdateAfter, row);
            }
        }
        self.table.put(slot, ROW, row);
    }

    fn last_by_time(&mut self, slot: u32, time: i64, row: &[u8]) -> Result<()> {
        match self.table.get(slot, ROW).map(timed).transpose()? {
            None => self.changes.push(RowKind::Insert, row),
            Some((newest, _)) if newest > time => return Ok(()),
            Some((_, before)) => {
                if self.update_before {
                    self.changes.push(RowKind::UpdateBefore, before);
                }
                self.changes.push(RowKind::UpdateAfter, row);
            }
        }
        self.table.put(slot, ROW, &with_time(time, row));
        Ok(())
    }

    fn first_by_time(&mut self, slot: u32, index: usize, group: u16, time: i64, row: &[u8]) -> Result<()> {
        if time < self.watermark {
            self.metrics.late_records.add(1);
            return Ok(());
        }
        if self.table.get(slot, DONE).is_some() {
            return Ok(());
        }
        let key = self.keys.rows.get(index);
        if let Some((waiting, _)) = self.table.get(slot, ROW).map(timed).transpose()? {
            if time >= waiting {
                return Ok(());
            }
            self.timers.delete(waiting, key, group)?;
        }
        self.timers.register(time, key, group)?;
        // What waits for its time does not expire.
        self.table.put_lasting(slot, ROW, &with_time(time, row));
        Ok(())
    }

    /// Gives first rows whose time has come, so many at most; whether there may be more.
    fn advance(&mut self, watermark: i64, most: usize) -> Result<bool> {
        self.watermark = self.watermark.max(watermark);
        let mut looked_at = 0;
        while looked_at < most {
            let Some(timer) = self.timers.pop(self.watermark)? else {
                return Ok(false);
            };
            looked_at += 1;
            let slot = self.table.resolve_one(&timer.key, timer.group)?;
            if let Some((_, row)) = self.table.get(slot, ROW).map(timed).transpose()? {
                self.changes.push(RowKind::Insert, row);
                self.table.remove(slot, ROW);
                self.table.put(slot, DONE, &[]);
            }
        }
        Ok(true)
    }
}

fn with_time(time: i64, row: &[u8]) -> Vec<u8> {
    [&time.to_be_bytes(), row].concat()
}

fn timed(stored: &[u8]) -> Result<(i64, &[u8])> {
    stored
        .split_first_chunk()
        .map(|(time, row)| (i64::from_be_bytes(*time), row))
        .ok_or_else(|| Error::data_loss("the stored rows of a deduplication have another form"))
}

/// A batch whose rows are taken in as there is room for what they need. Keys are those of the batch.
struct Arriving {
    watermarks: Option<Arc<[i64]>>,
    groups: Vec<u16>,
    rows: Rows,
    times: Option<Vec<i64>>,
    slots: Vec<u32>,
    next: usize,
}

impl Deduplicate {
    /// Takes in the next rows, as many as have room.
    fn take_in(&mut self, arriving: &mut Arriving) -> Result<()> {
        let (keys, hashes, from) = (&self.keys.rows, &self.keys.hashes, arriving.next);
        match from {
            0 => self.table.make_room()?,
            _ => self.table.make_room_between()?,
        }
        let Arriving {
            watermarks,
            groups,
            rows,
            times,
            slots,
            next,
        } = arriving;
        let placed = self.table.resolve_some(from, keys, hashes, groups, slots)?;
        for row in from..placed {
            let (slot, encoded) = (slots[row], rows.get(row));
            if let (Some(_), false, Some(watermarks)) = (&times, self.kept.keep_last, &watermarks) {
                // What becomes known with the watermark comes before it.
                self.advance(watermarks[row], usize::MAX)?;
            }
            self.changes.caused_by(watermarks.as_deref(), row);
            match (&times, self.kept.keep_last) {
                (None, false) => self.first_by_arrival(slot, encoded),
                (None, true) => self.last_by_arrival(slot, encoded),
                (Some(times), true) => self.last_by_time(slot, times[row], encoded)?,
                (Some(times), false) => {
                    self.first_by_time(slot, row, groups[row], times[row], encoded)?;
                }
            }
        }
        *next = placed;
        Ok(())
    }
}

impl Operator for Deduplicate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let rows = &batch.change.rows;
        self.keys.encode(rows)?;
        let mut arriving = Arriving {
            groups: self.keys.groups(self.max_parallelism),
            rows: self.rows.encode(rows)?,
            times: match self.kept.rowtime {
                Some(column) => Some(millis(rows.column(column))?),
                None => None,
            },
            slots: Vec::with_capacity(rows.num_rows()),
            watermarks: batch.watermarks.clone(),
            next: 0,
        };
        while arriving.next < rows.num_rows() {
            self.take_in(&mut arriving)?;
        }
        self.changes.take(&self.rows, &self.schema, out)
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        match element {
            Element::Watermark(watermark) => {
                self.passing = Some(watermark);
                self.resume(out)
            }
            _ => {
                out.push(element);
                Ok(())
            }
        }
    }

    fn has_more(&self) -> bool {
        self.passing.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some(watermark) = self.passing.take() else {
            return Ok(());
        };
        self.table.make_room()?;
        self.table.read_clock();
        let has_more = self.advance(watermark, BATCH)?;
        self.changes.take(&self.rows, &self.schema, out)?;
        match has_more {
            true => self.passing = Some(watermark),
            false => out.push(Element::Watermark(watermark)),
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.table.flush()?;
        self.timers.flush()?;
        Ok(Vec::new())
    }
}
