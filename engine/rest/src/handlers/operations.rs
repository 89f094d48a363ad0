//! Savepoints, checkpoints on request, stops, and the disposal of savepoints.

use std::future::Future;

use axum::body::Bytes;
use axum::http::StatusCode;
use millrace_core::{CheckpointId, Error, JobId, options};
use millrace_rest_types::operations::{
    CheckpointInfo, CheckpointTrigger, OperationInfo, OperationResult, SavepointDisposal, SavepointInfo,
    SavepointTrigger, StopWithSavepoint, Triggered,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::answer::{Answer, Failure, Result, accepted, ok};
use crate::handlers::{Asked, State};
use crate::java;
use crate::operations::Progress;
use crate::parameters::{body, parse_id};
use crate::state::blocking;

/// The id that a client has given, or a new one.
fn trigger_id(given: Option<String>) -> Result<String> {
    match given {
        None => Ok(Uuid::new_v4().simple().to_string()),
        Some(text) => {
            parse_id(&text).ok_or_else(|| Failure::bad_request(format!("'{text}' is not a trigger id")))
        }
    }
}

pub async fn savepoint(state: State, asked: Asked, bytes: Bytes) -> Answer {
    let id = asked.job()?;
    let wanted: SavepointTrigger = body("SavepointTriggerRequestBody", &bytes)?;
    let trigger = trigger_id(wanted.trigger_id)?;
    // With the job's end nothing must become visible after the savepoint: that is a stop.
    let end = wanted.cancel_job.then_some(false);
    begin_savepoint(
        &state,
        id,
        &trigger,
        wanted.target_directory,
        end,
        "target-directory",
    )
}

pub async fn stop(state: State, asked: Asked, bytes: Bytes) -> Answer {
    let id = asked.job()?;
    let wanted: StopWithSavepoint = body("StopWithSavepointRequestBody", &bytes)?;
    let trigger = trigger_id(wanted.trigger_id)?;
    begin_savepoint(
        &state,
        id,
        &trigger,
        wanted.target_directory,
        Some(wanted.drain),
        "targetDirectory",
    )
}

/// `end`: the job ends with it, drained or not.
fn begin_savepoint(
    state: &State,
    id: JobId,
    trigger: &str,
    target: Option<String>,
    end: Option<bool>,
    property: &str,
) -> Answer {
    let configured = state.config().get_optional(&options::SAVEPOINT_DIRECTORY)?;
    let of_the_job = state.dispatcher().job(id);
    let of_the_job = of_the_job.and_then(|job| {
        job.config
            .raw(options::SAVEPOINT_DIRECTORY.key)
            .map(str::to_owned)
    });
    if target.is_none() && configured.is_none() && of_the_job.is_none() {
        return Err(Failure::bad_request(format!(
            "Config key [{}] is not set. Property [{property}] must be provided.",
            options::SAVEPOINT_DIRECTORY.key
        )));
    }
    let asked = || -> millrace_core::Result<_> {
        let control = state.control(id)?;
        let target = control.look(|job| state.dispatcher().savepoint_target(job, target.as_deref()))?;
        Ok(match end {
            None => control.savepoint(target),
            Some(drain) => control.stop_with_savepoint(target, drain),
        })
    };
    state
        .savepoints
        .begin((Some(id), trigger.to_owned()), || answered(id, asked()));
    accepted(&Triggered {
        request_id: trigger.to_owned(),
    })
}

/// What a job answers. One that ends meanwhile does not.
fn answered<T: Send + 'static>(
    id: JobId,
    asked: millrace_core::Result<oneshot::Receiver<millrace_core::Result<T>>>,
) -> impl Future<Output = millrace_core::Result<T>> + Send + 'static {
    async move {
        match asked?.await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Error::external("the job has ended before the operation").with_detail(id.to_string()))
            }
        }
    }
}

pub async fn savepoint_status(state: State, asked: Asked) -> Answer {
    let (job, trigger) = (asked.job()?, asked.id("triggerid")?);
    let progress = state.savepoints.progress(&(Some(job), trigger.clone()));
    match progress.ok_or_else(|| no_operation("savepoint", &trigger, job))? {
        Progress::InProgress => ok(&OperationResult::<SavepointInfo>::in_progress()),
        Progress::Ended(result) => ok(&OperationResult::completed(match result.as_ref() {
            Ok(location) => SavepointInfo {
                location: Some(location.clone()),
                failure_cause: None,
            },
            Err(error) => SavepointInfo {
                location: None,
                failure_cause: Some(java::throwable(&error.to_string())),
            },
        })),
    }
}

fn no_operation(kind: &str, trigger: &str, job: JobId) -> Failure {
    Failure::with(
        StatusCode::NOT_FOUND,
        format!("There is no {kind} operation with triggerId={trigger} for job {job}."),
    )
}

/// Every type is the same here: a checkpoint names all files that it needs, and shares those of earlier ones.
pub async fn checkpoint(state: State, asked: Asked, bytes: Bytes) -> Answer {
    let id = asked.job()?;
    let wanted: CheckpointTrigger = body("CheckpointTriggerRequestBody", &bytes)?;
    let trigger = trigger_id(wanted.trigger_id)?;
    state.checkpoints.begin((Some(id), trigger.clone()), || {
        answered(id, state.control(id).map(|control| control.checkpoint()))
    });
    accepted(&Triggered { request_id: trigger })
}

pub async fn checkpoint_status(state: State, asked: Asked) -> Answer {
    let (job, trigger) = (asked.job()?, asked.id("triggerid")?);
    let progress = state.checkpoints.progress(&(Some(job), trigger.clone()));
    match progress.ok_or_else(|| no_operation("checkpoint", &trigger, job))? {
        Progress::InProgress => ok(&OperationResult::<CheckpointInfo>::in_progress()),
        Progress::Ended(result) => ok(&OperationResult::completed(match result.as_ref() {
            Ok(CheckpointId(id)) => CheckpointInfo {
                checkpoint_id: Some(*id),
                failure_cause: None,
            },
            Err(error) => CheckpointInfo {
                checkpoint_id: None,
                failure_cause: Some(java::throwable(&error.to_string())),
            },
        })),
    }
}

pub async fn dispose(state: State, bytes: Bytes) -> Answer {
    let wanted: SavepointDisposal = body("SavepointDisposalRequest", &bytes)?;
    let path = wanted
        .savepoint_path
        .ok_or_else(|| Failure::bad_request("Field savepoint-path must not be omitted or be null."))?;
    let id = Uuid::new_v4().simple().to_string();
    let dispatcher = state.dispatcher().clone();
    state.disposals.begin((None, id.clone()), || {
        blocking(move || dispatcher.dispose_savepoint(&path))
    });
    ok(&Triggered { request_id: id })
}

/// Of a savepoint, or of a result for later jobs.
pub async fn disposal_status(state: State, asked: Asked) -> Answer {
    let trigger = asked.id("triggerid")?;
    let progress = state.disposals.progress(&(None, trigger.clone()));
    match progress.ok_or_else(|| Failure::not_found(format!("Operation not found under key: {trigger}")))? {
        Progress::InProgress => ok(&OperationResult::<OperationInfo>::in_progress()),
        Progress::Ended(result) => {
            let cause = result.as_ref().as_ref().err();
            ok(&OperationResult::completed(OperationInfo {
                failure_cause: cause.map(|error| java::throwable(&error.to_string())),
            }))
        }
    }
}
