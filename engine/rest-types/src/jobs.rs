//! Lists of jobs, and one job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::operations::{QueueStatus, SerializedThrowable};
use crate::plan::Plan;
use crate::states::{ExecutionState, JobStatus};
use crate::vertices::{IoMetrics, StateCounts};

/// `GET /jobs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobIds {
    pub jobs: Vec<JobIdWithStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobIdWithStatus {
    pub id: String,
    pub status: JobStatus,
}

/// `GET /jobs/overview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsOverview {
    pub jobs: Vec<JobOverview>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobOverview {
    pub jid: String,
    pub name: String,
    pub start_time: i64,
    /// -1 until the job is at its end.
    pub end_time: i64,
    /// Until its end, or until now.
    pub duration: i64,
    pub state: JobStatus,
    /// When the job or one of its subtasks last changed its state.
    pub last_modification: i64,
    pub tasks: TaskCounts,
    /// Operators whose vertices are not known yet.
    pub pending_operators: usize,
}

/// Subtasks of a job by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    pub total: usize,
    pub created: usize,
    pub scheduled: usize,
    pub deploying: usize,
    pub initializing: usize,
    pub running: usize,
    pub finished: usize,
    pub canceling: usize,
    pub canceled: usize,
    pub failed: usize,
    pub reconciling: usize,
}

impl TaskCounts {
    /// Counts one more subtask.
    pub fn add(&mut self, state: ExecutionState) {
        self.total += 1;
        *match state {
            ExecutionState::Created => &mut self.created,
            ExecutionState::Scheduled => &mut self.scheduled,
            ExecutionState::Deploying => &mut self.deploying,
            ExecutionState::Running => &mut self.running,
            ExecutionState::Finished => &mut self.finished,
            ExecutionState::Canceling => &mut self.canceling,
            ExecutionState::Canceled => &mut self.canceled,
            ExecutionState::Failed => &mut self.failed,
            ExecutionState::Reconciling => &mut self.reconciling,
            ExecutionState::Initializing => &mut self.initializing,
        } += 1;
    }
}

/// `GET /jobs/:jobid/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatusInfo {
    pub status: JobStatus,
}

/// `GET /jobs/:jobid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDetails {
    pub jid: String,
    pub name: String,
    /// Flink always says no.
    #[serde(rename = "isStoppable")]
    pub is_stoppable: bool,
    pub state: JobStatus,
    #[serde(rename = "job-type")]
    pub job_type: JobType,
    #[serde(rename = "start-time")]
    pub start_time: i64,
    /// -1 until the job is at its end.
    #[serde(rename = "end-time")]
    pub end_time: i64,
    pub duration: i64,
    /// `pipeline.max-parallelism`: -1 where it is not set.
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: i64,
    /// When this was answered.
    pub now: i64,
    /// When the job last came into each state; 0: never.
    pub timestamps: BTreeMap<JobStatus, i64>,
    /// In topological order.
    pub vertices: Vec<JobVertex>,
    /// Vertices by state.
    #[serde(rename = "status-counts")]
    pub status_counts: StateCounts,
    pub plan: Plan,
    #[serde(rename = "stream-graph", default, skip_serializing_if = "Option::is_none")]
    pub stream_graph: Option<serde_json::Value>,
    #[serde(rename = "pending-operators")]
    pub pending_operators: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobType {
    Streaming,
    Batch,
}

/// A vertex in its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobVertex {
    pub id: String,
    #[serde(rename = "slotSharingGroupId")]
    pub slot_sharing_group_id: String,
    pub name: String,
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: u32,
    pub parallelism: usize,
    /// Of its subtasks together.
    pub status: ExecutionState,
    /// When the first subtask was deployed; -1 before.
    #[serde(rename = "start-time")]
    pub start_time: i64,
    /// When the last subtask ended; -1 before.
    #[serde(rename = "end-time")]
    pub end_time: i64,
    /// -1 before the first subtask is deployed.
    pub duration: i64,
    pub tasks: StateCounts,
    pub metrics: IoMetrics,
}

/// `GET /jobs/:jobid/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobConfig {
    pub jid: String,
    pub name: String,
    #[serde(rename = "execution-config", default, skip_serializing_if = "Option::is_none")]
    pub execution_config: Option<ExecutionConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutionConfig {
    /// In words.
    pub restart_strategy: String,
    pub job_parallelism: i64,
    pub object_reuse_mode: bool,
    pub user_config: BTreeMap<String, String>,
}

/// `GET /jobs/:jobid/execution-result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutionResult {
    pub status: QueueStatus,
    /// Once the job is at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_execution_result: Option<JobResult>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobResult {
    pub id: String,
    pub application_status: ApplicationStatus,
    /// Serialized by Java, in base64.
    pub accumulator_results: BTreeMap<String, String>,
    pub net_runtime: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_cause: Option<SerializedThrowable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ApplicationStatus {
    Succeeded,
    Failed,
    Canceled,
    Unknown,
}

/// `GET /jobs/:jobid/accumulators`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobAccumulators {
    pub job_accumulators: Vec<serde_json::Value>,
    pub user_task_accumulators: Vec<Accumulator>,
    pub serialized_user_task_accumulators: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accumulator {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

/// `GET` and `PUT /jobs/:jobid/resource-requirements`: by vertex id.
pub type ResourceRequirements = BTreeMap<String, VertexRequirements>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexRequirements {
    pub parallelism: ParallelismBounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParallelismBounds {
    /// With fewer subtasks the job does not run.
    pub lower_bound: i64,
    /// As many as it gets slots for, but no more. -1: as it was.
    pub upper_bound: i64,
}
