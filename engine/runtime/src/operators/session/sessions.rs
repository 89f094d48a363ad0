//! The sessions of each key that are not over, none of which touches another.

use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_state::keyed::{KeyedBackend, Table};

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
    of_slot: Vec<Vec<Session>>,
}

/// Bytes of a stored session.
const STORED: usize = 24;

impl Sessions {
    pub fn open(backend: &KeyedBackend) -> Result<Self> {
        // Most keys have one.
        let bytes = size_of::<Vec<Session>>() + size_of::<Session>();
        Ok(Sessions {
            table: Table::open(&backend.store, "sessions", bytes, backend.cache_bytes / 2)?,
            of_slot: Vec::new(),
        })
    }

    /// The slots of keys, with their sessions in memory.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        self.of_slot.resize(self.table.width(), Vec::new());
        for slot in resolved.fresh {
            self.of_slot[slot as usize].clear();
        }
        for (slot, stored) in resolved.loaded.iter().zip(resolved.values.iter()) {
            self.of_slot[*slot as usize] = decode(stored)?;
        }
        Ok(slots)
    }

    pub fn of(&self, slot: u32) -> &[Session] {
        &self.of_slot[slot as usize]
    }

    /// One session takes the place of those that it was made of.
    pub fn replace(&mut self, slot: u32, touched: &[Session], session: Session) {
        let sessions = &mut self.of_slot[slot as usize];
        sessions.retain(|s| !touched.contains(s));
        sessions.push(session);
        sessions.sort_unstable_by_key(|s| s.start);
        self.table.changed([slot]);
    }

    /// Takes sessions out of those of a key.
    pub fn take(&mut self, slot: u32, is_taken: impl Fn(&Session) -> bool) -> Vec<Session> {
        let sessions = &mut self.of_slot[slot as usize];
        let taken = sessions.iter().copied().filter(|s| is_taken(s)).collect();
        sessions.retain(|session| !is_taken(session));
        match sessions.is_empty() {
            true => self.table.remove(slot),
            false => self.table.changed([slot]),
        }
        taken
    }

    pub fn make_room(&mut self, rows: usize) -> Result<()> {
        let of_slot = &self.of_slot;
        self.table
            .make_room(rows, |slots, out| encode(of_slot, slots, out))
    }

    pub fn flush(&mut self) -> Result<()> {
        let of_slot = &self.of_slot;
        self.table.flush(|slots, out| encode(of_slot, slots, out))
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

fn encode(of_slot: &[Vec<Session>], slots: &[u32], out: &mut Rows) -> Result<()> {
    for slot in slots {
        for session in &of_slot[*slot as usize] {
            for time in [session.start, session.end, session.state] {
                out.data.extend_from_slice(&time.to_be_bytes());
            }
        }
        out.ends.push(out.data.len());
    }
    Ok(())
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
