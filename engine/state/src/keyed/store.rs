//! RocksDB under the keyed state of a subtask: a folder of its own, a column family a table.
//!
//! There is no write-ahead log: what counts is what checkpoints hold, and a store that is not
//! restored from one begins empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};

use millrace_core::{Error, Result};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBWithThreadMode, Direction, IteratorMode, MultiThreaded,
    Options, PrefixRange, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};

type Db = DBWithThreadMode<MultiThreaded>;

/// Half of the memory may be write buffers: Flink's
/// `state.backend.rocksdb.memory.write-buffer-ratio`.
const WRITE_BUFFERS: f64 = 0.5;
/// A write buffer is written out at this size at most.
const BUFFER_BYTES: usize = 32 << 20;
/// Bits of a Bloom filter for each key: one in a hundred looks for a key that is not there reads.
const BLOOM_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
/// A batch of writes that moves rows from store to store.
const MOVED_BYTES: usize = 4 << 20;

/// The memory that all stores of a process share. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    cache: Cache,
    buffers: WriteBufferManager,
}

impl Limits {
    /// Blocks, filters and write buffers together take `bytes`.
    pub fn new(bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(bytes);
        let buffers = (bytes as f64 * WRITE_BUFFERS) as usize;
        Limits {
            buffers: WriteBufferManager::new_write_buffer_manager_with_cache(buffers, false, cache.clone()),
            cache,
        }
    }

    fn options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(BLOCK_BYTES);
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_format_version(6);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(BUFFER_BYTES);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        // One core computes, one compacts and flushes.
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        // The store's own log tells nothing that somebody here reads.
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        options
    }
}

/// A table's column family, by name.
#[derive(Debug, Clone)]
pub struct Family(String);

/// How large a table is in the store's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    pub name: String,
    pub rows: u64,
    /// The rows were counted; else the store estimates them.
    pub is_exact: bool,
    /// Of its files.
    pub bytes: u64,
}

pub struct KeyedStore {
    db: Db,
    options: Options,
    writes: WriteOptions,
    folder: PathBuf,
    /// A snapshot is taken of what has been written so far.
    frozen: Mutex<bool>,
    thawed: Condvar,
}

fn failed(what: &str, folder: &Path, e: rocksdb::Error) -> Error {
    Error::external(format!("{what} failed"))
        .with_detail(folder.display().to_string())
        .with_source(e)
        .with_hint("see whether the disk of io.tmp.dirs has room and can be written")
}

impl KeyedStore {
    /// Opens the store in a folder: an empty one, or one with the files of a checkpoint.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self> {
        let failed = |e| failed("opening the keyed state", folder, e);
        fs::create_dir_all(folder).map_err(|e| {
            Error::external("making a folder for keyed state failed")
                .with_detail(folder.display().to_string())
                .with_source(e)
        })?;
        let options = limits.options();
        let there = match folder.join("CURRENT").exists() {
            true => Db::list_cf(&options, folder).map_err(failed)?,
            false => vec!["default".to_owned()],
        };
        let families = there.iter().map(|name| (name.as_str(), options.clone()));
        let db = Db::open_cf_with_opts(&options, folder, families).map_err(failed)?;
        let mut writes = WriteOptions::default();
        writes.disable_wal(true);
        Ok(KeyedStore {
            db,
            options,
            writes,
            folder: folder.to_owned(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
        })
    }

    /// Opens the files of a checkpoint in a folder to look at them only; nothing is compacted.
    pub fn open_for_reading(folder: &Path, limits: &Limits) -> Result<Self> {
        let failed = |e| failed("opening the keyed state of a checkpoint", folder, e);
        let options = limits.options();
        let there = Db::list_cf(&options, folder).map_err(failed)?;
        let families = there.into_iter().map(|name| (name, options.clone()));
        let db = Db::open_cf_with_opts_for_read_only(&options, folder, families, false).map_err(failed)?;
        Ok(KeyedStore {
            db,
            options,
            writes: WriteOptions::default(),
            folder: folder.to_owned(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
        })
    }

    /// From now on writing waits for `thaw`.
    pub(super) fn freeze(&self) {
        *self.wait_until_thawed() = true;
    }

    pub(super) fn thaw(&self) {
        *self.frozen.lock().unwrap_or_else(|e| e.into_inner()) = false;
        self.thawed.notify_all();
    }

    fn wait_until_thawed(&self) -> MutexGuard<'_, bool> {
        let frozen = self.frozen.lock().unwrap_or_else(|e| e.into_inner());
        self.thawed
            .wait_while(frozen, |frozen| *frozen)
            .unwrap_or_else(|e| e.into_inner())
    }

    /// The column family of a name, and whether it is empty.
    pub fn family(&self, name: &str) -> Result<(Family, bool)> {
        let family = Family(name.to_owned());
        if self.db.cf_handle(name).is_none() {
            self.db
                .create_cf(name, &self.options)
                .map_err(|e| failed("making a table of keyed state", &self.folder, e))?;
            return Ok((family, true));
        }
        let first = self
            .db
            .iterator_cf(&self.handle(&family)?, IteratorMode::Start)
            .next();
        Ok((family, first.is_none()))
    }

    /// Names of all tables.
    pub fn families(&self) -> Vec<String> {
        let mut names = self.db.cf_names();
        names.retain(|name| name != "default");
        names
    }

    /// How large each table is, by name. Rows are counted where the files have `most` entries at most.
    pub fn sizes(&self, most: u64) -> Result<Vec<TableSize>> {
        let reading = |e| failed("reading keyed state", &self.folder, e);
        let files = self.db.live_files().map_err(reading)?;
        let mut sizes = Vec::new();
        for name in self.families() {
            let of_table = || files.iter().filter(|file| file.column_family_name == name);
            let entries: u64 = of_table().map(|file| file.num_entries).sum();
            let handle = self.handle(&Family(name.clone()))?;
            let is_exact = entries <= most;
            let rows = match is_exact {
                true => {
                    let mut rows = 0;
                    for row in self.db.iterator_cf(&handle, IteratorMode::Start) {
                        row.map_err(reading)?;
                        rows += 1;
                    }
                    rows
                }
                false => {
                    let estimate = self
                        .db
                        .property_int_value_cf(&handle, "rocksdb.estimate-num-keys");
                    estimate.map_err(reading)?.unwrap_or(entries)
                }
            };
            let bytes = of_table().map(|file| file.size as u64).sum();
            sizes.push(TableSize {
                name,
                rows,
                is_exact,
                bytes,
            });
        }
        sizes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(sizes)
    }

    fn handle(&self, family: &Family) -> Result<std::sync::Arc<rocksdb::BoundColumnFamily<'_>>> {
        self.db
            .cf_handle(&family.0)
            .ok_or_else(|| Error::internal(format!("the table '{}' of keyed state is gone", family.0)))
    }

    /// The values of keys, each with its group, in their order.
    pub fn get_many<'a>(
        &self,
        family: &Family,
        keys: impl Iterator<Item = (u16, &'a [u8])>,
    ) -> Result<Vec<Option<rocksdb::DBPinnableSlice<'_>>>> {
        let keys: Vec<Vec<u8>> = keys.map(|(group, key)| place(group, key)).collect();
        let handle = self.handle(family)?;
        // The store looks blocks up once for keys that are neighbours.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by(|a, b| keys[*a].cmp(&keys[*b]));
        let found = self
            .db
            .batched_multi_get_cf(&handle, order.iter().map(|i| &keys[*i]), true);
        let mut values: Vec<Option<rocksdb::DBPinnableSlice<'_>>> = Vec::new();
        values.resize_with(keys.len(), || None);
        for (i, value) in order.into_iter().zip(found) {
            values[i] = value.map_err(|e| failed("reading keyed state", &self.folder, e))?;
        }
        Ok(values)
    }

    /// All rows whose key begins with these bytes, ascending: the rest of the key, and the value.
    pub fn scan(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        mut row: impl FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        self.scan_while(family, group, prefix, |key, value| {
            row(key, value);
            true
        })
    }

    /// The rows of a group from a key on, ascending, until `row` says that it wants no more.
    pub fn scan_from(
        &self,
        family: &Family,
        group: u16,
        from: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let handle = self.handle(family)?;
        let prefix = place(group, &[]);
        let mut reads = ReadOptions::default();
        reads.set_iterate_range(PrefixRange(prefix.clone()));
        let start = place(group, from);
        let mode = IteratorMode::From(&start, Direction::Forward);
        for found in self.db.iterator_cf_opt(&handle, reads, mode) {
            let (key, value) = found.map_err(|e| failed("reading keyed state", &self.folder, e))?;
            if !row(&key[prefix.len()..], &value) {
                break;
            }
        }
        Ok(())
    }

    /// As `scan`, until `row` says that it wants no more.
    pub fn scan_while(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        self.iterate(family, group, prefix, Direction::Forward, row)
    }

    /// As `scan_while`, descending, and without the values.
    pub fn scan_back(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        mut row: impl FnMut(&[u8]) -> bool,
    ) -> Result<()> {
        self.iterate(family, group, prefix, Direction::Reverse, |key, _| row(key))
    }

    fn iterate(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        direction: Direction,
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let handle = self.handle(family)?;
        let start = place(group, prefix);
        let mut reads = ReadOptions::default();
        reads.set_iterate_range(PrefixRange(start.clone()));
        let mode = match direction {
            Direction::Forward => IteratorMode::Start,
            Direction::Reverse => IteratorMode::End,
        };
        for found in self.db.iterator_cf_opt(&handle, reads, mode) {
            let (key, value) = found.map_err(|e| failed("reading keyed state", &self.folder, e))?;
            if !row(&key[start.len()..], &value) {
                break;
            }
        }
        Ok(())
    }

    /// The smallest key of a group that is not below `from`.
    pub fn first_key(&self, family: &Family, group: u16, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let handle = self.handle(family)?;
        let mut reads = ReadOptions::default();
        reads.set_iterate_range(PrefixRange(place(group, &[])));
        let start = place(group, from);
        let mode = IteratorMode::From(&start, Direction::Forward);
        match self.db.iterator_cf_opt(&handle, reads, mode).next() {
            None => Ok(None),
            Some(found) => {
                let (key, _) = found.map_err(|e| failed("reading keyed state", &self.folder, e))?;
                Ok(Some(key[place(group, &[]).len()..].to_vec()))
            }
        }
    }

    pub fn write<'a>(
        &self,
        family: &Family,
        puts: impl Iterator<Item = ((u16, &'a [u8]), &'a [u8])>,
        deletes: impl Iterator<Item = (u16, &'a [u8])>,
    ) -> Result<()> {
        let handle = self.handle(family)?;
        drop(self.wait_until_thawed());
        let mut batch = WriteBatch::default();
        for ((group, key), value) in puts {
            batch.put_cf(&handle, place(group, key), value);
        }
        for (group, key) in deletes {
            batch.delete_cf(&handle, place(group, key));
        }
        self.db
            .write_opt(&batch, &self.writes)
            .map_err(|e| failed("writing keyed state", &self.folder, e))
    }

    /// The files of all that was written so far, as links in a folder that must not exist yet.
    pub fn link_files(&self, folder: &Path) -> Result<()> {
        let failed = |e| failed("taking a snapshot of keyed state", &self.folder, e);
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map_err(failed)
    }

    /// Takes over the rows of these key groups from another store.
    pub fn take_from(&self, other: &KeyedStore, groups: std::ops::Range<u16>) -> Result<()> {
        for name in other.families() {
            let (family, _) = self.family(&name)?;
            let (to, from) = (self.handle(&family)?, other.handle(&family)?);
            let start = groups.start.to_be_bytes();
            let mut batch = WriteBatch::default();
            let rows = other
                .db
                .iterator_cf(&from, IteratorMode::From(&start, rocksdb::Direction::Forward));
            for row in rows {
                let (key, value) = row.map_err(|e| failed("reading keyed state", &other.folder, e))?;
                let group = key.first_chunk().map_or(u16::MAX, |g| u16::from_be_bytes(*g));
                if !groups.contains(&group) {
                    break;
                }
                batch.put_cf(&to, key, value);
                if batch.size_in_bytes() > MOVED_BYTES {
                    self.db
                        .write_opt(&batch, &self.writes)
                        .map_err(|e| failed("writing keyed state", &self.folder, e))?;
                    batch.clear();
                }
            }
            self.db
                .write_opt(&batch, &self.writes)
                .map_err(|e| failed("writing keyed state", &self.folder, e))?;
        }
        Ok(())
    }
}

/// A row's key in the store.
fn place(group: u16, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(2 + key.len());
    place.extend_from_slice(&group.to_be_bytes());
    place.extend_from_slice(key);
    place
}
