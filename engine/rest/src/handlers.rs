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

use std::sync::Arc;

use axum::extract;

use crate::state;

/// What every handler takes.
pub type State = extract::State<Arc<state::State>>;

/// Milliseconds since 1970.
pub fn now() -> i64 {
    millrace_runtime::operators::now_millis()
}

/// Of a path that Flink has and that says nothing of this engine.
pub fn no_file(path: &str) -> crate::answer::Failure {
    crate::answer::Failure::no_such_path(format!("Unable to load requested file {path}."))
}

pub use crate::parameters::Parameters as Asked;
