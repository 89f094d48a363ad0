//! Maps that are in the store only, against maps in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_core::key_group;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::MapTable;
use crate::keyed::tests::{MAX_PARALLELISM, rows};
use crate::keyed::{Clock, KeyedStore, Lifetimes, Limits};

/// An entry's key: few, so that they come again, and some are beginnings of others.
fn entry(random: &mut StdRng) -> Vec<u8> {
    let length = random.random_range(1..4);
    (0..length)
        .map(|_| [0, 5, 0xff][random.random_range(0..3)])
        .collect()
}

fn slot(table: &mut MapTable, key: i64) -> u32 {
    let key = rows([key]);
    let group = key_group::of_hash(key_group::hash(key.get(0)), MAX_PARALLELISM);
    table.resolve_one(key.get(0), group).unwrap()
}

fn entries(table: &MapTable, slot: u32, from: &[u8], most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    table
        .each_from(slot, from, |entry, value| {
            found.push((entry.to_vec(), value.to_vec()));
            Ok(found.len() < most)
        })
        .unwrap();
    found
}

#[test]
fn maps_that_are_in_the_store_only_are_as_maps_in_memory() {
    for limit in [100, 10_000, 1 << 20] {
        let mut random = StdRng::seed_from_u64(limit as u64);
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(KeyedStore::open(folder.path(), &Limits::new(8 << 20)).unwrap());
        let open = || MapTable::open(&store, "maps", limit).unwrap().with_large_maps();
        let mut table = open();
        let mut model: BTreeMap<i64, BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
        let mut large = 0;
        for step in 0..4_000 {
            let key = random.random_range(0..4);
            let slot = slot(&mut table, key);
            let expected = model.entry(key).or_default();
            large += i32::from(table.is_large(slot));
            for _ in 0..random.random_range(1..4) {
                let at = entry(&mut random);
                match random.random_range(0..6) {
                    0..2 => {
                        let value = vec![random.random_range(0..9); random.random_range(0..40)];
                        table.write(slot, &at, Some(&value)).unwrap();
                        expected.insert(at, value);
                    }
                    2 => {
                        table.write(slot, &at, None).unwrap();
                        expected.remove(&at);
                    }
                    // The first ones go, as rows that expire do.
                    3 => {
                        for (entry, _) in entries(&table, slot, &[], 2) {
                            table.write(slot, &entry, None).unwrap();
                            expected.remove(&entry);
                        }
                    }
                    4 => {
                        let value = table.read(slot, &at).unwrap();
                        assert_eq!(value.as_deref(), expected.get(&at).map(Vec::as_slice));
                        let last = expected.keys().rfind(|entry| entry.starts_with(&at));
                        assert_eq!(table.last_under(slot, &at).unwrap().as_ref(), last);
                    }
                    _ => {
                        let most = random.random_range(1..9);
                        let there = expected.range(at.clone()..).take(most);
                        let there: Vec<_> = there.map(|(e, v)| (e.clone(), v.clone())).collect();
                        assert_eq!(entries(&table, slot, &at, most), there, "{limit} {step}");
                    }
                }
            }
            match random.random_range(0..4) {
                0 => table.make_room().unwrap(),
                1 => table.make_room_between().unwrap(),
                _ => {}
            }
            if step % 500 == 499 {
                table.flush().unwrap();
                table = open();
            }
        }
        // All of them, some, and none.
        assert_eq!(large > 0, limit < 1 << 20, "{limit}: {large}");
        assert_eq!(large > 3_000, limit == 100, "{limit}: {large}");
    }
}

#[test]
fn entries_of_maps_in_the_store_expire() {
    let folder = tempfile::tempdir().unwrap();
    let time = Arc::new(AtomicI64::new(1_000));
    let lifetimes = Lifetimes::default().with("maps", 100);
    let clock = Clock::Set(time.clone());
    let store = KeyedStore::open_with(folder.path(), &Limits::new(8 << 20), &lifetimes, &clock).unwrap();
    let mut table = MapTable::open(&Arc::new(store), "maps", 100)
        .unwrap()
        .with_large_maps();
    let there = slot(&mut table, 1);
    for entry in 0..9u8 {
        table.write(there, &[entry], Some(&[7; 50])).unwrap();
    }
    table.make_room_between().unwrap();
    let slot = slot(&mut table, 1);
    assert!(table.is_large(slot));
    time.store(1_060, Ordering::Relaxed);
    table.read_clock();
    table.write(slot, &[4], Some(&[8])).unwrap();
    time.store(1_110, Ordering::Relaxed);
    table.read_clock();
    assert_eq!(entries(&table, slot, &[], 99), [(vec![4], vec![8])]);
    assert_eq!(table.read(slot, &[3]).unwrap(), None);
    assert_eq!(table.read(slot, &[4]).unwrap().as_deref(), Some(&[8][..]));
    assert_eq!(table.last_under(slot, &[5]).unwrap(), None);
    time.store(1_170, Ordering::Relaxed);
    table.read_clock();
    assert!(entries(&table, slot, &[], 99).is_empty());
}
