//! A table against a map, with memory for a few keys only; snapshots, restores, other ranges.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{CheckpointId, key_group};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::files::Uploads;
use super::{Clock, KeyedFiles, KeyedResources, KeyedStore, Lifetimes, Limits, Table};
use crate::job::tests::metadata_of;
use crate::job::{JobStore, StateWriter};
use crate::local::LocalStore;

pub(super) const MAX_PARALLELISM: u16 = 16;

pub(super) fn codec() -> RowCodec {
    RowCodec::new([DataType::Int64]).unwrap()
}

pub(super) fn rows(values: impl IntoIterator<Item = i64>) -> Rows {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let mut rows = Rows::default();
    codec().encode(&[column], &mut rows).unwrap();
    rows
}

/// A sum for each key, as an operator keeps it.
pub(super) struct Sums {
    table: Table,
    sums: Vec<i64>,
}

impl Sums {
    pub(super) fn open(store: &Arc<KeyedStore>, limit: usize) -> Sums {
        Sums {
            table: Table::open(store, "sums", 8, limit).unwrap(),
            sums: Vec::new(),
        }
    }

    /// Adds 1 to each key and gives the new sums; a key whose sum is a multiple of 10 goes.
    pub(super) fn add(&mut self, keys: &[i64]) -> Vec<i64> {
        let sums = &self.sums;
        let encode = |slots: &[u32], out: &mut Rows| {
            *out = rows(slots.iter().map(|s| sums[*s as usize]));
            Ok(())
        };
        self.table.make_room(keys.len(), &mut &encode).unwrap();
        let keys = rows(keys.iter().copied());
        let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
        let groups: Vec<u16> = hashes
            .iter()
            .map(|h| key_group::of_hash(*h, MAX_PARALLELISM))
            .collect();
        let mut slots = Vec::new();
        let resolved = self.table.resolve(&keys, &hashes, &groups, &mut slots).unwrap();
        self.sums.resize(self.table.width(), 0);
        for slot in resolved.fresh {
            self.sums[slot as usize] = 0;
        }
        let loaded = codec().decode(resolved.values.iter()).unwrap();
        for (slot, sum) in resolved
            .loaded
            .iter()
            .zip(loaded[0].as_primitive::<Int64Type>().values())
        {
            self.sums[*slot as usize] = *sum;
        }
        let mut out = Vec::new();
        for slot in slots {
            let sum = &mut self.sums[slot as usize];
            *sum += 1;
            out.push(*sum);
            match *sum % 10 {
                0 => {
                    // The next row of this key begins anew, in this batch too.
                    *sum = 0;
                    self.table.remove(slot);
                }
                _ => self.table.changed([slot]),
            }
        }
        out
    }

    pub(super) fn flush(&mut self) {
        let sums = &self.sums;
        let encode = |slots: &[u32], out: &mut Rows| {
            *out = rows(slots.iter().map(|s| sums[*s as usize]));
            Ok(())
        };
        self.table.flush(&mut &encode).unwrap();
    }
}

/// The same with a map.
#[derive(Default, Clone)]
struct Model(HashMap<i64, i64>);

impl Model {
    fn add(&mut self, keys: &[i64]) -> Vec<i64> {
        keys.iter()
            .map(|key| {
                let sum = self.0.entry(*key).or_default();
                *sum += 1;
                let now = *sum;
                if now % 10 == 0 {
                    self.0.remove(key);
                }
                now
            })
            .collect()
    }
}

pub(super) fn batch(random: &mut StdRng) -> Vec<i64> {
    (0..random.random_range(1..60))
        .map(|_| random.random_range(0..300))
        .collect()
}

#[test]
fn a_table_equals_a_map_however_little_memory_it_has() {
    for (seed, limit) in [(1, 1 << 20), (2, 20_000), (3, 4_000)] {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap());
        let mut random = StdRng::seed_from_u64(seed);
        let (mut sums, mut model) = (Sums::open(&store, limit), Model::default());
        for round in 0..400 {
            let keys = batch(&mut random);
            assert_eq!(sums.add(&keys), model.add(&keys), "limit {limit}, round {round}");
            if random.random_bool(0.1) {
                sums.flush();
            }
        }
        assert!(
            limit > 100_000 || sums.table.bytes() < 2 * limit,
            "{}",
            sums.table.bytes()
        );
    }
}

pub(super) struct Checkpoints {
    _directory: tempfile::TempDir,
    writer: StateWriter,
    job: JobStore,
    next: u64,
}

impl Checkpoints {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let job = JobStore::new(Arc::new(LocalStore::new(directory.path())), "job");
        Checkpoints {
            _directory: directory,
            writer: StateWriter::new(job.clone()),
            job,
            next: 1,
        }
    }

    pub fn take(
        &mut self,
        store: &KeyedStore,
        groups: std::ops::Range<u16>,
        uploads: &mut Uploads,
    ) -> KeyedFiles {
        let id = CheckpointId(self.next);
        self.next += 1;
        let links = tempfile::tempdir().unwrap();
        let links = links.path().join("links");
        store.link_files(&links).unwrap();
        let files = KeyedFiles::put_away(
            &links,
            groups,
            MAX_PARALLELISM,
            &uploads.known(),
            id,
            &self.writer,
        )
        .unwrap();
        uploads.written(id, &files);
        uploads.checkpoint_complete(id);
        files
    }

    pub fn restore(&self, files: &KeyedFiles) -> (tempfile::TempDir, Arc<KeyedStore>) {
        let directory = tempfile::tempdir().unwrap();
        files.fetch(directory.path(), self.job.store().as_ref()).unwrap();
        let store = KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap();
        (directory, Arc::new(store))
    }
}

#[test]
fn a_restored_table_goes_on_and_files_are_written_once() {
    let mut checkpoints = Checkpoints::new();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap());
    let mut uploads = Uploads::default();
    let mut random = StdRng::seed_from_u64(7);
    let (mut sums, mut model) = (Sums::open(&store, 20_000), Model::default());
    let mut taken = Vec::new();
    for _ in 0..5 {
        for _ in 0..20 {
            let keys = batch(&mut random);
            assert_eq!(sums.add(&keys), model.add(&keys));
        }
        sums.flush();
        taken.push((
            checkpoints.take(&store, 0..MAX_PARALLELISM, &mut uploads),
            model.clone(),
        ));
    }
    let paths = |files: &KeyedFiles| -> Vec<String> { files.file_refs().map(|f| f.path.clone()).collect() };
    let shared = paths(&taken[1].0)
        .iter()
        .filter(|p| paths(&taken[0].0).contains(p))
        .count();
    assert!(shared > 0, "{:?} then {:?}", taken[0].0, taken[1].0);
    for (files, mut model) in taken {
        let (_directory, store) = checkpoints.restore(&files);
        let mut sums = Sums::open(&store, 20_000);
        for _ in 0..20 {
            let keys = batch(&mut random);
            assert_eq!(sums.add(&keys), model.add(&keys));
        }
    }
}

/// The word that a checkpoint is complete and the next barrier come by different ways.
#[test]
fn what_a_checkpoint_names_is_there_though_it_hears_late_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalStore::new(directory.path()));
    let job = JobStore::new(files.clone(), "job");
    let writer = StateWriter::new(job.clone());
    let mut leader = job.take_over(|_| Ok(())).unwrap();
    let resources = KeyedResources {
        limits: Limits::new(8 << 20),
        folder: directory.path().join("keyed"),
        cache_bytes: 1 << 20,
        checkpoints: None,
        own: None,
        clock: Clock::System,
    };
    let backend = resources
        .open(
            "sums",
            &Lifetimes::default(),
            0..MAX_PARALLELISM,
            MAX_PARALLELISM,
            &[],
        )
        .unwrap();
    let mut sums = Sums::open(&backend.store, 1 << 20);
    let mut complete = None;
    let mut named_again = 0;
    for round in 0..8 {
        sums.add(&(0..50).map(|key| key + 50 * round).collect::<Vec<_>>());
        sums.flush();
        let id = leader.next_id();
        let keyed = backend.snapshot(id, complete).put_away(&writer).unwrap();
        if let Some(complete) = complete {
            backend.checkpoint_complete(complete);
        }
        let own = format!("/chk-{id}/");
        named_again += keyed.file_refs().filter(|f| !f.path.contains(&own)).count();
        let metadata = metadata_of(&leader, id, Vec::new(), Some(keyed.clone()));
        leader.complete(&metadata, 1).unwrap();
        complete = Some(id);
        let restored = tempfile::tempdir().unwrap();
        keyed.fetch(restored.path(), files.as_ref()).unwrap();
    }
    assert!(named_again > 0, "nothing was named again");
}

#[test]
fn key_groups_move_to_other_subtasks() {
    let mut checkpoints = Checkpoints::new();
    let of = |key: i64, parallelism: usize| {
        let group = key_group::of_hash(key_group::hash(rows([key]).get(0)), MAX_PARALLELISM);
        key_group::subtask(group, parallelism, MAX_PARALLELISM)
    };
    let mut random = StdRng::seed_from_u64(9);
    let mut model = Model::default();
    // Two subtasks, then three, then one.
    let mut parts: Vec<KeyedFiles> = Vec::new();
    for parallelism in [2, 3, 1] {
        let mut subtasks = Vec::new();
        for subtask in 0..parallelism {
            let groups = key_group::range(subtask, parallelism, MAX_PARALLELISM);
            let directory = tempfile::tempdir().unwrap();
            let store = KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap();
            for part in &parts {
                let (_directory, old) = checkpoints.restore(part);
                store.take_from(&old, groups.clone(), &|_| None).unwrap();
            }
            let store = Arc::new(store);
            subtasks.push((Sums::open(&store, 20_000), store, groups, directory));
        }
        for _ in 0..30 {
            let keys = batch(&mut random);
            let mut expected: HashMap<usize, Vec<i64>> = HashMap::new();
            for (key, sum) in keys.iter().zip(model.add(&keys)) {
                expected.entry(of(*key, parallelism)).or_default().push(sum);
            }
            for (subtask, (sums, ..)) in subtasks.iter_mut().enumerate() {
                let mine: Vec<i64> = keys
                    .iter()
                    .copied()
                    .filter(|k| of(*k, parallelism) == subtask)
                    .collect();
                if !mine.is_empty() {
                    assert_eq!(sums.add(&mine), expected[&subtask], "{parallelism} subtasks");
                }
            }
        }
        parts = subtasks
            .iter_mut()
            .map(|(sums, store, groups, _)| {
                sums.flush();
                checkpoints.take(store, groups.clone(), &mut Uploads::default())
            })
            .collect();
    }
}

#[test]
fn a_missing_or_altered_file_is_found() {
    let mut checkpoints = Checkpoints::new();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(KeyedStore::open(directory.path(), &Limits::new(8 << 20)).unwrap());
    let mut sums = Sums::open(&store, 20_000);
    sums.add(&[1, 2, 3]);
    sums.flush();
    let files = checkpoints.take(&store, 0..MAX_PARALLELISM, &mut Uploads::default());
    let path = files.file_refs().next().unwrap().path.clone();
    let file = std::path::Path::new(&checkpoints.job.store().describe()).join(path);
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for spoilt in [bad, good[..good.len() - 1].to_vec()] {
        std::fs::write(&file, spoilt).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let e = files
            .fetch(folder.path(), checkpoints.job.store().as_ref())
            .unwrap_err();
        assert_eq!(e.kind(), millrace_core::ErrorKind::DataLoss, "{e}");
    }
    std::fs::remove_file(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(
        files
            .fetch(folder.path(), checkpoints.job.store().as_ref())
            .is_err()
    );
}
