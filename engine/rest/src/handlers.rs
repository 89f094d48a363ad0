//! One function a path and method.

pub mod checkpoints;
pub mod cluster;
pub mod jars;
pub mod job_manager;
pub mod jobs;
pub mod metrics;
pub mod operations;
pub mod task_managers;
pub mod vertices;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use millrace_cluster::{Dispatcher, JobControl, JobStatus as Known};
use millrace_core::{Configuration, Error, JobId};

use crate::answer::{Failure, Result};
use crate::{leader, state};

/// What every handler works with: what all requests share, and the jobs of the JobManager that leads.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<state::State>,
    dispatcher: Dispatcher,
}

impl FromRequestParts<Arc<state::State>> for State {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, shared: &Arc<state::State>) -> Result<Self> {
        Ok(State {
            dispatcher: leader::dispatcher(shared)?,
            shared: shared.clone(),
        })
    }
}

impl Deref for State {
    type Target = state::State;

    fn deref(&self) -> &state::State {
        &self.shared
    }
}

impl State {
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    pub fn config(&self) -> &Configuration {
        &self.parts.config
    }

    /// A job that runs or has ended.
    pub fn job(&self, id: JobId) -> Result<Arc<Known>> {
        let found = self.dispatcher.job(id);
        found.ok_or_else(|| Failure::unknown_job(&id.to_string()))
    }

    /// One that can be asked for something.
    pub fn control(&self, id: JobId) -> millrace_core::Result<JobControl> {
        self.dispatcher.control(id).ok_or_else(|| {
            // As Flink's clients know it.
            Error::user(format!(
                "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({id})"
            ))
        })
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    millrace_runtime::operators::now_millis()
}

/// Of a path that Flink has and that says nothing of this engine.
pub fn no_file(path: &str) -> crate::answer::Failure {
    crate::answer::Failure::no_such_path(format!("Unable to load requested file {path}."))
}

pub use crate::parameters::Parameters as Asked;
