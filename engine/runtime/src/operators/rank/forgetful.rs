//! Over any changes, where rows are forgotten (`table.exec.state.ttl`), as Flink's `RetractableTopNFunction`
//! does it: how many rows each sort key has is one state, written with each change; the rows of a sort key
//! are another, written when one of them comes or goes. So a partition in use may have sort keys whose rows
//! have expired: they are passed over and their numbers forgotten when they are met.

use std::ops::Bound;

use millrace_core::{Error, Result, RowKind};
use millrace_state::keyed::MapTable;

use super::Output;
use super::partition::{Partition, order_of};

/// A partition's sort keys, ascending, each with the number of its rows.
pub(super) struct Counts<'a> {
    pub table: &'a mut MapTable,
    pub slot: u32,
}

impl Counts<'_> {
    fn all(&self) -> Result<Vec<(Vec<u8>, u64)>> {
        let count = |(order, count): (&[u8], &[u8])| Ok((order.to_vec(), number(count)?));
        self.table.iter(self.slot).map(count).collect()
    }

    fn get(&self, order: &[u8]) -> Result<Option<u64>> {
        self.table.get(self.slot, order).map(number).transpose()
    }

    fn set(&mut self, order: &[u8], count: u64) {
        match count {
            0 => self.table.remove(self.slot, order),
            n => self.table.put(self.slot, order, &n.to_be_bytes()),
        }
    }

    /// Rows that were stored before they had a time to live were not counted.
    fn count_stored(&mut self, partition: &Partition) {
        if !self.table.is_empty(self.slot) {
            return;
        }
        let mut counted: Vec<(Vec<u8>, u64)> = Vec::new();
        for (entry, _) in partition.iter() {
            match counted.last_mut() {
                Some((order, count)) if order == order_of(entry) => *count += 1,
                _ => counted.push((order_of(entry).to_vec(), 1)),
            }
        }
        for (order, count) in counted {
            self.set(&order, count);
        }
    }

    fn written(&mut self) {
        self.table.touch(self.slot, Bound::Unbounded, Bound::Unbounded);
    }
}

fn number(stored: &[u8]) -> Result<u64> {
    let bytes = stored.try_into();
    let bytes = bytes.map_err(|_| Error::data_loss("the stored counts of a top-N have another form"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The rows of a sort key, in their order.
fn rows(partition: &Partition, order: &[u8]) -> Vec<Vec<u8>> {
    partition.with(order).map(|(_, row)| row.to_vec()).collect()
}

pub(super) fn add(
    partition: &mut Partition,
    counts: &mut Counts,
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> Result<()> {
    counts.count_stored(partition);
    let count = counts.get(order)?.unwrap_or(0) + 1;
    counts.set(order, count);
    let stale = match out.is_numbered() {
        true => move_down(partition, &counts.all()?, order, row, out),
        false => come_in(partition, &counts.all()?, order, row, out),
    };
    stale.iter().for_each(|order| counts.set(order, 0));
    partition.add(order, row);
    counts.written();
    Ok(())
}

/// A row comes in behind those with its sort key: those behind it move down. Gives what is stale.
fn move_down(
    partition: &Partition,
    counts: &[(Vec<u8>, u64)],
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> Vec<Vec<u8>> {
    let (mut number, mut is_found, mut stale) = (0, false, Vec::new());
    let mut current = row.to_vec();
    for (key, count) in counts {
        if number > out.end {
            break;
        }
        if !is_found {
            number += count;
            is_found = key == order;
            continue;
        }
        let list = rows(partition, key);
        if list.is_empty() {
            stale.push(key.clone());
        }
        for next in list {
            if number > out.end {
                break;
            }
            out.replaced(&next, &current, number);
            current = next;
            number += 1;
        }
    }
    out.at(RowKind::Insert, &current, number);
    stale
}

/// The same where numbers do not matter: one may fall out.
fn come_in(
    partition: &Partition,
    counts: &[(Vec<u8>, u64)],
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> Vec<Vec<u8>> {
    let (mut before, mut is_found, mut is_in, mut stale) = (0, false, false, Vec::new());
    for (key, count) in counts {
        if before > out.end {
            break;
        }
        if !is_found {
            before += count;
            is_found = key == order;
            is_in = is_found && before <= out.end;
            continue;
        }
        let list = rows(partition, key);
        if list.is_empty() {
            stale.push(key.clone());
            continue;
        }
        if before + count <= out.end {
            before += count;
            continue;
        }
        // Of rows that have expired in part there may be fewer than were counted.
        if let Some(pushed_out) = list.get((out.end - before) as usize) {
            out.plain(RowKind::Delete, pushed_out);
        }
        break;
    }
    if is_in {
        out.plain(RowKind::Insert, row);
    }
    stale
}

pub(super) fn take_back(
    partition: &mut Partition,
    counts: &mut Counts,
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> Result<()> {
    counts.count_stored(partition);
    let (is_removed, stale) = match out.is_numbered() {
        true => move_up(partition, &counts.all()?, order, row, out),
        false => go_out(partition, &counts.all()?, order, row, out),
    };
    stale.iter().for_each(|order| counts.set(order, 0));
    if let Some(count) = counts.get(order)? {
        counts.set(order, count.saturating_sub(1));
    }
    if !is_removed {
        remove(partition, order, row);
    }
    counts.written();
    Ok(())
}

/// Removes the first row that equals this one; the others of its sort key are written again.
fn remove(partition: &mut Partition, order: &[u8], row: &[u8]) {
    let found = partition.with(order).find(|(_, known)| *known == row);
    if let Some(entry) = found.map(|(entry, _)| entry.to_vec()) {
        partition.remove(&entry);
    }
    partition.touch(order);
}

/// A row goes: those behind it move up. Gives whether it was met, and what is stale.
fn move_up(
    partition: &mut Partition,
    counts: &[(Vec<u8>, u64)],
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> (bool, Vec<Vec<u8>>) {
    let (mut number, mut stale) = (0, Vec::new());
    // The row whose number the next one takes.
    let mut previous: Option<Vec<u8>> = None;
    for (key, count) in counts {
        if number > out.end {
            break;
        }
        let is_own = key == order;
        if previous.is_none() && !is_own {
            number += count;
            continue;
        }
        let list = rows(partition, key);
        if list.is_empty() {
            stale.push(key.clone());
            continue;
        }
        for current in list {
            if number > out.end {
                break;
            }
            match &previous {
                None if current == row => previous = Some(current),
                None => {}
                Some(before) => {
                    out.replaced(before, &current, number);
                    previous = Some(current);
                }
            }
            number += 1;
        }
        if is_own {
            match &previous {
                Some(_) => remove(partition, order, row),
                None => partition.touch(order),
            }
        }
    }
    if let Some(last) = &previous {
        out.at(RowKind::Delete, last, number);
    }
    (previous.is_some(), stale)
}

/// The same where numbers do not matter: one may come in.
fn go_out(
    partition: &mut Partition,
    counts: &[(Vec<u8>, u64)],
    order: &[u8],
    row: &[u8],
    out: &mut Output,
) -> (bool, Vec<Vec<u8>>) {
    let (mut number, mut is_found, mut stale) = (1, false, Vec::new());
    for (key, count) in counts {
        if number > out.end {
            break;
        }
        let is_own = key == order;
        if !is_found && !is_own {
            number += count;
            continue;
        }
        if is_found && number + count <= out.end {
            number += count;
            continue;
        }
        let list = rows(partition, key);
        if list.is_empty() {
            stale.push(key.clone());
            continue;
        }
        if is_found {
            if let Some(next) = list.get((out.end - number) as usize) {
                out.plain(RowKind::Insert, next);
            }
            break;
        }
        for current in list {
            if number > out.end {
                break;
            }
            if !is_found && current == row {
                out.plain(RowKind::Delete, &current);
                is_found = true;
                continue;
            }
            if is_found && number == out.end {
                out.plain(RowKind::Insert, &current);
            }
            number += 1;
        }
        match is_found {
            true => remove(partition, order, row),
            false => partition.touch(order),
        }
    }
    (is_found, stale)
}
