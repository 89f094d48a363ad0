//! What processes, jobs, subtasks and operators show of themselves, under Flink's names. Nothing is registered: each
//! list is made of live figures when somebody asks.
//!
//! Prometheus and REST read the same lists, each with its own spelling of a name (`names`).
//!
//! Layout: `names` spellings, `task` subtasks and their operators, `job` a job at its JobManager, `process` memory, CPU
//! and threads of a process, `job_manager` and `task_manager` all that a process shows, `wire` metrics as bytes.

mod job;
mod job_manager;
mod names;
mod process;
mod task;
mod task_manager;
mod wire;

pub use job::{Checkpoints, JobFigures, LastCheckpoint, StatusMetrics};
pub use job_manager::JobManagerMetrics;
pub use millrace_connector_api::metrics::{Kind, Metric, Statistics, Value};
pub use names::{LabelFilter, operator_id, prometheus_name, replace_invalid};
pub use process::{Allocated, Allocator, Process, memory_limit, set_allocator};
pub use task::{of_subtask, of_task};
pub use task_manager::{Shuffle, TaskManagerMetrics};
pub use wire::{decode, encode};

/// Whose metrics: Flink's scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    JobManager,
    /// A job, at its JobManager.
    JobManagerJob,
    TaskManager,
    Task,
    Operator,
}

impl Scope {
    /// The groups that a name begins with.
    pub fn groups(self) -> &'static str {
        match self {
            Scope::JobManager => "jobmanager",
            Scope::JobManagerJob => "jobmanager.job",
            Scope::TaskManager => "taskmanager",
            Scope::Task => "taskmanager.job.task",
            Scope::Operator => "taskmanager.job.task.operator",
        }
    }
}

/// The metrics of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub scope: Scope,
    /// What tells it from others of its scope, by Flink's names of variables: `host`, `job_id` and so on.
    pub variables: Vec<(&'static str, String)>,
    pub metrics: Vec<Metric>,
}
