//! Rows that are forgotten when they were not written for long (`table.exec.state.ttl`).
//!
//! In a table with a lifetime each value begins with the time of its last write. A row that is older is not
//! there for whoever reads, in memory as in the store; the store drops it when it compacts. Reading keeps
//! nothing alive, as in Flink's tables (`OnCreateAndWrite`, `NeverReturnExpired`).
//!
//! What had expired when a checkpoint was taken stays gone, also with a longer lifetime: of rows that belong
//! together, as a group's row and the entries of its map, compactions may have dropped some and not the others.

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
pub struct Lifetimes(BTreeMap<String, Lifetime>);

/// Of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lifetime {
    ttl: i64,
    /// What was written up to then is gone, however long rows live.
    gone: i64,
    /// Keys that end so are of rows that never expire.
    lasting: Option<Vec<u8>>,
}

impl Lifetimes {
    /// 0: for ever.
    pub fn with(mut self, table: &str, millis: i64) -> Self {
        if millis > 0 {
            let lifetime = Lifetime {
                ttl: millis,
                gone: i64::MIN,
                lasting: None,
            };
            self.0.insert(table.to_owned(), lifetime);
        }
        self
    }

    /// Rows of a table whose keys end so are written such that they do not expire; so they are to stay when
    /// they come from a table without a lifetime.
    pub fn lasting(mut self, table: &str, ending: &[u8]) -> Self {
        if let Some(lifetime) = self.0.get_mut(table) {
            lifetime.lasting = Some(ending.to_vec());
        }
        self
    }

    /// The same for a store that has the rows of a checkpoint's tables, each with the time up to which what
    /// was written is gone.
    pub(super) fn going_on(mut self, timed: &BTreeMap<String, i64>) -> Self {
        for (table, lifetime) in &mut self.0 {
            lifetime.gone = timed.get(table).copied().unwrap_or(i64::MIN);
        }
        self
    }

    pub(super) fn of(&self, table: &str, now: i64) -> Option<Life> {
        let Lifetime { ttl, gone, .. } = *self.0.get(table)?;
        Some(Life { ttl, gone, now })
    }

    /// When a row without a time counts as written by those that read a table.
    pub(super) fn written(&self, table: &str, key: &[u8], now: i64) -> i64 {
        let lasting = self.0.get(table).and_then(|lifetime| lifetime.lasting.as_ref());
        match lasting.is_some_and(|ending| key.ends_with(ending)) {
            true => LASTING,
            false => now,
        }
    }

    /// Whether these are the tables whose values begin with a time.
    pub(super) fn are_of(&self, timed: &BTreeMap<String, i64>) -> bool {
        self.0.keys().eq(timed.keys())
    }

    /// The tables whose values begin with a time, each with the time up to which what was written is gone.
    pub(super) fn timed(&self, now: i64) -> BTreeMap<String, i64> {
        let gone = |lifetime: &Lifetime| now.saturating_sub(lifetime.ttl).max(lifetime.gone);
        let tables = self.0.iter();
        tables
            .map(|(table, lifetime)| (table.clone(), gone(lifetime)))
            .collect()
    }
}

/// Bytes of the time before a value.
pub(super) const TIME: usize = size_of::<i64>();

/// The time of what never expires.
pub(super) const LASTING: i64 = i64::MAX;

/// How long rows live, and what time it is to those who read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    ttl: i64,
    /// What was written up to then is gone.
    gone: i64,
    pub now: i64,
}

impl Life {
    /// The first time at which a row is no longer there.
    pub fn end(self, written: i64) -> i64 {
        written.saturating_add(self.ttl)
    }

    pub fn is_over(self, written: i64) -> bool {
        written <= self.gone || self.end(written) <= self.now
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
pub(super) fn drop_expired(options: &mut Options, life: Life, clock: &Clock) {
    options.set_compaction_filter_factory(Expiry {
        life,
        clock: clock.clone(),
    });
}

const NAME: &CStr = c"state ttl";

struct Expiry {
    life: Life,
    clock: Clock,
}

impl CompactionFilterFactory for Expiry {
    type Filter = Expired;

    fn create(&mut self, _: CompactionFilterContext) -> Expired {
        Expired(Life {
            now: self.clock.now_millis(),
            ..self.life
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
