//! The memory of stores, and the options that keep RocksDB to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, Options, UniversalCompactOptions,
    WriteBufferManager,
};

/// Half of the memory may be write buffers: Flink's
/// `state.backend.rocksdb.memory.write-buffer-ratio`.
const WRITE_BUFFERS: f64 = 0.5;
/// A table's write buffer is written out at this size at most, and never below the least.
const BUFFER_BYTES: usize = 16 << 20;
const LEAST_BUFFER_BYTES: usize = 64 << 10;
/// A file that compaction writes is so large at least and at most.
const FILE_BYTES: std::ops::Range<u64> = 2 << 20..64 << 20;
/// Tables of a store that are written at the same time, as a rule: rows, and the maps beside them.
const TABLES: usize = 2;
/// Bits of a Bloom filter for each key: one in a hundred looks for a key that is not there reads.
const BLOOM_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
/// Runs whose sizes differ by up to so many percent are merged.
const SIZE_RATIO: i32 = 10;
/// What compaction reads ahead of each file that it merges.
const READ_AHEAD: usize = 512 << 10;

/// The memory that all stores of a process share. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    cache: Cache,
    buffers: WriteBufferManager,
    /// Of one table.
    buffer_bytes: usize,
    /// Of a file: what is uploaded is held in memory, a file at a time.
    file_bytes: u64,
    /// What all tables have at hand.
    held: Arc<AtomicUsize>,
}

/// What one table has at hand, among all.
pub(super) struct Held {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Held {
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.own) {
            Some(more) => self.all.fetch_add(more, Ordering::Relaxed),
            None => self.all.fetch_sub(self.own - bytes, Ordering::Relaxed),
        };
        self.own = bytes;
    }

    /// Of another table of the same stores.
    pub fn another(&self) -> Held {
        Held {
            all: self.all.clone(),
            own: 0,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Limits {
    /// Blocks, filters and write buffers of one store together take `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self::shared_by(bytes, 1)
    }

    /// Blocks, filters and write buffers of so many stores together take `bytes`.
    pub fn shared_by(bytes: usize, stores: usize) -> Self {
        let cache = Cache::new_lru_cache(bytes);
        let buffers = (bytes as f64 * WRITE_BUFFERS) as usize;
        // A write buffer takes memory in blocks of an eighth of its size. With buffers that are large
        // beside the memory, the first row of each table is enough to have all of them written out.
        let each = buffers / (TABLES * stores.max(1));
        Limits {
            buffers: WriteBufferManager::new_write_buffer_manager_with_cache(buffers, false, cache.clone()),
            cache,
            buffer_bytes: each.clamp(LEAST_BUFFER_BYTES, BUFFER_BYTES),
            file_bytes: (bytes as u64 / 32).clamp(FILE_BYTES.start, FILE_BYTES.end),
            held: Arc::default(),
        }
    }

    /// Bytes that are in use now: blocks, filters, write buffers, and what tables have at hand.
    pub fn used(&self) -> usize {
        self.cache.get_usage() + self.held.load(Ordering::Relaxed)
    }

    pub(super) fn held(&self) -> Held {
        Held {
            all: self.held.clone(),
            own: 0,
        }
    }

    pub(super) fn options(&self) -> Options {
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
        options.set_write_buffer_size(self.buffer_bytes);
        options.set_target_file_size_base(self.file_bytes);
        options.set_compression_type(DBCompressionType::Lz4);
        // What compaction writes anew, the next checkpoint has to upload anew: by tiers a row is
        // rewritten a few times until it rests, by levels about ten times a level.
        options.set_compaction_style(DBCompactionStyle::Universal);
        let mut universal = UniversalCompactOptions::default();
        universal.set_size_ratio(SIZE_RATIO);
        options.set_universal_compaction_options(&universal);
        // One core computes, one compacts and flushes.
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        options.set_compaction_readahead_size(READ_AHEAD);
        // A store has one writer, which goes on from where it wrote last in the write buffer.
        options.set_allow_concurrent_memtable_write(false);
        // Many keys that are looked up in their order are read like a file from its beginning.
        options.set_advise_random_on_open(false);
        // The store's own log tells nothing that somebody here reads.
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        // What no checkpoint holds is not needed again.
        options.set_avoid_flush_during_shutdown(true);
        options
    }
}
