//! Lines of the log in Flink's own words: tools and people's scripts look for them. `millrace run` does not show them;
//! they have a target of their own by which they are left out.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_core::{CheckpointId, JobId};

use crate::history::CheckpointKind;

/// What these lines are left out by.
pub const TARGET: &str = "millrace_cluster::flink";

macro_rules! say {
    ($($arguments:tt)+) => {
        tracing::info!(target: TARGET, $($arguments)+)
    };
}

/// The REST server answers.
pub fn rest_listens(address: SocketAddr) {
    say!("Rest endpoint listening at {address}");
}

pub fn submission_received(name: &str, job: JobId) {
    say!(job_id = %job, "Received job submission '{name}' ({job}).");
    say!(job_id = %job, "Submitting job '{name}' ({job}).");
}

/// By an application that has no submitter.
pub fn submitted(job: JobId) {
    say!(job_id = %job, "Job {job} is submitted.");
}

pub fn application_completed() {
    say!("Application completed SUCCESSFULLY");
}

/// Names of states are Flink's.
pub fn job_switched(name: &str, job: JobId, from: &str, to: &str) {
    say!(job_id = %job, job_name = name, "Job {name} ({job}) switched from state {from} to {to}.");
}

pub fn job_ended(job: JobId, state: &str) {
    say!(job_id = %job, "Job {job} reached terminal state {state}.");
}

/// `task` is the vertex with the subtask, `Source: a (1/2)`.
pub fn execution_switched(job: JobId, task: &str, id: &str, from: &str, to: &str) {
    say!(job_id = %job, "{task} ({id}) switched from {from} to {to}.");
}

pub fn checkpoint_triggered(job: JobId, checkpoint: CheckpointId, kind: CheckpointKind, timestamp: i64) {
    let savepoint = |after: &str| {
        format!("SavepointType{{name='Savepoint', postCheckpointAction={after}, formatType=CANONICAL}}")
    };
    let kind = match kind {
        CheckpointKind::Checkpoint | CheckpointKind::Last => {
            "CheckpointType{name='Checkpoint', sharingFilesStrategy=FORWARD_BACKWARD}".to_owned()
        }
        CheckpointKind::Savepoint => savepoint("NONE"),
        CheckpointKind::StopWithSavepoint { drain: false } => savepoint("SUSPEND"),
        CheckpointKind::StopWithSavepoint { drain: true } => savepoint("TERMINATE"),
    };
    say!(
        job_id = %job,
        checkpoint = checkpoint.0,
        "Triggering checkpoint {checkpoint} (type={kind}) @ {timestamp} for job {job}."
    );
}

/// `duration` is all of it, `finalization` the end of it: what follows the last subtask's state.
pub fn checkpoint_completed(
    job: JobId,
    checkpoint: CheckpointId,
    bytes: u64,
    duration: Duration,
    finalization: Duration,
) {
    say!(
        job_id = %job,
        checkpoint = checkpoint.0,
        "Completed checkpoint {checkpoint} for job {job} ({bytes} bytes, checkpointDuration={} ms, finalizationTime={} ms).",
        duration.as_millis(),
        finalization.as_millis()
    );
}

/// The so-manieth in a row.
pub fn checkpoint_failed(job: JobId, checkpoint: CheckpointId, failures: u32) {
    tracing::warn!(
        target: TARGET,
        job_id = %job,
        checkpoint = checkpoint.0,
        "Failed to trigger or complete checkpoint {checkpoint} for job {job}. ({failures} consecutive failed attempts so far)"
    );
}

pub fn savepoint_asked(job: JobId) {
    say!(job_id = %job, "Triggering savepoint for job {job}.");
}

pub fn stop_asked(job: JobId) {
    say!(job_id = %job, "Triggering stop-with-savepoint for job {job}.");
}

pub fn checkpoint_asked(job: JobId) {
    say!(job_id = %job, "Triggering a manual checkpoint for job {job}.");
}

pub fn savepoint_disposed(path: &str) {
    say!("Disposing savepoint {path}.");
}

pub fn nothing_restored(job: JobId) {
    say!(job_id = %job, "No checkpoint found during restore.");
}

/// From a path that was given.
pub fn starts_from(job: JobId, path: &str) {
    say!(job_id = %job, "Starting job {job} from savepoint {path} ()");
}

/// Taken at `timestamp`, in milliseconds since 1970.
pub fn restored(job: JobId, checkpoint: CheckpointId, is_savepoint: bool, timestamp: i64, path: &str) {
    let kind = if is_savepoint { "Savepoint" } else { "Checkpoint" };
    say!(
        job_id = %job,
        checkpoint = checkpoint.0,
        "Restoring job {job} from {kind} {checkpoint} @ {timestamp} for {job} located at {path}."
    );
}

pub fn task_manager_registers(id: &str, address: &str) {
    say!(
        task_manager = id,
        "Registering TaskManager with ResourceID {id} ({address}) at ResourceManager"
    );
}

pub fn task_manager_closed(id: &str, why: impl Display) {
    say!(
        task_manager = id,
        "Closing TaskExecutor connection {id} because: {why}"
    );
}

pub fn registered_at(leader: &str) {
    say!(leader, "Successful registration at resource manager {leader}.");
}

/// One option of the configuration; what is secret is not told.
pub fn option(key: &str, shown: &str) {
    say!("Loading configuration property: {key}, {shown}");
}
