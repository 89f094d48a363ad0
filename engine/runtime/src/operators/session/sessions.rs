//! The sessions of each key that are not over, none of which touches another.

use millrace_core::memory::{allocated, widen};
use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_state::keyed::{Columns, KeyedBackend, Table};

use crate::windows::Slice;

/// A session of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub start: i64,
    pub end: i64,
    /// What its state is found by: where the session began first. It is within the session ever after,
    /// so that no other session of the key has it.
    pub state: i64,
}

pub(super) struct Sessions {
    table: Table,
    of_slot: OfSlots,
}

/// The sessions of each slot's key.
#[derive(Default)]
struct OfSlots {
    sessions: Vec<Vec<Session>>,
    /// What they take on the heap.
    held_bytes: usize,
}

impl OfSlots {
    /// Changes those of a slot.
    fn change<T>(&mut self, slot: u32, change: impl FnOnce(&mut Vec<Session>) -> T) -> T {
        let bytes = |sessions: &Vec<Session>| allocated(sessions.capacity() * size_of::<Session>());
        let sessions = &mut self.sessions[slot as usize];
        self.held_bytes -= bytes(sessions);
        let result = change(sessions);
        self.held_bytes += bytes(sessions);
        result
    }
}

impl Columns for OfSlots {
    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        for slot in slots {
            for session in &self.sessions[*slot as usize] {
                for time in [session.start, session.end, session.state] {
                    out.data.extend_from_slice(&time.to_be_bytes());
                }
            }
            out.ends.push(out.data.len());
        }
        Ok(())
    }

    fn release(&mut self, slots: &[u32]) {
        slots
            .iter()
            .for_each(|slot| self.change(*slot, |sessions| *sessions = Vec::new()));
    }
}

/// Bytes of a stored session.
const STORED: usize = 24;

impl Sessions {
    pub fn open(backend: &KeyedBackend) -> Result<Self> {
        let bytes = size_of::<Vec<Session>>();
        Ok(Sessions {
            table: Table::open(&backend.store, "sessions", bytes, backend.row_bytes(1) / 2)?,
            of_slot: OfSlots::default(),
        })
    }

    /// The slots of keys, with their sessions in memory.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        widen(&mut self.of_slot.sessions, self.table.width(), Vec::new());
        for slot in resolved.fresh {
            self.of_slot.change(slot, Vec::clear);
        }
        for (slot, stored) in resolved.loaded.iter().zip(resolved.values.iter()) {
            let stored = decode(stored)?;
            self.of_slot.change(*slot, |sessions| *sessions = stored);
        }
        Ok(slots)
    }

    pub fn of(&self, slot: u32) -> &[Session] {
        &self.of_slot.sessions[slot as usize]
    }

    /// One session takes the place of those that it was made of.
    pub fn replace(&mut self, slot: u32, touched: &[Session], session: Session) {
        self.of_slot.change(slot, |sessions| {
            sessions.retain(|s| !touched.contains(s));
            sessions.push(session);
            sessions.sort_unstable_by_key(|s| s.start);
        });
        self.table.changed([slot]);
    }

    /// Takes sessions out of those of a key.
    pub fn take(&mut self, slot: u32, is_taken: impl Fn(&Session) -> bool) -> Vec<Session> {
        let taken = self.of(slot).iter().copied().filter(|s| is_taken(s)).collect();
        self.of_slot
            .change(slot, |sessions| sessions.retain(|session| !is_taken(session)));
        match self.of(slot).is_empty() {
            true => self.table.remove(slot),
            false => self.table.changed([slot]),
        }
        taken
    }

    pub fn make_room(&mut self, rows: usize) -> Result<()> {
        self.table.make_room(rows, &mut self.of_slot)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.table.flush(&mut self.of_slot)
    }
}

/// The sessions that touch a row's, and the one that they become with it.
pub(super) fn joined(sessions: &[Session], row: Slice) -> (Vec<Session>, Session) {
    let touches = |session: &&Session| session.start <= row.end && row.start <= session.end;
    let mut touched: Vec<Session> = sessions.iter().rev().filter(touches).copied().collect();
    touched.sort_by_key(place_in_set);
    let start = touched.iter().map(|s| s.start).chain([row.start]).min();
    let end = touched.iter().map(|s| s.end).chain([row.end]).max();
    let session = Session {
        start: start.unwrap_or(row.start),
        end: end.unwrap_or(row.end),
        state: touched.first().map_or(row.start, |first| first.state),
    };
    (touched, session)
}

/// Flink puts sessions together in the order of a `HashSet` of theirs, which shows where functions keep the
/// order of values: the hash is that of its `TimeWindow`, the set has sixteen places, and of two in one place the
/// later session comes first.
fn place_in_set(session: &Session) -> u32 {
    let end = ((session.end << 1) as i32).wrapping_add(1);
    // The inverse modulo 2^32: each step doubles the bits that are right, of which an odd number has three.
    let inverse = (0..4).fold(end, |inverse, _| {
        inverse.wrapping_mul(2i32.wrapping_sub(end.wrapping_mul(inverse)))
    });
    let hash = session.start.wrapping_add(i64::from(inverse)) as u32;
    (hash ^ (hash >> 16)) & 15
}

fn decode(stored: &[u8]) -> Result<Vec<Session>> {
    let (sessions, rest) = stored.as_chunks::<STORED>();
    if !rest.is_empty() {
        return Err(Error::data_loss("the stored sessions of a key have another form"));
    }
    let time = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).unwrap_or_default();
    let session = |bytes: &[u8; STORED]| Session {
        start: time(&bytes[..8]),
        end: time(&bytes[8..16]),
        state: time(&bytes[16..]),
    };
    Ok(sessions.iter().map(session).collect())
}
