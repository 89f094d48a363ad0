//! The candidates of a partition in their order.

use std::ops::Bound;

use millrace_state::keyed::MapTable;

/// Bytes behind the sort key that keep the order of arrival.
const ARRIVAL: usize = 8;

pub struct Partition<'a> {
    pub table: &'a mut MapTable,
    pub slot: u32,
}

/// The sort key of an entry.
pub(super) fn order_of(entry: &[u8]) -> &[u8] {
    &entry[..entry.len().saturating_sub(ARRIVAL)]
}

impl Partition<'_> {
    pub fn len(&self) -> usize {
        self.table.len(self.slot)
    }

    /// All entries, the best first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.table.iter(self.slot)
    }

    /// The entries behind those with this sort key.
    pub fn behind(&self, order: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.table
            .range(self.slot, Bound::Excluded(&last_of(order)), Bound::Unbounded)
    }

    /// The entries with this sort key.
    pub fn with(&self, order: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let first = [order, &[0; ARRIVAL]].concat();
        let last = last_of(order);
        self.table
            .range(self.slot, Bound::Included(&first), Bound::Included(&last))
    }

    /// How many entries there are up to and with this sort key; it stops counting above `most`.
    pub fn rank(&self, order: &[u8], most: u64) -> u64 {
        let last = last_of(order);
        let up_to = self
            .table
            .range(self.slot, Bound::Unbounded, Bound::Included(&last));
        up_to.take(most.saturating_add(1) as usize).count() as u64
    }

    /// How many entries there are before those with this sort key; it stops counting above `most`.
    pub fn preceding(&self, order: &[u8], most: u64) -> u64 {
        let first = [order, &[0; ARRIVAL]].concat();
        let before = self
            .table
            .range(self.slot, Bound::Unbounded, Bound::Excluded(&first));
        before.take(most.saturating_add(1) as usize).count() as u64
    }

    /// Adds a row behind those with its sort key.
    pub fn add(&mut self, order: &[u8], row: &[u8]) {
        let arrived = self.with(order).next_back().and_then(|(entry, _)| {
            let arrived: [u8; ARRIVAL] = entry[order.len()..].try_into().ok()?;
            Some(u64::from_be_bytes(arrived) + 1)
        });
        let entry = [order, &arrived.unwrap_or(0).to_be_bytes()].concat();
        self.table.put(self.slot, &entry, row);
    }

    /// Rows with this sort key live on as if they had come now.
    pub fn touch(&mut self, order: &[u8]) {
        if !self.table.expires() {
            return;
        }
        let (first, last) = ([order, &[0; ARRIVAL]].concat(), last_of(order));
        self.table
            .touch(self.slot, Bound::Included(&first), Bound::Included(&last));
    }

    /// The same of those that came after an entry.
    pub fn touch_behind(&mut self, entry: &[u8]) {
        if !self.table.expires() {
            return;
        }
        let last = last_of(order_of(entry));
        self.table
            .touch(self.slot, Bound::Excluded(entry), Bound::Included(&last));
    }

    pub fn remove(&mut self, entry: &[u8]) {
        self.table.remove(self.slot, entry);
    }

    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.iter().next_back()
    }

    /// Removes the groups of equal sort keys before which there are more than `end` entries.
    pub fn truncate(&mut self, end: u64) {
        let mut group: &[u8] = &[];
        let mut gone: Vec<Vec<u8>> = Vec::new();
        for (before, (entry, _)) in self.iter().enumerate() {
            let is_new = before == 0 || order_of(entry) != group;
            group = order_of(entry);
            if !gone.is_empty() || (is_new && before as u64 > end) {
                gone.push(entry.to_vec());
            }
        }
        gone.iter().for_each(|entry| self.remove(entry));
    }
}

fn last_of(order: &[u8]) -> Vec<u8> {
    [order, &[u8::MAX; ARRIVAL]].concat()
}
