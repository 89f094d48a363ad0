//! Keys that nobody has touched for long (`table.exec.state.ttl`), where rows wait for their time or leave
//! windows: as in Flink (`KeyedProcessFunctionWithCleanupState`) a timer by the clock forgets all of a key at
//! once. It goes off between one and one and a half times the time to live after the last touch.

use millrace_core::{Error, Result};
use millrace_state::keyed::{Clock, KeyedBackend, MapTable};

use super::windowed::At;
use crate::timers::{Timer, Timers};

pub(super) struct Cleanup {
    least: i64,
    most: i64,
    timers: Timers,
    clock: Clock,
}

const TIMERS: &str = "cleanup";
/// Of a key, when its timer goes off.
const TIME: &[u8] = b"c";

impl Cleanup {
    /// None where nothing is forgotten: with a time to live of 0, and of 1 ms, as Flink has it.
    pub fn open(backend: &KeyedBackend, ttl_millis: i64) -> Result<Option<Self>> {
        if ttl_millis <= 1 {
            // Of a time in which keys were forgotten.
            backend.store.drop_family(TIMERS)?;
            return Ok(None);
        }
        Ok(Some(Cleanup {
            least: ttl_millis,
            most: ttl_millis.saturating_mul(3) / 2,
            timers: Timers::open(backend, TIMERS)?,
            clock: backend.clock(),
        }))
    }

    pub fn now(&self) -> i64 {
        self.clock.now_millis()
    }

    /// A key is touched: its timer moves, if it would go off too early.
    pub fn touched(&mut self, table: &mut MapTable, at: At, now: i64) -> Result<()> {
        let current = time(table, at.slot)?;
        if current.is_some_and(|current| now.saturating_add(self.least) <= current) {
            return Ok(());
        }
        let next = now.saturating_add(self.most);
        self.timers.register(next, at.key, at.group)?;
        if let Some(current) = current {
            self.timers.delete(current, at.key, at.group)?;
        }
        table.write(at.slot, TIME, Some(&next.to_be_bytes()))
    }

    /// A timer that has gone off by `now`, with the slot of its key.
    pub fn due(&mut self, table: &mut MapTable, now: i64) -> Result<Option<(Timer, u32)>> {
        while let Some(timer) = self.timers.pop(now)? {
            let slot = table.resolve_one(&timer.key, timer.group)?;
            // One of a time before nothing was forgotten for a while counts no more.
            if time(table, slot)? == Some(timer.time) {
                return Ok(Some((timer, slot)));
            }
        }
        Ok(None)
    }

    /// Timers that have gone off.
    pub fn fired(&self) -> u64 {
        self.timers.fired()
    }

    pub fn flush(&mut self) -> Result<()> {
        self.timers.flush()
    }
}

fn time(table: &MapTable, slot: u32) -> Result<Option<i64>> {
    let Some(stored) = table.read(slot, TIME)? else {
        return Ok(None);
    };
    let bytes = stored.as_ref().try_into();
    let bytes = bytes.map_err(|_| Error::data_loss("the stored rows of an OVER have another form"))?;
    Ok(Some(i64::from_be_bytes(bytes)))
}
