//! Over updates by a key that only ever raise a row: no more is kept than can be seen.
//!
//! A candidate is stored with its key before it: the key's length in four bytes, the key, the row.

use millrace_core::{Error, Result, RowKind};

use super::Output;
use super::append::is_candidate;
use super::partition::{Partition, order_of};

/// A candidate that is replaced.
struct Old {
    entry: Vec<u8>,
    row: Vec<u8>,
    number: u64,
}

pub(super) fn row(
    partition: &mut Partition,
    order: &[u8],
    key: &[u8],
    row: &[u8],
    out: &mut Output,
) -> Result<()> {
    let stored = [&(key.len() as u32).to_be_bytes(), key, row].concat();
    let Some(old) = find(partition, key)? else {
        if is_candidate(partition, order, out.end) {
            partition.add(order, &stored);
            insert(partition, order, row, out)?;
        }
        return Ok(());
    };
    if order_of(&old.entry) == order {
        // It stays where it is.
        partition.table.put(partition.slot, &old.entry, &stored);
        match out.is_numbered() {
            true => out.replaced(&old.row, row, old.number),
            false => replaced(&old.row, row, out),
        }
        return Ok(());
    }
    let rises = order < order_of(&old.entry);
    partition.remove(&old.entry);
    // Flink stores a row's number within its sort key with it, and writes those that change.
    partition.touch_behind(&old.entry);
    partition.add(order, &stored);
    match (out.is_numbered(), rises) {
        (false, _) => {
            replaced(&old.row, row, out);
            Ok(())
        }
        (true, true) => rise(partition, order, row, &old, out),
        (true, false) => fall(partition, order, row, &old, out),
    }
}

fn replaced(before: &[u8], after: &[u8], out: &mut Output) {
    out.plain(RowKind::UpdateBefore, before);
    out.plain(RowKind::UpdateAfter, after);
}

fn find(partition: &Partition, key: &[u8]) -> Result<Option<Old>> {
    for (before, (entry, stored)) in partition.iter().enumerate() {
        let (known, row) = split(stored)?;
        if known == key {
            return Ok(Some(Old {
                entry: entry.to_vec(),
                row: row.to_vec(),
                number: before as u64 + 1,
            }));
        }
    }
    Ok(None)
}

/// The key and the row of a candidate.
fn split(stored: &[u8]) -> Result<(&[u8], &[u8])> {
    stored
        .split_first_chunk()
        .and_then(|(length, rest)| rest.split_at_checked(u32::from_be_bytes(*length) as usize))
        .ok_or_else(|| Error::data_loss("the stored candidates of a top-N have another form"))
}

/// A new key, the last of those with its sort key.
fn insert(partition: &mut Partition, order: &[u8], row: &[u8], out: &mut Output) -> Result<()> {
    if !out.is_numbered() {
        if partition.len() as u64 > out.end
            && let Some((entry, stored)) = partition.last()
        {
            out.plain(RowKind::Delete, split(stored)?.1);
            let entry = entry.to_vec();
            partition.remove(&entry);
        }
        out.plain(RowKind::Insert, row);
        return Ok(());
    }
    let mut number = partition.rank(order, out.end);
    let mut current = row;
    for (_, stored) in partition.behind(order) {
        if number > out.end {
            break;
        }
        let next = split(stored)?.1;
        out.replaced(next, current, number);
        current = next;
        number += 1;
    }
    if number <= out.end {
        out.at(RowKind::Insert, current, number);
    } else {
        partition.truncate(out.end);
    }
    Ok(())
}

/// A row has risen from its old number: those between move down.
fn rise(partition: &mut Partition, order: &[u8], row: &[u8], old: &Old, out: &mut Output) -> Result<()> {
    let old_order = order_of(&old.entry);
    let mut number = partition.rank(order, u64::MAX - 1);
    let mut current = row;
    let mut retracted = false;
    for (entry, stored) in partition.behind(order) {
        if order_of(entry) > old_order || number >= old.number || number > out.end {
            break;
        }
        let next = split(stored)?.1;
        out.at(RowKind::UpdateBefore, next, number);
        if !retracted {
            // The row's own old version goes before its new one comes.
            out.at(RowKind::UpdateBefore, &old.row, old.number);
            retracted = true;
        }
        out.at(RowKind::UpdateAfter, current, number);
        current = next;
        number += 1;
    }
    if number > out.end {
        partition.truncate(out.end);
        return Ok(());
    }
    if !retracted {
        out.at(RowKind::UpdateBefore, &old.row, old.number);
    }
    out.at(RowKind::UpdateAfter, current, number);
    Ok(())
}

/// A row has fallen, which its plan has excluded, but state that expires can bring about: as Flink
/// does, those between move up.
fn fall(partition: &mut Partition, order: &[u8], row: &[u8], old: &Old, out: &mut Output) -> Result<()> {
    let new_number = partition.rank(order, u64::MAX - 1);
    out.at(RowKind::UpdateBefore, &old.row, old.number);
    let moved = partition.iter().zip(1..).skip(old.number as usize - 1);
    for ((_, stored), number) in moved.take_while(|(_, number)| *number < new_number) {
        let moved = split(stored)?.1;
        out.at(RowKind::UpdateBefore, moved, number + 1);
        out.at(RowKind::UpdateAfter, moved, number);
    }
    out.at(RowKind::UpdateAfter, row, new_number);
    Ok(())
}
