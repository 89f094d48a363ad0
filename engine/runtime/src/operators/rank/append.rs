//! Over inserts: what falls behind the end never comes back and is forgotten.
//!
//! Rows with equal sort keys expire together: to Flink's `AppendOnlyTopNFunction` they are one state, which
//! is written whenever one of them comes or goes.

use millrace_core::RowKind;

use super::Output;
use super::partition::{Partition, order_of};

/// The rows that come first: they only have to be counted.
pub(super) fn first_n(partition: &mut Partition, row: &[u8], out: &mut Output) {
    let stored = partition.table.get(partition.slot, &[]);
    let count = stored
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    if count >= out.end {
        return;
    }
    let count = count + 1;
    partition.table.put(partition.slot, &[], &count.to_be_bytes());
    out.at(RowKind::Insert, row, count);
}

/// The best row; of equal ones the first.
pub(super) fn top_1(partition: &mut Partition, order: &[u8], row: &[u8], out: &mut Output) {
    let Some((entry, best)) = partition.last() else {
        partition.add(order, row);
        out.plain(RowKind::Insert, row);
        return;
    };
    if order < order_of(entry) {
        out.plain(RowKind::UpdateBefore, best);
        let entry = entry.to_vec();
        partition.remove(&entry);
        partition.add(order, row);
        out.plain(RowKind::UpdateAfter, row);
    }
}

pub(super) fn row(partition: &mut Partition, order: &[u8], row: &[u8], out: &mut Output) {
    if !is_candidate(partition, order, out.end) {
        return;
    }
    partition.add(order, row);
    partition.touch(order);
    if out.is_numbered() {
        shift_down(partition, order, row, out);
        partition.truncate(out.end);
        return;
    }
    if partition.len() as u64 > out.end {
        let Some((entry, last)) = partition.last().map(|(e, l)| (e.to_vec(), l.to_vec())) else {
            return;
        };
        partition.remove(&entry);
        partition.touch(order_of(&entry));
        if last == row {
            return;
        }
        out.plain(RowKind::Delete, &last);
    }
    out.plain(RowKind::Insert, row);
}

/// Whether a row gets a place: before the last candidate, or as there are too few.
pub(super) fn is_candidate(partition: &Partition, order: &[u8], end: u64) -> bool {
    match partition.last() {
        None => true,
        Some((worst, _)) => order < order_of(worst) || (partition.len() as u64) < end,
    }
}

/// A row has come in, the last of those with its sort key: all behind it move down by one number.
pub(super) fn shift_down(partition: &Partition, order: &[u8], row: &[u8], out: &mut Output) {
    let mut number = partition.rank(order, out.end);
    let mut current = row;
    for (_, next) in partition.behind(order) {
        if number > out.end {
            return;
        }
        out.replaced(next, current, number);
        current = next;
        number += 1;
    }
    out.at(RowKind::Insert, current, number);
}
