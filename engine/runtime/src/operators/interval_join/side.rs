//! What an interval join keeps of a side: its rows by key, time and arrival.

use millrace_core::{Error, Result, RowKind};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use crate::changes::WholeRows;
use crate::keys::Keys;
use crate::operators::join::joined::Joined;
use crate::timers::sorted;

pub(super) struct Side {
    pub keys: Keys,
    /// Key columns in which a null equals nothing.
    pub strict: Vec<usize>,
    pub rows: WholeRows,
    /// Of each key its rows by time and arrival, and when they are looked through next.
    pub table: MapTable,
    pub time: usize,
    pub is_outer: bool,
    /// How long after a row of this side one of the other may be: negative, before it.
    pub reach: i64,
    /// Rows up to here may have been removed.
    pub expired: i64,
}

pub(super) const TIMER: &[u8] = b"t";
const ROW: u8 = b'r';
/// Bytes of an entry before the number of its arrival.
const TIMED: usize = 9;
/// Rows that are removed at once.
const PIECE: usize = 1 << 12;
/// Before each row: whether it has met one of the other side.
const ALONE: u8 = 0;
pub(super) const MET: u8 = 1;

impl Side {
    pub fn new(
        name: &str,
        keys: &[(usize, bool)],
        time: usize,
        reach: i64,
        is_outer: bool,
        input: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema = input.to_arrow();
        let columns: Vec<usize> = keys.iter().map(|(column, _)| *column).collect();
        let strict = keys.iter().filter(|(_, null_safe)| !null_safe);
        Ok(Side {
            keys: Keys::new(&columns, &schema)?,
            strict: strict.map(|(column, _)| *column).collect(),
            rows: WholeRows::new(&schema)?,
            table: MapTable::open(&backend.store, name, backend.row_bytes(1))?.with_large_maps(),
            time,
            is_outer,
            reach,
            expired: 0,
        })
    }

    /// When the key's rows are looked through next.
    pub fn timer(&self, slot: u32) -> Result<Option<i64>> {
        let stored = self.table.read(slot, TIMER)?;
        let time = stored.map(|stored| stored.as_ref().try_into().map(i64::from_be_bytes));
        time.transpose().map_err(|_| damaged())
    }

    pub fn set_timer(&mut self, slot: u32, time: i64) -> Result<()> {
        self.table.write(slot, TIMER, Some(&time.to_be_bytes()))
    }

    /// Calls with the rows from an entry on, up to a time, until `visit` says that it wants no more.
    pub fn each(
        &self,
        slot: u32,
        first: &[u8],
        to: i64,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let last = place(to, u64::MAX);
        self.table.each_from(slot, first, |entry, value| {
            Ok(entry < last.as_slice() && visit(entry, value)?)
        })
    }

    /// The time of the first row.
    pub fn earliest(&self, slot: u32) -> Result<Option<i64>> {
        let mut earliest = None;
        self.each(slot, &place(i64::MIN, 0), i64::MAX, |entry, _| {
            earliest = Some(time_of(entry));
            Ok(false)
        })?;
        Ok(earliest)
    }

    pub fn keep(&mut self, slot: u32, time: i64, row: &[u8], has_met: bool) -> Result<()> {
        let last = self.table.last_under(slot, &place(time, 0)[..TIMED])?;
        let arrived = match last {
            None => 0,
            Some(entry) => {
                let arrived = entry[TIMED..].try_into().map_err(|_| damaged())?;
                u64::from_be_bytes(arrived) + 1
            }
        };
        let value = [&[if has_met { MET } else { ALONE }], row].concat();
        self.table.write(slot, &place(time, arrived), Some(&value))
    }
}

pub(super) fn place(time: i64, arrived: u64) -> Vec<u8> {
    let mut place = vec![ROW];
    place.extend_from_slice(&sorted(time).to_be_bytes());
    place.extend_from_slice(&arrived.to_be_bytes());
    place
}

pub(super) fn time_of(entry: &[u8]) -> i64 {
    let bytes = entry.get(1..9).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(i64::MIN, |bytes| sorted(i64::from_be_bytes(bytes)))
}

pub(super) fn split(value: &[u8]) -> Result<(bool, &[u8])> {
    value
        .split_first()
        .map(|(met, row)| (*met == MET, row))
        .ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::data_loss("the stored rows of an interval join have another form")
}

/// The time at which rows of a side are expired, of the time by which the operator is.
pub(super) fn expiration(now: i64, reach: i64) -> i64 {
    match now {
        i64::MAX => i64::MAX,
        _ => now.saturating_sub(reach).saturating_sub(1),
    }
}

/// Removes the expired rows of a key, as long as there is room, some at a time; of an outer side, those that have met nobody come
/// with nulls. Whether that is done.
pub(super) fn expire(side: &mut Side, is_left: bool, slot: u32, output: &mut Joined) -> Result<bool> {
    let mut gone = Vec::new();
    let mut is_done = true;
    side.each(slot, &place(i64::MIN, 0), side.expired, |entry, value| {
        if output.is_full() || gone.len() == PIECE {
            is_done = false;
            return Ok(false);
        }
        let (has_met, row) = split(value)?;
        if side.is_outer && !has_met {
            alone(is_left, row, output);
        }
        gone.push(entry.to_vec());
        Ok(true)
    })?;
    for entry in gone {
        side.table.write(slot, &entry, None)?;
    }
    Ok(is_done)
}

pub(super) fn alone(is_left: bool, row: &[u8], output: &mut Joined) {
    match is_left {
        true => output.push(RowKind::Insert, Some(row), None),
        false => output.push(RowKind::Insert, None, Some(row)),
    }
}
