//! Statistics of checkpoints and savepoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::Double;

/// `GET /jobs/:jobid/checkpoints`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoints {
    pub counts: Counts,
    pub summary: Summary,
    pub latest: Latest,
    /// The newest first, at most `web.checkpoints.history`; without figures by vertex.
    pub history: Vec<Checkpoint>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How often the job was restored from one.
    pub restored: u64,
    /// All that were triggered.
    pub total: u64,
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
}

/// Over the complete checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Bytes that were written for it.
    pub checkpointed_size: StatsSummary,
    /// Bytes that it consists of.
    pub state_size: StatsSummary,
    pub end_to_end_duration: StatsSummary,
    /// Flink has no figure any more: 0.
    pub alignment_buffered: StatsSummary,
    /// Bytes that were processed during alignment.
    pub processed_data: StatsSummary,
    /// Bytes of channels in an unaligned checkpoint.
    pub persisted_data: StatsSummary,
}

/// Of a number of values; quantiles are not numbers where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StatsSummary {
    pub min: i64,
    pub max: i64,
    pub avg: i64,
    pub p50: Double,
    pub p90: Double,
    pub p95: Double,
    pub p99: Double,
    pub p999: Double,
}

/// Null where there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// Without savepoints.
    pub completed: Option<Checkpoint>,
    pub savepoint: Option<Checkpoint>,
    pub failed: Option<Checkpoint>,
    pub restored: Option<Restored>,
}

/// What the job was last restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub id: u64,
    pub restore_timestamp: i64,
    pub is_savepoint: bool,
    pub external_path: Option<String>,
}

/// `GET /jobs/:jobid/checkpoints/details/:checkpointid`; also in lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "className", rename_all = "snake_case")]
pub enum Checkpoint {
    Completed(CompletedCheckpoint),
    Failed(FailedCheckpoint),
    InProgress(CheckpointFigures),
}

impl Checkpoint {
    pub fn figures(&self) -> &CheckpointFigures {
        match self {
            Checkpoint::Completed(completed) => &completed.figures,
            Checkpoint::Failed(failed) => &failed.figures,
            Checkpoint::InProgress(figures) => figures,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletedCheckpoint {
    #[serde(flatten)]
    pub figures: CheckpointFigures,
    pub external_path: String,
    /// Whether a newer one has taken its place.
    pub discarded: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedCheckpoint {
    #[serde(flatten)]
    pub figures: CheckpointFigures,
    pub failure_timestamp: i64,
    pub failure_message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointFigures {
    pub id: u64,
    pub status: CheckpointStatus,
    pub is_savepoint: bool,
    /// `CANONICAL` or `NATIVE` of a savepoint.
    #[serde(rename = "savepointFormat")]
    pub savepoint_format: Option<String>,
    pub trigger_timestamp: i64,
    /// -1 where none was acknowledged.
    pub latest_ack_timestamp: i64,
    pub checkpointed_size: u64,
    pub state_size: u64,
    /// From the trigger to the last acknowledgement, the failure or now.
    pub end_to_end_duration: i64,
    pub alignment_buffered: u64,
    pub processed_data: u64,
    pub persisted_data: u64,
    pub num_subtasks: usize,
    pub num_acknowledged_subtasks: usize,
    pub checkpoint_type: CheckpointKind,
    /// By vertex id; empty in lists.
    pub tasks: BTreeMap<String, VertexCheckpoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckpointStatus {
    InProgress,
    Completed,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckpointKind {
    Checkpoint,
    UnalignedCheckpoint,
    Savepoint,
    SyncSavepoint,
}

/// A checkpoint at one vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexCheckpoint {
    pub id: u64,
    pub status: CheckpointStatus,
    pub latest_ack_timestamp: i64,
    pub checkpointed_size: u64,
    pub state_size: u64,
    pub end_to_end_duration: i64,
    pub alignment_buffered: u64,
    pub processed_data: u64,
    pub persisted_data: u64,
    pub num_subtasks: usize,
    pub num_acknowledged_subtasks: usize,
}

/// `GET /jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VertexCheckpointDetails {
    #[serde(flatten)]
    pub figures: VertexCheckpoint,
    pub summary: SubtaskSummary,
    pub subtasks: Vec<SubtaskCheckpoint>,
}

/// Over the subtasks that have acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubtaskSummary {
    pub checkpointed_size: StatsSummary,
    pub state_size: StatsSummary,
    pub end_to_end_duration: StatsSummary,
    pub checkpoint_duration: DurationSummary,
    pub alignment: AlignmentSummary,
    pub start_delay: StatsSummary,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DurationSummary {
    pub sync: StatsSummary,
    #[serde(rename = "async")]
    pub asynchronous: StatsSummary,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlignmentSummary {
    pub buffered: StatsSummary,
    pub processed: StatsSummary,
    pub persisted: StatsSummary,
    pub duration: StatsSummary,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "className", rename_all = "snake_case")]
pub enum SubtaskCheckpoint {
    Completed(CompletedSubtask),
    Pending(PendingSubtask),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedSubtask {
    pub index: usize,
    /// `completed`.
    pub status: String,
    pub ack_timestamp: i64,
    pub end_to_end_duration: i64,
    pub checkpointed_size: u64,
    pub state_size: u64,
    pub checkpoint: CheckpointDuration,
    pub alignment: Alignment,
    /// From the trigger to the first barrier.
    pub start_delay: i64,
    pub unaligned_checkpoint: bool,
    pub aborted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingSubtask {
    pub index: usize,
    /// `pending_or_failed`.
    pub status: String,
}

/// How long the subtask held still, and how long state was written beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDuration {
    pub sync: i64,
    #[serde(rename = "async")]
    pub asynchronous: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alignment {
    pub buffered: u64,
    pub processed: u64,
    pub persisted: u64,
    /// From the first barrier to the last.
    pub duration: i64,
}

/// `GET /jobs/:jobid/checkpoints/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointConfig {
    pub mode: ProcessingMode,
    /// The greatest number there is where checkpoints are not periodic.
    pub interval: i64,
    pub timeout: i64,
    pub min_pause: i64,
    pub max_concurrent: u64,
    pub externalization: Externalization,
    pub state_backend: String,
    pub checkpoint_storage: String,
    pub unaligned_checkpoints: bool,
    pub tolerable_failed_checkpoints: i64,
    pub aligned_checkpoint_timeout: i64,
    pub checkpoints_after_tasks_finish: bool,
    pub state_changelog_enabled: bool,
    pub changelog_periodic_materialization_interval: i64,
    pub changelog_storage: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessingMode {
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Externalization {
    /// Whether checkpoints are kept when the job is canceled.
    pub enabled: bool,
    pub delete_on_cancellation: bool,
}
