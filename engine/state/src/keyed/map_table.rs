//! A table with a sorted map for each key: the rows of one side of a join, the values of a DISTINCT,
//! the candidates of a top-N. A key's map is in memory as a whole, or not at all; `large` has those that do not fit.

mod large;
#[cfg(test)]
mod large_tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use millrace_core::memory::{allocated, widen, widen_with};
use millrace_core::row::Rows;
use millrace_core::{Result, key_group};

use self::large::Large;
use super::limits::Held;
use super::maps::{ENTRY, NODE};
use super::slots::Slots;
use super::store::{Family, KeyedStore};
use super::ttl::{self, Life};

struct Value {
    /// As it is stored.
    bytes: Box<[u8]>,
    /// The store has it as it is.
    is_written: bool,
    /// The store has a value of the entry, maybe another one.
    is_stored: bool,
}

#[derive(Default)]
struct Map {
    entries: BTreeMap<Box<[u8]>, Value>,
    /// Entries that the store has and that are gone here.
    removed: Vec<Box<[u8]>>,
    changed: bool,
    /// What all of it takes on the heap.
    bytes: usize,
    /// Nothing of it is here: it is in the store only.
    is_large: bool,
}

impl Map {
    fn bytes_of(entry: &[u8], value: &[u8]) -> usize {
        ENTRY + allocated(entry.len()) + allocated(value.len())
    }

    /// An entry comes out of the store.
    fn load(&mut self, entry: &[u8], value: &[u8]) {
        let value = Value {
            bytes: value.into(),
            is_written: true,
            is_stored: true,
        };
        self.insert(entry, value);
    }

    /// An entry comes in, or goes.
    fn insert(&mut self, entry: &[u8], value: Value) {
        if self.entries.is_empty() {
            self.bytes += NODE;
        }
        self.bytes += Map::bytes_of(entry, &value.bytes);
        self.entries.insert(entry.into(), value);
    }

    fn remove(&mut self, entry: &[u8]) {
        let Some((entry, value)) = self.entries.remove_entry(entry) else {
            return;
        };
        self.changed = true;
        self.bytes -= Map::bytes_of(&entry, &value.bytes);
        if self.entries.is_empty() {
            self.bytes -= NODE;
        }
        // What the store has of an entry that came back is on the list already.
        if value.is_stored {
            self.bytes += gone_bytes(&entry);
            self.removed.push(entry);
        }
    }
}

/// Of an entry that is to be removed from the store.
fn gone_bytes(entry: &[u8]) -> usize {
    allocated(entry.len()) + 2 * size_of::<Box<[u8]>>()
}

pub struct MapTable {
    store: Arc<KeyedStore>,
    family: Family,
    slots: Slots,
    maps: Vec<Map>,
    /// All that the store holds is in memory too.
    complete: bool,
    /// Memory for keys and maps together.
    limit: usize,
    /// Bytes of a map that stays in memory, at most.
    largest: usize,
    /// Maps that have become larger.
    grown: Vec<u32>,
    /// What is known of those that are.
    large: HashMap<u32, Large>,
    /// So much more is taken while a map that does not fit is at work.
    over: usize,
    bytes: usize,
    /// Bytes before each value.
    before: usize,
    expiry: Option<Expiry>,
    held: Held,
}

/// Of a table whose entries expire. What has expired goes when its key is looked up.
struct Expiry {
    life: Life,
    /// Of each slot the time from which on something may have expired, or has to be looked for.
    due: Vec<i64>,
    is_lazy: bool,
}

/// Keys whose maps are written at a time, and bytes after which no more are taken.
const WRITTEN: usize = 1 << 10;
const WRITTEN_BYTES: usize = 4 << 20;
/// So many slots are not worth giving back.
const FEW: usize = 1 << 12;

impl MapTable {
    /// `name` is unique in the store and stays the same over restarts.
    pub fn open(store: &Arc<KeyedStore>, name: &str, limit: usize) -> Result<Self> {
        let (family, is_empty) = store.family(name)?;
        Ok(MapTable {
            held: store.held(),
            store: store.clone(),
            family,
            slots: Slots::default(),
            maps: Vec::new(),
            complete: is_empty,
            limit,
            largest: usize::MAX,
            grown: Vec::new(),
            large: HashMap::new(),
            over: 0,
            bytes: 0,
            before: store.life(name).map_or(0, |_| ttl::TIME),
            expiry: store.life(name).map(|life| Expiry {
                life,
                due: Vec::new(),
                is_lazy: false,
            }),
        })
    }

    /// Has it look for what has expired only when a map comes into memory, and when it has been there for a
    /// lifetime, again: an entry may be seen for up to two lifetimes.
    pub fn looking_seldom(mut self) -> Self {
        if let Some(expiry) = &mut self.expiry {
            expiry.is_lazy = true;
        }
        self
    }

    /// Whether entries are forgotten that were not written for long.
    pub fn expires(&self) -> bool {
        self.expiry.is_some()
    }

    /// Reads the clock, as `resolve` does.
    pub fn read_clock(&mut self) {
        if let Some(expiry) = &mut self.expiry {
            expiry.life.now = self.store.clock.now_millis();
        }
    }

    /// What keys and maps take.
    pub fn bytes(&self) -> usize {
        let each = size_of::<Map>() + self.expiry.as_ref().map_or(0, |_| ttl::TIME);
        self.bytes + self.slots.bytes() + self.slots.width() * each
    }

    /// Two tables together keep to a limit: one has what the other does not need, and half of it in any case.
    pub fn share(limit: usize, one: &mut MapTable, other: &mut MapTable) {
        one.limit = limit.saturating_sub(other.bytes()).max(limit / 2);
        other.limit = limit.saturating_sub(one.bytes().min(one.limit)).max(limit / 2);
    }

    /// Gives each row the slot of its key's map, which is read where it is not in memory. Slots stay
    /// valid until the next `make_room` or `flush`.
    pub fn resolve(
        &mut self,
        keys: &Rows,
        hashes: &[u64],
        groups: &[u16],
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        slots.clear();
        self.read_clock();
        for (row, key) in keys.iter().enumerate() {
            slots.push(self.slot(key, hashes[row], groups[row])?);
        }
        Ok(())
    }

    /// As `resolve`, from a row on, and for no more rows than have room for what is read for them. Gives the end
    /// of those that have their slots, each in its place: one at least.
    pub fn resolve_some(
        &mut self,
        from: usize,
        keys: &Rows,
        hashes: &[u64],
        groups: &[u16],
        slots: &mut Vec<u32>,
    ) -> Result<usize> {
        self.read_clock();
        slots.resize(from, 0);
        let most = self.bytes() + self.limit / 4;
        for row in from..keys.len() {
            let key = keys.get(row);
            if row > from
                && !self.complete
                && self.bytes() > most
                && self.slots.find(key, hashes[row]).is_none()
            {
                return Ok(row);
            }
            slots.push(self.slot(key, hashes[row], groups[row])?);
        }
        Ok(keys.len())
    }

    /// The slot of one key's map, as `resolve` gives it.
    pub fn resolve_one(&mut self, key: &[u8], group: u16) -> Result<u32> {
        self.slot(key, key_group::hash(key), group)
    }

    /// The same with the key's hash.
    pub fn slot(&mut self, key: &[u8], hash: u64, group: u16) -> Result<u32> {
        let slot = match self.slots.find(key, hash) {
            Some(slot) => slot,
            None => {
                let slot = self.slots.insert(key, hash, group);
                if self.maps.len() < self.slots.width() {
                    widen_with(&mut self.maps, self.slots.width(), Map::default);
                }
                if let Some(Expiry { due, .. }) = &mut self.expiry {
                    widen(due, self.maps.len(), 0);
                    due[slot as usize] = 0;
                }
                if !self.complete {
                    self.load(slot)?;
                }
                slot
            }
        };
        self.expire(slot)?;
        Ok(slot)
    }

    /// Removes what has expired of a key.
    fn expire(&mut self, slot: u32) -> Result<()> {
        let Some(Expiry { life, due, is_lazy }) = &mut self.expiry else {
            return Ok(());
        };
        let (life, due) = (*life, &mut due[slot as usize]);
        if *due > life.now {
            return Ok(());
        }
        let (mut gone, mut first) = (Vec::new(), i64::MAX);
        for (entry, value) in &self.maps[slot as usize].entries {
            let (written, _) = ttl::split(&value.bytes)?;
            match life.is_over(written) {
                true => gone.push(entry.clone()),
                false => first = first.min(life.end(written)),
            }
        }
        *due = match is_lazy {
            true => life.end(life.now),
            false => first,
        };
        gone.iter().for_each(|entry| self.remove(slot, entry));
        Ok(())
    }

    pub fn get(&self, slot: u32, entry: &[u8]) -> Option<&[u8]> {
        let value = self.maps[slot as usize].entries.get(entry);
        value.map(|v| &v.bytes[self.before..])
    }

    pub fn len(&self, slot: u32) -> usize {
        self.maps[slot as usize].entries.len()
    }

    pub fn is_empty(&self, slot: u32) -> bool {
        self.maps[slot as usize].entries.is_empty()
    }

    /// The entries between two bounds, ascending.
    pub fn range<'a>(
        &'a self,
        slot: u32,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let entries = &self.maps[slot as usize].entries;
        let before = self.before;
        entries
            .range::<[u8], _>((from, to))
            .map(move |(k, v)| (&**k, &v.bytes[before..]))
    }

    pub fn iter(&self, slot: u32) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.range(slot, Bound::Unbounded, Bound::Unbounded)
    }

    pub fn put(&mut self, slot: u32, entry: &[u8], value: &[u8]) {
        match &mut self.expiry {
            None => self.set(slot, entry, value.into()),
            Some(Expiry { life, due, .. }) => {
                let due = &mut due[slot as usize];
                *due = life.end(life.now).min(*due);
                let stored = life.timed(value);
                self.set(slot, entry, stored);
            }
        }
    }

    /// The same of an entry that does not expire.
    pub fn put_lasting(&mut self, slot: u32, entry: &[u8], value: &[u8]) {
        match self.expiry {
            None => self.set(slot, entry, value.into()),
            Some(_) => self.set(slot, entry, ttl::timed(ttl::LASTING, value)),
        }
    }

    /// Writes entries between two bounds again as they are, where they expire.
    pub fn touch(&mut self, slot: u32, from: Bound<&[u8]>, to: Bound<&[u8]>) {
        let Some(Expiry { life, .. }) = &self.expiry else {
            return;
        };
        let now = life.now.to_be_bytes();
        let map = &mut self.maps[slot as usize];
        map.changed = true;
        for (_, value) in map.entries.range_mut::<[u8], _>((from, to)) {
            value.bytes[..ttl::TIME].copy_from_slice(&now);
            value.is_written = false;
        }
    }

    fn set(&mut self, slot: u32, entry: &[u8], value: Box<[u8]>) {
        self.change(slot, |map| {
            map.changed = true;
            match map.entries.get_mut(entry) {
                Some(there) => {
                    map.bytes += allocated(value.len());
                    map.bytes -= allocated(there.bytes.len());
                    there.bytes = value;
                    there.is_written = false;
                }
                None => {
                    let new = Value {
                        bytes: value,
                        is_written: false,
                        is_stored: false,
                    };
                    map.insert(entry, new);
                }
            }
        });
    }

    pub fn remove(&mut self, slot: u32, entry: &[u8]) {
        self.change(slot, |map| map.remove(entry));
    }

    /// Changes a map, whose bytes are counted among all.
    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Map)) {
        let map = &mut self.maps[slot as usize];
        self.bytes -= map.bytes;
        let before = map.bytes;
        change(map);
        self.bytes += map.bytes;
        if before <= self.largest && map.bytes > self.largest {
            self.grown.push(slot);
        }
    }

    /// Whether there is more in memory than should be, or has come in since room was made where less was not
    /// possible.
    pub fn is_over(&self) -> bool {
        self.bytes() > self.limit + self.over && self.slots.len() > 0
    }

    /// Frees memory where there is more than the limit: what was not used for longest is written, if
    /// it has changed, and leaves memory.
    pub fn make_room(&mut self) -> Result<()> {
        self.over = 0;
        self.let_large_go()?;
        self.make_room_for(usize::MAX)?;
        self.held.set(self.bytes());
        Ok(())
    }

    /// The same between rows of one batch, which may come to the same keys: one whose map would not fit by itself
    /// is not read again and again, unless there are several of them.
    pub fn make_room_between(&mut self) -> Result<()> {
        self.let_large_go()?;
        if !self.is_over() {
            return Ok(());
        }
        self.make_room_for(self.limit / 2)?;
        while self.bytes() > 2 * self.limit && self.slots.len() > 1 {
            let victims = self.slots.coldest(1);
            self.evict(victims)?;
        }
        self.over = self.bytes().saturating_sub(self.limit - self.limit / 8);
        self.held.set(self.bytes());
        Ok(())
    }

    /// Maps larger than `largest` stay.
    fn make_room_for(&mut self, largest: usize) -> Result<()> {
        if self.bytes() <= self.limit {
            return Ok(());
        }
        // An eighth more than needed, so that not every batch has to.
        let aim = self.limit - self.limit / 8;
        let mut goes_on = true;
        // Keys differ in size: of those that were taken for as large as the mean, some may not have been.
        while goes_on && self.slots.len() > 0 && self.bytes() > aim {
            let fixed = self.bytes() - self.bytes;
            let width = self.slots.width();
            // Where most of it is slots that are free, they are given back: all keys go.
            let shrinks = largest == usize::MAX && fixed > aim / 2 && width > 4 * self.slots.len() + FEW;
            let mean = self.bytes / self.slots.len() + fixed / width;
            let count = match shrinks {
                true => self.slots.len(),
                false => ((self.bytes() - aim) / mean.max(1) + 1).min(self.slots.len()),
            };
            let mut victims = self.slots.coldest(count);
            victims.retain(|slot| self.maps[*slot as usize].bytes <= largest);
            goes_on = !victims.is_empty();
            self.evict(victims)?;
            if shrinks {
                self.slots = Slots::default();
                self.maps = Vec::new();
                self.grown.clear();
            }
        }
        Ok(())
    }

    /// Slots leave memory; what has changed is written first.
    fn evict(&mut self, victims: Vec<u32>) -> Result<()> {
        self.write_changed(&victims)?;
        for slot in victims {
            let map = std::mem::take(&mut self.maps[slot as usize]);
            self.complete &= map.entries.is_empty() && !map.is_large;
            self.bytes -= map.bytes;
            self.large.remove(&slot);
            self.slots.remove(slot);
        }
        Ok(())
    }

    /// Writes all that has changed to the store. Keys without entries leave memory.
    pub fn flush(&mut self) -> Result<()> {
        let changed: Vec<u32> = self
            .slots
            .used()
            .filter(|s| self.maps[*s as usize].changed)
            .collect();
        self.write_changed(&changed)?;
        for slot in changed {
            if self.is_empty(slot) {
                self.slots.remove(slot);
            }
        }
        Ok(())
    }

    fn write_changed(&mut self, slots: &[u32]) -> Result<()> {
        // All at once would be in memory a second time.
        let (mut first, mut bytes) = (0, 0);
        for (index, slot) in slots.iter().enumerate() {
            bytes += self.maps[*slot as usize].bytes;
            if bytes > WRITTEN_BYTES || index + 1 - first == WRITTEN {
                self.write_some(&slots[first..=index])?;
                (first, bytes) = (index + 1, 0);
            }
        }
        self.write_some(&slots[first..])
    }

    fn write_some(&mut self, slots: &[u32]) -> Result<()> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for slot in slots {
            let map = &self.maps[*slot as usize];
            if !map.changed {
                continue;
            }
            let (group, key) = (self.slots.group(*slot), self.slots.key(*slot));
            for (entry, value) in map.entries.iter().filter(|(_, value)| !value.is_written) {
                puts.push(((group, [key, entry].concat()), &*value.bytes));
            }
            let gone = map
                .removed
                .iter()
                .filter(|entry| !map.entries.contains_key(*entry));
            deletes.extend(gone.map(|entry| (group, [key, entry].concat())));
        }
        if !puts.is_empty() || !deletes.is_empty() {
            self.store.write(
                &self.family,
                puts.iter()
                    .map(|((group, key), value)| ((*group, key.as_slice()), *value)),
                deletes.iter().map(|(group, key)| (*group, key.as_slice())),
            )?;
        }
        for slot in slots {
            let map = &mut self.maps[*slot as usize];
            if !map.changed {
                continue;
            }
            map.changed = false;
            let gone = std::mem::take(&mut map.removed);
            let gone: usize = gone.iter().map(|entry| gone_bytes(entry)).sum();
            map.bytes -= gone;
            self.bytes -= gone;
            for value in map.entries.values_mut() {
                (value.is_written, value.is_stored) = (true, true);
            }
        }
        Ok(())
    }
}
