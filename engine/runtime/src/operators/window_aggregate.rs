//! Aggregation by windows. Rows are aggregated by slices of time, which windows share; when the
//! watermark, or the clock, has passed a window's end, the results of its slices together are given,
//! once. A row whose windows are all over is late: it is dropped and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result, key_group};
use millrace_dataflow::WindowAggregate as Plan;
use millrace_expr::RowType;
use millrace_expr::aggregate::HeapMaps;
use millrace_expr::text::zone::Zone;
use millrace_state::keyed::{KeyedBackend, Table};

use super::groups::{State, with_maps};
use super::window_table::bounds_columns;
use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::windows::{Bounds, Slice, Windows};

/// Rows of an output batch at most.
const BATCH: usize = 8192;

pub struct WindowAggregate {
    keys: Keys,
    /// From stored keys back to columns.
    codec: RowCodec,
    windows: Windows,
    slices: Slices,
    /// Where results come together that are not those of one slice in memory.
    merged: State,
    max_parallelism: u16,
    /// The watermark, or the time by the clock, up to which windows are over.
    progress: i64,
    schema: SchemaRef,
    metrics: Arc<TaskMetrics>,
}

/// What is kept of each slice and key.
struct Slices {
    table: Table,
    state: State,
    /// The slices that hold rows. Slots of theirs that are in memory, and some that no longer are.
    held: BTreeMap<Slice, Vec<u32>>,
    of_slot: Vec<Slice>,
    /// A subtask's key groups, to look for what is not in memory.
    groups: std::ops::Range<u16>,
}

/// A slice's end and start, before each key.
const PREFIX: usize = 16;

fn prefix(slice: Slice) -> [u8; PREFIX] {
    // Ascending as the slices do.
    let ordered = |time: i64| (time as u64 ^ (1 << 63)).to_be_bytes();
    let mut bytes = [0; PREFIX];
    bytes[..8].copy_from_slice(&ordered(slice.end));
    bytes[8..].copy_from_slice(&ordered(slice.start));
    bytes
}

fn slice_of(key: &[u8]) -> Option<Slice> {
    let time = |bytes: &[u8]| Some((u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63)) as i64);
    Some(Slice {
        end: time(key.get(..8)?)?,
        start: time(key.get(8..PREFIX)?)?,
    })
}

/// A key's hash within the table: each slice has its own entry of it.
fn hash_in(slice: Slice, hash: u64) -> u64 {
    hash ^ (slice.end as u64)
        .rotate_left(32)
        .wrapping_add(slice.start as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Slices {
    fn open(plan: &Plan, backend: &KeyedBackend) -> Result<Self> {
        let state = State::new(&plan.calls, plan.retracts)?;
        let bytes = state.slot_bytes() + size_of::<Slice>() + size_of::<u32>();
        let table = Table::open(&backend.store, "slices", bytes, backend.cache_bytes)?;
        let mut slices = Slices {
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("slices-maps", Vec::new())?,
            },
            state,
            held: BTreeMap::new(),
            of_slot: Vec::new(),
            groups: backend.groups(),
        };
        slices.find_held()?;
        Ok(slices)
    }

    /// Looks for the slices that a restored store holds.
    fn find_held(&mut self) -> Result<()> {
        if self.table.is_complete() {
            return Ok(());
        }
        for group in self.groups.clone() {
            let mut from = Vec::new();
            while let Some(key) = self.table.stored_key(group, &from)? {
                let slice = slice_of(&key).ok_or_else(damaged)?;
                self.held.entry(slice).or_default();
                // Behind all keys of the slice: no column's bytes begin so.
                from = key[..PREFIX].to_vec();
                from.push(0xff);
            }
        }
        Ok(())
    }

    /// Brings keys of slices into memory: the slot of each row. `hashes` are the keys' own.
    fn resolve(&mut self, slices: &[Slice], keys: &Rows, hashes: &[u64], most: u16) -> Result<Vec<u32>> {
        self.table
            .make_room(keys.len(), |slots, out| self.state.encode(slots, out))?;
        let mut full = Rows::default();
        full.data.reserve(keys.data.len() + PREFIX * keys.len());
        full.ends.reserve(keys.len());
        let mut hashes_in = Vec::with_capacity(keys.len());
        let mut groups = Vec::with_capacity(keys.len());
        for ((slice, key), hash) in slices.iter().zip(keys.iter()).zip(hashes) {
            full.data.extend_from_slice(&prefix(*slice));
            full.push(key);
            hashes_in.push(hash_in(*slice, *hash));
            groups.push(key_group::of_hash(*hash, most));
        }
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(&full, &hashes_in, &groups, &mut slots)?;
        let width = self.table.width();
        self.state.resize(width);
        self.of_slot.resize(width, Slice::default());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        if !resolved.fresh.is_empty() || !resolved.loaded.is_empty() {
            for slot in resolved.fresh.iter().chain(&resolved.loaded) {
                self.of_slot[*slot as usize] = Slice::NONE;
            }
            for (slice, slot) in slices.iter().zip(&slots) {
                let of_slot = &mut self.of_slot[*slot as usize];
                if *of_slot == Slice::NONE {
                    *of_slot = *slice;
                    self.held.entry(*slice).or_default().push(*slot);
                }
            }
        }
        Ok(slots)
    }

    /// Slots in memory of a slice.
    fn live(&mut self, slice: Slice) -> Vec<u32> {
        let Some(listed) = self.held.get(&slice) else {
            return Vec::new();
        };
        let is_of = |slot: &u32| self.table.is_live(*slot) && self.of_slot[*slot as usize] == slice;
        let mut slots: Vec<u32> = listed.iter().copied().filter(is_of).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Keys and states of a slice in a key group that are in the store only, until `row` has enough.
    fn stored(&mut self, slice: Slice, group: u16, mut row: impl FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let start = prefix(slice);
        let hash = |key: &[u8]| hash_in(slice, key_group::hash(&key[PREFIX..]));
        self.table
            .scan_stored(group, &start, hash, |key, value| row(&key[PREFIX..], value))
    }

    /// Brings what of a slice is in the store only into memory, some at a time; says whether there was
    /// some.
    fn load_some(&mut self, slice: Slice, most: u16) -> Result<Vec<u32>> {
        if self.table.is_complete() {
            return Ok(Vec::new());
        }
        for group in self.groups.clone() {
            let mut keys = Rows::default();
            self.stored(slice, group, |key, _| {
                keys.push(key);
                keys.len() < BATCH
            })?;
            if !keys.is_empty() {
                let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
                return self.resolve(&vec![slice; keys.len()], &keys, &hashes, most);
            }
        }
        Ok(Vec::new())
    }
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
    ) -> Result<Self> {
        let schema = output.to_arrow();
        let of_keys = plan.keys.len();
        let types = schema.fields()[..of_keys].iter().map(|f| f.data_type().clone());
        let time = schema.fields().last().map(|f| f.data_type().clone());
        let windows = Windows::new(&plan.windowing, time.as_ref(), zone);
        let progress = windows.restored(restored)?;
        Ok(WindowAggregate {
            keys: Keys::new(&plan.keys, &input.to_arrow())?,
            codec: RowCodec::new(types)?,
            windows,
            slices: Slices::open(plan, backend)?,
            merged: State::new(&plan.calls, plan.retracts)?,
            max_parallelism: backend.max_parallelism,
            progress,
            schema,
            metrics,
        })
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

    /// Gives the results of all windows that are over with `to`.
    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<()> {
        if to <= self.progress {
            return Ok(());
        }
        let from = std::mem::replace(&mut self.progress, to);
        let mut over: BTreeSet<Bounds> = BTreeSet::new();
        for slice in self.slices.held.keys() {
            over.extend(self.windows.of(*slice).into_iter().filter(|window| {
                let at = self.windows.over_at(window.end);
                from < at && at <= to
            }));
        }
        over.into_iter().try_for_each(|window| self.fire(window, out))
    }

    fn fire(&mut self, window: Bounds, out: &mut Vec<Element>) -> Result<()> {
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
        let is_last = |slice: &Slice| {
            let last = self.windows.of(*slice).last().map(|w| w.end);
            last.is_none_or(|last| last <= window.end)
        };
        let over: Vec<Slice> = slices.iter().copied().filter(is_last).collect();
        match slices.as_slice() {
            [slice] if over.is_empty() => self.give_slice(*slice, window, out),
            [slice] => {
                let most = self.max_parallelism;
                self.drain(*slice, most, |this, slots| this.give(slots, window, out))
            }
            _ => {
                self.give_merged(&slices, window, out)?;
                over.into_iter()
                    .try_for_each(|slice| self.drain(slice, self.max_parallelism, |_, _| Ok(())))
            }
        }
    }

    /// Hands over all of a slice, some at a time, and forgets it.
    fn drain(
        &mut self,
        slice: Slice,
        most: u16,
        mut take: impl FnMut(&mut Self, &[u32]) -> Result<()>,
    ) -> Result<()> {
        let mut slots = self.slices.live(slice);
        loop {
            for slots in slots.chunks(BATCH) {
                take(self, slots)?;
            }
            self.slices.table.release(&slots)?;
            slots = self.slices.load_some(slice, most)?;
            if slots.is_empty() {
                break;
            }
        }
        self.slices.held.remove(&slice);
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
            let mut keys = Rows::default();
            slots
                .iter()
                .for_each(|slot| keys.push(&self.slices.table.key(*slot)[PREFIX..]));
            let states = self.slices.state.columns(&slots)?;
            self.slices.table.release(&slots)?;
            self.add(target, &keys, &states)?;
        }
        self.slices.held.remove(&slice);
        Ok(())
    }

    fn add(&mut self, target: Slice, keys: &Rows, states: &[ArrayRef]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
        let slices = vec![target; keys.len()];
        let slots = self
            .slices
            .resolve(&slices, keys, &hashes, self.max_parallelism)?;
        self.slices.state.merge(&slots, states)?;
        self.slices.table.changed(slots);
        Ok(())
    }

    /// The results of a window that is one slice, which stays.
    fn give_slice(&mut self, slice: Slice, window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        for slots in self.slices.live(slice).chunks(BATCH) {
            self.give(slots, window, out)?;
        }
        if self.slices.table.is_complete() {
            return Ok(());
        }
        for group in self.slices.groups.clone() {
            let (keys, states) = self.stored(slice, group)?;
            self.merged.resize(0);
            self.merged.resize(keys.len());
            let local: Vec<u32> = (0..keys.len() as u32).collect();
            self.merged.merge(&local, &states)?;
            self.give_local(&keys, window, out)?;
        }
        Ok(())
    }

    /// All keys and states of a slice in a key group that are in the store only.
    fn stored(&mut self, slice: Slice, group: u16) -> Result<(Rows, Vec<ArrayRef>)> {
        let (mut keys, mut values) = (Rows::default(), Rows::default());
        self.slices.stored(slice, group, |key, value| {
            keys.push(key);
            values.push(value);
            true
        })?;
        let states = self.slices.state.decode(&values)?;
        Ok((keys, states))
    }

    /// The results of slots of one slice.
    fn give(&mut self, slots: &[u32], window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        let is_there = |slot: &u32| self.slices.state.is_there(*slot);
        let slots: Vec<u32> = slots.iter().copied().filter(is_there).collect();
        if slots.is_empty() {
            return Ok(());
        }
        let keys = slots.iter().map(|slot| &self.slices.table.key(*slot)[PREFIX..]);
        let keys = self.codec.decode(keys)?;
        let Slices { table, state, .. } = &mut self.slices;
        let values = with_maps(table, state, |state, maps| state.calls.values(&slots, maps))?;
        out.push(self.results(keys, values, slots.len(), window)?);
        Ok(())
    }

    /// The results of a window over several slices.
    fn give_merged(&mut self, slices: &[Slice], window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        let mut keys = Rows::default();
        let mut places: HashMap<Box<[u8]>, u32> = HashMap::new();
        self.merged.resize(0);
        let mut take = |merged: &mut State, of_keys: &mut dyn Iterator<Item = &[u8]>, states: &[ArrayRef]| {
            let mut local = Vec::new();
            for key in of_keys {
                let next = keys.len() as u32;
                let place = match places.get(key) {
                    Some(place) => *place,
                    None => {
                        places.insert(key.into(), next);
                        keys.push(key);
                        next
                    }
                };
                local.push(place);
            }
            // What is new is empty.
            merged.resize(keys.len());
            merged.merge(&local, states)
        };
        for slice in slices {
            let slots = self.slices.live(*slice);
            let states = self.slices.state.columns(&slots)?;
            let table = &self.slices.table;
            let mut of_keys = slots.iter().map(|slot| &table.key(*slot)[PREFIX..]);
            take(&mut self.merged, &mut of_keys, &states)?;
            if !self.slices.table.is_complete() {
                for group in self.slices.groups.clone() {
                    let (keys, states) = self.stored(*slice, group)?;
                    take(&mut self.merged, &mut keys.iter(), &states)?;
                }
            }
        }
        self.give_local(&keys, window, out)
    }

    /// Results out of `merged`, one for each key.
    fn give_local(&self, keys: &Rows, window: Bounds, out: &mut Vec<Element>) -> Result<()> {
        let there = |slot: &u32| self.merged.is_there(*slot);
        let slots: Vec<u32> = (0..keys.len() as u32).filter(there).collect();
        for slots in slots.chunks(BATCH) {
            let of_keys = slots.iter().map(|slot| keys.get(*slot as usize));
            let columns = self.codec.decode(of_keys)?;
            let values = self.merged.calls.values(slots, &mut HeapMaps::default())?;
            out.push(self.results(columns, values, slots.len(), window)?);
        }
        Ok(())
    }

    fn results(
        &self,
        keys: Vec<ArrayRef>,
        values: Vec<ArrayRef>,
        rows: usize,
        window: Bounds,
    ) -> Result<Element> {
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

impl Operator for WindowAggregate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let count = batch.change.len();
        if let Some(time) = self.windows.over_by_clock(now_millis()) {
            self.advance(time, out)?;
        }
        let of_rows = self.windows.slices(&batch.change.rows)?;
        let mut rows: Vec<u32> = Vec::with_capacity(count);
        let mut slices: Vec<Slice> = Vec::with_capacity(count);
        let mut late = 0;
        // Of the slice that was looked at last: when its first window is over.
        let mut known: Option<(Slice, Option<i64>)> = None;
        for (row, &slice) in of_rows.iter().enumerate() {
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
                Some(watermarks) => watermarks[row].max(self.progress),
                None => self.progress,
            };
            if first_over > now {
                rows.push(row as u32);
                slices.push(slice);
                continue;
            }
            let last = self.windows.of(slice).last().map_or(i64::MIN, |w| w.end);
            if self.windows.over_at(last) <= now {
                late += 1;
                continue;
            }
            // Some of its windows are over, others are not: those that are have to be given without it.
            if now > self.progress {
                self.accumulate(&batch, &rows, &slices)?;
                rows.clear();
                slices.clear();
                self.advance(now, out)?;
            }
            rows.push(row as u32);
            slices.push(self.windows.grown(slice).unwrap_or(slice));
        }
        self.metrics.late_records.add(late);
        self.accumulate(&batch, &rows, &slices)
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        if let Some(time) = self.windows.over_with(&element) {
            self.advance(time, out)?;
        }
        out.push(element);
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        match self.windows.over_by_clock(now_millis) {
            Some(time) => self.advance(time, out),
            None => Ok(()),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        let state = &self.slices.state;
        self.slices.table.flush(|slots, out| state.encode(slots, out))?;
        Ok(vec![self.progress.to_be_bytes().to_vec()])
    }
}

fn damaged() -> Error {
    Error::data_loss("the stored state of a window has another form")
}
