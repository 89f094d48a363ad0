//! What every handler works with.

use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::process::Role;
use millrace_cluster::{JobSpec, LeaderInfo};
use millrace_core::{CheckpointId, Configuration, Error, JobId, options};
use millrace_rest_types::cluster::Features;
use tokio::sync::{Notify, watch};

use crate::dashboard::Dashboard;
use crate::figures::MetricSource;
use crate::operations::Operations;
use crate::uploads::Uploads;

/// Flink's release whose API this is, and the engine's own.
pub const VERSION: &str = concat!("2.1.1-millrace-", env!("CARGO_PKG_VERSION"));
/// Builds know of no commit: they are the same from the same sources.
pub const COMMIT: &str = concat!("millrace-", env!("CARGO_PKG_VERSION"));

/// From SQL to jobs: what the server cannot do by itself.
pub trait Planner: Send + Sync {
    /// The jobs of a SQL text under a configuration, each with the id if one is given. Blocks while outside systems are
    /// asked.
    fn plan(
        &self,
        sql: &str,
        config: &Configuration,
        id: Option<JobId>,
    ) -> millrace_core::Result<Vec<JobSpec>>;
}

/// The parts of a JobManager that are asked.
#[derive(Clone)]
pub struct Parts {
    /// The cluster's.
    pub config: Configuration,
    /// Whether this JobManager leads, and what it leads.
    pub role: watch::Receiver<Role>,
    /// Who leads, where there is high availability.
    pub leader: Option<watch::Receiver<Option<LeaderInfo>>>,
    pub planner: Arc<dyn Planner>,
    pub metrics: Arc<dyn MetricSource>,
    /// Notified when a client asks for the end of the cluster.
    pub shutdown: Arc<Notify>,
}

/// Shared by all requests.
pub struct State {
    pub parts: Parts,
    pub settings: Settings,
    pub dashboard: Dashboard,
    pub uploads: Uploads,
    /// Savepoints, and stops with one: both are asked for at one path.
    pub savepoints: Operations<String>,
    pub checkpoints: Operations<CheckpointId>,
    pub disposals: Operations<()>,
    /// The address for clients, with the scheme.
    pub address: String,
    /// For requests that go to another JobManager.
    pub passing: reqwest::Client,
}

/// What the configuration says of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    pub features: Features,
    pub refresh_interval: Duration,
    pub max_content: usize,
    pub allowed_origin: String,
}

impl Settings {
    pub fn from_config(config: &Configuration) -> millrace_core::Result<Self> {
        let max_content = config.get(&options::REST_MAX_CONTENT_LENGTH)?;
        Ok(Settings {
            features: Features {
                web_submit: config.get(&options::WEB_SUBMIT)?,
                web_cancel: config.get(&options::WEB_CANCEL)?,
                web_rescale: config.get(&options::WEB_RESCALE)?,
                web_history: false,
            },
            refresh_interval: config.get(&options::WEB_REFRESH_INTERVAL)?,
            max_content: usize::try_from(max_content).unwrap_or(usize::MAX),
            allowed_origin: config.get(&options::WEB_ALLOWED_ORIGIN)?,
        })
    }
}

/// Runs what blocks beside the requests.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> millrace_core::Result<T> + Send + 'static,
) -> millrace_core::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::internal("a thread has ended by a panic")))
}
