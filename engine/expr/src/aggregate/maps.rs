//! Where accumulators keep what is too large for a column: a sorted map for each slot, shared by all
//! calls of an operator, each of which has a view of its own in it.

use std::collections::BTreeMap;
use std::ops::Bound;

use millrace_core::Result;

/// What is called with entries and their values.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Sorted maps of bytes, one for each slot.
pub trait Maps {
    /// Says which entries will be looked at, so that they are read at once; changes nothing else. They are
    /// `prefix` and the bytes given with each slot.
    fn prefetch(&mut self, prefix: &[u8], wanted: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()>;

    fn get(&mut self, slot: u32, entry: &[u8]) -> Result<Option<&[u8]>>;

    fn put(&mut self, slot: u32, entry: &[u8], value: &[u8]);

    fn remove(&mut self, slot: u32, entry: &[u8]);

    /// The smallest entry that begins with `prefix`.
    fn first(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The largest entry that begins with `prefix`.
    fn last(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Calls with each entry that begins with `prefix`, ascending, and its value.
    fn each(&mut self, slot: u32, prefix: &[u8], visit: Visit<'_>) -> Result<()>;

    /// Removes what begins with `prefix`.
    fn clear(&mut self, slot: u32, prefix: &[u8]) -> Result<()>;

    /// Whether entries are forgotten that were not written for long.
    fn expires(&self) -> bool {
        false
    }

    /// Where they are, writes those that begin with `prefix` again as they are.
    fn touch(&mut self, _slot: u32, _prefix: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// The part of the maps that belongs to one call: its entries begin with these bytes.
pub(super) type View = [u8; 2];

pub(super) fn view(number: usize) -> View {
    (number as u16).to_be_bytes()
}

/// `prefix`, then `rest`, in a buffer that is used again.
pub(super) fn entry<'a>(buffer: &'a mut Vec<u8>, prefix: &[u8], rest: &[u8]) -> &'a [u8] {
    buffer.clear();
    buffer.extend_from_slice(prefix);
    buffer.extend_from_slice(rest);
    buffer
}

/// The bytes of an entry and of its value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

/// All entries of one slot's map, ascending, with their values.
#[derive(Debug, Default)]
pub struct Entries(Vec<Entry>);

impl Entries {
    /// These entries, which are in their order.
    pub fn new(entries: Vec<Entry>) -> Entries {
        Entries(entries)
    }

    /// Reads them out of the maps, which stay as they are.
    pub fn of(slot: u32, maps: &mut dyn Maps) -> Result<Entries> {
        let mut entries = Vec::new();
        maps.each(slot, &[], &mut |entry, value| {
            entries.push((entry.into(), value.into()));
            Ok(())
        })?;
        Ok(Entries(entries))
    }

    /// Those of a view, without its bytes.
    pub(super) fn of_view(&self, view: View) -> impl Iterator<Item = (&[u8], &[u8])> {
        let from = self.0.partition_point(|(entry, _)| **entry < view[..]);
        let entries = self.0[from..].iter();
        entries.map_while(move |(entry, value)| Some((entry.strip_prefix(&view)?, &**value)))
    }
}

/// Maps in memory alone, for state that no checkpoint holds.
#[derive(Debug, Default)]
pub struct HeapMaps {
    maps: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl HeapMaps {
    /// Slots are below `width` from now on.
    pub fn resize(&mut self, width: usize) {
        self.maps.resize_with(width, BTreeMap::new);
    }

    /// These slots have empty maps.
    pub fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.maps[*slot as usize].clear());
    }

    fn under(&self, slot: u32, prefix: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let to = match end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(end.as_slice()),
        };
        let map = &self.maps[slot as usize];
        map.range::<[u8], _>((Bound::Included(prefix), to))
            .map(|(k, v)| (k.as_slice(), v.as_slice()))
    }
}

impl Maps for HeapMaps {
    fn prefetch(&mut self, _: &[u8], _: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        Ok(())
    }

    fn get(&mut self, slot: u32, entry: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.maps[slot as usize].get(entry).map(Vec::as_slice))
    }

    fn put(&mut self, slot: u32, entry: &[u8], value: &[u8]) {
        self.maps[slot as usize].insert(entry.to_vec(), value.to_vec());
    }

    fn remove(&mut self, slot: u32, entry: &[u8]) {
        self.maps[slot as usize].remove(entry);
    }

    fn first(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.under(slot, prefix).next().map(|(key, _)| key.to_vec()))
    }

    fn last(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.under(slot, prefix).next_back().map(|(key, _)| key.to_vec()))
    }

    fn each(&mut self, slot: u32, prefix: &[u8], visit: Visit<'_>) -> Result<()> {
        self.under(slot, prefix)
            .try_for_each(|(key, value)| visit(key, value))
    }

    fn clear(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        self.maps[slot as usize].retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }
}
