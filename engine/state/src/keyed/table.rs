//! A table of keyed state as an operator sees it: keys to slots, and what to write back.

use std::sync::Arc;

use millrace_core::Result;
use millrace_core::row::Rows;

use super::maps::{Maps, MapsOf};
use super::slots::{Slots, State};
use super::store::{Family, KeyedStore};

/// What `resolve` found, beside the slot of each row.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Slots of keys without state: their accumulators have to be reset.
    pub fresh: Vec<u32>,
    /// Slots whose accumulators have to be set from `values`, in this order.
    pub loaded: Vec<u32>,
    pub values: Rows,
}

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
    /// A map beside each row.
    maps: Option<Maps>,
}

impl Table {
    /// `name` is unique in the store and stays the same over restarts; `value_bytes` is what a slot
    /// takes in the operator's columns, `limit` the memory for both.
    pub fn open(store: &Arc<KeyedStore>, name: &str, value_bytes: usize, limit: usize) -> Result<Self> {
        let (family, is_empty) = store.family(name)?;
        Ok(Table {
            store: store.clone(),
            family,
            slots: Slots::default(),
            complete: is_empty,
            limit,
            value_bytes,
            maps: None,
        })
    }

    /// The same with a sorted map beside each key's row. A map is there as long as its row is, and
    /// who changes one says so of the row too (`changed`).
    pub fn with_maps(self, name: &str) -> Result<Self> {
        let (family, _) = self.store.family(name)?;
        Ok(Table {
            maps: Some(Maps::new(family)),
            ..self
        })
    }

    /// The maps beside the rows; none where the table was opened without.
    pub fn maps(&mut self) -> Option<MapsOf<'_>> {
        let maps = self.maps.as_mut()?;
        Some(MapsOf {
            maps,
            store: &self.store,
            slots: &self.slots,
        })
    }

    /// How long the operator's columns have to be.
    pub fn width(&self) -> usize {
        self.slots.width()
    }

    /// What a slot takes in the operator's columns now, where that differs from row to row: the mean.
    pub fn set_value_bytes(&mut self, bytes: usize) {
        self.value_bytes = bytes;
    }

    pub fn bytes(&self) -> usize {
        let maps = self.maps.as_ref().map_or(0, Maps::bytes);
        self.slots.bytes() + self.slots.width() * self.value_bytes + maps
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
        for (row, key) in keys.iter().enumerate() {
            let slot = match self.slots.find(key, hashes[row]) {
                Some(slot) => {
                    if self.slots.state(slot) == State::Removed {
                        self.slots.set_state(slot, State::Dirty);
                        resolved.fresh.push(slot);
                    }
                    slot
                }
                None => {
                    let slot = self.slots.insert(key, hashes[row], groups[row]);
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
            // What is left of a key that was removed: the new one begins with an empty map.
            for slot in &resolved.fresh {
                self.clear_map(*slot)?;
            }
        }
        if self.complete {
            resolved.fresh.append(&mut missing);
            return Ok(resolved);
        }
        if !missing.is_empty() {
            let wanted = missing
                .iter()
                .map(|slot| (self.slots.group(*slot), self.slots.key(*slot)));
            let found = self.store.get_many(&self.family, wanted)?;
            for (slot, value) in missing.into_iter().zip(found) {
                match value {
                    None => resolved.fresh.push(slot),
                    Some(value) => {
                        self.slots.set_stored(slot);
                        if let Some(maps) = &mut self.maps {
                            maps.loaded(slot);
                        }
                        resolved.loaded.push(slot);
                        resolved.values.push(&value);
                    }
                }
            }
        }
        Ok(resolved)
    }

    /// The accumulators of these slots have changed.
    pub fn changed(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            self.slots.set_state(slot, State::Dirty);
        }
    }

    /// The key has no state any more, and its map no entries.
    pub fn remove(&mut self, slot: u32) {
        self.slots.set_state(slot, State::Removed);
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.slots.key(slot)
    }

    /// Sees to it that `rows` more keys fit: what was not used for longest goes, written first if it
    /// has changed. `encode` gives the accumulators of slots as rows.
    pub fn make_room(
        &mut self,
        rows: usize,
        encode: impl FnOnce(&[u32], &mut Rows) -> Result<()>,
    ) -> Result<()> {
        let used = self.slots.len();
        if used == 0 {
            return Ok(());
        }
        let maps = self.maps.as_ref().map_or(0, Maps::bytes);
        let each = self.value_bytes + self.slots.bytes() / self.slots.width().max(1) + maps / used;
        let most = self.limit / each.max(1);
        let surplus = (used + rows).saturating_sub(most);
        if surplus == 0 {
            return Ok(());
        }
        // Some more than needed, so that not every batch has to.
        let victims = self.slots.coldest((surplus + most / 16).min(used));
        self.write(&victims, encode)?;
        for slot in victims {
            if self.slots.state(slot) != State::Removed {
                self.complete = false;
            }
            self.free(slot);
        }
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
    pub fn flush(&mut self, encode: impl FnOnce(&[u32], &mut Rows) -> Result<()>) -> Result<()> {
        let changed = self.slots.in_state(&[State::Dirty, State::Removed]);
        self.write(&changed, encode)?;
        for slot in changed {
            match self.slots.state(slot) {
                State::Removed => self.free(slot),
                _ => self.slots.set_state(slot, State::Clean),
            }
        }
        Ok(())
    }

    fn write(&mut self, slots: &[u32], encode: impl FnOnce(&[u32], &mut Rows) -> Result<()>) -> Result<()> {
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
        if dirty.is_empty() && removed.is_empty() {
            return Ok(());
        }
        if let Some(maps) = &mut self.maps {
            maps.write(slots, &self.slots, &self.store)?;
        }
        let mut rows = Rows::default();
        encode(&dirty, &mut rows)?;
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
        matches!(self.slots.state(slot), State::Clean | State::Dirty)
    }

    /// The keys of these slots have no state any more, and the slots are free at once.
    pub fn release(&mut self, slots: &[u32]) -> Result<()> {
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
