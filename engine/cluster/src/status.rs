//! What a person is shown of a running job.

use std::sync::Arc;
use std::time::Duration;

use millrace_core::CheckpointId;
use millrace_runtime::TaskMetrics;

#[derive(Debug, Clone)]
pub struct JobStatus {
    pub name: String,
    pub state: State,
    /// The number of this run, over all restarts of the job.
    pub attempt: u64,
    /// Restarts within this process.
    pub restarts: u32,
    pub checkpoint: Option<CheckpointStatus>,
    /// Checkpoints that failed or timed out since the job was submitted.
    pub failed_checkpoints: u64,
    /// Of the present attempt's subtasks.
    pub tasks: Vec<Arc<TaskMetrics>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Recovering,
    /// Too few slots are free.
    WaitingForResources,
    Running,
    Stopping,
    Restarting,
    Finished,
    Stopped,
    Failed,
}

/// The newest complete checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStatus {
    pub id: CheckpointId,
    /// From the trigger to the head swap.
    pub duration: Duration,
    /// Of all files that it needs.
    pub bytes: u64,
    /// Of those that were written for it; the others stand there from checkpoints before.
    pub written: u64,
}

/// Sums over the subtasks of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub records_in: u64,
    pub records_out: u64,
    pub skipped: u64,
    pub dropped: u64,
    /// Rows that came after what they belong to was given out: Flink's `numLateRecordsDropped`.
    pub late: u64,
    /// None where no source can tell.
    pub lag: Option<u64>,
}

impl JobStatus {
    pub fn new(name: &str) -> Self {
        JobStatus {
            name: name.to_owned(),
            state: State::Created,
            attempt: 0,
            restarts: 0,
            checkpoint: None,
            failed_checkpoints: 0,
            tasks: Vec::new(),
        }
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for task in &self.tasks {
            totals.records_in += task.source_records.get();
            totals.records_out += task.sink_records.get();
            totals.skipped += task.skipped_records.get();
            totals.dropped += task.dropped_records.get();
            totals.late += task.late_records.get();
            if let Ok(pending) = u64::try_from(task.pending_records.get()) {
                totals.lag = Some(totals.lag.unwrap_or(0) + pending);
            }
        }
        totals
    }
}
