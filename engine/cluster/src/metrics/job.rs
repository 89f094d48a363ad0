//! A job, as its JobManager shows it.

use millrace_core::{CheckpointId, Configuration, Error, JobId, Result, options};

use super::{Group, Metric, Scope};
use crate::history::{CheckpointHistory, CheckpointOutcome};
use crate::status::{ExecutionState, JobStatus};

/// What is known of a job at one moment. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFigures {
    pub id: JobId,
    pub name: String,
    /// Flink's name for its state.
    pub state: &'static str,
    /// When it came into that state.
    pub since: i64,
    /// When it came into RUNNING last; none: never.
    pub running_since: Option<i64>,
    /// How long it was in each state before the present one, by Flink's names, in milliseconds.
    pub times: Vec<(&'static str, i64)>,
    /// Since when some subtask is being deployed, or opens what it needs, and is not there yet.
    pub deploying_since: Option<i64>,
    pub initializing_since: Option<i64>,
    /// After failures.
    pub restarts: u64,
    /// Without.
    pub rescales: u64,
    pub checkpoints: Checkpoints,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoints {
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
    pub last: Option<LastCheckpoint>,
    /// When a run was restored from one last.
    pub restored_at: Option<i64>,
}

/// The newest complete checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct LastCheckpoint {
    pub id: CheckpointId,
    /// From the trigger to its completion.
    pub duration_millis: i64,
    /// Of all files that it needs.
    pub bytes: u64,
    /// Of those that were written for it.
    pub written: u64,
    /// Its folder, where it has one.
    pub path: Option<String>,
    pub completed_at: i64,
}

/// Which forms the metrics of a job's states have: Flink's `metrics.job.status.enable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusMetrics {
    /// `runningState`: whether it is so now.
    pub state: bool,
    /// `runningTime`: for how long it has been so.
    pub current_time: bool,
    /// `runningTimeTotal`: for how long it has been so in all.
    pub total_time: bool,
}

impl Default for StatusMetrics {
    fn default() -> Self {
        StatusMetrics {
            state: false,
            current_time: true,
            total_time: false,
        }
    }
}

impl StatusMetrics {
    pub fn from_config(config: &Configuration) -> Result<Self> {
        let given = config.get(&options::JOB_STATUS_METRICS)?;
        let mut chosen = StatusMetrics {
            state: false,
            current_time: false,
            total_time: false,
        };
        for word in given
            .split([',', ';'])
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word.to_ascii_uppercase().as_str() {
                "STATE" => chosen.state = true,
                "CURRENT_TIME" => chosen.current_time = true,
                "TOTAL_TIME" => chosen.total_time = true,
                _ => {
                    return Err(Error::user(format!(
                        "{} has a wrong value",
                        options::JOB_STATUS_METRICS.key
                    ))
                    .with_detail(word.to_owned())
                    .with_hint("it takes STATE, CURRENT_TIME and TOTAL_TIME, divided by commas"));
                }
            }
        }
        Ok(chosen)
    }
}

/// Flink's states of which there are metrics, with what their names begin with.
const STATES: [(&str, &str); 5] = [
    ("CREATED", "created"),
    ("RUNNING", "running"),
    ("FAILING", "failing"),
    ("CANCELLING", "cancelling"),
    ("RESTARTING", "restarting"),
];

impl From<&JobStatus> for JobFigures {
    fn from(status: &JobStatus) -> Self {
        let state = status.state.flink();
        let earliest = |wanted: ExecutionState| {
            let executions = status.executions.iter().filter(|e| e.state == wanted);
            executions.map(|e| e.since[wanted as usize]).min()
        };
        JobFigures {
            id: status.id,
            name: status.name.clone(),
            state,
            since: status.since(state).unwrap_or_default(),
            running_since: status.since("RUNNING"),
            times: status.times.clone(),
            deploying_since: earliest(ExecutionState::Deploying),
            initializing_since: earliest(ExecutionState::Initializing),
            restarts: u64::from(status.restarts),
            rescales: u64::from(status.rescales),
            checkpoints: Checkpoints::from(&status.checkpoints),
        }
    }
}

impl From<&CheckpointHistory> for Checkpoints {
    fn from(history: &CheckpointHistory) -> Self {
        Checkpoints {
            in_progress: history.in_progress() as u64,
            completed: history.completed,
            failed: history.failed,
            last: history.latest_completed.as_ref().map(|last| LastCheckpoint {
                id: last.id,
                duration_millis: last.duration.as_millis() as i64,
                bytes: last.bytes,
                written: last.written,
                path: match &last.outcome {
                    CheckpointOutcome::Completed { path } => path.clone(),
                    _ => None,
                },
                completed_at: last.triggered + last.duration.as_millis() as i64,
            }),
            restored_at: history.latest_restored.as_ref().map(|restored| restored.at),
        }
    }
}

impl JobFigures {
    pub fn metrics(&self, status: StatusMetrics, now_millis: i64) -> Vec<Metric> {
        let mut metrics = self.uptime(now_millis);
        metrics.extend(self.states(status, now_millis));
        let restarts = self.restarts + self.rescales;
        metrics.push(Metric::gauge("numRestarts", restarts));
        metrics.push(Metric::gauge("fullRestarts", restarts));
        metrics.push(Metric::gauge("numRescales", self.rescales));
        metrics.extend(self.checkpoints.metrics());
        metrics
    }

    /// -1 where there is none: the job is over.
    fn uptime(&self, now_millis: i64) -> Vec<Metric> {
        let is_over = matches!(self.state, "FINISHED" | "CANCELED" | "FAILED");
        let (up, down) = match (self.state, self.running_since) {
            _ if is_over => (-1, -1),
            ("RUNNING", Some(since)) => (now_millis - since, 0),
            (_, Some(since)) => (0, now_millis - since),
            (_, None) => (0, 0),
        };
        vec![Metric::gauge("uptime", up), Metric::gauge("downtime", down)]
    }

    fn states(&self, status: StatusMetrics, now_millis: i64) -> Vec<Metric> {
        let mut known: Vec<(&str, Option<i64>, i64)> = STATES
            .iter()
            .map(|(state, name)| {
                let since = (self.state == *state).then_some(self.since);
                (*name, since, self.time_in(state))
            })
            .collect();
        for (name, since) in [
            ("deploying", self.deploying_since),
            ("initializing", self.initializing_since),
        ] {
            let is_so = since.filter(|_| self.state == "RUNNING");
            known.push((name, is_so, self.time_in(name)));
        }
        let mut metrics = Vec::new();
        for (name, since, before) in known {
            let current = since.map_or(0, |since| (now_millis - since).max(0));
            if status.state {
                metrics.push(Metric::gauge(format!("{name}State"), i64::from(since.is_some())));
            }
            if status.current_time {
                metrics.push(Metric::gauge(format!("{name}Time"), current));
            }
            if status.total_time {
                metrics.push(Metric::gauge(format!("{name}TimeTotal"), before + current));
            }
        }
        metrics
    }

    /// Before the present one.
    fn time_in(&self, state: &str) -> i64 {
        let times = self.times.iter().filter(|(name, _)| *name == state);
        times.map(|(_, millis)| millis).sum()
    }

    pub(super) fn group(
        &self,
        process: &[(&'static str, String)],
        status: StatusMetrics,
        now_millis: i64,
    ) -> Group {
        let mut variables = process.to_vec();
        variables.extend([("job_id", self.id.to_string()), ("job_name", self.name.clone())]);
        Group {
            scope: Scope::JobManagerJob,
            variables,
            metrics: self.metrics(status, now_millis),
        }
    }
}

impl Checkpoints {
    /// -1 where there was none, as in Flink; its path is empty then.
    fn metrics(&self) -> Vec<Metric> {
        let last = self.last.as_ref();
        let number = |of: &dyn Fn(&LastCheckpoint) -> i64| last.map_or(-1, of);
        vec![
            Metric::gauge("numberOfInProgressCheckpoints", self.in_progress),
            Metric::gauge("numberOfCompletedCheckpoints", self.completed),
            Metric::gauge("numberOfFailedCheckpoints", self.failed),
            Metric::gauge(
                "totalNumberOfCheckpoints",
                self.in_progress + self.completed + self.failed,
            ),
            Metric::gauge("lastCompletedCheckpointId", number(&|last| last.id.0 as i64)),
            Metric::gauge("lastCheckpointDuration", number(&|last| last.duration_millis)),
            Metric::gauge("lastCheckpointSize", number(&|last| last.written as i64)),
            Metric::gauge("lastCheckpointFullSize", number(&|last| last.bytes as i64)),
            Metric::gauge(
                "lastCheckpointCompletedTimestamp",
                number(&|last| last.completed_at),
            ),
            Metric::gauge("lastCheckpointRestoreTimestamp", self.restored_at.unwrap_or(-1)),
            Metric::gauge(
                "lastCheckpointExternalPath",
                last.and_then(|last| last.path.clone()).unwrap_or_default(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> JobFigures {
        JobFigures {
            id: JobId([1; 16]),
            name: "orders".to_owned(),
            state: "RUNNING",
            since: 1_000,
            running_since: Some(1_000),
            times: vec![("RUNNING", 500), ("RESTARTING", 200)],
            deploying_since: None,
            initializing_since: Some(1_100),
            restarts: 2,
            rescales: 1,
            checkpoints: Checkpoints::default(),
        }
    }

    fn value(metrics: &[Metric], name: &str) -> Option<f64> {
        metrics.iter().find(|m| m.name == name).map(|m| m.value.number())
    }

    #[test]
    fn a_running_job_is_up_for_as_long_as_it_runs() {
        let metrics = figures().metrics(StatusMetrics::default(), 1_250);
        assert_eq!(value(&metrics, "uptime"), Some(250.0));
        assert_eq!(value(&metrics, "downtime"), Some(0.0));
        assert_eq!(value(&metrics, "runningTime"), Some(250.0));
        assert_eq!(value(&metrics, "initializingTime"), Some(150.0));
        assert_eq!(value(&metrics, "restartingTime"), Some(0.0));
        assert_eq!(value(&metrics, "numRestarts"), Some(3.0));
        assert_eq!(value(&metrics, "lastCompletedCheckpointId"), Some(-1.0));
        assert_eq!(value(&metrics, "runningState"), None);
    }

    #[test]
    fn a_restarting_job_is_down_since_it_last_began_to_run() {
        let restarting = JobFigures {
            state: "RESTARTING",
            since: 1_200,
            ..figures()
        };
        let all = StatusMetrics {
            state: true,
            current_time: true,
            total_time: true,
        };
        let metrics = restarting.metrics(all, 1_300);
        assert_eq!(value(&metrics, "uptime"), Some(0.0));
        assert_eq!(value(&metrics, "downtime"), Some(300.0));
        assert_eq!(value(&metrics, "restartingTime"), Some(100.0));
        assert_eq!(value(&metrics, "restartingTimeTotal"), Some(300.0));
        assert_eq!(value(&metrics, "runningTimeTotal"), Some(500.0));
        assert_eq!(value(&metrics, "restartingState"), Some(1.0));
        assert_eq!(value(&metrics, "runningState"), Some(0.0));
    }

    #[test]
    fn a_wrong_form_of_state_metrics_is_refused() {
        let mut config = Configuration::default();
        assert_eq!(
            StatusMetrics::from_config(&config).unwrap(),
            StatusMetrics::default()
        );
        config.set(options::JOB_STATUS_METRICS.key, "STATE, total_time");
        assert!(StatusMetrics::from_config(&config).unwrap().total_time);
        config.set(options::JOB_STATUS_METRICS.key, "SOMETIMES");
        assert!(StatusMetrics::from_config(&config).is_err());
    }
}
