//! Maps that are too large to be in memory: what is put into them goes to the store at once, and what is asked of
//! them is read there. Only tables whose owner goes through a map piece by piece have such.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Bound;

use millrace_core::Result;

use super::{Map, MapTable};
use crate::keyed::maps::under;
use crate::keyed::ttl;

/// What is known of a large map.
#[derive(Default)]
pub(super) struct Large {
    /// Nothing is there from the first one on to before the second. Where a map loses its first entries again and
    /// again, they are still in the way of who looks for the next, until the store has forgotten them.
    gone: RefCell<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Large {
    /// Where to look for what is not below `from`.
    fn start(&self, from: &[u8]) -> Vec<u8> {
        match &*self.gone.borrow() {
            Some((first, next)) if first.as_slice() <= from && from < next.as_slice() => next.clone(),
            _ => from.to_vec(),
        }
    }

    /// An entry is the first one that is not below `from`.
    fn is_first(&self, from: &[u8], entry: &[u8]) {
        let mut gone = self.gone.borrow_mut();
        match &mut *gone {
            Some((first, next)) if first.as_slice() <= from && from < next.as_slice() => {
                *next = entry.to_vec()
            }
            // Another gap that is known stays, where it comes before.
            Some((first, _)) if first.as_slice() <= from => {}
            _ if from < entry => *gone = Some((from.to_vec(), entry.to_vec())),
            _ => {}
        }
    }

    fn comes(&self, entry: &[u8]) {
        if let Some((first, next)) = &mut *self.gone.borrow_mut()
            && first.as_slice() <= entry
            && entry < next.as_slice()
        {
            *next = entry.to_vec();
        }
    }
}

/// A map is large that takes more than this part of a table's memory.
const PART: usize = 8;

impl MapTable {
    /// Has it keep maps in the store that would take an eighth of its memory. They are reached by `read`, `write` and
    /// `each_from` only, which serve all maps.
    pub fn with_large_maps(mut self) -> Self {
        self.largest = (self.limit / PART).max(1);
        self
    }

    /// Whether a map is in the store only.
    pub fn is_large(&self, slot: u32) -> bool {
        self.maps[slot as usize].is_large
    }

    /// The value of an entry.
    pub fn read(&self, slot: u32, entry: &[u8]) -> Result<Option<Cow<'_, [u8]>>> {
        if !self.is_large(slot) {
            return Ok(self.get(slot, entry).map(Cow::Borrowed));
        }
        let place = [self.slots.key(slot), entry].concat();
        let mut value = None;
        let key = std::iter::once((self.slots.group(slot), place.as_slice()));
        self.store
            .get_many(&self.family, key, |_, found| value = found.map(<[u8]>::to_vec))?;
        match value {
            Some(stored) => Ok(self.living(&stored)?.map(|value| Cow::Owned(value.to_vec()))),
            None => Ok(None),
        }
    }

    /// Puts an entry, or removes it.
    pub fn write(&mut self, slot: u32, entry: &[u8], value: Option<&[u8]>) -> Result<()> {
        if !self.is_large(slot) {
            match value {
                Some(value) => self.put(slot, entry, value),
                None => self.remove(slot, entry),
            }
            return Ok(());
        }
        if let Some(large) = self.large.get(&slot).filter(|_| value.is_some()) {
            large.comes(entry);
        }
        let group = self.slots.group(slot);
        let place = [self.slots.key(slot), entry].concat();
        let at = (group, place.as_slice());
        let stored = value.map(|value| match &self.expiry {
            Some(expiry) => Cow::Owned(expiry.life.timed(value).into()),
            None => Cow::Borrowed(value),
        });
        let puts = stored.iter().map(|stored: &Cow<[u8]>| (at, &**stored));
        let deletes = stored.is_none().then_some(at);
        self.store.write(&self.family, puts, deletes.into_iter())
    }

    /// Calls with the entries from `from` on, ascending, and their values, until `visit` says that it wants no more.
    pub fn each_from(
        &self,
        slot: u32,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let Some(large) = self.large.get(&slot) else {
            for (entry, value) in self.range(slot, Bound::Included(from), Bound::Unbounded) {
                if !visit(entry, value)? {
                    break;
                }
            }
            return Ok(());
        };
        let (mut going, mut is_first) = (Ok(true), true);
        let start = large.start(from);
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        self.store
            .scan_under(&self.family, group, key, &start, |entry, stored| {
                if std::mem::take(&mut is_first) {
                    large.is_first(from, entry);
                }
                going = self.living(stored).and_then(|value| match value {
                    Some(value) => visit(entry, value),
                    None => Ok(true),
                });
                matches!(going, Ok(true))
            })?;
        going.map(|_| ())
    }

    /// The greatest entry that begins so.
    pub fn last_under(&self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        if !self.is_large(slot) {
            let mut end = Vec::new();
            let (from, to) = under(prefix, &mut end);
            let last = self.range(slot, from, to).next_back();
            return Ok(last.map(|(entry, _)| entry.to_vec()));
        }
        let mut last = Ok(None);
        let start = [self.slots.key(slot), prefix].concat();
        self.store
            .scan_back(&self.family, self.slots.group(slot), &start, |rest, stored| {
                last = self
                    .living(stored)
                    .map(|value| value.map(|_| [prefix, rest].concat()));
                matches!(last, Ok(None))
            })?;
        last
    }

    /// What is stored without its time, unless it has expired.
    fn living<'a>(&self, stored: &'a [u8]) -> Result<Option<&'a [u8]>> {
        let Some(expiry) = &self.expiry else {
            return Ok(Some(stored));
        };
        let (written, value) = ttl::split(stored)?;
        Ok((!expiry.life.is_over(written)).then_some(value))
    }

    /// Reads a key's map, unless it turns out to be large.
    pub(super) fn load(&mut self, slot: u32) -> Result<()> {
        let map = &mut self.maps[slot as usize];
        let (group, key) = (self.slots.group(slot), self.slots.key(slot));
        let (before, largest) = (map.bytes, self.largest);
        self.store.scan_while(&self.family, group, key, |entry, value| {
            map.load(entry, value);
            map.bytes <= largest
        })?;
        if map.bytes > largest {
            self.bytes -= before;
            self.is_now_large(slot);
            return Ok(());
        }
        self.bytes += map.bytes - before;
        Ok(())
    }

    fn is_now_large(&mut self, slot: u32) {
        self.maps[slot as usize] = Map {
            is_large: true,
            ..Map::default()
        };
        self.large.insert(slot, Large::default());
    }

    /// Writes maps that have become large to the store.
    pub(super) fn let_large_go(&mut self) -> Result<()> {
        for slot in std::mem::take(&mut self.grown) {
            // It may have gone meanwhile, or shrunk.
            let Some(map) = self.maps.get(slot as usize) else {
                continue;
            };
            if map.bytes <= self.largest {
                continue;
            }
            self.write_changed(&[slot])?;
            self.bytes -= self.maps[slot as usize].bytes;
            self.is_now_large(slot);
            // There is something that only the store has.
            self.complete = false;
        }
        Ok(())
    }
}
