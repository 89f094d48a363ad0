//! Metrics for REST, from whoever counts them.

mod cluster;

pub use cluster::ClusterFigures;

/// Whose metrics are asked for. Ids of jobs and vertices are as REST writes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    JobManager,
    TaskManager {
        id: String,
    },
    /// What the JobManager knows of a job.
    Job {
        job: String,
    },
    /// A task's own metrics, and those of its operators as `operator.metric`.
    Subtask {
        job: String,
        vertex: String,
        subtask: usize,
    },
    /// What the JobManager knows of operators of a vertex, as `operator.metric`.
    JobManagerOperator {
        job: String,
        vertex: String,
    },
}

/// Name and value: numbers as Java writes them.
pub type Sample = (String, String);

/// The metrics of a cluster by scope.
pub trait MetricSource: Send + Sync {
    /// All that there is now, in any order; none where the scope is not known, or its job has ended.
    fn samples(&self, scope: &Scope) -> Vec<Sample>;
}

/// Where nothing is counted.
pub struct NoMetrics;

impl MetricSource for NoMetrics {
    fn samples(&self, _: &Scope) -> Vec<Sample> {
        Vec::new()
    }
}

/// The value of a name, as a number.
pub fn number(samples: &[Sample], name: &str) -> Option<f64> {
    let found = samples.iter().find(|(id, _)| id == name)?;
    found.1.parse().ok()
}
