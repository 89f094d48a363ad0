//! Timers of an operator: keys, and when each has something to do. They fire in the order of their
//! times. All of them are in memory; a checkpoint has them in a table of the operator's store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_core::Result;
use millrace_state::keyed::store::Family;
use millrace_state::keyed::{KeyedBackend, KeyedStore};

/// A key's timer, and the key group that the key is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// Milliseconds since 1970.
    pub time: i64,
    pub key: Box<[u8]>,
    pub group: u16,
}

pub struct Timers {
    store: Arc<KeyedStore>,
    family: Family,
    due: BTreeSet<Timer>,
    /// Since the last flush: whether a timer is there now.
    changed: BTreeMap<Timer, bool>,
}

impl Timers {
    /// `name` is unique in the store and stays the same over restarts.
    pub fn open(backend: &KeyedBackend, name: &str) -> Result<Self> {
        let (family, _) = backend.store.family(name)?;
        let mut due = BTreeSet::new();
        for group in backend.groups() {
            backend.store.scan(&family, group, &[], |place, _| {
                if let Some((time, key)) = place.split_first_chunk() {
                    due.insert(Timer {
                        time: sorted(i64::from_be_bytes(*time)),
                        key: key.into(),
                        group,
                    });
                }
            })?;
        }
        Ok(Timers {
            store: backend.store.clone(),
            family,
            due,
            changed: BTreeMap::new(),
        })
    }

    /// A timer that is there already stays one.
    pub fn register(&mut self, time: i64, key: &[u8], group: u16) {
        let timer = Timer {
            time,
            key: key.into(),
            group,
        };
        if self.due.insert(timer.clone()) {
            self.changed.insert(timer, true);
        }
    }

    pub fn delete(&mut self, time: i64, key: &[u8], group: u16) {
        let timer = Timer {
            time,
            key: key.into(),
            group,
        };
        if self.due.remove(&timer) {
            self.changed.insert(timer, false);
        }
    }

    /// The earliest time of a timer.
    pub fn next(&self) -> Option<i64> {
        self.due.first().map(|timer| timer.time)
    }

    /// Takes the earliest timer at or before a time.
    pub fn pop(&mut self, until: i64) -> Option<Timer> {
        if self.due.first()?.time > until {
            return None;
        }
        let timer = self.due.pop_first()?;
        self.changed.insert(timer.clone(), false);
        Some(timer)
    }

    pub fn flush(&mut self) -> Result<()> {
        let place = |timer: &Timer| {
            let mut place = sorted(timer.time).to_be_bytes().to_vec();
            place.extend_from_slice(&timer.key);
            (timer.group, place)
        };
        let of = |wanted: bool| self.changed.iter().filter(move |(_, there)| **there == wanted);
        let puts: Vec<(u16, Vec<u8>)> = of(true).map(|(timer, _)| place(timer)).collect();
        let deletes: Vec<(u16, Vec<u8>)> = of(false).map(|(timer, _)| place(timer)).collect();
        if !puts.is_empty() || !deletes.is_empty() {
            self.store.write(
                &self.family,
                puts.iter()
                    .map(|(group, place)| ((*group, place.as_slice()), &[][..])),
                deletes.iter().map(|(group, place)| (*group, place.as_slice())),
            )?;
        }
        self.changed.clear();
        Ok(())
    }
}

/// A time such that its big-endian bytes sort as it does; its own inverse.
pub fn sorted(time: i64) -> i64 {
    time ^ i64::MIN
}
