//! The REST server of a JobManager.

use std::sync::Arc;

use millrace_cluster::{Dispatcher, JobSpec};
use millrace_core::{Configuration, JobId, Result};
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

/// Starts it; whom it gives is notified when a client asks for the end of the cluster.
pub fn start(dispatcher: &Dispatcher, runtime: &Handle) -> Result<Arc<Notify>> {
    let shutdown = Arc::new(Notify::new());
    RestServer::start(
        Parts {
            dispatcher: dispatcher.clone(),
            planner: Arc::new(Sql),
            metrics: Arc::new(millrace_rest::metrics::NoMetrics),
            shutdown: shutdown.clone(),
        },
        runtime,
    )?;
    Ok(shutdown)
}
