//! Aggregation by windows. Rows are aggregated by slices of time, which windows share; when the
//! watermark, or the clock, has passed a window's end, the results of its slices together are given,
//! once. A row whose windows are all over is late: it is dropped and counted.
//!
//! Layout: `slices` what is kept, `parts` what comes in together, `firing` how a window's results come out of it, some at a time,
//! `given` what a checkpoint's subtasks had given by the clock.

mod firing;
mod given;
mod parts;
mod slices;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use millrace_core::Result;
use millrace_core::row::RowCodec;
use millrace_dataflow::WindowAggregate as Plan;
use millrace_expr::RowType;
use millrace_expr::text::zone::Zone;
use millrace_state::keyed::KeyedBackend;

use self::firing::Firing;
use self::given::Given;
use self::parts::Parts;
use self::slices::Slices;
use super::groups::{State, with_maps};
use super::kernel;
use super::paced::{Paced, Timely};
use super::parts::Parts as OutputParts;
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::windows::{Bounds, Slice, Windows};

pub struct WindowAggregate {
    keys: Keys,
    /// From stored keys back to columns.
    codec: RowCodec,
    windows: Windows,
    slices: Slices,
    /// Where results come together that are not those of one slice in memory.
    merged: State,
    /// Where it shows in what parts rows come.
    parts: Option<Parts>,
    /// How many results are given at once.
    output: OutputParts,
    max_parallelism: u16,
    /// The watermark, or the time by the clock, up to which windows are over.
    progress: i64,
    /// What was given by the clock before a restore.
    given: Given,
    /// Windows that are over and whose results are still to be given.
    over: VecDeque<Bounds>,
    firing: Option<Firing>,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// A batch whose rows are taken in one after the other.
pub struct Arriving {
    batch: Batch,
    slices: Vec<Slice>,
    next: usize,
}

impl WindowAggregate {
    /// `restored` are the entries of all subtasks.
    pub fn new(
        plan: &Plan,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        zone: Zone,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let schema = output.to_arrow();
        let of_keys = plan.keys.len();
        let types = schema.fields()[..of_keys].iter().map(|f| f.data_type().clone());
        let time = schema.fields().last().map(|f| f.data_type().clone());
        let windows = Windows::new(&plan.windowing, time.as_ref(), zone);
        let by_clock = restored.filter(|_| windows.are_of_clock()).unwrap_or_default();
        let given = Given::restored(backend.groups(), by_clock)?;
        let progress = windows.restored(restored)?.max(given.by_all());
        let mut slices = Slices::open(plan, backend)?;
        let parts = match plan.retracts && plan.in_parts && slices.state.calls.uses_maps() {
            true => Some(Parts::open(&windows, progress, restored)?),
            false => None,
        };
        if let Some(parts) = &parts {
            slices.state.calls.begin(parts.number);
        }
        let output = OutputParts::new(slices.state.calls.uses_maps());
        // No row comes into a window that its key group has given.
        let earliest = given.by_any().saturating_add(1);
        let work = WindowAggregate {
            keys: Keys::new(&plan.keys, &input.to_arrow())?,
            codec: RowCodec::new(types)?,
            windows,
            slices,
            merged: State::new(&plan.calls, plan.retracts)?,
            parts,
            output,
            max_parallelism: backend.max_parallelism,
            progress,
            given,
            over: VecDeque::new(),
            firing: None,
            schema,
            metrics,
        };
        Ok(Paced::new(backend.clock(), work).not_before(earliest))
    }

    /// The windows that are over with `to`, and were not before.
    fn over_with(&mut self, to: i64) -> VecDeque<Bounds> {
        let from = match self.windows.come_over() {
            true => i64::MIN,
            false => self.progress,
        };
        self.progress = self.progress.max(to);
        if to <= from {
            return VecDeque::new();
        }
        let mut over: BTreeSet<Bounds> = BTreeSet::new();
        for slice in self.slices.held.keys() {
            over.extend(self.windows.of(*slice).into_iter().filter(|window| {
                let at = self.windows.over_at(window.end);
                from < at && at <= to
            }));
        }
        over.into_iter().collect()
    }

    /// Takes rows in, until the watermark before one of them ends windows that it is not in.
    fn take_in(&mut self, mut arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        let batch = &arriving.batch;
        let count = batch.change.len();
        let mut rows: Vec<u32> = Vec::with_capacity(count);
        let mut slices: Vec<Slice> = Vec::with_capacity(count);
        let mut late = 0;
        // Of the slice that was looked at last: when its first window is over.
        let mut known: Option<(Slice, Option<i64>)> = None;
        for row in arriving.next..count {
            let slice = arriving.slices[row];
            let first_over = match known {
                Some((of, at)) if of == slice => at,
                _ => {
                    let at = self
                        .windows
                        .of(slice)
                        .first()
                        .map(|w| self.windows.over_at(w.end));
                    known = Some((slice, at));
                    at
                }
            };
            // Between windows that leave gaps.
            let Some(first_over) = first_over else { continue };
            let now = match &batch.watermarks {
                Some(watermarks) if !self.windows.is_proctime() => watermarks[row].max(self.progress),
                _ if self.windows.come_over() => i64::MIN,
                _ => self.progress,
            };
            if let Some(parts) = &mut self.parts
                && parts.end(now, &self.windows)
            {
                self.accumulate(batch, &rows, &slices)?;
                rows.clear();
                slices.clear();
                self.begin_part();
            }
            if first_over > now {
                rows.push(row as u32);
                slices.push(slice);
                self.in_part(slice);
                continue;
            }
            let last = self.windows.of(slice).last().map_or(i64::MIN, |w| w.end);
            if self.windows.over_at(last) <= now {
                late += 1;
                continue;
            }
            // Some of its windows are over, others are not: those that are have to be given without it.
            if now > self.progress {
                self.metrics.late_records.add(late);
                self.accumulate(batch, &rows, &slices)?;
                arriving.next = row;
                return Ok(Some((arriving, now)));
            }
            rows.push(row as u32);
            let slice = self.windows.grown(slice).unwrap_or(slice);
            slices.push(slice);
            self.in_part(slice);
        }
        self.metrics.late_records.add(late);
        self.accumulate(batch, &rows, &slices)?;
        Ok(None)
    }

    fn in_part(&mut self, slice: Slice) {
        if let Some(parts) = &mut self.parts {
            parts.row(self.windows.over_at(slice.end));
        }
    }

    fn begin_part(&mut self) {
        if let Some(parts) = &self.parts {
            self.slices.state.calls.begin(parts.number);
        }
    }

    /// Takes rows in, each into its slice.
    fn accumulate(&mut self, batch: &Batch, rows: &[u32], slices: &[Slice]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let part;
        let change = match rows.len() == batch.change.len() {
            true => &batch.change,
            false => {
                part = batch
                    .take(&UInt32Array::from(rows.to_vec()))
                    .map_err(kernel)?
                    .change;
                &part
            }
        };
        self.keys.encode(&change.rows)?;
        let most = self.max_parallelism;
        let slots = self
            .slices
            .resolve(slices, &self.keys.rows, &self.keys.hashes, most)?;
        let Slices { table, state, .. } = &mut self.slices;
        with_maps(table, state, |state, maps| state.update(change, &slots, maps))?;
        self.slices.table.changed(slots);
        Ok(())
    }
}

impl Timely for WindowAggregate {
    type Arriving = Arriving;

    fn windows(&self) -> &Windows {
        &self.windows
    }

    fn progress(&self) -> i64 {
        self.progress
    }

    fn begin(&mut self, _: usize, batch: Batch, now_millis: i64) -> Result<Arriving> {
        Ok(Arriving {
            slices: self.windows.slices(&batch.change.rows, now_millis)?,
            next: 0,
            batch,
        })
    }

    fn arrive(&mut self, arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        self.take_in(arriving)
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        if self.firing.is_none() && self.over.is_empty() {
            self.over = self.over_with(to);
            if let Some(parts) = &mut self.parts
                && parts.end(to, &self.windows)
            {
                self.begin_part();
            }
        }
        let firing = match self.firing.take() {
            Some(firing) => Some(firing),
            None => match self.over.pop_front() {
                Some(window) => Some(self.start(window)?),
                None => None,
            },
        };
        if let Some(mut firing) = firing
            && !self.fire(&mut firing, out)?
        {
            self.firing = Some(firing);
        }
        Ok(self.firing.is_some() || !self.over.is_empty())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        let Slices { table, state, .. } = &mut self.slices;
        table.flush(state)?;
        let mut entry = self.progress.to_be_bytes().to_vec();
        if let Some(parts) = &self.parts {
            parts.write(&mut entry);
        }
        if self.windows.are_of_clock() {
            Given::write(&self.slices.groups, &mut entry);
        }
        Ok(vec![entry])
    }
}
