//! RocksDB under the keyed state of a subtask: a folder of its own, a column family a table.
//!
//! There is no write-ahead log: what counts is what checkpoints hold, and a store that is not
//! restored from one begins empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    DBWithThreadMode, Direction, IteratorMode, MultiThreaded, Options, PrefixRange, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::limits::{Held, Limits};
use super::ttl::{self, Clock, Life, Lifetimes};

type Db = DBWithThreadMode<MultiThreaded>;

/// Keys that are looked up at a time.
const LOOKED_UP: usize = 512;
/// Rows that are taken away one by one where less than so many are to go together. More are taken away as a
/// range: it costs whoever reads near it, and has to be worth it.
const CLEARED: usize = 256;
/// Rows are written in batches of so many bytes: a batch is in memory twice, as itself and in the write
/// buffer, which takes it as a whole.
const BATCH_BYTES: usize = 1 << 20;

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

/// How the values of a table change on their way from store to store: what is written for a key and the
/// value that was read. None: nothing is.
pub type Convert<'a> = &'a dyn Fn(&str) -> Option<Conversion<'a>>;
pub type Conversion<'a> = Box<dyn for<'v> Fn(&[u8], &'v [u8]) -> Result<Option<Cow<'v, [u8]>>> + 'a>;

pub struct KeyedStore {
    db: Db,
    options: Options,
    lifetimes: Lifetimes,
    pub(super) clock: Clock,
    writes: WriteOptions,
    folder: PathBuf,
    /// A snapshot is taken of what has been written so far.
    frozen: Mutex<bool>,
    thawed: Condvar,
    held: Held,
    /// Behind the store, for it goes after it: a store that closes and finds its files gone waits a second.
    _place: Option<Arc<Folder>>,
}

/// A folder that goes when nobody uses it any more.
pub(super) struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
        KeyedStore::open_with(folder, limits, &Lifetimes::default(), &Clock::System)
    }

    /// The same, with tables whose rows expire: all of their values begin with a time.
    pub fn open_with(folder: &Path, limits: &Limits, lifetimes: &Lifetimes, clock: &Clock) -> Result<Self> {
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
        let of_family = |name: &str| table_options(&options, lifetimes, clock, name);
        let families = there.iter().map(|name| (name.as_str(), of_family(name)));
        let db = Db::open_cf_with_opts(&options, folder, families).map_err(failed)?;
        let mut writes = WriteOptions::default();
        writes.disable_wal(true);
        Ok(KeyedStore {
            db,
            options,
            lifetimes: lifetimes.clone(),
            clock: clock.clone(),
            writes,
            folder: folder.to_owned(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
            held: limits.held(),
            _place: None,
        })
    }

    /// Where a table says what it has at hand.
    pub(super) fn held(&self) -> Held {
        self.held.another()
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
            lifetimes: Lifetimes::default(),
            clock: Clock::System,
            writes: WriteOptions::default(),
            folder: folder.to_owned(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
            held: limits.held(),
            _place: None,
        })
    }

    /// The store stands in this folder, which is not to go before it.
    pub(super) fn within(self, folder: &Arc<Folder>) -> Self {
        KeyedStore {
            _place: Some(folder.clone()),
            ..self
        }
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
            let options = table_options(&self.options, &self.lifetimes, &self.clock, name);
            self.db
                .create_cf(name, &options)
                .map_err(|e| failed("making a table of keyed state", &self.folder, e))?;
            return Ok((family, true));
        }
        let first = self
            .db
            .iterator_cf(&self.handle(&family)?, IteratorMode::Start)
            .next();
        Ok((family, first.is_none()))
    }

    /// How long the rows of a table live, by now; none: for ever.
    pub(super) fn life(&self, name: &str) -> Option<Life> {
        self.lifetimes.of(name, self.clock.now_millis())
    }

    /// As `KeyedFiles` has it of what is in the store now.
    pub(super) fn timed(&self) -> BTreeMap<String, i64> {
        self.lifetimes.timed(self.clock.now_millis())
    }

    /// Takes a table away, if it is there.
    pub fn drop_family(&self, name: &str) -> Result<()> {
        match self.db.cf_handle(name) {
            None => Ok(()),
            Some(_) => self
                .db
                .drop_cf(name)
                .map_err(|e| failed("removing a table of keyed state", &self.folder, e)),
        }
    }

    #[cfg(test)]
    pub(super) fn compact(&self, family: &Family) {
        let handle = self.handle(family).unwrap();
        self.db.flush_cf(&handle).unwrap();
        self.db.compact_range_cf(&handle, None::<&[u8]>, None::<&[u8]>);
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

    fn handle(&self, family: &Family) -> Result<Arc<rocksdb::BoundColumnFamily<'_>>> {
        self.db
            .cf_handle(&family.0)
            .ok_or_else(|| Error::internal(format!("the table '{}' of keyed state is gone", family.0)))
    }

    /// Looks keys up, each with its group; `found` is told the number of each key and its value, in
    /// the order of the store.
    pub fn get_many<'a>(
        &self,
        family: &Family,
        keys: impl Iterator<Item = (u16, &'a [u8])>,
        mut found: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        let mut places = Rows::default();
        for (group, key) in keys {
            places.data.extend_from_slice(&group.to_be_bytes());
            places.push(key);
        }
        let handle = self.handle(family)?;
        // Blocks are looked up once for keys that are neighbours.
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        order.sort_unstable_by(|a, b| places.get(*a as usize).cmp(places.get(*b as usize)));
        // What is found holds its block in memory as long as it is not let go.
        for some in order.chunks(LOOKED_UP) {
            let keys = some.iter().map(|i| places.get(*i as usize));
            let values = self.db.batched_multi_get_cf(&handle, keys, true);
            for (i, value) in some.iter().zip(values) {
                let value = value.map_err(|e| failed("reading keyed state", &self.folder, e))?;
                found(*i as usize, value.as_deref());
            }
        }
        Ok(())
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
        row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        self.scan_under(family, group, &[], from, row)
    }

    /// As `scan_while`, from where the rest of the key is not below `from`.
    pub fn scan_under(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        from: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let handle = self.handle(family)?;
        let prefix = place(group, prefix);
        let mut reads = ReadOptions::default();
        reads.set_iterate_range(PrefixRange(prefix.clone()));
        let start = [&prefix, from].concat();
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

    /// As `scan_while`, descending.
    pub fn scan_back(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        self.iterate(family, group, prefix, Direction::Reverse, row)
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
            self.write_when_full(&mut batch)?;
        }
        for (group, key) in deletes {
            batch.delete_cf(&handle, place(group, key));
            self.write_when_full(&mut batch)?;
        }
        self.write_batch(&mut batch)
    }

    /// Takes away all rows whose key begins with one of these, each with its group. None but the first few of
    /// each is looked at.
    pub fn clear<'a>(&self, family: &Family, prefixes: impl Iterator<Item = (u16, &'a [u8])>) -> Result<()> {
        let handle = self.handle(family)?;
        drop(self.wait_until_thawed());
        let mut batch = WriteBatch::default();
        for (group, prefix) in prefixes {
            let start = place(group, prefix);
            let mut keys = Vec::new();
            self.scan_while(family, group, prefix, |rest, _| {
                keys.push([&start, rest].concat());
                keys.len() < CLEARED
            })?;
            match keys.len() < CLEARED {
                true => keys.iter().for_each(|key| batch.delete_cf(&handle, key)),
                false => {
                    let end = behind(&start).ok_or_else(|| Error::internal("a key group has no end"))?;
                    batch.delete_range_cf(&handle, start, end);
                }
            }
            self.write_when_full(&mut batch)?;
        }
        self.write_batch(&mut batch)
    }

    /// Writes new values of rows whose key begins with these bytes, of those for which there is one: it is told
    /// the rest of the key, and the value.
    pub fn rewrite(
        &self,
        family: &Family,
        group: u16,
        prefix: &[u8],
        mut new: impl FnMut(&[u8], &[u8]) -> Option<Box<[u8]>>,
    ) -> Result<()> {
        let handle = self.handle(family)?;
        drop(self.wait_until_thawed());
        let start = place(group, prefix);
        let mut batch = WriteBatch::default();
        let mut written = Ok(());
        // The rows are those of the beginning, whatever is written meanwhile.
        self.scan_while(family, group, prefix, |rest, value| {
            if let Some(value) = new(rest, value) {
                batch.put_cf(&handle, [&start, rest].concat(), value);
                written = self.write_when_full(&mut batch);
            }
            written.is_ok()
        })?;
        written?;
        self.write_batch(&mut batch)
    }

    fn write_when_full(&self, batch: &mut WriteBatch) -> Result<()> {
        match batch.size_in_bytes() < BATCH_BYTES {
            true => Ok(()),
            false => self.write_batch(batch),
        }
    }

    fn write_batch(&self, batch: &mut WriteBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.db
            .write_opt(batch, &self.writes)
            .map_err(|e| failed("writing keyed state", &self.folder, e))?;
        batch.clear();
        Ok(())
    }

    /// The files of all that was written so far, as links in a folder that must not exist yet.
    pub fn link_files(&self, folder: &Path) -> Result<()> {
        let failed = |e| failed("taking a snapshot of keyed state", &self.folder, e);
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map_err(failed)
    }

    /// Takes over the rows of these key groups from another store, whose values may have another form.
    pub fn take_from(
        &self,
        other: &KeyedStore,
        groups: std::ops::Range<u16>,
        convert: Convert<'_>,
    ) -> Result<()> {
        for name in other.families() {
            let conversion = convert(&name);
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
                match &conversion {
                    None => batch.put_cf(&to, key, value),
                    Some(conversion) => match conversion(&key, &value)? {
                        Some(value) => batch.put_cf(&to, key, value),
                        None => continue,
                    },
                }
                self.write_when_full(&mut batch)?;
            }
            self.write_batch(&mut batch)?;
        }
        Ok(())
    }
}

/// The options of a table: all are the same, but that those with a lifetime forget.
fn table_options(options: &Options, lifetimes: &Lifetimes, clock: &Clock, name: &str) -> Options {
    let mut options = options.clone();
    if let Some(life) = lifetimes.of(name, clock.now_millis()) {
        ttl::drop_expired(&mut options, life, clock);
    }
    options
}

/// The first key behind all that begin with a prefix; none where there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// A row's key in the store.
fn place(group: u16, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(2 + key.len());
    place.extend_from_slice(&group.to_be_bytes());
    place.extend_from_slice(key);
    place
}
