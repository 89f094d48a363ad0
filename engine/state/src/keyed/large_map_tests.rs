//! A map that is larger than the memory of its table: what goes through it, writes it again and takes it away
//! brings no more of it into memory than there is room for, and what was put since stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_core::key_group;
use millrace_core::row::Rows;

use super::files::Uploads;
use super::tests::{Checkpoints, MAX_PARALLELISM, rows};
use super::{Clock, KeyedStore, Lifetimes, Limits, MapsOf, Table};

const ENTRIES: u32 = 5_000;
const LIMIT: usize = 20_000;
const TTL: i64 = 100;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A table with the map of one key, which is in the store.
struct Large {
    store: Arc<KeyedStore>,
    table: Table,
    slot: u32,
    time: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

fn zeros(slots: &[u32], out: &mut Rows) -> millrace_core::Result<()> {
    *out = rows(slots.iter().map(|_| 0));
    Ok(())
}

/// Entries begin with 1 or 2.
fn entry(number: u32) -> Vec<u8> {
    [&[1 + (number % 2) as u8][..], &number.to_be_bytes()].concat()
}

fn value(number: u32) -> Vec<u8> {
    format!("value {number}").into_bytes()
}

fn open_table(store: &Arc<KeyedStore>) -> (Table, u32) {
    let table = Table::open(store, "rows", 8, LIMIT).unwrap();
    let mut table = table.with_maps("maps", vec![vec![1]]).unwrap();
    let slot = resolve(&mut table);
    (table, slot)
}

fn resolve(table: &mut Table) -> u32 {
    let keys = rows([7]);
    let hash = key_group::hash(keys.get(0));
    let mut slots = Vec::new();
    let group = key_group::of_hash(hash, MAX_PARALLELISM);
    table.resolve(&keys, &[hash], &[group], &mut slots).unwrap();
    slots[0]
}

impl Large {
    fn new() -> (Large, Entries) {
        Large::with(&Lifetimes::default())
    }

    fn with(lifetimes: &Lifetimes) -> (Large, Entries) {
        let directory = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(1_000));
        let clock = Clock::Set(time.clone());
        let store = KeyedStore::open_with(directory.path(), &Limits::new(8 << 20), lifetimes, &clock);
        let store = Arc::new(store.unwrap());
        let (table, slot) = open_table(&store);
        let mut large = Large {
            store,
            table,
            slot,
            time,
            _directory: directory,
        };
        let expected: Entries = (0..ENTRIES).map(|n| (entry(n), value(n))).collect();
        for (entry, value) in &expected {
            large.maps().put(slot, entry, value);
        }
        large.reopen();
        assert_eq!(all(&mut large.maps(), slot), expected);
        (large, expected)
    }

    fn maps(&mut self) -> MapsOf<'_> {
        self.table.maps().unwrap()
    }

    fn flush(&mut self) {
        self.table.changed([self.slot]);
        self.table.flush(&mut zeros).unwrap();
    }

    /// Nothing is in memory but the row.
    fn reopen(&mut self) {
        self.flush();
        (self.table, self.slot) = open_table(&self.store);
    }

    fn assert_small(&self) {
        let bytes = self.table.bytes();
        assert!(bytes < 2 * LIMIT, "{bytes} bytes are in memory");
    }
}

/// Gone through without anything coming into memory.
fn all(maps: &mut MapsOf, slot: u32) -> Entries {
    let mut found = Entries::new();
    maps.each_from(slot, &[], &[], |entry, value| {
        assert_eq!(found.insert(entry.to_vec(), value.to_vec()), None);
        Ok(true)
    })
    .unwrap();
    found
}

#[test]
fn a_large_map_is_gone_through_without_being_in_memory() {
    let (mut large, mut expected) = Large::new();
    let slot = large.slot;
    // Changes that the store does not have yet.
    for n in [0, 17, 40, ENTRIES - 1] {
        large.maps().remove(slot, &entry(n));
        expected.remove(&entry(n));
        large.maps().put(slot, &entry(n + 2 * ENTRIES), b"new");
        expected.insert(entry(n + 2 * ENTRIES), b"new".to_vec());
    }
    for _ in 0..2 {
        let mut found = Entries::new();
        let visit = |entry: &[u8], value: &[u8]| {
            assert!(found.last_key_value().is_none_or(|(last, _)| &**last < entry));
            found.insert(entry.to_vec(), value.to_vec());
            Ok(())
        };
        large.maps().each(slot, &[], visit).unwrap();
        assert_eq!(found, expected);
        large.assert_small();
        large.reopen();
    }
}

#[test]
fn a_large_map_is_cleared_without_being_read_and_what_is_put_then_stays() {
    for prefix in [&[][..], &[1], &[2]] {
        let (mut large, mut expected) = Large::new();
        let slot = large.slot;
        large.maps().put(slot, &entry(3), b"changed before");
        large.maps().clear(slot, prefix).unwrap();
        expected.insert(entry(3), b"changed before".to_vec());
        expected.retain(|entry, _| !entry.starts_with(prefix));
        large.assert_small();
        // It is known to be empty, the store is not asked.
        for n in [0, 1] {
            let there = expected.get(&entry(n)).cloned();
            assert_eq!(large.maps().get(slot, &entry(n)).unwrap(), there.as_deref());
        }
        assert_eq!(
            large.maps().first(slot, &[1]).unwrap(),
            expected.keys().find(|e| e[0] == 1).cloned()
        );
        assert_eq!(
            large.maps().last(slot, &[2]).unwrap(),
            expected.keys().rfind(|e| e[0] == 2).cloned()
        );
        assert_eq!(all(&mut large.maps(), slot), expected);
        // Some come again, as they were or as others; one of them goes again.
        for n in [0, 1, 2, 3] {
            large.maps().put(slot, &entry(n), b"again");
            expected.insert(entry(n), b"again".to_vec());
        }
        large.maps().remove(slot, &entry(2));
        expected.remove(&entry(2));
        assert_eq!(all(&mut large.maps(), slot), expected);
        large.reopen();
        let slot = large.slot;
        assert_eq!(all(&mut large.maps(), slot), expected);

        // So do a checkpoint, one at another parallelism, and the store when it has compacted.
        let mut checkpoints = Checkpoints::new();
        let files = checkpoints.take(&large.store, 0..MAX_PARALLELISM, &mut Uploads::default());
        let (_directory, restored) = checkpoints.restore(&files);
        let (mut table, slot) = open_table(&restored);
        assert_eq!(all(&mut table.maps().unwrap(), slot), expected);
        let directory = tempfile::tempdir().unwrap();
        let other = Arc::new(KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap());
        other.take_from(&restored, 0..MAX_PARALLELISM, &|_| None).unwrap();
        let (mut table, slot) = open_table(&other);
        assert_eq!(all(&mut table.maps().unwrap(), slot), expected);
        let (family, _) = large.store.family("maps").unwrap();
        large.store.compact(&family);
        large.reopen();
        let slot = large.slot;
        assert_eq!(all(&mut large.maps(), slot), expected);
    }
}

#[test]
fn a_key_with_a_large_map_goes_with_all_of_it() {
    for released in [false, true] {
        let (mut large, _) = Large::new();
        match released {
            true => large.table.release(&[large.slot], &mut zeros).unwrap(),
            false => large.table.remove(large.slot),
        }
        large.assert_small();
        // The key comes again before and after the store has heard of it.
        large.slot = resolve(&mut large.table);
        let slot = large.slot;
        assert_eq!(all(&mut large.maps(), slot), Entries::new());
        large.reopen();
        let slot = large.slot;
        assert_eq!(all(&mut large.maps(), slot), Entries::new());
    }
}

#[test]
fn a_map_that_was_written_before_its_row_goes_with_it() {
    let (mut large, _) = Large::new();
    large.table.release(&[large.slot], &mut zeros).unwrap();
    let slot = resolve(&mut large.table);
    for n in 0..ENTRIES {
        large.maps().put(slot, &entry(n), &value(n));
        large.maps().relieve(slot).unwrap();
        large.assert_small();
    }
    large.table.remove(slot);
    large.table.flush(&mut zeros).unwrap();
    large.slot = resolve(&mut large.table);
    large.reopen();
    let slot = large.slot;
    assert_eq!(all(&mut large.maps(), slot), Entries::new());
}

#[test]
fn entries_of_a_large_map_live_as_long_as_their_row() {
    let lifetimes = Lifetimes::default().with("rows", TTL).with("maps", TTL);
    let (mut large, mut expected) = Large::with(&lifetimes);
    for round in 0..3 {
        // The row is written, and with it what begins with 1.
        large.time.fetch_add(TTL / 2, Ordering::Relaxed);
        large.slot = resolve(&mut large.table);
        large.table.changed([large.slot]);
        large.table.keep_with_rows(&[large.slot]).unwrap();
        large.assert_small();
        if round == 1 {
            expected.retain(|entry, _| entry[0] == 1);
        }
        let slot = large.slot;
        assert_eq!(all(&mut large.maps(), slot), expected, "round {round}");
        large.reopen();
        let (family, _) = large.store.family("maps").unwrap();
        large.store.compact(&family);
    }
    // What is cleared does not come back with the time, nor does what expires.
    let slot = large.slot;
    large.maps().clear(slot, &[1]).unwrap();
    large.maps().put(slot, &entry(2), b"again");
    large.reopen();
    large.time.fetch_add(TTL - 1, Ordering::Relaxed);
    large.slot = resolve(&mut large.table);
    let slot = large.slot;
    assert_eq!(
        all(&mut large.maps(), slot),
        Entries::from([(entry(2), b"again".to_vec())])
    );
    large.time.fetch_add(1, Ordering::Relaxed);
    large.slot = resolve(&mut large.table);
    let slot = large.slot;
    assert_eq!(all(&mut large.maps(), slot), Entries::new());
}
