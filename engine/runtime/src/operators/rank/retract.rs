//! Over any changes: all rows are kept, for those behind the end come in again when others go.

use millrace_core::RowKind;

use super::Output;
use super::append::shift_down;
use super::partition::Partition;

pub(super) fn add(partition: &mut Partition, order: &[u8], row: &[u8], out: &mut Output) {
    partition.add(order, row);
    if out.is_numbered() {
        shift_down(partition, order, row, out);
        return;
    }
    if partition.rank(order, out.end) > out.end {
        return;
    }
    // The first one behind the end was the last within.
    if let Some((_, pushed_out)) = partition.iter().nth(out.end as usize) {
        out.plain(RowKind::Delete, pushed_out);
    }
    out.plain(RowKind::Insert, row);
}

pub(super) fn take_back(partition: &mut Partition, order: &[u8], row: &[u8], out: &mut Output) {
    let found = partition
        .with(order)
        .enumerate()
        .find(|(_, (_, known))| *known == row);
    // A row that is not there changes nothing.
    let Some((before, (entry, _))) = found else { return };
    let entry = entry.to_vec();
    let number = partition.preceding(order, out.end) + before as u64 + 1;
    partition.remove(&entry);
    if number > out.end {
        return;
    }
    match out.is_numbered() {
        true => shift_up(partition, number, row, out),
        false => {
            out.plain(RowKind::Delete, row);
            // What was the first one behind the end comes in.
            if let Some((_, next)) = partition.iter().nth(out.end as usize - 1) {
                out.plain(RowKind::Insert, next);
            }
        }
    }
}

/// The row that had this number is gone: all behind it move up by one.
fn shift_up(partition: &Partition, number: u64, row: &[u8], out: &mut Output) {
    let mut number = number;
    let mut previous = row;
    for (_, next) in partition.iter().skip(number as usize - 1) {
        if number > out.end {
            return;
        }
        out.replaced(previous, next, number);
        previous = next;
        number += 1;
    }
    out.at(RowKind::Delete, previous, number);
}
