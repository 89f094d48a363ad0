//! Sorted maps beside the rows of a `Table`: one for each slot, entry by entry in memory, so that a
//! key's map may be larger than memory is. What was looked at or has changed is cached; the rest stays
//! in the store.
//!
//! Unlike a `MapTable`'s, these maps have no index of their own: they belong to the table's slots,
//! come and go with their rows, and a new row's map is known to be empty.

use std::collections::BTreeMap;
use std::ops::Bound;

use millrace_core::Result;
use millrace_core::memory::{allocated, widen_with};

use super::slots::Slots;
use super::store::{Family, KeyedStore};
use super::ttl::{self, Life};

#[derive(Debug, Default)]
struct Entry {
    /// As it is stored. Absent: known not to be there.
    value: Option<Box<[u8]>>,
    /// The store has an entry of this key, though maybe with another value.
    is_stored: bool,
    /// The store does not have it as it is here.
    is_dirty: bool,
}

#[derive(Debug)]
struct Map {
    entries: BTreeMap<Box<[u8]>, Entry>,
    /// Everything that the store has is in memory too.
    complete: bool,
    dirty: bool,
}

impl Default for Map {
    fn default() -> Self {
        Map {
            entries: BTreeMap::new(),
            complete: true,
            dirty: false,
        }
    }
}

/// Bytes of an entry of a map beside its key and value, and of a map's first node beside its entries: it has room
/// for eleven, and most maps have one.
pub(super) const ENTRY: usize = 64;
pub(super) const NODE: usize = 400;

fn cost(key: &[u8], entry: &Entry) -> usize {
    ENTRY + allocated(key.len()) + entry.value.as_ref().map_or(0, |v| allocated(v.len()))
}

#[derive(Debug)]
pub struct Maps {
    family: Family,
    maps: Vec<Map>,
    bytes: usize,
}

/// The maps of a table, with what is needed to read more of them.
pub struct MapsOf<'a> {
    pub(super) maps: &'a mut Maps,
    pub(super) store: &'a KeyedStore,
    pub(super) slots: &'a Slots,
    /// Of entries that expire.
    pub(super) life: Option<Life>,
}

/// The value of what is stored, if it has not expired.
fn living(stored: &[u8], life: Option<Life>) -> Result<Option<&[u8]>> {
    let Some(life) = life else {
        return Ok(Some(stored));
    };
    let (written, value) = ttl::split(stored)?;
    Ok((!life.is_over(written)).then_some(value))
}

impl Maps {
    /// Bytes of a slot beside its map's entries.
    pub(super) const SLOT: usize = size_of::<Map>() + NODE;

    pub(super) fn new(family: Family) -> Self {
        Maps {
            family,
            maps: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn family(&self) -> &Family {
        &self.family
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn resize(&mut self, width: usize) {
        if self.maps.len() < width {
            widen_with(&mut self.maps, width, Map::default);
        }
    }

    /// No slot is in use.
    pub(super) fn shrink(&mut self) {
        self.maps = Vec::new();
        self.bytes = 0;
    }

    /// The store may have entries of this slot's key.
    pub(super) fn loaded(&mut self, slot: u32) {
        self.maps[slot as usize].complete = false;
    }

    /// The slot leaves memory. What has changed was written before.
    pub(super) fn free(&mut self, slot: u32) {
        let map = std::mem::take(&mut self.maps[slot as usize]);
        self.bytes -= map.entries.iter().map(|(k, e)| cost(k, e)).sum::<usize>();
    }

    /// Writes what has changed in the maps of these slots.
    pub(super) fn write(&mut self, slots: &[u32], index: &Slots, store: &KeyedStore) -> Result<()> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for slot in slots {
            let map = &self.maps[*slot as usize];
            if !map.dirty {
                continue;
            }
            let (group, key) = (index.group(*slot), index.key(*slot));
            for (entry, found) in map.entries.iter().filter(|(_, found)| found.is_dirty) {
                let place = (group, [key, entry].concat());
                match &found.value {
                    Some(value) => puts.push((place, &**value)),
                    None => deletes.push(place),
                }
            }
        }
        if !puts.is_empty() || !deletes.is_empty() {
            store.write(
                &self.family,
                puts.iter()
                    .map(|((group, key), value)| ((*group, key.as_slice()), *value)),
                deletes.iter().map(|(group, key)| (*group, key.as_slice())),
            )?;
        }
        for slot in slots {
            let map = &mut self.maps[*slot as usize];
            if !std::mem::take(&mut map.dirty) {
                continue;
            }
            let bytes = &mut self.bytes;
            map.entries.retain(|key, entry| {
                entry.is_dirty = false;
                entry.is_stored = entry.value.is_some();
                if entry.value.is_none() {
                    // A complete map knows without it that it is not there; others ask again.
                    *bytes -= cost(key, entry);
                }
                entry.value.is_some()
            });
        }
        Ok(())
    }
}

impl MapsOf<'_> {
    fn map(&mut self, slot: u32) -> &mut Map {
        &mut self.maps.maps[slot as usize]
    }

    /// Brings entries of slots into memory, in one look at the store: `prefix` and the bytes given with
    /// each slot.
    pub fn prefetch<'a>(
        &mut self,
        prefix: &[u8],
        wanted: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Result<()> {
        let mut missing: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut key = Vec::new();
        for (slot, rest) in wanted {
            let map = &self.maps.maps[slot as usize];
            if map.complete {
                continue;
            }
            key.clear();
            key.extend_from_slice(prefix);
            key.extend_from_slice(rest);
            if !map.entries.contains_key(key.as_slice()) {
                missing.push((slot, key.clone()));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        let keys: Vec<(u16, Vec<u8>)> = missing
            .iter()
            .map(|(slot, entry)| {
                (
                    self.slots.group(*slot),
                    [self.slots.key(*slot), entry.as_slice()].concat(),
                )
            })
            .collect();
        let keys = keys.iter().map(|(group, key)| (*group, key.as_slice()));
        let maps = &mut *self.maps;
        let (family, maps, bytes) = (&maps.family, &mut maps.maps, &mut maps.bytes);
        self.store.get_many(family, keys, |i, value| {
            let (slot, key) = &missing[i];
            let entry = Entry {
                is_stored: value.is_some(),
                value: value.map(Into::into),
                is_dirty: false,
            };
            *bytes += cost(key, &entry);
            maps[*slot as usize].entries.insert(key.as_slice().into(), entry);
        })
    }

    pub fn get(&mut self, slot: u32, entry: &[u8]) -> Result<Option<&[u8]>> {
        let map = &self.maps.maps[slot as usize];
        if !map.complete && !map.entries.contains_key(entry) {
            self.prefetch(entry, std::iter::once((slot, [].as_slice())))?;
        }
        let life = self.life;
        let found = self.map(slot).entries.get(entry);
        match found.and_then(|e| e.value.as_deref()) {
            Some(stored) => living(stored, life),
            None => Ok(None),
        }
    }

    pub fn put(&mut self, slot: u32, entry: &[u8], value: &[u8]) {
        match self.life {
            None => self.set(slot, entry, Some(value)),
            Some(life) => self.set(slot, entry, Some(&life.timed(value))),
        }
    }

    /// Writes the entries that begin with `prefix` again as they are, where entries expire.
    pub fn touch(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        let Some(life) = self.life else {
            return Ok(());
        };
        self.complete(slot)?;
        let map = &mut self.maps.maps[slot as usize];
        for (_, entry) in map.entries.range_mut::<[u8], _>(under(prefix, &mut Vec::new())) {
            let Some(stored) = entry.value.as_deref_mut() else {
                continue;
            };
            let (written, _) = ttl::split(stored)?;
            if written != life.now && !life.is_over(written) {
                stored[..ttl::TIME].copy_from_slice(&life.now.to_be_bytes());
                (entry.is_dirty, map.dirty) = (true, true);
            }
        }
        Ok(())
    }

    /// Whether entries are forgotten that were not written for long.
    pub fn expires(&self) -> bool {
        self.life.is_some()
    }

    pub fn remove(&mut self, slot: u32, entry: &[u8]) {
        self.set(slot, entry, None);
    }

    fn set(&mut self, slot: u32, key: &[u8], value: Option<&[u8]>) {
        let map = &mut self.maps.maps[slot as usize];
        let complete = map.complete;
        match map.entries.get_mut(key) {
            Some(entry) if value.is_none() && !entry.is_stored && complete => {
                self.maps.bytes -= cost(key, entry);
                map.entries.remove(key);
            }
            Some(entry) => {
                map.dirty = true;
                self.maps.bytes -= cost(key, entry);
                entry.value = value.map(Into::into);
                entry.is_dirty = true;
                self.maps.bytes += cost(key, entry);
            }
            None if value.is_none() && complete => {}
            None => {
                map.dirty = true;
                let entry = Entry {
                    value: value.map(Into::into),
                    // Nobody has looked.
                    is_stored: !complete,
                    is_dirty: true,
                };
                self.maps.bytes += cost(key, &entry);
                map.entries.insert(key.into(), entry);
            }
        }
    }

    /// The largest entry that begins with `prefix`.
    pub fn last(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let (life, map) = (self.life, &self.maps.maps[slot as usize]);
        let range = map.entries.range::<[u8], _>(under(prefix, &mut Vec::new()));
        let mut best = first_living(range.rev(), life)?;
        let mut damage = Ok(());
        if !map.complete {
            let (group, key) = (self.slots.group(slot), self.slots.key(slot));
            let start = [key, prefix].concat();
            self.store
                .scan_back(&self.maps.family, group, &start, |rest, stored| {
                    let found = [prefix, rest].concat();
                    // What is known of it here was looked at above.
                    let wanted = !map.entries.contains_key(&*found) && is_living(stored, life, &mut damage);
                    let beaten = best.as_ref().is_some_and(|best| *best >= found);
                    if wanted && !beaten {
                        best = Some(found);
                    }
                    !wanted && !beaten
                })?;
        }
        damage.map(|()| best)
    }

    /// The smallest entry that begins with `prefix`.
    pub fn first(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let (life, map) = (self.life, &self.maps.maps[slot as usize]);
        let range = map.entries.range::<[u8], _>(under(prefix, &mut Vec::new()));
        let mut best = first_living(range, life)?;
        let mut damage = Ok(());
        if !map.complete {
            let (group, key) = (self.slots.group(slot), self.slots.key(slot));
            let start = [key, prefix].concat();
            self.store
                .scan_while(&self.maps.family, group, &start, |rest, stored| {
                    let found = [prefix, rest].concat();
                    let wanted = !map.entries.contains_key(&*found) && is_living(stored, life, &mut damage);
                    let beaten = best.as_ref().is_some_and(|best| *best <= found);
                    if wanted && !beaten {
                        best = Some(found);
                    }
                    !wanted && !beaten
                })?;
        }
        damage.map(|()| best)
    }

    /// Calls with the entries that begin with `prefix`, ascending, and their values.
    pub fn each(
        &mut self,
        slot: u32,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.complete(slot)?;
        let life = self.life;
        let entries = &self.map(slot).entries;
        for (key, entry) in entries.range::<[u8], _>(under(prefix, &mut Vec::new())) {
            if let Some(stored) = &entry.value
                && let Some(value) = living(stored, life)?
            {
                visit(key, value)?;
            }
        }
        Ok(())
    }

    /// Removes all entries that begin with `prefix`.
    pub fn clear(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        let map = self.map(slot);
        if map.complete && map.entries.is_empty() {
            return Ok(());
        }
        self.complete(slot)?;
        let map = self.map(slot);
        let range = map.entries.range::<[u8], _>(under(prefix, &mut Vec::new()));
        let keys: Vec<Box<[u8]>> = range.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.remove(slot, key));
        Ok(())
    }

    /// Brings all of a slot's entries into memory.
    fn complete(&mut self, slot: u32) -> Result<()> {
        let map = &mut self.maps.maps[slot as usize];
        if map.complete {
            return Ok(());
        }
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        let bytes = &mut self.maps.bytes;
        self.store.scan(&self.maps.family, group, key, |entry, value| {
            if !map.entries.contains_key(entry) {
                let found = Entry {
                    value: Some(value.into()),
                    is_stored: true,
                    is_dirty: false,
                };
                *bytes += cost(entry, &found);
                map.entries.insert(entry.into(), found);
            }
        })?;
        map.complete = true;
        Ok(())
    }
}

/// The first of some entries that is there.
fn first_living<'a>(
    mut entries: impl Iterator<Item = (&'a Box<[u8]>, &'a Entry)>,
    life: Option<Life>,
) -> Result<Option<Vec<u8>>> {
    let mut damage = Ok(());
    let mut is_there = |stored: &[u8]| is_living(stored, life, &mut damage);
    let found = entries.find(|(_, entry)| entry.value.as_deref().is_some_and(&mut is_there));
    let found = found.map(|(key, _)| key.to_vec());
    damage.map(|()| found)
}

/// Whether what is stored has not expired. Damage counts as living, and is told.
fn is_living(stored: &[u8], life: Option<Life>, damage: &mut Result<()>) -> bool {
    match living(stored, life) {
        Ok(value) => value.is_some(),
        Err(e) => {
            *damage = Err(e);
            true
        }
    }
}

/// The range of what begins with a prefix; `end` holds its end.
fn under<'a>(prefix: &'a [u8], end: &'a mut Vec<u8>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    end.extend_from_slice(prefix);
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => {
            *last += 1;
            (Bound::Included(prefix), Bound::Excluded(end))
        }
        None => (Bound::Included(prefix), Bound::Unbounded),
    }
}
