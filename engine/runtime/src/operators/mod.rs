//! Operators between the source and the sink of a chain, one file each.

pub mod bundle;
pub mod bundled_group_aggregate;
#[cfg(test)]
mod by_key_tests;
pub mod calc;
pub mod changelog_normalize;
#[cfg(test)]
mod clock_tests;
pub mod constraint;
pub mod deduplicate;
#[cfg(test)]
mod deduplicate_tests;
#[cfg(test)]
mod deduplicate_ttl_tests;
pub mod drop_update_before;
pub mod expand;
pub mod group_aggregate;
mod group_results;
#[cfg(test)]
mod group_tests;
mod groups;
#[cfg(test)]
pub(crate) mod harness;
pub mod interval_join;
pub mod join;
pub mod local_group_aggregate;
pub mod over;
pub mod paced;
mod parts;
pub mod rank;
pub mod session;
pub mod sink_materializer;
#[cfg(test)]
mod ttl_tests;
pub mod union;
pub mod values;
pub mod watermark;
pub mod window_aggregate;
pub mod window_join;
pub mod window_rank;
mod window_rows;
#[cfg(test)]
mod window_rows_tests;
pub mod window_table;
#[cfg(test)]
mod window_tests;

use millrace_core::{Error, Result};
use millrace_state::keyed::Clock;

use crate::element::{Batch, Element};

/// An operator between others. What it puts into `out` goes on in that order.
pub trait Operator: Send {
    /// `input` says which of its inputs the rows come from, as the plan counts them.
    fn batch(&mut self, input: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()>;

    /// How many of the rows that wait at its inputs the operator wants to see ahead of time.
    fn look_ahead(&self) -> usize {
        0
    }

    /// Rows that will come, the next first, each batch with its input: what they need of keyed state
    /// may be brought into memory at once.
    fn prefetch(&mut self, _coming: &[(usize, &Batch)]) -> Result<()> {
        Ok(())
    }

    /// Whatever is not a batch passes through unless the operator knows better.
    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        out.push(element);
        Ok(())
    }

    /// What has come has begun something that gives much: it goes on with `resume`, and nothing else is handed
    /// in until there is no more.
    fn has_more(&self) -> bool {
        false
    }

    /// Gives some more of it.
    fn resume(&mut self, _out: &mut Vec<Element>) -> Result<()> {
        Ok(())
    }

    /// Called when nothing comes at present and from time to time; for timers.
    fn tick(&mut self, _now_millis: i64, _out: &mut Vec<Element>) -> Result<()> {
        Ok(())
    }

    /// For so many milliseconds nothing was taken in, for there was no room behind: what did not come
    /// meanwhile may well be there.
    fn held_up(&mut self, _millis: i64) {}

    /// Keys that have had something to do at a time that has come, since the subtask began.
    fn fired_timers(&self) -> u64 {
        0
    }

    /// A barrier is about to pass: what waits for more rows goes out before it.
    fn before_barrier(&mut self, _out: &mut Vec<Element>) -> Result<()> {
        Ok(())
    }

    /// State of its own for a checkpoint. Keyed state is written to its store, down to the last row.
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}

/// Rows of an output batch at most.
pub(crate) const BATCH: usize = 8192;
/// Bytes of encoded rows that are enough for an output batch, whatever their number.
pub(crate) const BATCH_BYTES: usize = 16 << 20;

/// How many rows there are among elements.
pub(crate) fn rows_of(elements: &[Element]) -> usize {
    let rows = |element: &Element| match element {
        Element::Batch(batch) => batch.change.len(),
        _ => 0,
    };
    elements.iter().map(rows).sum()
}

/// Whether the elements are as much as goes out at once.
pub(crate) fn are_enough(elements: &[Element]) -> bool {
    let bytes = |element: &Element| match element {
        Element::Batch(batch) => batch.change.bytes(),
        _ => 0,
    };
    rows_of(elements) >= BATCH || elements.iter().map(bytes).sum::<usize>() >= BATCH_BYTES
}

/// An Arrow kernel that refuses what the planner has made is a bug.
pub(crate) fn kernel(e: arrow::error::ArrowError) -> Error {
    Error::internal("an operator could not build its output").with_source(e)
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    Clock::System.now_millis()
}
