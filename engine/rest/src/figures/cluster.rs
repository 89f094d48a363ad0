//! What a JobManager counts itself, and what TaskManagers have told it.

use std::sync::Arc;

use millrace_cluster::Dispatcher;
use millrace_cluster::metrics::{JobFigures, JobManagerMetrics, Metric, of_subtask};
use millrace_cluster::process::Role;
use millrace_runtime::operators::now_millis;
use tokio::sync::watch;

use super::{MetricSource, Sample, Scope};
use crate::parameters::job_id;

/// The metrics of a cluster whose JobManager this is.
pub struct ClusterFigures {
    pub own: Arc<JobManagerMetrics>,
    /// Whether it leads, and what.
    pub role: watch::Receiver<Role>,
}

impl MetricSource for ClusterFigures {
    fn samples(&self, scope: &Scope) -> Vec<Sample> {
        let role = self.role.borrow().clone();
        if *scope == Scope::JobManager {
            return samples(self.own.own(&role));
        }
        let Role::Leader(dispatcher) = role else {
            return Vec::new();
        };
        match scope {
            Scope::JobManager | Scope::JobManagerOperator { .. } => Vec::new(),
            Scope::TaskManager { id } => match dispatcher.resources().gateway(id) {
                Some(gateway) => samples(gateway.process_metrics().to_vec()),
                None => Vec::new(),
            },
            Scope::Job { job } => match job_id(job).and_then(|id| dispatcher.job(id)) {
                Some(status) if !status.state.is_terminal() => {
                    samples(JobFigures::from(&*status).metrics(self.own.status, now_millis()))
                }
                _ => Vec::new(),
            },
            Scope::Subtask { job, vertex, subtask } => of_a_subtask(&dispatcher, job, vertex, *subtask),
        }
    }
}

fn samples(metrics: Vec<Metric>) -> Vec<Sample> {
    let flat = metrics.into_iter().flat_map(Metric::flat);
    flat.map(|metric| (metric.id(), metric.value.to_string()))
        .collect()
}

fn of_a_subtask(dispatcher: &Dispatcher, job: &str, vertex: &str, subtask: usize) -> Vec<Sample> {
    let Some(status) = job_id(job).and_then(|id| dispatcher.job(id)) else {
        return Vec::new();
    };
    let vertices = &status.graph.vertices;
    let Some(vertex) = vertices.iter().position(|v| v.id().to_string() == vertex) else {
        return Vec::new();
    };
    let executions = &status.executions;
    let place = executions
        .iter()
        .position(|e| e.vertex == vertex && e.subtask == subtask);
    // Between two attempts executions are known and no figures.
    let Some(metrics) = place.and_then(|place| status.tasks.get(place)) else {
        return Vec::new();
    };
    let all = of_subtask(metrics, now_millis()).into_iter();
    all.map(|(id, metric)| (id, metric.value.to_string())).collect()
}
