//! A table of keyed state as an operator sees it: keys to slots, and what to write back.

use std::sync::Arc;

use millrace_core::Result;
use millrace_core::memory::widen;
use millrace_core::row::Rows;

use super::limits::Held;
use super::maps::{Maps, MapsOf};
use super::slots::{Slots, State};
use super::store::{Family, KeyedStore};
use super::ttl::{self, Life};

/// What `resolve` found, beside the slot of each row.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Slots of keys without state: their accumulators have to be reset.
    pub fresh: Vec<u32>,
    /// Slots whose accumulators have to be set from `values`, in this order.
    pub loaded: Vec<u32>,
    pub values: Rows,
}

/// An operator's columns, in which it keeps the values of slots.
pub trait Columns {
    /// What the values of all slots together take on the heap, outside of the columns themselves.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Appends the values of slots as rows.
    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()>;

    /// The slots are nobody's: what their values take on the heap goes.
    fn release(&mut self, _slots: &[u32]) {}
}

/// Of values that take nothing outside of the columns.
impl<F: Fn(&[u32], &mut Rows) -> Result<()>> Columns for F {
    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        self(slots, out)
    }
}

/// Rows that are encoded at a time, and their bytes: they are in memory several times over meanwhile.
const WRITTEN: usize = 1 << 13;
const WRITTEN_BYTES: usize = 4 << 20;
/// So many slots are not worth giving back.
const FEW: usize = 1 << 12;
/// Rows to come that are looked at, at most, and the bytes of their values.
const LOOK_AHEAD: usize = 1 << 17;
const LOOK_AHEAD_BYTES: usize = 4 << 20;

pub struct Table {
    store: Arc<KeyedStore>,
    family: Family,
    slots: Slots,
    /// All that the store holds is in memory too: a key that is not has no state.
    complete: bool,
    /// Memory that keys and the operator's columns may take together.
    limit: usize,
    /// Bytes of the operator's columns for one slot.
    value_bytes: usize,
    /// Outside of them, of all slots: as it was when last seen.
    held_bytes: usize,
    /// A map beside each row.
    maps: Option<Maps>,
    expiry: Option<Expiry>,
    held: Held,
}

/// Of a table whose rows expire.
struct Expiry {
    life: Life,
    /// Of each slot, when its row was written.
    times: Vec<i64>,
    /// Beginnings of entries that are part of their map's row: they are written whenever it is.
    with_row: Vec<Vec<u8>>,
}

impl Table {
    /// `name` is unique in the store and stays the same over restarts; `value_bytes` is what a slot
    /// takes in the operator's columns, `limit` the memory for both and for what the values hold outside of
    /// them ([`Columns::held_bytes`]).
    pub fn open(store: &Arc<KeyedStore>, name: &str, value_bytes: usize, limit: usize) -> Result<Self> {
        let (family, is_empty) = store.family(name)?;
        let expiry = store.life(name).map(|life| Expiry {
            life,
            times: Vec::new(),
            with_row: Vec::new(),
        });
        let time = expiry.as_ref().map_or(0, |_| ttl::TIME);
        Ok(Table {
            held: store.held(),
            store: store.clone(),
            family,
            slots: Slots::default(),
            complete: is_empty,
            limit,
            value_bytes: value_bytes + time,
            held_bytes: 0,
            maps: None,
            expiry,
        })
    }

    /// The same with a sorted map beside each key's row. A map is there as long as its row is, and
    /// who changes one says so of the row too (`changed`).
    ///
    /// Where rows expire entries do too, each by itself; but those that begin with one of `with_row` live as
    /// long as their row.
    pub fn with_maps(mut self, name: &str, with_row: Vec<Vec<u8>>) -> Result<Self> {
        let (family, _) = self.store.family(name)?;
        if let Some(expiry) = &mut self.expiry {
            expiry.with_row = with_row;
        }
        Ok(Table {
            maps: Some(Maps::new(family)),
            ..self
        })
    }

    /// The maps beside the rows; none where the table was opened without.
    pub fn maps(&mut self) -> Option<MapsOf<'_>> {
        // The maps have what the columns leave, and a quarter of all in any case: with less they would come and go.
        let columns = self.slots.width() * self.fixed_bytes() + self.slots.key_bytes() + self.held_bytes;
        let limit = self.limit.saturating_sub(columns).max(self.limit / 4);
        let maps = self.maps.as_mut()?;
        Some(MapsOf {
            maps,
            store: &self.store,
            slots: &self.slots,
            life: self.expiry.as_ref().map(|expiry| expiry.life),
            limit,
        })
    }

    /// Whether rows are forgotten that were not written for long.
    pub fn expires(&self) -> bool {
        self.expiry.is_some()
    }

    /// How long the operator's columns have to be.
    pub fn width(&self) -> usize {
        self.slots.width()
    }

    /// What keys, columns, values and maps take.
    pub fn bytes(&self) -> usize {
        self.slots.width() * self.fixed_bytes() + self.varying_bytes()
    }

    /// Of each slot, used or not.
    fn fixed_bytes(&self) -> usize {
        super::slots::OVERHEAD + self.value_bytes + self.maps.as_ref().map_or(0, |_| Maps::SLOT)
    }

    /// Of all slots in use together.
    fn varying_bytes(&self) -> usize {
        let maps = self.maps.as_ref().map_or(0, Maps::bytes);
        self.slots.key_bytes() + self.held_bytes + maps
    }

    /// Gives each row the slot of its key. Slots stay valid until the next `make_room` or `flush`.
    pub fn resolve(
        &mut self,
        keys: &Rows,
        hashes: &[u64],
        groups: &[u16],
        slots: &mut Vec<u32>,
    ) -> Result<Resolved> {
        slots.clear();
        let mut resolved = Resolved::default();
        let mut missing = Vec::new();
        if let Some(expiry) = &mut self.expiry {
            expiry.life.now = self.store.clock.now_millis();
        }
        for (row, key) in keys.iter().enumerate() {
            let slot = match self.slots.find(key, hashes[row]) {
                Some(slot) => {
                    let expired = self.expiry.as_ref().is_some_and(|expiry| expiry.is_over(slot));
                    if expired || self.slots.state(slot) == State::Removed {
                        self.slots.set_state(slot, State::Dirty);
                        self.written_now(slot);
                        resolved.fresh.push(slot);
                    }
                    slot
                }
                None => {
                    let slot = self.slots.insert(key, hashes[row], groups[row]);
                    self.written_now(slot);
                    missing.push(slot);
                    slot
                }
            };
            slots.push(slot);
        }
        if let Some(maps) = &mut self.maps {
            maps.resize(self.slots.width());
        }
        if self.maps.is_some() {
            // What is left of a key that was removed or has expired: the new one begins with an empty map.
            for slot in &resolved.fresh {
                self.clear_map(*slot)?;
            }
        }
        self.load(missing, &mut resolved)?;
        Ok(resolved)
    }

    /// Looks for what the store has of slots that are new in memory.
    fn load(&mut self, mut missing: Vec<u32>, resolved: &mut Resolved) -> Result<()> {
        if self.complete {
            resolved.fresh.append(&mut missing);
            return Ok(());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let wanted = missing
            .iter()
            .map(|slot| (self.slots.group(*slot), self.slots.key(*slot)));
        let (mut present, mut stored) = (Vec::new(), Rows::default());
        self.store
            .get_many(&self.family, wanted, |i, value| match value {
                None => resolved.fresh.push(missing[i]),
                Some(value) => {
                    present.push(missing[i]);
                    stored.push(value);
                }
            })?;
        for slot in &present {
            self.slots.set_stored(*slot);
            if let Some(maps) = &mut self.maps {
                maps.loaded(*slot);
            }
        }
        let Some(expiry) = &mut self.expiry else {
            resolved.loaded = present;
            resolved.values = stored;
            return Ok(());
        };
        let mut expired = Vec::new();
        for (slot, value) in present.into_iter().zip(stored.iter()) {
            let (written, value) = ttl::split(value)?;
            if expiry.life.is_over(written) {
                expired.push(slot);
                continue;
            }
            expiry.times[slot as usize] = written;
            resolved.loaded.push(slot);
            resolved.values.push(value);
        }
        for slot in expired {
            self.slots.set_state(slot, State::Dirty);
            self.clear_map(slot)?;
            resolved.fresh.push(slot);
        }
        Ok(())
    }

    /// How many of the rows to come are worth a `prefetch`: none while all keys are in memory, and
    /// never so many that they would drive each other out, or be much as bytes beside the cache.
    pub fn look_ahead(&self) -> usize {
        let varying = self.varying_bytes() / self.slots.len().max(1);
        match self.complete {
            true => 0,
            false => (self.limit / self.bytes_of_slot() / 4)
                .min(LOOK_AHEAD)
                .min(LOOK_AHEAD_BYTES / varying.max(1)),
        }
    }

    /// Brings keys into memory that will be resolved soon. One look into the store for many of them,
    /// in their order there, costs a fraction of many looks. Accumulators have to be set as after
    /// `resolve`; keys without state stay so, and are remembered as such.
    pub fn prefetch(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Resolved> {
        let mut resolved = Resolved::default();
        let mut missing = Vec::new();
        if let Some(expiry) = &mut self.expiry {
            expiry.life.now = self.store.clock.now_millis();
        }
        for (row, key) in keys.iter().enumerate() {
            if self.slots.find(key, hashes[row]).is_none() {
                let slot = self.slots.insert(key, hashes[row], groups[row]);
                self.written_now(slot);
                missing.push(slot);
            }
        }
        if let Some(maps) = &mut self.maps {
            maps.resize(self.slots.width());
        }
        self.load(missing, &mut resolved)?;
        for slot in resolved.fresh.drain(..) {
            self.slots.set_state(slot, State::Removed);
        }
        Ok(resolved)
    }

    /// What a slot in use takes: the mean.
    fn bytes_of_slot(&self) -> usize {
        self.fixed_bytes() + self.varying_bytes() / self.slots.len().max(1)
    }

    /// How many slots in use fit.
    fn fitting(&self) -> usize {
        let fitting = self.limit / self.bytes_of_slot();
        let width = self.slots.width();
        let varying = self.varying_bytes() / self.slots.len().max(1);
        if fitting >= width || varying == 0 {
            return fitting;
        }
        // Slots that are free take their part too: there were more of them when values were smaller.
        let left = self.limit.saturating_sub(width * self.fixed_bytes());
        (left / varying).max(fitting / 2)
    }

    fn written_now(&mut self, slot: u32) {
        if let Some(Expiry { life, times, .. }) = &mut self.expiry {
            widen(times, self.slots.width(), life.now);
            times[slot as usize] = life.now;
        }
    }

    /// The accumulators of these slots have changed.
    pub fn changed(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            self.slots.set_state(slot, State::Dirty);
            self.written_now(slot);
        }
    }

    /// Writes what belongs to the rows of these slots, which have changed, in their maps.
    pub fn keep_with_rows(&mut self, slots: &[u32]) -> Result<()> {
        let with_row = match &self.expiry {
            Some(expiry) if !expiry.with_row.is_empty() => expiry.with_row.clone(),
            _ => return Ok(()),
        };
        for slot in slots {
            if self.slots.state(*slot) != State::Dirty {
                continue;
            }
            for prefix in &with_row {
                if let Some(mut maps) = self.maps() {
                    maps.touch(*slot, prefix)?;
                }
            }
        }
        Ok(())
    }

    /// The key has no state any more, and its map no entries.
    pub fn remove(&mut self, slot: u32) {
        self.slots.set_state(slot, State::Removed);
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.slots.key(slot)
    }

    /// Sees to it that `rows` more keys fit, if they are like those that are there: what was not used for
    /// longest goes, written first if it has changed.
    pub fn make_room(&mut self, rows: usize, columns: &mut impl Columns) -> Result<()> {
        self.let_go(rows, columns)?;
        self.held.set(self.bytes());
        Ok(())
    }

    fn let_go(&mut self, rows: usize, columns: &mut impl Columns) -> Result<()> {
        // Keys differ in size: of those that were taken for as large as the mean, some may not have been.
        while self.slots.len() > 0 {
            self.held_bytes = columns.held_bytes();
            let used = self.slots.len();
            let most = self.fitting();
            let surplus = (used + rows).saturating_sub(most);
            if surplus == 0 {
                return Ok(());
            }
            // Where most slots are free, they are given back: all keys go.
            let shrinks = self.slots.width() > 2 * most.max(rows) + FEW;
            // Some more than needed, so that not every batch has to.
            let count = if shrinks {
                used
            } else {
                (surplus + most / 16).min(used)
            };
            let victims = self.slots.coldest(count);
            self.write(&victims, columns)?;
            for slot in &victims {
                if self.slots.state(*slot) != State::Removed {
                    self.complete = false;
                }
                self.free(*slot);
            }
            columns.release(&victims);
            if shrinks {
                self.slots = Slots::default();
                self.maps.iter_mut().for_each(Maps::shrink);
                if let Some(expiry) = &mut self.expiry {
                    expiry.times = Vec::new();
                }
            }
        }
        self.held_bytes = columns.held_bytes();
        Ok(())
    }

    fn free(&mut self, slot: u32) {
        self.slots.remove(slot);
        if let Some(maps) = &mut self.maps {
            maps.free(slot);
        }
    }

    fn clear_map(&mut self, slot: u32) -> Result<()> {
        match self.maps() {
            Some(mut maps) => maps.clear(slot, &[]),
            None => Ok(()),
        }
    }

    /// Writes all that has changed to the store.
    pub fn flush(&mut self, columns: &mut impl Columns) -> Result<()> {
        let changed = self.slots.in_state(&[State::Dirty, State::Removed]);
        self.held_bytes = columns.held_bytes();
        self.write(&changed, columns)?;
        let mut removed = Vec::new();
        for slot in changed {
            match self.slots.state(slot) {
                State::Removed => {
                    self.free(slot);
                    removed.push(slot);
                }
                _ => self.slots.set_state(slot, State::Clean),
            }
        }
        columns.release(&removed);
        Ok(())
    }

    fn write(&mut self, slots: &[u32], columns: &impl Columns) -> Result<()> {
        // The store sorts what is written by where the last key went: neighbours cost it a few steps.
        let sorted = self.slots.sorted(slots);
        // All at once would be in memory a second time, as bytes.
        let at_once = (WRITTEN_BYTES / self.bytes_of_slot()).clamp(1, WRITTEN);
        sorted
            .chunks(at_once)
            .try_for_each(|slots| self.write_some(slots, columns))
    }

    fn write_some(&mut self, slots: &[u32], columns: &impl Columns) -> Result<()> {
        let of = |wanted: State| -> Vec<u32> {
            let all = slots.iter().copied();
            all.filter(|slot| self.slots.state(*slot) == wanted).collect()
        };
        let (dirty, mut removed) = (of(State::Dirty), of(State::Removed));
        // Those of a key that was never stored too: else they would be written for nobody, and found
        // when the key comes again.
        for slot in &removed {
            self.clear_map(*slot)?;
        }
        removed.retain(|slot| self.slots.is_stored(*slot));
        if let Some(maps) = &mut self.maps {
            maps.write(slots, &self.slots, &self.store)?;
        }
        if dirty.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::default();
        columns.encode(&dirty, &mut rows)?;
        if let Some(expiry) = &self.expiry {
            let mut timed = Rows::default();
            for (slot, row) in dirty.iter().zip(rows.iter()) {
                timed.push(&ttl::timed(expiry.times[*slot as usize], row));
            }
            rows = timed;
        }
        let place = |slot: &u32| (self.slots.group(*slot), self.slots.key(*slot));
        self.store.write(
            &self.family,
            dirty.iter().map(place).zip(rows.iter()),
            removed.iter().map(place),
        )?;
        dirty.into_iter().for_each(|slot| self.slots.set_stored(slot));
        Ok(())
    }

    /// All keys that have state are in memory.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether a slot is that of a key with state.
    pub fn is_live(&self, slot: u32) -> bool {
        (slot as usize) < self.slots.width() && matches!(self.slots.state(slot), State::Clean | State::Dirty)
    }

    /// The keys of these slots have no state any more, and the slots are free at once.
    pub fn release(&mut self, slots: &[u32], columns: &mut impl Columns) -> Result<()> {
        for slot in slots {
            self.clear_map(*slot)?;
        }
        if let Some(maps) = &mut self.maps {
            maps.write(slots, &self.slots, &self.store)?;
        }
        let stored = slots.iter().filter(|slot| self.slots.is_stored(**slot));
        let places = stored.map(|slot| (self.slots.group(*slot), self.slots.key(*slot)));
        self.store.write(&self.family, std::iter::empty(), places)?;
        slots.iter().for_each(|slot| self.free(*slot));
        columns.release(slots);
        Ok(())
    }

    /// The map of a key that is in the store and not in memory, entry by entry.
    pub fn stored_map(&self, group: u16, key: &[u8], entry: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match &self.maps {
            Some(maps) => self.store.scan(maps.family(), group, key, entry),
            None => Ok(()),
        }
    }

    /// The smallest key of a group in the store that is not below `from`.
    pub fn stored_key(&self, group: u16, from: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store.first_key(&self.family, group, from)
    }

    /// Rows of a group that are in the store and not in memory, whose key begins with `prefix`, until
    /// `row` says that it wants no more. `hash` gives a key's hash as `resolve` was told it.
    pub fn scan_stored(
        &mut self,
        group: u16,
        prefix: &[u8],
        hash: impl Fn(&[u8]) -> u64,
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let mut key = prefix.to_vec();
        let slots = &mut self.slots;
        self.store.scan_while(&self.family, group, prefix, |rest, value| {
            key.truncate(prefix.len());
            key.extend_from_slice(rest);
            slots.find(&key, hash(&key)).is_some() || row(&key, value)
        })
    }
}

impl Expiry {
    fn is_over(&self, slot: u32) -> bool {
        let written = self.times.get(slot as usize);
        written.is_some_and(|written| self.life.is_over(*written))
    }
}
