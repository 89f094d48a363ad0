//! The key that is most likely next: records of a topic mostly have the same keys in the same order.
//!
//! What stood between two values last time (`,"id":`, white space included) is kept as bytes. If
//! the same bytes come again, the key is known without being read: equal bytes at the same place
//! of the grammar mean the same.

use std::collections::HashMap;

/// Longer keys are looked up by name each time.
const MAX_PATTERN: usize = 64;
/// Keys of one object whose place is remembered.
const MAX_SLOTS: usize = 512;

/// A key's field, or that there is none of its name.
pub type Found = Option<u32>;

#[derive(Debug, Clone)]
struct Slot {
    pattern: Box<[u8]>,
    /// The pattern's first eight bytes, and a mask of those that count.
    head: u64,
    mask: u64,
    found: Found,
}

#[derive(Debug)]
pub struct Order {
    fields: HashMap<Box<[u8]>, u32>,
    slots: Vec<Slot>,
}

impl Order {
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let fields = names
            .enumerate()
            .map(|(i, n)| (n.as_bytes().into(), i as u32))
            .collect();
        Order {
            fields,
            slots: Vec::new(),
        }
    }

    /// If `text` at `at` begins as the `nth` key did last time: its field, and where its value begins.
    #[inline]
    pub fn predict(&self, nth: usize, text: &[u8], at: usize) -> Option<(Found, usize)> {
        let slot = self.slots.get(nth)?;
        let rest = text.get(at..)?;
        let length = slot.pattern.len();
        let head = rest.first_chunk::<8>()?;
        if (u64::from_le_bytes(*head) ^ slot.head) & slot.mask != 0 {
            return None;
        }
        if length > 8 && !rest.starts_with(&slot.pattern) {
            return None;
        }
        Some((slot.found, at + length))
    }

    pub fn lookup(&self, name: &[u8]) -> Found {
        self.fields.get(name).copied()
    }

    /// Remembers that `pattern` was before the `nth` value.
    pub fn learn(&mut self, nth: usize, pattern: &[u8], found: Found) {
        if pattern.len() > MAX_PATTERN || nth > self.slots.len() || nth >= MAX_SLOTS {
            return;
        }
        let mut head = [0u8; 8];
        let mut mask = [0u8; 8];
        for (i, &b) in pattern.iter().take(8).enumerate() {
            head[i] = b;
            mask[i] = 0xff;
        }
        let slot = Slot {
            pattern: pattern.into(),
            head: u64::from_le_bytes(head),
            mask: u64::from_le_bytes(mask),
            found,
        };
        match self.slots.get_mut(nth) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
    }
}
