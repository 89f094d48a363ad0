//! The cluster as a whole.

use axum::http::Uri;
use millrace_rest_types::Empty;
use millrace_rest_types::cluster::{DashboardConfiguration, DataSets, Overview};
use millrace_rest_types::operations::Triggered;
use uuid::Uuid;

use crate::answer::{Answer, Failure, accepted, ok};
use crate::handlers::{Asked, State};
use crate::state::{COMMIT, VERSION};

pub async fn overview(state: State) -> Answer {
    let managers = state.dispatcher().resources().task_managers();
    let blocked: Vec<_> = managers.iter().filter(|manager| manager.is_draining).collect();
    let free = |is_draining: bool| -> usize {
        let counted = managers
            .iter()
            .filter(|manager| manager.is_draining == is_draining);
        counted.map(|manager| manager.free_slots).sum()
    };
    let jobs = state.dispatcher().jobs();
    let count = |names: &[&str]| {
        jobs.iter()
            .filter(|job| names.contains(&job.state.flink()))
            .count()
    };
    let ended = ["FINISHED", "CANCELED", "FAILED"];
    ok(&Overview {
        taskmanagers: managers.len(),
        slots_total: managers.iter().map(|manager| manager.capacity.slots).sum(),
        slots_available: free(false),
        taskmanagers_blocked: Some(blocked.len()).filter(|count| *count > 0),
        slots_free_and_blocked: Some(free(true)).filter(|count| *count > 0),
        jobs_running: jobs.len() - count(&ended),
        jobs_finished: count(&["FINISHED"]),
        jobs_cancelled: count(&["CANCELED"]),
        jobs_failed: count(&["FAILED"]),
        flink_version: VERSION.to_owned(),
        flink_commit: COMMIT.to_owned(),
    })
}

pub async fn dashboard_configuration(state: State) -> Answer {
    ok(&DashboardConfiguration {
        refresh_interval: state.settings.refresh_interval.as_millis() as u64,
        // Times are told in UTC, which the dashboard shows as the reader's.
        timezone_name: "Coordinated Universal Time".to_owned(),
        timezone_offset: 0,
        flink_version: VERSION.to_owned(),
        flink_revision: COMMIT.to_owned(),
        features: state.settings.features,
    })
}

/// Ends the cluster.
pub async fn shut_down(state: State) -> Answer {
    tracing::info!("a client asks for the end of the cluster");
    state.parts.shutdown.notify_one();
    ok(&Empty {})
}

/// This engine keeps no results for later jobs.
pub async fn data_sets() -> Answer {
    ok(&DataSets::default())
}

/// What is not there is deleted.
pub async fn delete_data_set(state: State, asked: Asked) -> Answer {
    asked.id("datasetid")?;
    let id = Uuid::new_v4().simple().to_string();
    state.disposals.begin((None, id.clone()), || async { Ok(()) });
    accepted(&Triggered { request_id: id })
}

/// A method that a path does not have.
pub async fn no_such_method(uri: Uri) -> Failure {
    Failure::no_such_path(format!("Not found: {}", uri.path()))
}
