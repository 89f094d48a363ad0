//! Rows that are forgotten when they were not written for long (`table.exec.state.ttl`).
//!
//! In a table with a lifetime each value begins with the time of its last write. A row that is older is not
//! there for whoever reads, in memory as in the store; the store drops it when it compacts. Reading keeps
//! nothing alive, as in Flink's tables (`OnCreateAndWrite`, `NeverReturnExpired`).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_core::{Error, Result};
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{CompactionDecision, Options};

/// What time it is, in milliseconds since 1970. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// It stands until somebody sets it, which tests do.
    Set(Arc<AtomicI64>),
}

impl Clock {
    pub fn now_millis(&self) -> i64 {
        match self {
            Clock::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                since.map_or(0, |d| d.as_millis() as i64)
            }
            Clock::Set(time) => time.load(Ordering::Relaxed),
        }
    }
}

/// How long the rows of an operator's tables live, by the table's name, in milliseconds, above 0. Rows of
/// other tables live for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifetimes(BTreeMap<String, i64>);

impl Lifetimes {
    /// 0: for ever.
    pub fn with(mut self, table: &str, millis: i64) -> Self {
        if millis > 0 {
            self.0.insert(table.to_owned(), millis);
        }
        self
    }

    pub fn of(&self, table: &str) -> Option<i64> {
        self.0.get(table).copied()
    }

    /// Tables whose values begin with a time, in order.
    pub fn tables(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Bytes of the time before a value.
pub(super) const TIME: usize = size_of::<i64>();

/// The time of what never expires.
pub(super) const LASTING: i64 = i64::MAX;

/// How long rows live, and what time it is to those who read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub ttl: i64,
    pub now: i64,
}

impl Life {
    /// The first time at which a row is no longer there.
    pub fn end(self, written: i64) -> i64 {
        written.saturating_add(self.ttl)
    }

    pub fn is_over(self, written: i64) -> bool {
        self.end(written) <= self.now
    }

    /// A value as it is stored when it is written now.
    pub fn timed(self, value: &[u8]) -> Box<[u8]> {
        timed(self.now, value)
    }
}

pub(super) fn timed(time: i64, value: &[u8]) -> Box<[u8]> {
    [&time.to_be_bytes(), value].concat().into()
}

/// The time and the value of what is stored.
pub(super) fn split(stored: &[u8]) -> Result<(i64, &[u8])> {
    let (time, value) = stored
        .split_first_chunk()
        .ok_or_else(|| Error::data_loss("a row of keyed state says not when it was written"))?;
    Ok((i64::from_be_bytes(*time), value))
}

/// Has a table's compactions drop what has expired.
pub(super) fn drop_expired(options: &mut Options, ttl: i64, clock: &Clock) {
    options.set_compaction_filter_factory(Expiry {
        ttl,
        clock: clock.clone(),
    });
}

const NAME: &CStr = c"state ttl";

struct Expiry {
    ttl: i64,
    clock: Clock,
}

impl CompactionFilterFactory for Expiry {
    type Filter = Expired;

    fn create(&mut self, _: CompactionFilterContext) -> Expired {
        Expired(Life {
            ttl: self.ttl,
            now: self.clock.now_millis(),
        })
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// One compaction's.
struct Expired(Life);

impl CompactionFilter for Expired {
    fn filter(&mut self, _: u32, _: &[u8], stored: &[u8]) -> CompactionDecision {
        match split(stored) {
            Ok((written, _)) if self.0.is_over(written) => CompactionDecision::Remove,
            // What is damaged is found by who reads it.
            _ => CompactionDecision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}
