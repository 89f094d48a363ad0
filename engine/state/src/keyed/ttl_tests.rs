//! Rows that expire: tables against maps that forget, under times by chance; what the store drops; and
//! checkpoints that are restored with another time to live.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_core::row::Rows;
use millrace_core::{CheckpointId, Result, key_group};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::tests::{MAX_PARALLELISM, Sums, batch, rows};
use super::{
    Clock, KeyedBackend, KeyedFiles, KeyedResources, KeyedStore, Lifetimes, Limits, MapTable, MapsOf, Table,
};
use crate::job::{JobStore, StateWriter};
use crate::local::LocalStore;

const TTL: i64 = 100;

/// A clock, and the number that sets it.
fn clock() -> (Clock, Arc<AtomicI64>) {
    let time = Arc::new(AtomicI64::new(1_000_000));
    (Clock::Set(time.clone()), time)
}

fn open(tables: &[&str], clock: &Clock) -> (tempfile::TempDir, Arc<KeyedStore>) {
    let directory = tempfile::tempdir().unwrap();
    let lifetimes = tables.iter().fold(Lifetimes::default(), |l, t| l.with(t, TTL));
    let store = KeyedStore::open_with(directory.path(), &Limits::new(8 << 20), &lifetimes, clock);
    (directory, Arc::new(store.unwrap()))
}

/// Sums with the times of their last change.
#[derive(Default, Clone)]
struct Forgetful(HashMap<i64, (i64, i64)>);

impl Forgetful {
    /// As `Sums::add`.
    fn add(&mut self, keys: &[i64], now: i64) -> Vec<i64> {
        self.0.retain(|_, (_, written)| *written + TTL > now);
        let add = |key: &i64| {
            let (sum, written) = self.0.entry(*key).or_default();
            (*sum, *written) = (*sum + 1, now);
            let now = *sum;
            if now % 10 == 0 {
                self.0.remove(key);
            }
            now
        };
        keys.iter().map(add).collect()
    }
}

#[test]
fn a_table_forgets_as_a_map_does_however_little_memory_it_has() {
    for (seed, limit) in [(1, 1 << 20), (2, 20_000), (3, 4_000)] {
        let (clock, time) = clock();
        let (_directory, store) = open(&["sums"], &clock);
        let (family, _) = store.family("sums").unwrap();
        let mut random = StdRng::seed_from_u64(seed);
        let (mut sums, mut model) = (Sums::open(&store, limit), Forgetful::default());
        let mut forgotten = 0;
        for round in 0..400 {
            time.fetch_add(random.random_range(0..40), Ordering::Relaxed);
            let now = time.load(Ordering::Relaxed);
            let before = model.0.len();
            let keys = batch(&mut random);
            let expected = model.add(&keys, now);
            forgotten += before.saturating_sub(model.0.len());
            assert_eq!(sums.add(&keys), expected, "limit {limit}, round {round}");
            if random.random_bool(0.1) {
                sums.flush();
            }
            if random.random_bool(0.05) {
                store.compact(&family);
            }
        }
        assert!(forgotten > 0);
    }
}

#[test]
fn a_row_is_there_until_its_time_is_over_and_not_a_moment_longer() {
    let (clock, time) = clock();
    let (_directory, store) = open(&["sums"], &clock);
    let mut sums = Sums::open(&store, 1 << 20);
    let start = time.load(Ordering::Relaxed);
    assert_eq!(sums.add(&[7]), [1]);
    time.store(start + TTL - 1, Ordering::Relaxed);
    assert_eq!(sums.add(&[7]), [2]);
    time.store(start + 2 * TTL - 1, Ordering::Relaxed);
    assert_eq!(sums.add(&[7, 7]), [1, 2]);
}

#[test]
fn compaction_drops_what_has_expired_and_nothing_else() {
    let (clock, time) = clock();
    let (_directory, store) = open(&["sums"], &clock);
    let (family, _) = store.family("sums").unwrap();
    let mut sums = Sums::open(&store, 1 << 20);
    sums.add(&(0..1000).collect::<Vec<_>>());
    sums.flush();
    time.fetch_add(TTL / 2, Ordering::Relaxed);
    sums.add(&(0..10).collect::<Vec<_>>());
    sums.flush();
    let stored = || {
        let mut count = 0;
        for group in 0..MAX_PARALLELISM {
            store.scan(&family, group, &[], |_, _| count += 1).unwrap();
        }
        count
    };
    store.compact(&family);
    assert_eq!(stored(), 1000);
    time.fetch_add(TTL / 2, Ordering::Relaxed);
    store.compact(&family);
    assert_eq!(stored(), 10);
}

fn hashes(keys: &Rows) -> Vec<u64> {
    keys.iter().map(key_group::hash).collect()
}

fn groups(hashes: &[u64]) -> Vec<u16> {
    let group = |hash: &u64| key_group::of_hash(*hash, MAX_PARALLELISM);
    hashes.iter().map(group).collect()
}

/// Values with the times at which they were written.
type Timed = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

fn entry(random: &mut StdRng) -> Vec<u8> {
    vec![random.random_range(1..3), random.random_range(0..6)]
}

#[test]
fn entries_of_a_map_table_expire_each_by_itself() {
    for (seed, limit) in [(1, 1 << 20), (2, 3_000), (3, 0)] {
        let (clock, time) = clock();
        let (_directory, store) = open(&["maps"], &clock);
        let (family, _) = store.family("maps").unwrap();
        let mut random = StdRng::seed_from_u64(seed);
        let mut table = MapTable::open(&store, "maps", limit).unwrap();
        let mut model: HashMap<i64, Timed> = HashMap::new();
        let mut expired = 0;
        for _ in 0..800 {
            let now = time.load(Ordering::Relaxed) + random.random_range(0..30);
            time.store(now, Ordering::Relaxed);
            let keys: Vec<i64> = (0..3).map(|_| random.random_range(0..40)).collect();
            let encoded = rows(keys.iter().copied());
            let hashes = hashes(&encoded);
            let mut slots = Vec::new();
            table.make_room().unwrap();
            table
                .resolve(&encoded, &hashes, &groups(&hashes), &mut slots)
                .unwrap();
            for (key, slot) in keys.into_iter().zip(slots) {
                let map = model.entry(key).or_default();
                let before = map.len();
                map.retain(|_, (_, written)| written.saturating_add(TTL) > now);
                expired += before - map.len();
                let at = entry(&mut random);
                let value = random.random_range(0..1000u16).to_be_bytes();
                match random.random_range(0..8) {
                    0 => {
                        map.remove(&at);
                        table.remove(slot, &at);
                    }
                    1 => {
                        map.insert(at.clone(), (value.to_vec(), i64::MAX));
                        table.put_lasting(slot, &at, &value);
                    }
                    2 if map.values().all(|(_, written)| *written != i64::MAX) => {
                        map.values_mut().for_each(|(_, written)| *written = now);
                        table.touch(slot, Bound::Unbounded, Bound::Unbounded);
                    }
                    _ => {
                        map.insert(at.clone(), (value.to_vec(), now));
                        table.put(slot, &at, &value);
                    }
                }
                let all: Vec<(Vec<u8>, Vec<u8>)> =
                    table.iter(slot).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                let wanted: Vec<_> = map.iter().map(|(k, (v, _))| (k.clone(), v.clone())).collect();
                assert_eq!(all, wanted);
            }
            if random.random_bool(0.1) {
                table.flush().unwrap();
            }
            if random.random_bool(0.05) {
                store.compact(&family);
            }
        }
        assert!(expired > 50, "{expired}");
    }
}

/// What is alive of a map is what its functions show.
fn assert_shows(maps: &mut MapsOf<'_>, slot: u32, map: &Timed) {
    for prefix in [&[][..], &[1][..], &[2][..]] {
        let under: Vec<&Vec<u8>> = map.keys().filter(|k| k.starts_with(prefix)).collect();
        assert_eq!(maps.first(slot, prefix).unwrap().as_ref(), under.first().copied());
        assert_eq!(maps.last(slot, prefix).unwrap().as_ref(), under.last().copied());
        let mut seen = Vec::new();
        maps.each(slot, prefix, |key, _| {
            seen.push(key.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>(), under);
    }
}

#[test]
fn entries_beside_rows_expire_by_themselves_or_live_as_long_as_their_rows() {
    for (seed, limit) in [(1, 1 << 20), (2, 6_000)] {
        let (clock, time) = clock();
        let (_directory, store) = open(&["rows", "maps"], &clock);
        let mut random = StdRng::seed_from_u64(seed);
        let table = Table::open(&store, "rows", 8, limit).unwrap();
        let mut table = table.with_maps("maps", vec![vec![2]]).unwrap();
        let mut model: HashMap<i64, (i64, Timed)> = HashMap::new();
        let one = |slots: &[u32], out: &mut Rows| {
            slots.iter().for_each(|_| out.push(&[1]));
            Ok(())
        };
        let mut expired = 0;
        for _ in 0..800 {
            let now = time.load(Ordering::Relaxed) + random.random_range(0..30);
            time.store(now, Ordering::Relaxed);
            let keys: Vec<i64> = (0..3).map(|_| random.random_range(0..40)).collect();
            let encoded = rows(keys.iter().copied());
            let hashes = hashes(&encoded);
            let mut slots = Vec::new();
            table.make_room(keys.len(), &mut &one).unwrap();
            table
                .resolve(&encoded, &hashes, &groups(&hashes), &mut slots)
                .unwrap();
            for (key, slot) in keys.into_iter().zip(slots) {
                let (row, map) = model.entry(key).or_default();
                if *row + TTL <= now {
                    expired += i32::from(*row > 0);
                    map.clear();
                }
                map.retain(|at, (_, written)| at[0] == 2 || *written + TTL > now);
                let at = entry(&mut random);
                let mut maps = table.maps().unwrap();
                assert_shows(&mut maps, slot, map);
                match random.random_range(0..4) {
                    0 => {
                        map.remove(&at);
                        maps.remove(slot, &at);
                    }
                    _ => {
                        map.insert(at.clone(), (vec![1], now));
                        maps.put(slot, &at, &[1]);
                    }
                }
                let found = maps.get(slot, &at).unwrap().map(<[u8]>::to_vec);
                assert_eq!(found, map.get(&at).map(|(value, _)| value.clone()));
                *row = now;
                table.changed([slot]);
                table.keep_with_rows(&[slot]).unwrap();
                assert_shows(&mut table.maps().unwrap(), slot, map);
            }
            if random.random_bool(0.1) {
                table.flush(&mut &one).unwrap();
            }
            for name in ["rows", "maps"] {
                if random.random_bool(0.05) {
                    store.compact(&store.family(name).unwrap().0);
                }
            }
        }
        assert!(expired > 50, "{expired}");
    }
}

/// A folder for checkpoints and stores.
struct Storage {
    _directory: tempfile::TempDir,
    writer: StateWriter,
    resources: KeyedResources,
    next: u64,
}

impl Storage {
    fn new(clock: &Clock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::new(directory.path()));
        Storage {
            writer: StateWriter::new(JobStore::new(store.clone(), "job")),
            resources: KeyedResources {
                limits: Limits::new(8 << 20),
                folder: directory.path().join("keyed"),
                cache_bytes: 1 << 20,
                checkpoints: Some(store),
                own: None,
                clock: clock.clone(),
            },
            _directory: directory,
            next: 1,
        }
    }

    fn open(&self, ttl: i64, groups: Range<u16>, restored: &[KeyedFiles]) -> KeyedBackend {
        self.open_with(&Lifetimes::default().with("sums", ttl), groups, restored)
    }

    fn open_with(&self, lifetimes: &Lifetimes, groups: Range<u16>, restored: &[KeyedFiles]) -> KeyedBackend {
        self.resources
            .open("sums", lifetimes, groups, MAX_PARALLELISM, restored)
            .unwrap()
    }

    fn checkpoint(&mut self, backend: &KeyedBackend) -> KeyedFiles {
        self.next += 1;
        let snapshot = backend.snapshot(CheckpointId(self.next), None);
        snapshot.put_away(&self.writer).unwrap()
    }
}

/// Keys whose sums are 1, written at the clock's time.
fn taken(storage: &mut Storage, ttl: i64) -> KeyedFiles {
    let backend = storage.open(ttl, 0..MAX_PARALLELISM, &[]);
    let mut sums = Sums::open(&backend.store, 1 << 20);
    sums.add(&(0..50).collect::<Vec<_>>());
    sums.flush();
    storage.checkpoint(&backend)
}

/// The sums of the keys when each is added to.
fn added(storage: &Storage, ttl: i64, files: &KeyedFiles) -> Vec<i64> {
    let backend = storage.open(ttl, 0..MAX_PARALLELISM, std::slice::from_ref(files));
    Sums::open(&backend.store, 1 << 20).add(&(0..50).collect::<Vec<_>>())
}

#[test]
fn a_checkpoint_keeps_the_times_of_its_rows() {
    let (clock, time) = clock();
    let mut storage = Storage::new(&clock);
    let files = taken(&mut storage, TTL);
    let gone = time.load(Ordering::Relaxed) - TTL;
    assert_eq!(files.timed, [("sums".to_owned(), gone)].into());
    time.fetch_add(TTL - 1, Ordering::Relaxed);
    assert_eq!(added(&storage, TTL, &files), [2; 50]);
    time.fetch_add(1, Ordering::Relaxed);
    assert_eq!(added(&storage, TTL, &files), [1; 50]);
    // A longer life counts for what was there before.
    assert_eq!(added(&storage, 2 * TTL, &files), [2; 50]);
    // Other subtasks take the times over with the rows.
    for groups in [0..7, 7..MAX_PARALLELISM] {
        let backend = storage.open(TTL, groups.clone(), std::slice::from_ref(&files));
        let of = |key: &i64| key_group::of_hash(key_group::hash(rows([*key]).get(0)), MAX_PARALLELISM);
        let keys: Vec<i64> = (0..50).filter(|key| groups.contains(&of(key))).collect();
        assert!(!keys.is_empty());
        let sums = Sums::open(&backend.store, 1 << 20).add(&keys);
        assert_eq!(sums, vec![1; keys.len()]);
    }
}

#[test]
fn a_time_to_live_may_be_given_and_taken_away() {
    let (clock, time) = clock();
    let mut storage = Storage::new(&clock);
    // Rows without times are as new as the restore.
    let files = taken(&mut storage, 0);
    assert!(files.timed.is_empty());
    time.fetch_add(10 * TTL, Ordering::Relaxed);
    assert_eq!(added(&storage, TTL, &files), [2; 50]);
    let backend = storage.open(TTL, 0..MAX_PARALLELISM, std::slice::from_ref(&files));
    time.fetch_add(TTL, Ordering::Relaxed);
    let sums = Sums::open(&backend.store, 1 << 20).add(&(0..50).collect::<Vec<_>>());
    assert_eq!(sums, [1; 50]);
    // And with times they lose them.
    let files = taken(&mut storage, TTL);
    time.fetch_add(10 * TTL, Ordering::Relaxed);
    assert_eq!(added(&storage, 0, &files), [2; 50]);
}

#[test]
fn entries_that_last_do_so_where_a_time_to_live_is_given_to_them() {
    let (clock, time) = clock();
    let mut storage = Storage::new(&clock);
    let ttl = |millis| Lifetimes::default().with("maps", millis).lasting("maps", b"w");
    let all = 0..MAX_PARALLELISM;
    let found = |backend: &KeyedBackend| -> Vec<Vec<u8>> {
        let mut table = MapTable::open(&backend.store, "maps", 1 << 20).unwrap();
        let slot = table.resolve_one(b"key", 3).unwrap();
        table.iter(slot).map(|(entry, _)| entry.to_vec()).collect()
    };
    let backend = storage.open_with(&ttl(0), all.clone(), &[]);
    let mut table = MapTable::open(&backend.store, "maps", 1 << 20).unwrap();
    let slot = table.resolve_one(b"key", 3).unwrap();
    table.put(slot, b"done", b"1");
    table.put_lasting(slot, b"w", b"2");
    table.flush().unwrap();
    let files = storage.checkpoint(&backend);
    let backend = storage.open_with(&ttl(TTL), all.clone(), &[files]);
    assert_eq!(found(&backend), [b"done".to_vec(), b"w".to_vec()]);
    time.fetch_add(TTL, Ordering::Relaxed);
    assert_eq!(found(&backend), [b"w"]);
    backend.store.compact(&backend.store.family("maps").unwrap().0);
    let files = storage.checkpoint(&backend);
    for millis in [0, 1, TTL, 10 * TTL] {
        let backend = storage.open_with(&ttl(millis), all.clone(), std::slice::from_ref(&files));
        time.fetch_add(TTL, Ordering::Relaxed);
        assert_eq!(found(&backend), [b"w"], "{millis}");
    }
}

/// Rows with a map beside each: the keys of numbers.
struct Beside {
    table: Table,
    slots: Vec<u32>,
}

const KEYS: Range<i64> = 0..20;

impl Beside {
    fn open(backend: &KeyedBackend, limit: usize) -> Beside {
        let table = Table::open(&backend.store, "rows", 8, limit).unwrap();
        Beside {
            table: table.with_maps("maps", vec![b"b".to_vec()]).unwrap(),
            slots: Vec::new(),
        }
    }

    fn one(slots: &[u32], out: &mut Rows) -> Result<()> {
        slots.iter().for_each(|_| out.push(&[1]));
        Ok(())
    }

    /// How many of the keys have no row.
    fn resolve(&mut self) -> usize {
        self.table.make_room(KEYS.count(), &mut Self::one).unwrap();
        let keys = rows(KEYS);
        let hashes = hashes(&keys);
        let resolved = self
            .table
            .resolve(&keys, &hashes, &groups(&hashes), &mut self.slots);
        resolved.unwrap().fresh.len()
    }

    fn put(&mut self, entries: &[&[u8]]) {
        for slot in &self.slots {
            let mut maps = self.table.maps().unwrap();
            entries.iter().for_each(|entry| maps.put(*slot, entry, b"1"));
        }
        self.table.changed(self.slots.iter().copied());
        self.table.keep_with_rows(&self.slots).unwrap();
    }

    /// The entries of every key's map, which all have the same.
    fn entries(&mut self) -> Vec<String> {
        let mut seen: Option<Vec<String>> = None;
        for slot in self.slots.clone() {
            let mut found = Vec::new();
            let mut maps = self.table.maps().unwrap();
            maps.each(slot, &[], |entry, _| {
                found.push(String::from_utf8_lossy(entry).into_owned());
                Ok(())
            })
            .unwrap();
            assert_eq!(*seen.get_or_insert_with(|| found.clone()), found);
        }
        seen.unwrap()
    }

    fn flush(&mut self) {
        self.table.flush(&mut Self::one).unwrap();
    }
}

#[test]
fn what_had_expired_stays_gone_as_a_whole_whatever_was_dropped_of_it_and_however_long_the_rest_lives() {
    let lifetimes = |ttl| Lifetimes::default().with("rows", ttl).with("maps", ttl);
    let all = 0..MAX_PARALLELISM;
    for dropped in [&["rows"][..], &["maps"], &["rows", "maps"], &[]] {
        let (clock, time) = clock();
        let mut storage = Storage::new(&clock);
        let backend = storage.open_with(&lifetimes(TTL), all.clone(), &[]);
        let mut table = Beside::open(&backend, 1 << 20);
        assert_eq!(table.resolve(), 20);
        table.put(&[b"a", b"b1", b"c"]);
        table.flush();
        time.fetch_add(TTL, Ordering::Relaxed);
        for name in dropped {
            backend.store.compact(&backend.store.family(name).unwrap().0);
        }
        let files = storage.checkpoint(&backend);
        for (ttl, groups, limit) in [
            (10 * TTL, vec![all.clone()], 1 << 20),
            (10 * TTL, vec![0..7, 7..MAX_PARALLELISM], 0),
            (0, vec![all.clone()], 0),
            (0, vec![all.clone()], 1 << 20),
        ] {
            let what = format!("{dropped:?} dropped, then {ttl} in {} parts", groups.len());
            let parts: Vec<KeyedFiles> = groups
                .into_iter()
                .map(|part| {
                    let backend = storage.open_with(&lifetimes(ttl), part, std::slice::from_ref(&files));
                    storage.checkpoint(&backend)
                })
                .collect();
            let backend = storage.open_with(&lifetimes(ttl), all.clone(), &parts);
            let mut table = Beside::open(&backend, limit);
            assert_eq!(table.resolve(), 20, "{what}");
            assert!(table.entries().is_empty(), "{what}");
            table.put(&[b"b2"]);
            assert_eq!(table.entries(), ["b2"], "{what}");
            table.flush();
            let files = storage.checkpoint(&backend);
            // And as the next ones find it.
            for ttl in [0, ttl, 20 * TTL] {
                let backend = storage.open_with(&lifetimes(ttl), all.clone(), std::slice::from_ref(&files));
                let mut table = Beside::open(&backend, limit);
                assert_eq!(table.resolve(), 0, "{what}");
                assert_eq!(table.entries(), ["b2"], "{what}");
            }
        }
    }
}

#[test]
fn what_had_not_expired_lives_for_the_new_time() {
    let lifetimes = |ttl| Lifetimes::default().with("rows", ttl).with("maps", ttl);
    let (clock, time) = clock();
    let mut storage = Storage::new(&clock);
    let all = 0..MAX_PARALLELISM;
    let backend = storage.open_with(&lifetimes(TTL), all.clone(), &[]);
    let mut table = Beside::open(&backend, 1 << 20);
    table.resolve();
    table.put(&[b"a", b"b1"]);
    time.fetch_add(TTL - 1, Ordering::Relaxed);
    table.resolve();
    // Another entry is written with the row, and those that live as long as it.
    table.put(&[b"c"]);
    table.flush();
    time.fetch_add(1, Ordering::Relaxed);
    let files = storage.checkpoint(&backend);
    time.fetch_add(3 * TTL, Ordering::Relaxed);
    for ttl in [0, 10 * TTL] {
        let backend = storage.open_with(&lifetimes(ttl), all.clone(), std::slice::from_ref(&files));
        let mut table = Beside::open(&backend, 1 << 20);
        assert_eq!(table.resolve(), 0);
        assert_eq!(table.entries(), ["b1", "c"]);
    }
    for ttl in [1, TTL, 3 * TTL] {
        let backend = storage.open_with(&lifetimes(ttl), all.clone(), std::slice::from_ref(&files));
        let mut table = Beside::open(&backend, 1 << 20);
        assert_eq!(table.resolve(), 20);
        assert!(table.entries().is_empty());
    }
}
