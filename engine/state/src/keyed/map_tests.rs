//! Maps for each key, against maps in memory: a `MapTable`, and the maps beside a `Table`'s rows.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use millrace_core::key_group;
use millrace_core::row::Rows;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::files::Uploads;
use super::tests::{Checkpoints, MAX_PARALLELISM, codec, rows};
use super::{KeyedStore, Limits, MapTable, MapsOf, Table};

type Model = BTreeMap<i64, BTreeMap<Vec<u8>, Vec<u8>>>;

fn groups(hashes: &[u64]) -> Vec<u16> {
    let group = |hash: &u64| key_group::of_hash(*hash, MAX_PARALLELISM);
    hashes.iter().map(group).collect()
}

fn in_range(key: i64, range: &Range<u16>) -> bool {
    range.contains(&key_group::of_hash(
        key_group::hash(rows([key]).get(0)),
        MAX_PARALLELISM,
    ))
}

fn open() -> (tempfile::TempDir, Arc<KeyedStore>) {
    let directory = tempfile::tempdir().unwrap();
    let store = KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap();
    (directory, Arc::new(store))
}

/// An entry's key: some share beginnings, some have bytes at the ends of their range.
fn entry(random: &mut StdRng) -> Vec<u8> {
    let length = random.random_range(0..4);
    let byte = |random: &mut StdRng| [0, 1, 7, 0xfe, 0xff][random.random_range(0..5)];
    std::iter::once(random.random_range(1..3))
        .chain((0..length).map(|_| byte(random)))
        .collect()
}

fn keys(random: &mut StdRng, range: &Range<u16>) -> Vec<i64> {
    let count = random.random_range(1..12);
    let all = (0..count).map(|_| random.random_range(0..60));
    all.filter(|key| in_range(*key, range)).collect()
}

/// One batch of operations on a MapTable, each checked against the model.
fn map_table_batch(table: &mut MapTable, model: &mut Model, random: &mut StdRng, range: &Range<u16>) {
    let wanted = keys(random, range);
    let encoded = rows(wanted.iter().copied());
    let hashes: Vec<u64> = encoded.iter().map(key_group::hash).collect();
    let mut slots = Vec::new();
    table.make_room().unwrap();
    table
        .resolve(&encoded, &hashes, &groups(&hashes), &mut slots)
        .unwrap();
    for (key, slot) in wanted.into_iter().zip(slots) {
        let expected = model.entry(key).or_default();
        for _ in 0..random.random_range(0..5) {
            let at = entry(random);
            match random.random_range(0..3) {
                0 => {
                    expected.remove(&at);
                    table.remove(slot, &at);
                }
                _ => {
                    let value = random.random_range(0..1000u16).to_be_bytes();
                    expected.insert(at.clone(), value.to_vec());
                    table.put(slot, &at, &value);
                }
            }
            assert_eq!(table.get(slot, &at), expected.get(&at).map(Vec::as_slice));
        }
        assert_eq!(table.len(slot), expected.len());
        assert_eq!(table.is_empty(slot), expected.is_empty());
        let all: Vec<(&[u8], &[u8])> = table.iter(slot).collect();
        assert_eq!(
            all,
            expected.iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>()
        );
        let (from, to) = (entry(random), entry(random));
        if from < to {
            let bounds = (Bound::Excluded(&*from), Bound::Included(&*to));
            let found: Vec<&[u8]> = table
                .range(slot, bounds.0, bounds.1)
                .rev()
                .map(|(k, _)| k)
                .collect();
            let wanted: Vec<&[u8]> = expected
                .range::<[u8], _>(bounds)
                .rev()
                .map(|(k, _)| k.as_slice())
                .collect();
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn a_map_table_equals_maps_however_little_memory_it_has() {
    for (seed, limit) in [(1, 1 << 20), (2, 20_000), (3, 3_000), (4, 0)] {
        let (_directory, store) = open();
        let mut random = StdRng::seed_from_u64(seed);
        let mut table = MapTable::open(&store, "maps", limit).unwrap();
        let mut model = Model::new();
        for _ in 0..600 {
            map_table_batch(&mut table, &mut model, &mut random, &(0..MAX_PARALLELISM));
            if random.random_bool(0.1) {
                table.flush().unwrap();
            }
        }
    }
}

#[test]
fn a_restored_map_table_goes_on_where_its_checkpoint_was() {
    let mut checkpoints = Checkpoints::new();
    let (_directory, store) = open();
    let mut uploads = Uploads::default();
    let mut random = StdRng::seed_from_u64(11);
    let mut table = MapTable::open(&store, "maps", 3_000).unwrap();
    let mut model = Model::new();
    let mut taken = Vec::new();
    for _ in 0..4 {
        for _ in 0..40 {
            map_table_batch(&mut table, &mut model, &mut random, &(0..MAX_PARALLELISM));
        }
        table.flush().unwrap();
        let files = checkpoints.take(&store, 0..MAX_PARALLELISM, &mut uploads);
        taken.push((files, model.clone()));
    }
    for (files, mut model) in taken {
        let (_directory, store) = checkpoints.restore(&files);
        let mut table = MapTable::open(&store, "maps", 3_000).unwrap();
        for _ in 0..40 {
            map_table_batch(&mut table, &mut model, &mut random, &(0..MAX_PARALLELISM));
        }
    }
}

#[test]
fn the_key_groups_of_a_map_table_are_taken_over() {
    let mut checkpoints = Checkpoints::new();
    let (_directory, store) = open();
    let mut random = StdRng::seed_from_u64(12);
    let mut table = MapTable::open(&store, "maps", 3_000).unwrap();
    let mut model = Model::new();
    for _ in 0..200 {
        map_table_batch(&mut table, &mut model, &mut random, &(0..MAX_PARALLELISM));
    }
    table.flush().unwrap();
    let files = checkpoints.take(&store, 0..MAX_PARALLELISM, &mut Uploads::default());
    for range in [0..5, 5..6, 6..MAX_PARALLELISM] {
        let (_old_directory, old) = checkpoints.restore(&files);
        let (_directory, store) = open();
        store.take_from(&old, range.clone(), &|_| None).unwrap();
        let mut part = model.clone();
        part.retain(|key, _| in_range(*key, &range));
        let mut table = MapTable::open(&store, "maps", 3_000).unwrap();
        for _ in 0..100 {
            map_table_batch(&mut table, &mut part, &mut random, &range);
        }
    }
}

/// Rows with a number of their own, and maps beside them.
struct Beside {
    table: Table,
    numbers: Vec<i64>,
}

/// A row and its map. A key without a row has no map.
type BesideModel = BTreeMap<i64, (i64, BTreeMap<Vec<u8>, Vec<u8>>)>;

impl Beside {
    fn open(store: &Arc<KeyedStore>, limit: usize) -> Self {
        let table = Table::open(store, "rows", 8, limit).unwrap();
        Beside {
            table: table.with_maps("rows-maps", Vec::new()).unwrap(),
            numbers: Vec::new(),
        }
    }

    fn flush(&mut self) {
        let numbers = &self.numbers;
        let encode = |slots: &[u32], out: &mut Rows| {
            *out = rows(slots.iter().map(|s| numbers[*s as usize]));
            Ok(())
        };
        self.table.flush(&mut &encode).unwrap();
    }

    fn batch(&mut self, model: &mut BesideModel, random: &mut StdRng, range: &Range<u16>) {
        let wanted = keys(random, range);
        let numbers = &self.numbers;
        let encode = |slots: &[u32], out: &mut Rows| {
            *out = rows(slots.iter().map(|s| numbers[*s as usize]));
            Ok(())
        };
        self.table.make_room(wanted.len(), &mut &encode).unwrap();
        let encoded = rows(wanted.iter().copied());
        let hashes: Vec<u64> = encoded.iter().map(key_group::hash).collect();
        let mut slots = Vec::new();
        let resolved = self
            .table
            .resolve(&encoded, &hashes, &groups(&hashes), &mut slots)
            .unwrap();
        self.numbers.resize(self.table.width(), 0);
        for slot in resolved.fresh {
            self.numbers[slot as usize] = 0;
        }
        let loaded: Vec<ArrayRef> = codec().decode(resolved.values.iter()).unwrap();
        let loaded: &Int64Array = loaded[0].as_primitive::<Int64Type>();
        for (slot, number) in resolved.loaded.iter().zip(loaded.values()) {
            self.numbers[*slot as usize] = *number;
        }
        // As an operator does it: known before, so that the store is asked once.
        let ahead: Vec<Vec<u8>> = slots.iter().map(|_| entry(random)).collect();
        let pairs = slots.iter().copied().zip(ahead.iter().map(Vec::as_slice));
        self.table.maps().unwrap().prefetch(&[], pairs).unwrap();
        let mut gone = Vec::new();
        for ((key, slot), ahead) in wanted.iter().zip(&slots).zip(ahead) {
            let (number, expected) = model.entry(*key).or_default();
            assert_eq!(self.numbers[*slot as usize], *number);
            *number += 1;
            self.numbers[*slot as usize] += 1;
            let mut maps = self.table.maps().unwrap();
            operate(&mut maps, *slot, expected, ahead, random);
            self.table.changed([*slot]);
            if random.random_bool(0.05) {
                gone.push((*key, *slot));
            }
        }
        for (key, slot) in gone {
            model.remove(&key);
            self.table.remove(slot);
        }
    }
}

fn operate(
    maps: &mut MapsOf,
    slot: u32,
    expected: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    ahead: Vec<u8>,
    random: &mut StdRng,
) {
    let prefix = [random.random_range(1..3u8)];
    for round in 0..random.random_range(1..6) {
        let at = if round == 0 { ahead.clone() } else { entry(random) };
        match random.random_range(0..10) {
            0 => {
                maps.clear(slot, &prefix).unwrap();
                expected.retain(|k, _| !k.starts_with(&prefix));
            }
            1..4 => {
                expected.remove(&at);
                maps.remove(slot, &at);
            }
            _ => {
                let value = random.random_range(0..1000u16).to_be_bytes();
                expected.insert(at.clone(), value.to_vec());
                maps.put(slot, &at, &value);
            }
        }
        assert_eq!(maps.get(slot, &at).unwrap(), expected.get(&at).map(Vec::as_slice));
    }
    let under = |key: &&Vec<u8>| key.starts_with(&prefix);
    assert_eq!(
        maps.last(slot, &prefix).unwrap().as_ref(),
        expected.keys().rfind(under)
    );
    assert_eq!(
        maps.first(slot, &prefix).unwrap().as_ref(),
        expected.keys().find(under)
    );
    if random.random_bool(0.3) {
        // From somewhere on, and not to the end.
        let (from, most) = (entry(random), random.random_range(1..4));
        let from = &from[1..];
        let mut found = Vec::new();
        maps.each_from(slot, &prefix, from, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(found.len() < most)
        })
        .unwrap();
        let wanted = expected.iter().filter(|(key, _)| under(key) && &key[1..] >= from);
        let wanted: Vec<_> = wanted.map(|(k, v)| (k.clone(), v.clone())).take(most).collect();
        assert_eq!(found, wanted);
        maps.relieve(slot).unwrap();
    }
    if random.random_bool(0.3) {
        let mut found = Vec::new();
        maps.each(slot, &prefix, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
        let wanted = expected.iter().filter(|(key, _)| under(key));
        assert_eq!(
            found,
            wanted.map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
        );
    }
}

#[test]
fn maps_beside_rows_equal_maps_however_little_memory_they_have() {
    for (seed, limit) in [(1, 1 << 20), (2, 10_000), (3, 2_000), (4, 0)] {
        let (_directory, store) = open();
        let mut random = StdRng::seed_from_u64(seed);
        let mut table = Beside::open(&store, limit);
        let mut model = BesideModel::new();
        for _ in 0..800 {
            table.batch(&mut model, &mut random, &(0..MAX_PARALLELISM));
            if random.random_bool(0.1) {
                table.flush();
            }
        }
        assert!(limit > 20_000 || table.table.bytes() < 2 * limit + 20_000);
    }
}

#[test]
fn maps_beside_rows_are_restored_and_taken_over() {
    let mut checkpoints = Checkpoints::new();
    let (_directory, store) = open();
    let mut random = StdRng::seed_from_u64(21);
    let mut table = Beside::open(&store, 4_000);
    let mut model = BesideModel::new();
    let mut uploads = Uploads::default();
    let mut taken = Vec::new();
    for _ in 0..4 {
        for _ in 0..60 {
            table.batch(&mut model, &mut random, &(0..MAX_PARALLELISM));
        }
        table.flush();
        let files = checkpoints.take(&store, 0..MAX_PARALLELISM, &mut uploads);
        taken.push((files, model.clone()));
    }
    for (files, model) in taken {
        for range in [0..MAX_PARALLELISM, 0..5, 5..MAX_PARALLELISM] {
            let (_old_directory, old) = checkpoints.restore(&files);
            let (_directory, store) = open();
            store.take_from(&old, range.clone(), &|_| None).unwrap();
            let mut part = model.clone();
            part.retain(|key, _| in_range(*key, &range));
            let mut table = Beside::open(&store, 4_000);
            for _ in 0..60 {
                table.batch(&mut part, &mut random, &range);
            }
        }
    }
}

#[test]
fn a_key_that_goes_before_it_was_stored_leaves_no_map_behind() {
    let (_directory, store) = open();
    let mut table = Table::open(&store, "rows", 8, 1 << 20)
        .unwrap()
        .with_maps("maps", Vec::new())
        .unwrap();
    let zeros = |slots: &[u32], out: &mut Rows| {
        *out = rows(slots.iter().map(|_| 0));
        Ok(())
    };
    let keys = rows([1, 2]);
    let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
    let mut slots = Vec::new();
    table
        .resolve(&keys, &hashes, &groups(&hashes), &mut slots)
        .unwrap();
    table.maps().unwrap().put(slots[0], b"gone", b"1");
    table.remove(slots[0]);
    // The other one is written, and what has changed in maps with it.
    table.changed([slots[1]]);
    table.flush(&mut &zeros).unwrap();
    // The key comes again, is stored, and read back.
    table
        .resolve(&keys, &hashes, &groups(&hashes), &mut slots)
        .unwrap();
    table.changed(slots.iter().copied());
    table.flush(&mut &zeros).unwrap();
    let mut table = Table::open(&store, "rows", 8, 1 << 20)
        .unwrap()
        .with_maps("maps", Vec::new())
        .unwrap();
    table
        .resolve(&keys, &hashes, &groups(&hashes), &mut slots)
        .unwrap();
    assert_eq!(table.maps().unwrap().get(slots[0], b"gone").unwrap(), None);
}

/// A key whose map does not fit is not read anew for each row of a batch; many such keys are not all kept.
#[test]
fn a_map_that_does_not_fit_stays_between_rows_and_several_do_not() {
    const LIMIT: usize = 20_000;
    let (_directory, store) = open();
    let mut table = MapTable::open(&store, "rows", LIMIT).unwrap();
    let slot_of = |table: &mut MapTable, key: i64| {
        let keys = rows([key]);
        let hash = key_group::hash(keys.get(0));
        table.slot(keys.get(0), hash, groups(&[hash])[0]).unwrap()
    };
    let fill = |table: &mut MapTable, key: i64, entries: u32| {
        let slot = slot_of(table, key);
        (0..entries).for_each(|n| table.put(slot, &n.to_be_bytes(), &[7; 50]));
    };
    fill(&mut table, 0, 1_000);
    assert!(table.is_over());
    table.make_room_between().unwrap();
    assert!(table.bytes() > 2 * LIMIT && !table.is_over());
    for key in 1..30 {
        table.make_room_between().unwrap();
        fill(&mut table, key, 100);
        // One at work, and what is left of others.
        let bytes = table.bytes();
        assert!(key < 2 || bytes < 3 * LIMIT, "{bytes} bytes are in memory");
    }
    table.make_room().unwrap();
    assert!(table.bytes() <= LIMIT);
    for key in 0..30 {
        table.make_room().unwrap();
        let slot = slot_of(&mut table, key);
        assert_eq!(table.len(slot), if key == 0 { 1_000 } else { 100 });
    }
}
