//! Sorted maps beside the rows of a `Table`: one for each slot, entry by entry in memory, so that a
//! key's map may be larger than memory is. What was looked at or has changed is cached; the rest stays
//! in the store: what is gone through comes into memory as far as there is room, and is read past it where
//! there is none.
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
    /// Everything that is there is in memory too.
    complete: bool,
    /// So is everything that begins with one of these.
    known: Vec<Box<[u8]>>,
    /// What the store has under these is gone; it is taken away before what has changed is written.
    cleared: Vec<Box<[u8]>>,
    dirty: bool,
}

impl Default for Map {
    fn default() -> Self {
        Map {
            entries: BTreeMap::new(),
            complete: true,
            known: Vec::new(),
            cleared: Vec::new(),
            dirty: false,
        }
    }
}

impl Map {
    /// Whether all that begins with these bytes is in memory, if it is there.
    fn covers(&self, prefix: &[u8]) -> bool {
        self.complete || self.known.iter().any(|known| prefix.starts_with(known))
    }

    /// Whether it is known without the store what the map has of an entry.
    fn knows(&self, key: &[u8]) -> bool {
        self.covers(key) || self.entries.contains_key(key)
    }

    /// From now on all that begins with these bytes is in memory.
    fn cover(&mut self, prefix: &[u8]) {
        match prefix {
            [] => {
                self.complete = true;
                self.known.clear();
            }
            _ => add_prefix(&mut self.known, prefix),
        }
    }
}

/// Adds a beginning to some of which none is that of another.
fn add_prefix(prefixes: &mut Vec<Box<[u8]>>, prefix: &[u8]) {
    if !prefixes.iter().any(|there| prefix.starts_with(there)) {
        prefixes.retain(|there| !there.starts_with(prefix));
        prefixes.push(prefix.into());
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
    /// Bytes of all maps up to which more is brought into memory than was asked for.
    pub(super) limit: usize,
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
        let (mut puts, mut deletes, mut cleared) = (Vec::new(), Vec::new(), Vec::new());
        for slot in slots {
            let map = &self.maps[*slot as usize];
            if !map.dirty {
                continue;
            }
            let (group, key) = (index.group(*slot), index.key(*slot));
            cleared.extend(map.cleared.iter().map(|prefix| (group, [key, prefix].concat())));
            for (entry, found) in map.entries.iter().filter(|(_, found)| found.is_dirty) {
                let place = (group, [key, entry].concat());
                match &found.value {
                    Some(value) => puts.push((place, &**value)),
                    None => deletes.push(place),
                }
            }
        }
        // First: what was put since is to stay.
        if !cleared.is_empty() {
            let cleared = cleared.iter().map(|(group, prefix)| (*group, prefix.as_slice()));
            store.clear(&self.family, cleared)?;
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
            map.cleared.clear();
            let bytes = &mut self.bytes;
            map.entries.retain(|key, entry| {
                entry.is_dirty = false;
                entry.is_stored = entry.value.is_some();
                if entry.value.is_none() {
                    // Where all is in memory it is known without it that it is not there; else one asks again.
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
            if !map.knows(&key) {
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
        if !map.knows(entry) {
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

    /// Writes the entries that begin with `prefix` again as they are, where entries expire. Those that have
    /// no room in memory are written past it.
    pub fn touch(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        let Some(life) = self.life else {
            return Ok(());
        };
        let is_whole = self.load(slot, prefix)?;
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
        if is_whole {
            return Ok(());
        }
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        let start = [key, prefix].concat();
        let map = &self.maps.maps[slot as usize];
        let family = &self.maps.family;
        let mut damage = Ok(());
        self.store.rewrite(family, group, &start, |rest, stored| {
            if map.knows(&[prefix, rest].concat()) {
                return None;
            }
            match ttl::split(stored) {
                Ok((written, value)) if written != life.now && !life.is_over(written) => {
                    Some(life.timed(value))
                }
                Ok(_) => None,
                Err(e) => {
                    damage = Err(e);
                    None
                }
            }
        })?;
        damage
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
        let covers = map.covers(key);
        match map.entries.get_mut(key) {
            Some(entry) if value.is_none() && !entry.is_stored && covers => {
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
            None if value.is_none() && covers => {}
            None => {
                map.dirty = true;
                let entry = Entry {
                    value: value.map(Into::into),
                    // Nobody has looked.
                    is_stored: !covers,
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
        if !map.covers(prefix) {
            let (group, key) = (self.slots.group(slot), self.slots.key(slot));
            let start = [key, prefix].concat();
            self.store
                .scan_back(&self.maps.family, group, &start, |rest, stored| {
                    let found = [prefix, rest].concat();
                    // What is known of it here was looked at above.
                    let wanted = !map.knows(&found) && is_living(stored, life, &mut damage);
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
        if !map.covers(prefix) {
            let (group, key) = (self.slots.group(slot), self.slots.key(slot));
            let start = [key, prefix].concat();
            self.store
                .scan_while(&self.maps.family, group, &start, |rest, stored| {
                    let found = [prefix, rest].concat();
                    let wanted = !map.knows(&found) && is_living(stored, life, &mut damage);
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
        self.load(slot, prefix)?;
        self.each_from(slot, prefix, &[], |entry, value| {
            visit(entry, value).map(|()| true)
        })
    }

    /// Calls with the entries that begin with `prefix` and go on with `from` or behind it, ascending, and their
    /// values, until `visit` says that it wants no more. Nothing comes into memory.
    pub fn each_from(
        &self,
        slot: u32,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let (life, map) = (self.life, &self.maps.maps[slot as usize]);
        let mut end = Vec::new();
        let (_, end) = under(prefix, &mut end);
        let start = [prefix, from].concat();
        let range = map.entries.range::<[u8], _>((Bound::Included(&*start), end));
        let mut visit = |key: &[u8], stored: &[u8]| match living(stored, life)? {
            Some(value) => visit(key, value),
            None => Ok(true),
        };
        let mut here = range.filter_map(|(key, entry)| Some((&**key, entry.value.as_deref()?)));
        let mut next = here.next();
        if !map.covers(prefix) {
            let (group, key) = (self.slots.group(slot), self.slots.key(slot));
            let mut found = prefix.to_vec();
            // What is left to be done, or that nothing is.
            let mut going = Ok(true);
            let mut step = |rest: &[u8], stored: &[u8]| -> Result<bool> {
                found.truncate(prefix.len());
                found.extend_from_slice(rest);
                while let Some((key, value)) = next.filter(|(key, _)| *key < found.as_slice()) {
                    next = here.next();
                    if !visit(key, value)? {
                        return Ok(false);
                    }
                }
                match map.knows(&found) {
                    true => Ok(true),
                    false => visit(&found, stored),
                }
            };
            let start = [key, prefix].concat();
            self.store
                .scan_under(&self.maps.family, group, &start, from, |rest, stored| {
                    going = step(rest, stored);
                    matches!(going, Ok(true))
                })?;
            if !going? {
                return Ok(());
            }
        }
        while let Some((key, value)) = next {
            if !visit(key, value)? {
                return Ok(());
            }
            next = here.next();
        }
        Ok(())
    }

    /// Removes all entries that begin with `prefix`. What is in the store only is not looked at.
    pub fn clear(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        let map = self.map(slot);
        if map.complete && map.entries.is_empty() {
            return Ok(());
        }
        let range = map.entries.range::<[u8], _>(under(prefix, &mut Vec::new()));
        let keys: Vec<Box<[u8]>> = range.map(|(key, _)| key.clone()).collect();
        if map.covers(prefix) {
            keys.iter().for_each(|key| self.remove(slot, key));
            return Ok(());
        }
        for key in keys {
            let map = &mut self.maps.maps[slot as usize];
            if let Some(entry) = map.entries.remove(&key) {
                self.maps.bytes -= cost(&key, &entry);
            }
        }
        let map = self.map(slot);
        add_prefix(&mut map.cleared, prefix);
        map.cover(prefix);
        map.dirty = true;
        Ok(())
    }

    /// Writes what has changed in a slot's map to the store, and lets it go from memory, where all maps take
    /// more than they should.
    pub fn relieve(&mut self, slot: u32) -> Result<()> {
        if self.maps.bytes <= self.limit {
            return Ok(());
        }
        self.maps.write(&[slot], self.slots, self.store)?;
        self.maps.free(slot);
        self.maps.loaded(slot);
        Ok(())
    }

    /// Brings all entries of a slot that begin with `prefix` into memory, if there is room; whether they are.
    fn load(&mut self, slot: u32, prefix: &[u8]) -> Result<bool> {
        let map = &mut self.maps.maps[slot as usize];
        if map.covers(prefix) {
            return Ok(true);
        }
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        let (bytes, limit) = (&mut self.maps.bytes, self.limit);
        if *bytes >= limit {
            return Ok(false);
        }
        let start = [key, prefix].concat();
        let mut is_whole = true;
        self.store
            .scan_while(&self.maps.family, group, &start, |rest, value| {
                let entry = [prefix, rest].concat();
                if !map.knows(&entry) {
                    let found = Entry {
                        value: Some(value.into()),
                        is_stored: true,
                        is_dirty: false,
                    };
                    *bytes += cost(&entry, &found);
                    map.entries.insert(entry.into(), found);
                    is_whole = *bytes < limit;
                }
                is_whole
            })?;
        if is_whole {
            map.cover(prefix);
        }
        Ok(is_whole)
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
pub(super) fn under<'a>(prefix: &'a [u8], end: &'a mut Vec<u8>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
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
