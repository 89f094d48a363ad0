//! A table with a sorted map for each key: the rows of one side of a join, the values of a DISTINCT,
//! the candidates of a top-N. A key's map is in memory as a whole, or not at all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use millrace_core::row::Rows;
use millrace_core::{Result, key_group};

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
}

pub struct MapTable {
    store: Arc<KeyedStore>,
    family: Family,
    slots: Slots,
    maps: Vec<Map>,
    /// All that the store holds is in memory too.
    complete: bool,
    /// Memory for keys and entries together.
    limit: usize,
    bytes: usize,
    /// Bytes before each value.
    before: usize,
    expiry: Option<Expiry>,
}

/// Of a table whose entries expire. What has expired goes when its key is looked up.
struct Expiry {
    life: Life,
    /// Of each slot the time from which on something may have expired, or has to be looked for.
    due: Vec<i64>,
    is_lazy: bool,
}

/// Bytes of an entry beside its key and value.
const OVERHEAD: usize = 48;
/// Keys whose maps are written at a time.
const WRITTEN: usize = 1 << 10;
/// Bytes of a map's first node: most maps have one entry, and a node has room for eleven.
const NODE: usize = 440;

impl MapTable {
    /// `name` is unique in the store and stays the same over restarts.
    pub fn open(store: &Arc<KeyedStore>, name: &str, limit: usize) -> Result<Self> {
        let (family, is_empty) = store.family(name)?;
        Ok(MapTable {
            store: store.clone(),
            family,
            slots: Slots::default(),
            maps: Vec::new(),
            complete: is_empty,
            limit,
            bytes: 0,
            before: store.lifetime(name).map_or(0, |_| ttl::TIME),
            expiry: store.lifetime(name).map(|ttl| Expiry {
                life: Life {
                    ttl,
                    now: store.clock.now_millis(),
                },
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

    pub fn bytes(&self) -> usize {
        self.bytes + self.slots.bytes()
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
                    self.maps.resize_with(self.slots.width(), Map::default);
                }
                if let Some(Expiry { due, .. }) = &mut self.expiry {
                    due.resize(self.maps.len(), 0);
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

    fn load(&mut self, slot: u32) -> Result<()> {
        let map = &mut self.maps[slot as usize];
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        let bytes = &mut self.bytes;
        self.store.scan(&self.family, group, key, |entry, value| {
            *bytes += OVERHEAD + entry.len() + value.len();
            let value = Value {
                bytes: value.into(),
                is_written: true,
                is_stored: true,
            };
            map.entries.insert(entry.into(), value);
        })?;
        if !self.is_empty(slot) {
            self.bytes += NODE;
        }
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
        let map = &mut self.maps[slot as usize];
        map.changed = true;
        self.bytes += value.len();
        match map.entries.get_mut(entry) {
            Some(there) => {
                self.bytes -= there.bytes.len();
                there.bytes = value;
                there.is_written = false;
            }
            None => {
                if map.entries.is_empty() {
                    self.bytes += NODE;
                }
                self.bytes += OVERHEAD + entry.len();
                let new = Value {
                    bytes: value,
                    is_written: false,
                    is_stored: false,
                };
                map.entries.insert(entry.into(), new);
            }
        }
    }

    pub fn remove(&mut self, slot: u32, entry: &[u8]) {
        let map = &mut self.maps[slot as usize];
        if let Some((entry, value)) = map.entries.remove_entry(entry) {
            map.changed = true;
            self.bytes -= OVERHEAD + entry.len() + value.bytes.len();
            if map.entries.is_empty() {
                self.bytes -= NODE;
            }
            // What the store has of an entry that came back is on the list already.
            if value.is_stored {
                map.removed.push(entry);
            }
        }
    }

    /// Whether there is more in memory than should be.
    pub fn is_over(&self) -> bool {
        self.bytes() > self.limit && self.slots.len() > 0
    }

    /// Frees memory where there is more than the limit: what was not used for longest is written, if
    /// it has changed, and leaves memory.
    pub fn make_room(&mut self) -> Result<()> {
        if !self.is_over() {
            return Ok(());
        }
        // An eighth more than needed, so that not every batch has to.
        let surplus = self.bytes() - self.limit + self.limit / 8;
        let mean = self.bytes() / self.slots.len();
        let count = (surplus / mean.max(1) + 1).min(self.slots.len());
        let victims = self.slots.coldest(count);
        self.write(&victims)?;
        for slot in victims {
            let map = std::mem::take(&mut self.maps[slot as usize]);
            if !map.entries.is_empty() {
                self.complete = false;
                self.bytes -= NODE;
            }
            let entries = map.entries.iter();
            self.bytes -= entries
                .map(|(k, v)| OVERHEAD + k.len() + v.bytes.len())
                .sum::<usize>();
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
        self.write(&changed)?;
        for slot in changed {
            if self.is_empty(slot) {
                self.slots.remove(slot);
            }
        }
        Ok(())
    }

    fn write(&mut self, slots: &[u32]) -> Result<()> {
        // All at once would be in memory a second time.
        slots.chunks(WRITTEN).try_for_each(|slots| self.write_some(slots))
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
            map.changed = false;
            map.removed.clear();
            for value in map.entries.values_mut() {
                (value.is_written, value.is_stored) = (true, true);
            }
        }
        Ok(())
    }
}
