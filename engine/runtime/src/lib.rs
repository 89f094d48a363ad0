//! A subtask at work: it takes batches, barriers and watermarks from its inputs or its source,
//! runs a chain of operators over them, and hands the results on.
//!
//! It may depend on the plan (`millrace-dataflow`), expressions, keyed state and the connector traits;
//! it names no connector, does no checkpoint I/O and knows no JobManager: it takes commands and reports.
//!
//! Invariants:
//! - `Subtask::step` never blocks. What cannot go on says so, and a waker ends the wait.
//! - Between the barrier of a checkpoint on one input and the same barrier on the last one, nothing
//!   is taken from inputs that have delivered theirs (aligned checkpoints).
//! - An element leaves an operator only after everything that came out of it before.
//! - The highest watermark is sent at the true end of input only, never at a stop.
//!
//! Layout: `element` what flows, `channel` the edge between two subtasks of a process, `gate`
//! several channels as one aligned input, `output` an operator's readers, `keys` the keys of rows, `maps` state for accumulators, `operators` one file
//! each, `source` and `sink` the ends of a chain, `subtask` the step loop, `build` a subtask from
//! its vertex, `driver` the thread that runs one, `control` commands and reports, `time` rows' times, `windows`
//! rows' windows, `timers` keys that wait for a time, `state_schema` what keyed operators keep, by their
//! plans, `ttl` which of it is forgotten, `changes` stored rows on their way out, `wire` elements as bytes,
//! `metrics`.

pub mod build;
pub mod changes;
pub mod channel;
pub mod control;
pub mod driver;
pub mod element;
pub mod gate;
pub mod keys;
mod maps;
pub mod metrics;
pub mod operators;
pub mod output;
pub mod sink;
pub mod source;
pub mod state_schema;
pub mod subtask;
pub mod time;
pub mod timers;
mod ttl;
pub mod windows;
pub mod wire;
#[cfg(test)]
mod wire_random;

pub use build::{SubtaskBuilder, SubtaskPlan};
pub use channel::channel;
pub use control::{Command, Event, Mailbox, OperatorSnapshot, Reporter};
pub use element::{Barrier, Batch, Element};
pub use metrics::TaskMetrics;
pub use subtask::{Progress, Subtask};
