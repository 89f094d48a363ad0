//! A window that is over gives its results, a batch at a time: what it is made of stays as it is in
//! between, for nothing else is taken in.
//!
//! A window of one slice gives what that has in memory, then what is in the store only. Where there are
//! several, their states come together key group by key group, so that no more keys are at hand than
//! those of some groups.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Result, key_group};
use millrace_expr::aggregate::HeapMaps;

use super::super::groups::with_maps;
use super::super::window_table::bounds_columns;
use super::super::{BATCH, kernel};
use super::WindowAggregate;
use super::slices::{Part, Slices};
use crate::element::Element;
use crate::windows::{Bounds, PREFIX, Slice};

pub(super) struct Firing {
    window: Bounds,
    /// Slices that no later window needs.
    over: Vec<Slice>,
    stage: Stage,
    ready: Ready,
}

enum Stage {
    /// Slots of the only slice; with `goes` they are forgotten.
    Slots {
        slice: Slice,
        slots: Vec<u32>,
        next: usize,
        goes: bool,
    },
    /// Keys that are in the store only, and slots in memory by key group, as (group, slice, slot).
    Groups {
        slices: Vec<Slice>,
        held: Vec<(u16, u32, u32)>,
        next: usize,
        groups: Range<u16>,
    },
}

/// Keys whose results are in `merged`, by their place there.
#[derive(Default)]
struct Ready {
    keys: Rows,
    places: HashMap<Box<[u8]>, u32>,
    maps: HeapMaps,
    given: usize,
}

impl WindowAggregate {
    pub(super) fn start(&mut self, window: Bounds) -> Result<Firing> {
        let in_window = |slice: &Slice| window.start <= slice.start && slice.end <= window.end;
        let first = Slice {
            end: window.start,
            start: i64::MIN,
        };
        let last = Slice {
            end: window.end,
            start: i64::MAX,
        };
        let held = self.slices.held.range(first..=last);
        let mut slices: Vec<Slice> = held
            .map(|(slice, _)| *slice)
            .filter(|slice| in_window(slice) && self.windows.of(*slice).contains(&window))
            .collect();
        if let Some(grown) = slices.first().and_then(|slice| self.windows.grown(*slice)) {
            for slice in slices.into_iter().filter(|slice| *slice != grown) {
                self.move_into(slice, grown)?;
            }
            slices = vec![grown];
        }
        // As Flink puts them together, which shows where functions keep the order of values.
        slices.reverse();
        let is_last = |slice: &Slice| {
            let last = self.windows.of(*slice).last().map(|w| w.end);
            last.is_none_or(|last| last <= window.end)
        };
        let mut over: Vec<Slice> = slices.iter().copied().filter(is_last).collect();
        let stage = match slices.as_slice() {
            [slice] => Stage::Slots {
                slice: *slice,
                slots: self.slices.live(*slice),
                next: 0,
                goes: !std::mem::take(&mut over).is_empty(),
            },
            _ => Stage::Groups {
                held: self.slices.by_group(&slices, self.max_parallelism),
                next: 0,
                groups: self.slices.groups.clone(),
                slices,
            },
        };
        Ok(Firing {
            window,
            over,
            stage,
            ready: Ready::default(),
        })
    }

    /// Gives a batch of results, if there is one at once; whether the window is done.
    pub(super) fn fire(&mut self, firing: &mut Firing, out: &mut Vec<Element>) -> Result<bool> {
        let window = firing.window;
        let over_at = self.windows.over_at(window.end);
        if firing.ready.given < firing.ready.keys.len() {
            self.give_ready(&mut firing.ready, window, out)?;
            return Ok(false);
        }
        match &mut firing.stage {
            Stage::Slots {
                slice,
                slots,
                next,
                goes,
            } => {
                if *next < slots.len() {
                    let end = self.output.end(*next, slots.len().min(*next + BATCH));
                    self.give(&slots[*next..end], window, out)?;
                    *next = end;
                    return Ok(false);
                }
                let slice = *slice;
                if !*goes {
                    let done = self.slices.table.is_complete();
                    firing.stage = Stage::Groups {
                        slices: vec![slice],
                        held: Vec::new(),
                        next: 0,
                        groups: self.slices.groups.clone(),
                    };
                    return Ok(done);
                }
                self.slices.release(slots)?;
                *slots = self.slices.load_some(slice, self.max_parallelism)?;
                *next = 0;
                if slots.is_empty() {
                    self.slices.forget(slice);
                }
                Ok(slots.is_empty())
            }
            Stage::Groups {
                slices,
                held,
                next,
                groups,
            } => {
                self.merged.resize(0);
                firing.ready = Ready::default();
                while firing.ready.keys.len() < BATCH
                    && let Some(group) = groups.next()
                {
                    let in_memory = held[*next..].partition_point(|(of, _, _)| *of == group);
                    let held = &held[*next..*next + in_memory];
                    *next += in_memory;
                    if self.given.has(group, over_at) {
                        continue;
                    }
                    for (number, slice) in slices.iter().enumerate() {
                        let of_slice = held.iter().filter(|(_, of, _)| *of == number as u32);
                        let slots: Vec<u32> = of_slice.map(|(_, _, slot)| *slot).collect();
                        if !slots.is_empty() {
                            let part = self.slices.part(&slots)?;
                            self.merge(&mut firing.ready, &part)?;
                        }
                        if !self.slices.table.is_complete() {
                            let part = self.slices.stored_part(*slice, group)?;
                            self.merge(&mut firing.ready, &part)?;
                        }
                    }
                }
                if !firing.ready.keys.is_empty() {
                    return Ok(false);
                }
                for slice in std::mem::take(&mut firing.over) {
                    self.forget(slice)?;
                }
                Ok(true)
            }
        }
    }

    /// Adds states of a slice to those that are at hand.
    fn merge(&mut self, ready: &mut Ready, part: &Part) -> Result<()> {
        let mut local = Vec::with_capacity(part.keys.len());
        for key in part.keys.iter() {
            let next = ready.keys.len() as u32;
            local.push(match ready.places.get(key) {
                Some(place) => *place,
                None => {
                    ready.places.insert(key.into(), next);
                    ready.keys.push(key);
                    next
                }
            });
        }
        // What is new is empty.
        self.merged.resize(ready.keys.len());
        ready.maps.resize(ready.keys.len());
        self.merged
            .absorb(&local, &part.states, &part.entries, &mut ready.maps)
    }

    /// Forgets all of a slice.
    fn forget(&mut self, slice: Slice) -> Result<()> {
        let mut slots = self.slices.live(slice);
        loop {
            self.slices.release(&slots)?;
            slots = self.slices.load_some(slice, self.max_parallelism)?;
            if slots.is_empty() {
                break;
            }
        }
        self.slices.forget(slice);
        Ok(())
    }

    /// Adds what a slice has to that of another, and forgets it.
    fn move_into(&mut self, slice: Slice, target: Slice) -> Result<()> {
        // What is added may push others out of memory: so it goes by what is in the store then.
        loop {
            let mut slots = self.slices.live(slice);
            if slots.is_empty() {
                slots = self.slices.load_some(slice, self.max_parallelism)?;
            }
            slots.truncate(BATCH);
            if slots.is_empty() {
                break;
            }
            let part = self.slices.part(&slots)?;
            self.slices.release(&slots)?;
            self.add(target, &part)?;
        }
        self.slices.forget(slice);
        Ok(())
    }

    fn add(&mut self, target: Slice, part: &Part) -> Result<()> {
        let hashes: Vec<u64> = part.keys.iter().map(key_group::hash).collect();
        let slices = vec![target; part.keys.len()];
        let slots = self
            .slices
            .resolve(&slices, &part.keys, &hashes, self.max_parallelism)?;
        let Slices { table, state, .. } = &mut self.slices;
        with_maps(table, state, |state, maps| {
            state.absorb(&slots, &part.states, &part.entries, maps)
        })?;
        self.slices.table.changed(slots);
        Ok(())
    }

    /// The results of slots of one slice.
    fn give(&mut self, slots: &[u32], window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        let is_there = |slot: &u32| self.slices.state.is_there(*slot);
        let mut slots: Vec<u32> = slots.iter().copied().filter(is_there).collect();
        let over_at = self.windows.over_at(window.end);
        if over_at <= self.given.by_any() {
            let group = |slot: u32| {
                let key = &self.slices.table.key(slot)[PREFIX..];
                key_group::of_hash(key_group::hash(key), self.max_parallelism)
            };
            slots.retain(|slot| !self.given.has(group(*slot), over_at));
        }
        if slots.is_empty() {
            return Ok(());
        }
        let keys = slots.iter().map(|slot| &self.slices.table.key(*slot)[PREFIX..]);
        let keys = self.codec.decode(keys)?;
        let Slices { table, state, .. } = &mut self.slices;
        let values = with_maps(table, state, |state, maps| state.calls.values(&slots, maps))?;
        self.output.gave(slots.len(), &values);
        out.push(self.results(keys, values, slots.len(), window)?);
        Ok(())
    }

    /// Results out of `merged`, one for each key.
    fn give_ready(&mut self, ready: &mut Ready, window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        let end = ready.keys.len().min(ready.given + BATCH);
        let end = self.output.end(ready.given, end);
        let there = |slot: &u32| self.merged.is_there(*slot);
        let slots: Vec<u32> = (ready.given as u32..end as u32).filter(there).collect();
        ready.given = end;
        if slots.is_empty() {
            return Ok(());
        }
        let of_keys = slots.iter().map(|slot| ready.keys.get(*slot as usize));
        let columns = self.codec.decode(of_keys)?;
        let values = self.merged.calls.values(&slots, &mut ready.maps)?;
        self.output.gave(slots.len(), &values);
        out.push(self.results(columns, values, slots.len(), window)?);
        Ok(())
    }

    fn results(
        &self,
        keys: Vec<ArrayRef>,
        values: Vec<ArrayRef>,
        rows: usize,
        window: Bounds,
    ) -> Result<Element> {
        // A window that is over is a timer of each of its keys.
        self.metrics.fired_timers.add(rows as u64);
        let fields = &self.schema.fields()[keys.len() + values.len()..];
        let bounds = bounds_columns(
            vec![window.start; rows],
            vec![window.end; rows],
            vec![self.windows.time(window.end); rows],
            fields,
        )?;
        let columns = keys.into_iter().chain(values).chain(bounds).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(kernel)?;
        Ok(Element::Batch(ChangeBatch::inserts(rows).into()))
    }
}
