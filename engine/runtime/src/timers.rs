//! Timers of an operator: keys, and when each has something to do. They fire in the order of their
//! times.
//!
//! The nearest ones are in memory, in order; the others are in a table of the operator's store, by key
//! group and time, and come into memory when those before them have fired. What has changed is written
//! at the barrier, and before when it is much.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use millrace_core::Result;
use millrace_core::memory::allocated;
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

impl Timer {
    /// None is before it.
    fn first() -> Timer {
        Timer {
            time: i64::MIN,
            key: Box::default(),
            group: 0,
        }
    }

    fn place(&self) -> Vec<u8> {
        let mut place = sorted(self.time).to_be_bytes().to_vec();
        place.extend_from_slice(&self.key);
        place
    }
}

/// What the store does not have as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is there now, and never was in the store.
    New,
    Put,
    Delete,
}

pub struct Timers {
    store: Arc<KeyedStore>,
    family: Family,
    groups: Range<u16>,
    /// All that are before the horizon.
    due: BTreeSet<Timer>,
    /// Those from here on are in the store, but for what has changed; none: all are in memory.
    horizon: Option<Timer>,
    /// Since the last flush.
    changed: BTreeMap<Timer, Change>,
    /// Memory for them.
    limit: usize,
    /// Of a key, the most so far.
    largest: usize,
    /// Those that were taken by `pop`.
    fired: u64,
}

/// What a timer takes in memory beside its key, with its place among the changed, where the key is once more.
const BYTES: usize = 192;
/// Fewer are not worth looking into the store for.
const FEWEST: usize = 16;

impl Timers {
    /// `name` is unique in the store and stays the same over restarts. Timers take an eighth of what the
    /// operator's rows do.
    pub fn open(backend: &KeyedBackend, name: &str) -> Result<Self> {
        let (family, is_empty) = backend.store.family(name)?;
        Ok(Timers {
            store: backend.store.clone(),
            family,
            groups: backend.groups(),
            due: BTreeSet::new(),
            horizon: (!is_empty).then(Timer::first),
            changed: BTreeMap::new(),
            limit: backend.timer_bytes(),
            largest: 0,
            fired: 0,
        })
    }

    /// How many have come to their time, since it was opened.
    pub fn fired(&self) -> u64 {
        self.fired
    }

    /// So many are in memory at most, and may have changed.
    fn most(&self) -> usize {
        (self.limit / (BYTES + 2 * allocated(self.largest.max(1)))).max(FEWEST)
    }

    fn is_near(&self, timer: &Timer) -> bool {
        self.horizon.as_ref().is_none_or(|horizon| timer < horizon)
    }

    /// A timer that is there already stays one.
    pub fn register(&mut self, time: i64, key: &[u8], group: u16) -> Result<()> {
        self.largest = self.largest.max(key.len());
        let timer = Timer {
            time,
            key: key.into(),
            group,
        };
        if !self.is_near(&timer) {
            self.changed.insert(timer, Change::Put);
            return self.bound();
        }
        if self.due.insert(timer.clone()) {
            // Deleted since the last flush: the store still has it.
            let change = match self.changed.contains_key(&timer) {
                true => Change::Put,
                false => Change::New,
            };
            self.changed.insert(timer, change);
        }
        self.bound()
    }

    pub fn delete(&mut self, time: i64, key: &[u8], group: u16) -> Result<()> {
        let timer = Timer {
            time,
            key: key.into(),
            group,
        };
        if !self.is_near(&timer) || self.due.remove(&timer) {
            self.gone(timer);
        }
        self.bound()
    }

    fn gone(&mut self, timer: Timer) {
        match self.changed.get(&timer) {
            Some(Change::New) => self.changed.remove(&timer),
            _ => self.changed.insert(timer, Change::Delete),
        };
    }

    /// The earliest time of a timer.
    pub fn earliest(&mut self) -> Result<Option<i64>> {
        self.refill()?;
        Ok(self.due.first().map(|timer| timer.time))
    }

    /// Takes the earliest timer at or before a time.
    pub fn pop(&mut self, until: i64) -> Result<Option<Timer>> {
        self.refill()?;
        if self.due.first().is_none_or(|timer| timer.time > until) {
            return Ok(None);
        }
        let Some(timer) = self.due.pop_first() else {
            return Ok(None);
        };
        self.fired += 1;
        self.gone(timer.clone());
        self.bound()?;
        Ok(Some(timer))
    }

    /// Sees to it that not too much is in memory.
    fn bound(&mut self) -> Result<()> {
        let most = self.most();
        if self.due.len() > most {
            self.flush()?;
            let middle = self.due.iter().nth(most / 2).cloned();
            if let Some(middle) = middle {
                self.due.split_off(&middle);
                self.horizon = Some(middle);
            }
        }
        match self.changed.len() > most {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Brings the next ones out of the store, where none is left before the horizon: some of each key
    /// group, of which those count that are before the last of every group that has more.
    fn refill(&mut self) -> Result<()> {
        while self.due.is_empty()
            && let Some(from) = self.horizon.take()
        {
            self.flush()?;
            let each = (self.most() / 2 / self.groups.len().max(1)).max(2);
            let place = from.place();
            for group in self.groups.clone() {
                let mut read = 0;
                let mut last = None;
                let (due, largest) = (&mut self.due, &mut self.largest);
                self.store.scan_from(&self.family, group, &place, |place, _| {
                    if let Some((time, key)) = place.split_first_chunk() {
                        let timer = Timer {
                            time: sorted(i64::from_be_bytes(*time)),
                            key: key.into(),
                            group,
                        };
                        *largest = key.len().max(*largest);
                        read += 1;
                        if read == each {
                            last = Some(timer.clone());
                        }
                        due.insert(timer);
                    }
                    read < each
                })?;
                if let Some(last) = last {
                    self.horizon = Some(match self.horizon.take() {
                        Some(horizon) => horizon.min(last),
                        None => last,
                    });
                }
            }
            if let Some(horizon) = &self.horizon {
                self.due.split_off(horizon);
            }
        }
        Ok(())
    }

    /// Writes what has changed to the store.
    pub fn flush(&mut self) -> Result<()> {
        let of = |deleted: bool| {
            let changed = self.changed.iter();
            let changed = changed.filter(move |(_, change)| (**change == Change::Delete) == deleted);
            let places = changed.map(|(timer, _)| (timer.group, timer.place()));
            places.collect::<Vec<_>>()
        };
        let (puts, deletes) = (of(false), of(true));
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

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::operators::harness::{State, state};

    /// All timers in memory.
    type Model = BTreeSet<(i64, Vec<u8>, u16)>;

    fn of(timer: Timer) -> (i64, Vec<u8>, u16) {
        (timer.time, timer.key.to_vec(), timer.group)
    }

    fn random_timer(random: &mut StdRng, now: i64) -> (i64, Vec<u8>, u16) {
        let key: u16 = random.random_range(0..400);
        let group = key % 16;
        (
            now + random.random_range(-3..500),
            key.to_be_bytes().to_vec(),
            group,
        )
    }

    /// A subtask's share of the timers in a store.
    fn open(state: &State, groups: Range<u16>) -> Timers {
        Timers {
            groups,
            ..Timers::open(&state.backend, "timers").unwrap()
        }
    }

    #[test]
    fn timers_fire_as_if_all_were_in_memory() {
        for seed in 0..6 {
            let mut random = StdRng::seed_from_u64(seed);
            // Room for the fewest, and for all.
            let state = state(if seed % 3 == 2 { 1 << 24 } else { 0 });
            let mut timers = open(&state, 0..16);
            let mut model = Model::new();
            let mut now = 0;
            for step in 0..4000 {
                let (time, key, group) = random_timer(&mut random, now);
                match random.random_range(0..10) {
                    0..7 => {
                        timers.register(time, &key, group).unwrap();
                        model.insert((time, key, group));
                    }
                    7 => {
                        // One that is there, if there are some.
                        let known = model.range((time, key, group)..).next().cloned();
                        if let Some((time, key, group)) = known {
                            timers.delete(time, &key, group).unwrap();
                            model.remove(&(time, key, group));
                        }
                    }
                    8 => {
                        timers.delete(time, &key, group).unwrap();
                        model.remove(&(time, key, group));
                    }
                    _ => {
                        now += random.random_range(0..30);
                        while let Some(timer) = timers.pop(now).unwrap() {
                            assert_eq!(Some(of(timer)), model.pop_first());
                        }
                        assert!(model.first().is_none_or(|(time, _, _)| *time > now));
                    }
                }
                assert_eq!(
                    timers.earliest().unwrap(),
                    model.first().map(|(time, _, _)| *time)
                );
                if seed % 3 != 2 {
                    assert!(timers.due.len() <= FEWEST * 2 && timers.changed.len() <= FEWEST + 1);
                }
                if step % 700 == 699 {
                    timers.flush().unwrap();
                    timers = open(&state, 0..16);
                }
            }
            while let Some(timer) = timers.pop(i64::MAX).unwrap() {
                assert_eq!(Some(of(timer)), model.pop_first());
            }
            assert!(model.is_empty());
        }
    }

    #[test]
    fn other_subtasks_find_the_timers_of_their_key_groups() {
        let mut random = StdRng::seed_from_u64(1);
        let state = state(0);
        let mut timers = open(&state, 0..16);
        let mut model = Model::new();
        for _ in 0..1000 {
            let (time, key, group) = random_timer(&mut random, 0);
            timers.register(time, &key, group).unwrap();
            model.insert((time, key, group));
        }
        timers.flush().unwrap();
        for groups in [0..5, 5..6, 6..16] {
            let mut part = open(&state, groups.clone());
            let mut expected = model.iter().filter(|(_, _, group)| groups.contains(group));
            while let Some(timer) = part.pop(i64::MAX).unwrap() {
                assert_eq!(Some(&of(timer)), expected.next());
            }
            assert_eq!(expected.next(), None);
        }
    }
}
