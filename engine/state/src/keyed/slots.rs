//! Keys in memory and their slots. Slots are small numbers that are used again.

use hashbrown::HashTable;
use millrace_core::memory::allocated;
use smallvec::SmallVec;

/// A key; most fit into the slot itself.
type Key = SmallVec<[u8; INLINE]>;

const INLINE: usize = 16;

/// Where a slot's state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Free,
    /// As in the store, or absent there and empty.
    Clean,
    /// To be written.
    Dirty,
    /// To be deleted from the store; the slot's accumulators say nothing.
    Removed,
}

#[derive(Default)]
pub struct Slots {
    index: HashTable<u32>,
    keys: Vec<Key>,
    hashes: Vec<u64>,
    groups: Vec<u16>,
    states: Vec<State>,
    /// Whether the store has a row of the key.
    stored: Vec<bool>,
    /// Looked up since the clock's hand passed.
    used: Vec<bool>,
    free: Vec<u32>,
    hand: usize,
    /// Of keys that do not fit into their slots.
    key_bytes: usize,
}

/// Bytes of a slot beside a long key and the operator's accumulators, index and reserve included.
pub(super) const OVERHEAD: usize = 56;

/// What a key takes outside of its slot.
fn outside(key: &[u8]) -> usize {
    match key.len() {
        0..=INLINE => 0,
        long => allocated(long),
    }
}

impl Slots {
    /// Slots in use.
    pub fn len(&self) -> usize {
        self.keys.len() - self.free.len()
    }

    /// One above the largest slot that ever was: how long the operator's columns have to be.
    pub fn width(&self) -> usize {
        self.keys.len()
    }

    pub fn bytes(&self) -> usize {
        self.key_bytes + self.keys.len() * OVERHEAD
    }

    /// Of keys that do not fit into their slots.
    pub fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    pub fn find(&mut self, key: &[u8], hash: u64) -> Option<u32> {
        let slot = *self
            .index
            .find(hash, |slot| self.keys[*slot as usize].as_slice() == key)?;
        self.used[slot as usize] = true;
        Some(slot)
    }

    /// Gives a key that has none a slot.
    pub fn insert(&mut self, key: &[u8], hash: u64, group: u16) -> u32 {
        self.key_bytes += outside(key);
        let slot = match self.free.pop() {
            Some(slot) => {
                let i = slot as usize;
                self.keys[i] = Key::from_slice(key);
                self.hashes[i] = hash;
                self.groups[i] = group;
                self.states[i] = State::Clean;
                self.stored[i] = false;
                self.used[i] = true;
                slot
            }
            None => {
                self.grow();
                self.keys.push(Key::from_slice(key));
                self.hashes.push(hash);
                self.groups.push(group);
                self.states.push(State::Clean);
                self.stored.push(false);
                self.used.push(true);
                (self.keys.len() - 1) as u32
            }
        };
        let hashes = &self.hashes;
        self.index
            .insert_unique(hash, slot, |slot| hashes[*slot as usize]);
        slot
    }

    /// Room by eighths: twice as much at a time would be more than the memory that slots are told to
    /// keep to.
    fn grow(&mut self) {
        if self.keys.len() < self.keys.capacity() {
            return;
        }
        let more = self.keys.len() / 8 + 64;
        self.keys.reserve_exact(more);
        self.hashes.reserve_exact(more);
        self.groups.reserve_exact(more);
        self.states.reserve_exact(more);
        self.stored.reserve_exact(more);
        self.used.reserve_exact(more);
    }

    pub fn remove(&mut self, slot: u32) {
        let i = slot as usize;
        if let Ok(entry) = self.index.find_entry(self.hashes[i], |other| *other == slot) {
            entry.remove();
        }
        self.key_bytes -= outside(&self.keys[i]);
        self.keys[i] = Key::new();
        self.states[i] = State::Free;
        self.free.push(slot);
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        &self.keys[slot as usize]
    }

    pub fn group(&self, slot: u32) -> u16 {
        self.groups[slot as usize]
    }

    /// The slots in the order of the store: by group, then by key.
    pub fn sorted(&self, slots: &[u32]) -> Vec<u32> {
        let place = |slot: u32| (self.groups[slot as usize], self.keys[slot as usize].as_slice());
        let mut order: Vec<(u64, u32)> = slots
            .iter()
            .map(|slot| {
                let (group, key) = place(*slot);
                // The beginning of a place is enough for most of them.
                let mut first = [0; 8];
                let taken = key.len().min(6);
                first[..2].copy_from_slice(&group.to_be_bytes());
                first[2..2 + taken].copy_from_slice(&key[..taken]);
                (u64::from_be_bytes(first), *slot)
            })
            .collect();
        order.sort_unstable_by(|(a, i), (b, k)| a.cmp(b).then_with(|| place(*i).cmp(&place(*k))));
        order.into_iter().map(|(_, slot)| slot).collect()
    }

    pub fn state(&self, slot: u32) -> State {
        self.states[slot as usize]
    }

    pub fn set_state(&mut self, slot: u32, state: State) {
        self.states[slot as usize] = state;
    }

    pub fn is_stored(&self, slot: u32) -> bool {
        self.stored[slot as usize]
    }

    /// The store has a row of the slot's key.
    pub fn set_stored(&mut self, slot: u32) {
        self.stored[slot as usize] = true;
    }

    /// All slots in use.
    pub fn used(&self) -> impl Iterator<Item = u32> {
        (0..self.keys.len() as u32).filter(|slot| self.states[*slot as usize] != State::Free)
    }

    /// All slots in one of these states.
    pub fn in_state(&self, wanted: &[State]) -> Vec<u32> {
        (0..self.keys.len() as u32)
            .filter(|slot| wanted.contains(&self.states[*slot as usize]))
            .collect()
    }

    /// Up to `count` slots that were not looked up for longest: a clock, which lets what was used
    /// since its last turn pass once more.
    pub fn coldest(&mut self, count: usize) -> Vec<u32> {
        let mut chosen = Vec::with_capacity(count.min(self.len()));
        let width = self.keys.len();
        for _ in 0..2 * width {
            if chosen.len() == count {
                break;
            }
            let i = self.hand;
            self.hand = (self.hand + 1) % width;
            if self.states[i] == State::Free {
                continue;
            }
            if std::mem::take(&mut self.used[i]) {
                continue;
            }
            chosen.push(i as u32);
            // Not a second time.
            self.used[i] = true;
        }
        chosen
    }
}
