//! What a person is shown of a job.

use std::sync::Arc;

use millrace_core::{CheckpointId, Configuration, JobId, Result};
use millrace_dataflow::JobGraph;
use millrace_runtime::TaskMetrics;
use millrace_runtime::operators::now_millis;

use crate::history::{CheckpointHistory, ExceptionHistory};
use crate::job::Outcome;
use crate::words;

/// A job as it is now. Cheap to clone but for the histories, which are short.
#[derive(Debug, Clone)]
pub struct JobStatus {
    pub id: JobId,
    pub name: String,
    pub state: State,
    /// When the job was in a state last, in milliseconds since 1970, by Flink's names for the states.
    pub since: Vec<(&'static str, i64)>,
    /// How long it was in each of them before the present one, in milliseconds, by the same names.
    pub times: Vec<(&'static str, i64)>,
    /// The number of this run, over all restarts of the job.
    pub attempt: u64,
    /// Restarts after failures within this process.
    pub restarts: u32,
    /// Times that its subtasks were laid out anew, without a failure.
    pub rescales: u32,
    pub checkpoint: Option<CheckpointStatus>,
    /// Checkpoints that failed or timed out since the job was submitted.
    pub failed_checkpoints: u64,
    pub checkpoints: CheckpointHistory,
    pub exceptions: ExceptionHistory,
    pub config: Arc<Configuration>,
    /// With the present attempt's parallelism.
    pub graph: Arc<JobGraph>,
    /// Least and most subtasks of each vertex of `graph`.
    pub bounds: Vec<Bounds>,
    /// Of the present attempt's subtasks.
    pub tasks: Vec<Arc<TaskMetrics>>,
    /// The same subtasks, vertex by vertex.
    pub executions: Vec<Execution>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Recovering,
    /// Too few slots are free.
    WaitingForResources,
    Running,
    /// The last checkpoint, and then the end.
    Stopping,
    Cancelling,
    Restarting,
    Finished,
    Stopped,
    Cancelled,
    /// Given up by this process, for another to go on with.
    Suspended,
    Failed,
}

impl State {
    /// As Flink's REST API and metrics name it.
    pub fn flink(self) -> &'static str {
        match self {
            State::Created => "INITIALIZING",
            State::Recovering | State::WaitingForResources => "CREATED",
            State::Running | State::Stopping => "RUNNING",
            State::Cancelling => "CANCELLING",
            State::Restarting => "RESTARTING",
            // Flink has no other word for a job that was stopped with a savepoint.
            State::Finished | State::Stopped => "FINISHED",
            State::Cancelled => "CANCELED",
            State::Suspended => "SUSPENDED",
            State::Failed => "FAILED",
        }
    }

    /// Nothing follows, here or elsewhere.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            State::Finished | State::Stopped | State::Cancelled | State::Failed
        )
    }
}

/// One subtask of an attempt.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Index in `JobStatus::graph`.
    pub vertex: usize,
    pub subtask: usize,
    /// Of the job in this process, from 0.
    pub attempt: u64,
    /// The TaskManager's id.
    pub task_manager: String,
    /// Host and port for data, where it has one.
    pub endpoint: Option<String>,
    pub state: ExecutionState,
    /// When it came into each state, in milliseconds since 1970; 0: never.
    pub since: [i64; ExecutionState::ALL.len()],
}

/// Flink's states of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionState {
    Created,
    Scheduled,
    Deploying,
    Initializing,
    Running,
    Finished,
    Canceling,
    Canceled,
    Failed,
}

impl ExecutionState {
    pub const ALL: [ExecutionState; 9] = [
        ExecutionState::Created,
        ExecutionState::Scheduled,
        ExecutionState::Deploying,
        ExecutionState::Initializing,
        ExecutionState::Running,
        ExecutionState::Finished,
        ExecutionState::Canceling,
        ExecutionState::Canceled,
        ExecutionState::Failed,
    ];

    pub fn flink(self) -> &'static str {
        match self {
            ExecutionState::Created => "CREATED",
            ExecutionState::Scheduled => "SCHEDULED",
            ExecutionState::Deploying => "DEPLOYING",
            ExecutionState::Initializing => "INITIALIZING",
            ExecutionState::Running => "RUNNING",
            ExecutionState::Finished => "FINISHED",
            ExecutionState::Canceling => "CANCELING",
            ExecutionState::Canceled => "CANCELED",
            ExecutionState::Failed => "FAILED",
        }
    }

    fn is_over(self) -> bool {
        matches!(
            self,
            ExecutionState::Finished | ExecutionState::Canceled | ExecutionState::Failed
        )
    }
}

impl Execution {
    /// Says once more what it is in; one that is over stays so.
    pub fn enter(&mut self, state: ExecutionState) {
        if !self.state.is_over() {
            self.state = state;
            self.since[state as usize] = now_millis();
        }
    }
}

/// How many subtasks a vertex may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub least: usize,
    pub most: usize,
}

/// The newest complete checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStatus {
    pub id: CheckpointId,
    /// From the trigger to the head swap.
    pub duration: std::time::Duration,
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
    /// An error: an option of its histories is wrong.
    pub fn new(id: JobId, name: &str, config: Arc<Configuration>, graph: Arc<JobGraph>) -> Result<Self> {
        Ok(JobStatus {
            id,
            name: name.to_owned(),
            state: State::Created,
            since: vec![(State::Created.flink(), now_millis())],
            times: Vec::new(),
            attempt: 0,
            restarts: 0,
            rescales: 0,
            checkpoint: None,
            failed_checkpoints: 0,
            checkpoints: CheckpointHistory::from_config(&config)?,
            exceptions: ExceptionHistory::from_config(&config)?,
            config,
            graph,
            bounds: Vec::new(),
            tasks: Vec::new(),
            executions: Vec::new(),
        })
    }

    /// Comes into a state; says so in Flink's words where those change.
    pub fn enter(&mut self, state: State) {
        let before = self.state.flink();
        self.state = state;
        let now = state.flink();
        if before == now {
            return;
        }
        let at = now_millis();
        let passed = at - self.since(before).unwrap_or(at);
        match self.times.iter_mut().find(|(name, _)| *name == before) {
            Some((_, time)) => *time += passed,
            None => self.times.push((before, passed)),
        }
        self.since.retain(|(name, _)| *name != now);
        self.since.push((now, at));
        words::job_switched(&self.name, self.id, before, now);
    }

    /// A subtask comes into a state; says so in Flink's words where it is another one.
    pub fn enter_execution(&mut self, task: usize, state: ExecutionState) {
        let Some(execution) = self.executions.get_mut(task) else {
            return;
        };
        let before = execution.state;
        execution.enter(state);
        if execution.state == before {
            return;
        }
        let vertex = &self.graph.vertices[execution.vertex];
        let Execution { subtask, attempt, .. } = *execution;
        words::execution_switched(
            self.id,
            &format!("{} ({}/{})", vertex.name, subtask + 1, vertex.parallelism),
            &format!("{}_{}_{subtask}_{attempt}", self.id, vertex.id()),
            before.flink(),
            state.flink(),
        );
    }

    /// Comes into the state that it ended with.
    pub fn enter_outcome(&mut self, outcome: &Result<Outcome>) {
        self.enter(match outcome {
            Ok(Outcome::Finished) => State::Finished,
            Ok(Outcome::Stopped) => State::Stopped,
            Ok(Outcome::Cancelled) => State::Cancelled,
            Ok(Outcome::Suspended) => State::Suspended,
            Err(_) => State::Failed,
        });
    }

    /// When the job was in this state last, in milliseconds since 1970.
    pub fn since(&self, flink: &str) -> Option<i64> {
        let mut found = self.since.iter().filter(|(name, _)| *name == flink);
        found.next().map(|(_, millis)| *millis)
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
