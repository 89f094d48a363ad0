//! Rows that are kept by window and key until their window is over: which of them come too late, where the
//! others are, and when they are due.
//!
//! To Flink a window is known by its end alone. That tells windows apart that are laid over time; of sessions
//! those that end together are one, whichever keys they are of and whenever they began.

use std::sync::Arc;

use millrace_core::row::Rows;
use millrace_core::{Result, key_group};
use millrace_state::keyed::{KeyedBackend, MapTable};

use crate::element::Batch;
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::timers::{Timer, Timers, sorted};
use crate::windows::Windows;

pub(super) struct WindowRows {
    /// When windows are over, of each with its key.
    timers: Timers,
    /// The watermark up to which windows are over.
    progress: i64,
    /// How often slots have been given away.
    evictions: u64,
    max_parallelism: u16,
    metrics: Arc<TaskMetrics>,
}

/// The rows of a batch that are taken in one after the other.
pub(super) struct Placed {
    /// Before each row, where it rises within the batch.
    watermarks: Option<Arc<[i64]>>,
    /// With which watermark each row's window is over.
    over_at: Vec<i64>,
    /// The windows' ends with the keys.
    places: Rows,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    /// Of the places of rows before `resolved`, as long as there were so many evictions.
    slots: Vec<u32>,
    resolved: usize,
    evictions: Option<u64>,
    next: usize,
}

impl WindowRows {
    /// `restored` are the entries of all subtasks.
    pub fn open(
        backend: &KeyedBackend,
        windows: &Windows,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Self> {
        Ok(WindowRows {
            timers: Timers::open(backend, "ends")?,
            progress: windows.restored(restored)?,
            evictions: 0,
            max_parallelism: backend.max_parallelism,
            metrics,
        })
    }

    pub fn progress(&self) -> i64 {
        self.progress
    }

    /// `keys` are those of the batch.
    pub fn place(&self, batch: &Batch, windows: &Windows, keys: &Keys) -> Result<Placed> {
        let ends = windows.ends(&batch.change.rows)?;
        let (mut places, mut hashes) = (Rows::default(), Vec::with_capacity(ends.len()));
        for (end, key) in ends.iter().zip(keys.rows.iter()) {
            places.data.extend_from_slice(&sorted(*end).to_be_bytes());
            places.push(key);
            hashes.push(key_group::hash(places.get(places.len() - 1)));
        }
        Ok(Placed {
            watermarks: batch.watermarks.clone(),
            over_at: ends.into_iter().map(|end| windows.over_at(end)).collect(),
            places,
            hashes,
            groups: keys.groups(self.max_parallelism),
            slots: Vec::new(),
            resolved: 0,
            evictions: None,
            next: 0,
        })
    }

    /// Has `add` keep each row that is in time, by its slot and its index. Where what is over has to be given
    /// before the next row, that waits: the watermark is the answer.
    pub fn take_in(
        &mut self,
        placed: &mut Placed,
        table: &mut MapTable,
        mut add: impl FnMut(&mut MapTable, u32, usize),
    ) -> Result<Option<i64>> {
        let mut late = 0;
        let mut waits = None;
        while placed.next < placed.over_at.len() {
            let row = placed.next;
            if row >= placed.resolved || placed.evictions != Some(self.evictions) {
                match row {
                    0 => table.make_room()?,
                    _ => table.make_room_between()?,
                }
                let Placed {
                    places,
                    hashes,
                    groups,
                    slots,
                    ..
                } = placed;
                placed.resolved = table.resolve_some(row, places, hashes, groups, slots)?;
                placed.evictions = Some(self.evictions);
            }
            if let Some(watermarks) = &placed.watermarks
                && watermarks[row] > self.progress
            {
                let to = watermarks[row];
                if self.timers.earliest()?.is_some_and(|time| time <= to) {
                    waits = Some(to);
                    break;
                }
                self.progress = to;
            }
            placed.next += 1;
            if placed.over_at[row] <= self.progress {
                late += 1;
                continue;
            }
            let slot = placed.slots[row];
            if table.is_empty(slot) {
                self.timers
                    .register(placed.over_at[row], placed.places.get(row), placed.groups[row])?;
            }
            add(table, slot, row);
        }
        self.metrics.late_records.add(late);
        Ok(waits)
    }

    /// The next window and key whose rows are due with this watermark. The tables have room for them then: rows
    /// that wait look their slots up again where others had to go.
    pub fn due<'a>(
        &mut self,
        to: i64,
        tables: impl IntoIterator<Item = &'a mut MapTable>,
    ) -> Result<Option<Timer>> {
        for table in tables.into_iter().filter(|table| table.is_over()) {
            self.evictions += 1;
            table.make_room_between()?;
        }
        self.progress = self.progress.max(to);
        self.timers.pop(self.progress)
    }

    /// Some of what is due was given. So many may come that not all of them have room in their tables: rows
    /// that wait look their slots up again.
    pub fn gave<'a>(&mut self, tables: impl IntoIterator<Item = &'a mut MapTable>) -> Result<()> {
        self.evictions += 1;
        tables.into_iter().try_for_each(MapTable::make_room)
    }

    /// Windows of keys that were over.
    pub fn fired(&self) -> u64 {
        self.timers.fired()
    }

    pub fn snapshot<'a>(
        &mut self,
        tables: impl IntoIterator<Item = &'a mut MapTable>,
    ) -> Result<Vec<Vec<u8>>> {
        tables.into_iter().try_for_each(MapTable::flush)?;
        self.timers.flush()?;
        Ok(vec![self.progress.to_be_bytes().to_vec()])
    }
}
