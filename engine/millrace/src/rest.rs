//! The REST server of a JobManager.

use std::sync::Arc;

use millrace_cluster::JobSpec;
use millrace_cluster::process::JobManager;
use millrace_core::{Configuration, JobId, Result};
use millrace_rest::figures::ClusterFigures;
use millrace_rest::{Parts, Planner, RestServer};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::{cluster, plan};

struct Sql;

impl Planner for Sql {
    fn plan(&self, sql: &str, config: &Configuration, id: Option<JobId>) -> Result<Vec<JobSpec>> {
        let jobs = plan::jobs(sql, config, |_| Ok(()))?.into_iter();
        jobs.map(|job| {
            let id = id.unwrap_or_else(|| JobId::from_name(&job.name));
            cluster::submission(job, id)
        })
        .collect()
    }
}

/// Starts it. `shutdown` is notified when a client asks for the end of the cluster.
pub fn start(
    manager: &JobManager,
    config: &Configuration,
    runtime: &Handle,
    shutdown: Arc<Notify>,
) -> Result<RestServer> {
    let parts = Parts {
        config: config.clone(),
        role: manager.role(),
        leader: manager.leader(),
        planner: Arc::new(Sql),
        metrics: Arc::new(ClusterFigures {
            own: manager.metrics.clone(),
            role: manager.role(),
        }),
        shutdown,
    };
    RestServer::start(parts, runtime)
}
