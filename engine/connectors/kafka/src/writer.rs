//! The seam before the Kafka client that writes: what the sink asks of one, whoever it is.
//!
//! No method blocks, but those that say so; what waits for a broker is started, and polled until
//! it is `Ready`. The waker that a writer was opened with is called when a poll would say more
//! than before. The sink above this seam decides which transaction is committed and when an id
//! may be used again; a writer ends no transaction by itself, not even when it is dropped.

use std::task::Poll;

use millrace_connector_api::Waker;
use millrace_connector_api::format::Payloads;
use millrace_core::Result;
use serde::{Deserialize, Serialize};

/// Encoded records in columns: record i is the i-th of each.
#[derive(Debug, Default)]
pub struct Block {
    pub values: Payloads,
    /// `None`: no record has a key. A null payload: that record has none.
    pub keys: Option<Payloads>,
    /// Milliseconds since the epoch; 0 stands for the time of sending.
    pub timestamps: Option<Vec<i64>>,
    pub headers: Option<Headers>,
}

impl Block {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Of keys and values.
    pub fn bytes(&self) -> usize {
        self.values.data.len() + self.keys.as_ref().map_or(0, |keys| keys.data.len())
    }
}

/// Headers of records: those of record i are `entries[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default)]
pub struct Headers {
    /// One more than there are records; starts with 0.
    pub offsets: Vec<u32>,
    pub entries: Vec<(String, Option<Vec<u8>>)>,
}

impl Headers {
    /// Those of record i.
    pub fn of(&self, i: usize) -> &[(String, Option<Vec<u8>>)] {
        &self.entries[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

/// How a transaction's epochs behave, and so in which versions of EndTxn it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// The epoch stays from one transaction of a producer to the next.
    #[serde(rename = "TV1")]
    V1,
}

/// A flushed, open transaction: enough to commit it without the process that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
    /// When it began, by the coordinator's clock, in milliseconds. With `Protocol::V1` it is all
    /// that tells an id's next transaction from this one.
    pub start_time: i64,
    pub protocol: Protocol,
}

/// What a commit left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The writer can begin another transaction (when its id may be used again).
    Reusable,
    /// The transaction is committed, but the writer is done for.
    Spent,
}

/// Opens writers of one topic. A sink's subtask has one.
pub trait Client: Send {
    fn plain(&self, waker: Waker) -> Result<Box<dyn Writer>>;
    /// Starts to take the id over; `TransactionalWriter::poll_open` says when that is done.
    fn transactional(&self, transactional_id: &str, waker: Waker) -> Result<Box<dyn TransactionalWriter>>;
}

/// Writes records, in order per partition.
pub trait Writer: Send {
    /// Whether there is room. An error is final: a record was not written.
    fn poll_ready(&mut self) -> Result<Poll<()>>;

    /// Takes as many records as there is room for, of a block of which `from` were taken before; gives
    /// how many. Which of them is the writer's choice (it may go by partition), so a block that was
    /// not taken whole is given again before another one.
    fn produce(&mut self, block: &Block, from: usize) -> Result<usize>;

    /// `Ready` once every record taken so far is acknowledged. An error is final.
    fn poll_flush(&mut self) -> Result<Poll<()>>;
}

/// Writes records in transactions of one transactional id, one after the other.
pub trait TransactionalWriter: Writer {
    fn transactional_id(&self) -> &str;

    fn poll_open(&mut self) -> Result<Poll<()>>;

    fn begin(&mut self) -> Result<()>;

    /// Asks for the proof that the flushed transaction is open at its coordinator and ours. May be
    /// asked again until the commit is started.
    fn start_prepare(&mut self) -> Result<()>;

    /// The handle; `None` if nothing was written. Any doubt is an error.
    fn poll_prepare(&mut self) -> Result<Poll<Option<Handle>>>;

    /// Lets the client of a prepared transaction go: it is proved and committed by its handle from now
    /// on, and nothing else can be written with it. For transactions that wait for long.
    fn detach(&mut self);

    /// Commits the prepared transaction, trying until it is known to be committed, and visible to
    /// whoever reads committed records.
    fn start_commit(&mut self) -> Result<()>;

    fn poll_commit(&mut self) -> Result<Poll<Committed>>;
}
