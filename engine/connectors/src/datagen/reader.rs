//! The source: batches at the asked rate.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::source::{SourceBatch, SourceContext, SourcePoll, SourceReader};
use millrace_connector_api::{ChangeBatch, Waker};
use millrace_core::{CheckpointId, Error, Result};
use millrace_dataflow::SourceSpec;
use millrace_expr::RowType;
use millrace_formats::column::Column;

use super::Plan;
use super::generator::Generator;
use super::lanes::{self, Lane};

/// Rows that are due are collected for so long before they are made.
const TICK: Duration = Duration::from_millis(10);

pub struct Reader {
    output: RowType,
    /// Generators of the projected columns, and their indexes in the table.
    generators: Vec<(u64, Generator)>,
    columns: Vec<Column>,
    lanes: Vec<Lane>,
    total: Option<u64>,
    /// Of this subtask.
    rows_per_second: f64,
    max_rows: usize,
    started: Option<Instant>,
    made: u64,
    waker: Waker,
    runtime: tokio::runtime::Handle,
    /// When the waker will be called, so that there is one timer at a time.
    wakes_at: Option<Instant>,
}

impl Reader {
    pub fn open(spec: &SourceSpec, plan: Plan, context: SourceContext) -> Result<Self> {
        let lanes = match &context.restored {
            None => lanes::fresh(rand::random(), context.subtask, context.parallelism),
            Some(states) => {
                let all = states
                    .iter()
                    .map(|bytes| serde_json::from_slice(bytes))
                    .collect::<Result<Vec<Lane>, _>>()
                    .map_err(|e| {
                        Error::user("the state of a datagen source cannot be read").with_source(e)
                    })?;
                if all.iter().any(|l| l.step == 0) {
                    return Err(Error::user("the state of a datagen source is damaged"));
                }
                lanes::share(all, context.subtask, context.parallelism)
            }
        };
        let mut generators: Vec<Option<Generator>> = plan.columns.into_iter().map(Some).collect();
        let generators = spec
            .projection
            .iter()
            .map(|&i| {
                let generator = generators.get_mut(i).and_then(Option::take);
                generator
                    .map(|g| (i as u64, g))
                    .ok_or_else(|| Error::internal("a column is projected twice"))
            })
            .collect::<Result<Vec<_>>>()?;
        let output = spec.output();
        Ok(Reader {
            columns: output.fields.iter().map(|f| Column::new(&f.data_type)).collect(),
            output,
            generators,
            lanes,
            total: plan.total,
            rows_per_second: plan.rows_per_second as f64 / context.parallelism.max(1) as f64,
            max_rows: context.max_rows.max(1),
            started: None,
            made: 0,
            waker: context.waker,
            runtime: context.runtime,
            wakes_at: None,
        })
    }

    /// Rows that the rate allows by now and that were not made yet.
    fn due(&mut self, now: Instant) -> u64 {
        let started = *self.started.get_or_insert(now);
        let allowed = (now.duration_since(started) + TICK).as_secs_f64() * self.rows_per_second;
        (allowed as u64).max(1).saturating_sub(self.made)
    }

    /// Has the subtask woken when the next row is due, a tick from now at the earliest.
    fn wake_later(&mut self, now: Instant) {
        if self.wakes_at.is_some_and(|at| at > now) {
            return;
        }
        let next = Duration::try_from_secs_f64((self.made + 1) as f64 / self.rows_per_second)
            .unwrap_or(Duration::from_secs(1))
            .saturating_sub(TICK);
        let elapsed = self.started.map_or(Duration::ZERO, |s| now.duration_since(s));
        let pause = next.saturating_sub(elapsed).max(TICK);
        self.wakes_at = Some(now + pause);
        let waker = self.waker.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            waker.wake();
        });
    }

    fn make(&mut self, rows: u64) -> Result<SourceBatch> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        let mut splits = Vec::new();
        let mut left = rows;
        let lanes = self.lanes.len() as u64;
        for (split, lane) in self.lanes.iter_mut().enumerate() {
            let share = left.div_ceil(lanes - split as u64).min(lane.left(self.total));
            for ((index, generator), column) in self.generators.iter().zip(&mut self.columns) {
                generator.fill(column, lane, *index, share, now);
            }
            lane.advance(share);
            if share > 0 {
                splits.push((split as u32, share as usize));
            }
            left -= share;
        }
        let made = rows - left;
        self.made += made;
        let arrays = self
            .columns
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(made as usize));
        let rows = RecordBatch::try_new_with_options(self.output.to_arrow(), arrays, &options)
            .map_err(|e| Error::internal("made-up rows do not fit their table").with_source(e))?;
        Ok(SourceBatch {
            batch: ChangeBatch::inserts(rows),
            splits,
        })
    }
}

impl SourceReader for Reader {
    fn poll(&mut self) -> Result<SourcePoll> {
        if self.lanes.iter().all(|l| l.left(self.total) == 0) {
            return Ok(SourcePoll::End);
        }
        let now = Instant::now();
        let due = self.due(now).min(self.max_rows as u64);
        if due == 0 {
            self.wake_later(now);
            return Ok(SourcePoll::Pending);
        }
        Ok(SourcePoll::Batch(self.make(due)?))
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>> {
        self.lanes
            .iter()
            .map(|lane| {
                serde_json::to_vec(lane)
                    .map_err(|e| Error::internal("state cannot be written").with_source(e))
            })
            .collect()
    }

    fn checkpoint_complete(&mut self, _: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn pending_records(&self) -> Option<u64> {
        self.total
            .map(|_| self.lanes.iter().map(|l| l.left(self.total)).sum())
    }
}
