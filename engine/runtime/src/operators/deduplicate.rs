//! The first or the last row of each key by time, as Flink's deduplicate functions give it.
//!
//! By arrival the first row is an insert and all others are nothing; the last one is updated with
//! each that differs. By event time the last one is updated with each that is not older; the first
//! one is known, and given once, when the watermark has passed it; those of many keys a batch at a time.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, Deduplicate as Kept, Rank};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, Lifetimes, MapTable};

use super::paced::{Gradual, Paced, Rest};
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
    changes: Changes,
    update_before: bool,
    max_parallelism: u16,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// A batch whose rows are taken in one after the other.
pub struct Arriving {
    keys: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    rows: Rows,
    /// Event times, where they count.
    times: Option<Vec<i64>>,
    watermarks: Option<Arc<[i64]>>,
    next: usize,
}

const ROWS: &str = "rows";
/// The row that counts, or waits for its time.
const ROW: &[u8] = b"r";
/// The first row was given.
const DONE: &[u8] = b"d";

/// What is known of a key expires, but for a first row that waits for its time.
pub fn lifetimes(kept: Kept, ttl: i64) -> Lifetimes {
    let all = Lifetimes::default().with(ROWS, ttl);
    match kept.rowtime {
        Some(_) if !kept.keep_last => all.lasting(ROWS, ROW),
        _ => all,
    }
}

impl Deduplicate {
    pub fn new(
        plan: &Rank,
        kept: Kept,
        changelog: Changelog,
        input: &RowType,
        backend: &KeyedBackend,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let schema = input.to_arrow();
        Ok(Paced::new(
            backend.clock(),
            Deduplicate {
                keys: Keys::new(&plan.partition, &schema)?,
                kept,
                rows: WholeRows::new(&schema)?,
                table: MapTable::open(&backend.store, ROWS, backend.row_bytes(1))?,
                timers: Timers::open(backend, "timers")?,
                watermark: i64::MIN,
                changes: Changes::default(),
                update_before: changelog.before,
                max_parallelism: backend.max_parallelism,
                schema,
                metrics,
            },
        ))
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

    fn first_by_time(&mut self, slot: u32, key: &[u8], group: u16, time: i64, row: &[u8]) -> Result<()> {
        if time < self.watermark {
            self.metrics.late_records.add(1);
            return Ok(());
        }
        if self.table.get(slot, DONE).is_some() {
            return Ok(());
        }
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

impl Gradual for Deduplicate {
    type Arriving = Arriving;

    fn due_with(&mut self, element: &Element) -> Option<i64> {
        let Element::Watermark(watermark) = element else {
            return None;
        };
        self.table.read_clock();
        Some(*watermark)
    }

    fn begin(&mut self, _: usize, batch: Batch, _: i64) -> Result<Arriving> {
        let rows = &batch.change.rows;
        self.table.make_room()?;
        self.table.read_clock();
        self.keys.encode(rows)?;
        Ok(Arriving {
            groups: self.keys.groups(self.max_parallelism),
            keys: std::mem::take(&mut self.keys.rows),
            hashes: std::mem::take(&mut self.keys.hashes),
            rows: self.rows.encode(rows)?,
            times: match self.kept.rowtime {
                Some(column) => Some(millis(rows.column(column))?),
                None => None,
            },
            watermarks: batch.watermarks,
            next: 0,
        })
    }

    fn arrive(&mut self, mut batch: Arriving, out: &mut Vec<Element>) -> Result<Rest<Arriving>> {
        while batch.next < batch.rows.len() {
            let row = batch.next;
            if let (Some(_), false, Some(watermarks)) = (&batch.times, self.kept.keep_last, &batch.watermarks)
            {
                // What becomes known with the watermark comes before it.
                if row > 0 {
                    self.changes.caused_by(Some(&watermarks[..]), row - 1);
                }
                if self.advance(watermarks[row], out)? {
                    return Ok(Rest::Later(batch));
                }
            }
            if self.changes.is_full() {
                return Ok(Rest::Later(batch));
            }
            self.changes.caused_by(batch.watermarks.as_deref(), row);
            self.table.make_room_between()?;
            let (key, group) = (batch.keys.get(row), batch.groups[row]);
            let slot = self.table.slot(key, batch.hashes[row], group)?;
            let encoded = batch.rows.get(row);
            match (&batch.times, self.kept.keep_last) {
                (None, false) => self.first_by_arrival(slot, encoded),
                (None, true) => self.last_by_arrival(slot, encoded),
                (Some(times), true) => self.last_by_time(slot, times[row], encoded)?,
                (Some(times), false) => self.first_by_time(slot, key, group, times[row], encoded)?,
            }
            batch.next += 1;
        }
        Ok(Rest::Nothing)
    }

    /// Gives the first rows whose time has come.
    fn advance(&mut self, watermark: i64, _: &mut Vec<Element>) -> Result<bool> {
        self.watermark = self.watermark.max(watermark);
        while !self.changes.is_full() {
            let Some(timer) = self.timers.pop(self.watermark)? else {
                return Ok(false);
            };
            self.table.make_room_between()?;
            let slot = self.table.resolve_one(&timer.key, timer.group)?;
            if let Some((_, row)) = self.table.get(slot, ROW).map(timed).transpose()? {
                self.changes.push(RowKind::Insert, row);
                self.table.remove(slot, ROW);
                self.table.put(slot, DONE, &[]);
            }
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.changes.is_full()
    }

    fn settle(&mut self, out: &mut Vec<Element>) -> Result<()> {
        self.changes.take(&self.rows, &self.schema, out)
    }

    fn fired_timers(&self) -> u64 {
        self.timers.fired()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.table.flush()?;
        self.timers.flush()?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use millrace_dataflow::RankStrategy;

    use super::*;
    use crate::operators::harness::{Change, assert_paced, batch, insert, pieces, row_type, state};

    const LIMIT: usize = 100_000;

    fn assert_small(operator: &Paced<Deduplicate>) {
        let bytes = operator.work.table.bytes();
        assert!(bytes < 2 * LIMIT, "{bytes} bytes are in memory");
    }

    #[test]
    fn a_watermark_that_jumps_gives_first_rows_in_pieces() {
        let plan = Rank {
            partition: vec![0],
            order: vec![],
            start: 1,
            end: 1,
            with_number: false,
            strategy: RankStrategy::AppendFast,
        };
        let kept = Kept {
            keep_last: false,
            rowtime: Some(1),
        };
        let input = row_type(&["k", "t", "v"]);
        let metrics = TaskMetrics::new(["deduplicate".to_owned()]);
        for in_batch in [false, true] {
            let state = state(LIMIT);
            let metrics = metrics.clone();
            let operator = Deduplicate::new(&plan, kept, Changelog::INSERTS, &input, &state.backend, metrics);
            let mut operator = operator.unwrap();
            let rows: Vec<Change> = (0..40_000)
                .map(|n| insert(&[n % 20_000, 100 + n / 20_000, n]))
                .collect();
            for some in rows.chunks(1_000) {
                let given = Element::Batch(batch(&input, some));
                let found = pieces(&mut operator, 0, given, assert_small);
                assert!(found.concat().is_empty());
            }
            let element = match in_batch {
                false => Element::Watermark(200),
                true => {
                    let mut last = batch(&input, &[insert(&[7, 300, 1])]);
                    last.watermarks = Some([200].into());
                    Element::Batch(last)
                }
            };
            let found = pieces(&mut operator, 0, element, assert_small);
            assert_paced(&found);
            assert!(found.len() > 2);
            let mut found = found.concat();
            found.sort_by_key(|(_, row)| row[0]);
            assert!(found == rows[..20_000]);
        }
    }
}
