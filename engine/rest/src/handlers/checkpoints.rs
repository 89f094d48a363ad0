//! Statistics of checkpoints.

use std::sync::Arc;

use axum::http::StatusCode;
use millrace_cluster::history::CheckpointRecord;
use millrace_cluster::status::JobStatus as Known;

use crate::answer::{Answer, Failure, Result, ok};
use crate::handlers::{Asked, State, now};
use crate::view::checkpoints;

pub async fn all(state: State, asked: Asked) -> Answer {
    let job = state.job(asked.job()?)?;
    ok(&checkpoints::all(&job.checkpoints, now()))
}

pub async fn config(state: State, asked: Asked) -> Answer {
    ok(&checkpoints::config(&state.job(asked.job()?)?.config)?)
}

/// The job of a request, and a checkpoint of it that is remembered.
fn remembered(state: &State, asked: &Asked) -> Result<(Arc<Known>, Arc<CheckpointRecord>)> {
    let id = asked.number("checkpointid")?;
    let job = state.job(asked.job()?)?;
    let history = &job.checkpoints;
    let latest = [
        &history.latest_completed,
        &history.latest_savepoint,
        &history.latest_failed,
    ];
    let known = history.recent.iter().chain(latest.into_iter().flatten());
    let found = known.into_iter().find(|record| record.id.0 == id).cloned();
    match found {
        Some(record) => Ok((job, record)),
        None => Err(Failure::with(
            StatusCode::NOT_FOUND,
            format!("Could not find checkpointing statistics for checkpoint {id}."),
        )),
    }
}

fn vertices(job: &Known) -> Vec<String> {
    job.graph
        .vertices
        .iter()
        .map(|vertex| vertex.id().to_string())
        .collect()
}

pub async fn details(state: State, asked: Asked) -> Answer {
    let (job, record) = remembered(&state, &asked)?;
    ok(&checkpoints::checkpoint(&record, &vertices(&job), now()))
}

pub async fn vertex(state: State, asked: Asked) -> Answer {
    let vertex = asked.id("vertexid")?;
    let (job, record) = remembered(&state, &asked)?;
    let place = vertices(&job).iter().position(|id| *id == vertex);
    let details = place.and_then(|place| checkpoints::vertex(&record, place, now()));
    let details = details.ok_or_else(|| {
        Failure::not_found(format!(
            "There is no checkpoint statistics for task {vertex} in checkpoint {}.",
            record.id
        ))
    })?;
    ok(&details)
}
