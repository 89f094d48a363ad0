//! The seam before the Kafka client: partitions to read, blocks of records as columns.

use millrace_connector_api::format::Payloads;
use millrace_core::Result;

/// A partition to read, known to reader and source by `split`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub split: u32,
    pub topic: String,
    pub partition: i32,
    /// The first offset to read.
    pub offset: i64,
    /// Records at this offset and after it are not given.
    pub stop: Option<i64>,
}

/// Which parts of records a block is to hold. Values and offsets always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub keys: bool,
    pub timestamps: bool,
    pub headers: bool,
    pub leader_epochs: bool,
}

/// How a record got its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TimestampType {
    None,
    Create,
    LogAppend,
}

/// Headers of a block's records, in the order of the records.
#[derive(Debug, Default)]
pub struct Headers {
    /// One more than there are records: where each record's headers begin.
    pub ends: Vec<u32>,
    pub names: Vec<String>,
    pub values: Vec<Option<Vec<u8>>>,
}

/// Records as columns. Reused: `clear` keeps the memory.
#[derive(Debug, Default)]
pub struct Block {
    pub wanted: Wanted,
    pub values: Payloads,
    pub keys: Payloads,
    pub offsets: Vec<i64>,
    /// Milliseconds since the epoch, -1 without one.
    pub timestamps: Vec<i64>,
    pub timestamp_types: Vec<TimestampType>,
    /// -1 where unknown.
    pub leader_epochs: Vec<i32>,
    pub headers: Headers,
    /// Consecutive records of one split: (split, records).
    pub runs: Vec<(u32, usize)>,
    /// Splits whose position moved: (split, next offset to read), the last entry of a split holds.
    /// A position moves without records too: markers of transactions and aborted records follow
    /// the last record that is given.
    pub positions: Vec<(u32, i64)>,
    /// Splits that are read to the end of what their isolation level shows.
    pub at_end: Vec<u32>,
    /// Of the last record, in milliseconds since the epoch; -1: it has none, or there is no record.
    pub last_timestamp: i64,
}

impl Block {
    pub fn new(wanted: Wanted) -> Self {
        let mut block = Block {
            wanted,
            values: Payloads::new(),
            keys: Payloads::new(),
            ..Block::default()
        };
        block.clear();
        block
    }

    pub fn clear(&mut self) {
        self.values.clear();
        self.keys.clear();
        self.offsets.clear();
        self.timestamps.clear();
        self.timestamp_types.clear();
        self.leader_epochs.clear();
        self.headers.ends.clear();
        self.headers.ends.push(0);
        self.headers.names.clear();
        self.headers.values.clear();
        self.runs.clear();
        self.positions.clear();
        self.at_end.clear();
        self.last_timestamp = -1;
    }

    pub fn records(&self) -> usize {
        self.offsets.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.values.data.len() + self.keys.data.len()
    }

    /// The split that record i belongs to.
    pub fn split_of(&self, record: usize) -> Option<u32> {
        let mut end = 0;
        self.runs.iter().find_map(|(split, records)| {
            end += records;
            (record < end).then_some(*split)
        })
    }
}

/// A client that reads partitions. It is made with a waker, which it calls whenever `poll` has
/// something again; dropping it closes it.
pub trait PartitionReader: Send {
    /// Begins to read these partitions too. Does not wait for brokers.
    fn start(&mut self, partitions: &[Start]) -> Result<()>;

    /// Reads a partition no longer.
    fn stop(&mut self, split: u32) -> Result<()>;

    /// Appends what is there, `max_records` at most, and waits for nothing. A broker that cannot
    /// be reached is waited for (nothing comes meanwhile); what cannot heal is an error.
    fn poll(&mut self, max_records: usize, block: &mut Block) -> Result<()>;

    /// The partition's end as the newest answer of its broker says, if there was one.
    fn end_offset(&self, split: u32) -> Option<i64>;
}
