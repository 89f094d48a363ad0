//! Jobs.

use axum::body::Bytes;
use axum::http::StatusCode;
use millrace_cluster::status::{Bounds, JobStatus as Known};
use millrace_core::{Configuration, JobId, options};
use millrace_rest_types::cluster::ConfigurationEntry;
use millrace_rest_types::jobs::{
    ApplicationStatus, ExecutionConfig, ExecutionResult, JobAccumulators, JobConfig, JobIdWithStatus, JobIds,
    JobResult, JobStatusInfo, JobsOverview, ParallelismBounds, ResourceRequirements, VertexRequirements,
};
use millrace_rest_types::operations::{ClientHeartbeat, QueueState, QueueStatus};
use millrace_rest_types::plan::PlanInfo;
use millrace_rest_types::{Empty, JobStatus};

use crate::answer::{Answer, Failure, Result, accepted, ok};
use crate::handlers::{Asked, State, now};
use crate::known::{self, job_status};
use crate::parameters::body;
use crate::{java, model, view};
use millrace_core::sensitive::shown;

pub async fn ids(state: State) -> Answer {
    let jobs = state.dispatcher().jobs();
    let id = |job: &std::sync::Arc<Known>| JobIdWithStatus {
        id: job.id.to_string(),
        status: job_status(job.state.flink()),
    };
    ok(&JobIds {
        jobs: jobs.iter().map(id).collect(),
    })
}

pub async fn overview(state: State) -> Answer {
    let now = now();
    let mut jobs: Vec<_> = state
        .dispatcher()
        .jobs()
        .iter()
        .map(|job| view::jobs::overview(&known::job(job, state.parts.metrics.as_ref()), now))
        .collect();
    // The newest first, as Flink has them.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.start_time));
    ok(&JobsOverview { jobs })
}

/// The job of a request.
pub fn shown_job(state: &State, asked: &Asked) -> Result<model::Job> {
    let found = state.job(asked.job()?)?;
    Ok(known::job(&found, state.parts.metrics.as_ref()))
}

pub async fn details(state: State, asked: Asked) -> Answer {
    ok(&view::jobs::details(&shown_job(&state, &asked)?, now()))
}

pub async fn status(state: State, asked: Asked) -> Answer {
    let id = asked.job()?;
    let found = state.dispatcher().job(id);
    let found = found.ok_or_else(|| Failure::unknown_job_inside(&id.to_string()))?;
    ok(&JobStatusInfo {
        status: job_status(found.state.flink()),
    })
}

pub async fn plan(state: State, asked: Asked) -> Answer {
    ok(&PlanInfo {
        plan: view::jobs::plan(&shown_job(&state, &asked)?),
    })
}

pub async fn config(state: State, asked: Asked) -> Answer {
    let job = state.job(asked.job()?)?;
    ok(&JobConfig {
        jid: job.id.to_string(),
        name: job.name.clone(),
        execution_config: Some(ExecutionConfig {
            restart_strategy: view::restart::in_words(&job.config)?,
            job_parallelism: job.config.get(&options::PARALLELISM)? as i64,
            object_reuse_mode: job.config.raw("pipeline.object-reuse") == Some("true"),
            user_config: global_parameters(&job.config),
        }),
    })
}

/// `pipeline.global-job-parameters`: `name:value`, with commas between.
fn global_parameters(config: &Configuration) -> std::collections::BTreeMap<String, String> {
    let given = config.raw("pipeline.global-job-parameters").unwrap_or_default();
    let pairs = given.split(',').filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), shown(name, value.trim()).to_owned()))
        .collect()
}

/// The configuration that the job runs with.
pub async fn job_manager_config(state: State, asked: Asked) -> Answer {
    ok(&entries(&state.job(asked.job()?)?.config))
}

pub fn entries(config: &Configuration) -> Vec<ConfigurationEntry> {
    let entry = |(key, value): (&str, &str)| ConfigurationEntry {
        key: key.to_owned(),
        value: shown(key, value).to_owned(),
    };
    config.iter().map(entry).collect()
}

pub async fn exceptions(state: State, asked: Asked) -> Answer {
    let most = asked
        .query_parsed("maxExceptions")?
        .unwrap_or(view::exceptions::MOST);
    ok(&view::exceptions::all(&state.job(asked.job()?)?.exceptions, most))
}

/// SQL has none.
pub async fn accumulators(state: State, asked: Asked) -> Answer {
    asked.query_parsed::<bool>("includeSerializedValue")?;
    state.job(asked.job()?)?;
    ok(&JobAccumulators::default())
}

pub async fn execution_result(state: State, asked: Asked) -> Answer {
    let id = asked.job()?;
    let job = state.dispatcher().job(id).ok_or_else(|| {
        Failure::with(
            StatusCode::NOT_FOUND,
            format!(
                "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({id})"
            ),
        )
    })?;
    let (queue, result) = match job_status(job.state.flink()) {
        status if status.is_final() => (QueueState::Completed, Some(result(&job, status))),
        _ => (QueueState::InProgress, None),
    };
    ok(&ExecutionResult {
        status: QueueStatus { id: queue },
        job_execution_result: result,
    })
}

fn result(job: &Known, status: JobStatus) -> JobResult {
    let at = |status: JobStatus| job.since(status.name()).unwrap_or(0);
    let cause = job.exceptions.entries.front();
    JobResult {
        id: job.id.to_string(),
        application_status: match status {
            JobStatus::Finished => ApplicationStatus::Succeeded,
            JobStatus::Canceled => ApplicationStatus::Canceled,
            _ => ApplicationStatus::Failed,
        },
        accumulator_results: Default::default(),
        net_runtime: at(status) - at(JobStatus::Initializing),
        failure_cause: match status {
            JobStatus::Failed => {
                let text = cause.map_or("the job failed", |cause| cause.root.text.as_str());
                Some(java::throwable(text))
            }
            _ => None,
        },
    }
}

/// `PATCH /jobs/:jobid?mode=cancel`.
pub async fn terminate(state: State, asked: Asked) -> Answer {
    match asked.query("mode").unwrap_or("cancel") {
        "cancel" => cancel(state, asked).await,
        "stop" => {
            asked.job()?;
            Err(stop_was_removed())
        }
        other => Err(Failure::parameter("query", "mode", other)),
    }
}

/// As the dashboard cancels, too, with GET.
pub async fn cancel(state: State, asked: Asked) -> Answer {
    let id = asked.job()?;
    let Some(job) = state.dispatcher().job(id) else {
        return Err(Failure::with(
            StatusCode::NOT_FOUND,
            format!(
                "Job could not be found.\nCaused by: org.apache.flink.runtime.messages.FlinkJobNotFoundException: \
                 Could not find Flink job ({id})"
            ),
        ));
    };
    match (state.dispatcher().control(id), job_status(job.state.flink())) {
        (Some(control), _) => control.cancel(),
        // What is asked for has been done.
        (None, JobStatus::Canceled) => {}
        (None, status) => {
            return Err(Failure::with(
                StatusCode::CONFLICT,
                format!(
                    "Job cancellation failed because the job has already reached another terminal state ({status})."
                ),
            ));
        }
    }
    accepted(&Empty {})
}

pub async fn stop_without_savepoint(asked: Asked) -> Failure {
    match asked.job() {
        Ok(_) => stop_was_removed(),
        Err(failure) => failure,
    }
}

fn stop_was_removed() -> Failure {
    Failure::with(
        StatusCode::PERMANENT_REDIRECT,
        "The termination mode \"stop\" has been removed. For an ungraceful shutdown, please use \"cancel\" instead. \
         For a graceful shutdown, please use \"jobs/:jobId/stop\" instead.",
    )
}

/// A client that goes away does not end its job: nothing is to be done.
pub async fn client_heartbeat(state: State, asked: Asked, bytes: Bytes) -> Answer {
    body::<ClientHeartbeat>("JobClientHeartbeatRequestBody", &bytes)?;
    state.job(asked.job()?)?;
    accepted(&Empty {})
}

/// Only of a job that runs.
fn running(state: &State, id: JobId) -> Result<std::sync::Arc<Known>> {
    let unknown = || Failure::unknown_job_inside(&id.to_string());
    state.dispatcher().control(id).ok_or_else(unknown)?;
    state.dispatcher().job(id).ok_or_else(unknown)
}

pub async fn requirements(state: State, asked: Asked) -> Answer {
    let job = running(&state, asked.job()?)?;
    let vertices = job.graph.vertices.iter().zip(&job.bounds);
    let requirements: ResourceRequirements = vertices
        .map(|(vertex, bounds)| {
            let parallelism = ParallelismBounds {
                lower_bound: bounds.least as i64,
                upper_bound: bounds.most as i64,
            };
            (vertex.id().to_string(), VertexRequirements { parallelism })
        })
        .collect();
    ok(&requirements)
}

pub async fn set_requirements(state: State, asked: Asked, bytes: Bytes) -> Answer {
    let id = asked.job()?;
    let wanted: ResourceRequirements = body("JobResourceRequirementsBody", &bytes)?;
    if wanted.is_empty() {
        return Err(Failure::bad_request(
            "Request body does not specify resource requirements.",
        ));
    }
    let job = running(&state, id)?;
    let bounds = checked(&job, &wanted)?;
    let control = state.control(id)?;
    match control.set_bounds(bounds).await {
        Ok(Ok(())) => ok(&Empty {}),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Failure::unknown_job_inside(&id.to_string())),
    }
}

/// Every vertex has to be named, with bounds that make sense.
fn checked(job: &Known, wanted: &ResourceRequirements) -> Result<Vec<(usize, Bounds)>> {
    let ids: Vec<String> = job
        .graph
        .vertices
        .iter()
        .map(|vertex| vertex.id().to_string())
        .collect();
    let mut wrong = Vec::new();
    let mut bounds = Vec::new();
    for (id, requirements) in wanted {
        let Some(vertex) = ids.iter().position(|known| known == id) else {
            wrong.push(format!("Job vertex [{id}] was not found in the JobGraph."));
            continue;
        };
        let own = job.bounds.get(vertex);
        let ParallelismBounds {
            lower_bound,
            upper_bound,
        } = requirements.parallelism;
        // -1: as it is.
        let least = if lower_bound == -1 { 1 } else { lower_bound };
        let most = match upper_bound {
            -1 => own.map_or(1, |own| own.most as i64),
            given => given,
        };
        if least < 1 || most < 1 {
            wrong.push(format!(
                "One of the requested bounds [{lower_bound}, {upper_bound}] for job vertex [{id}] must be positive."
            ));
        } else if least > most {
            wrong.push(format!(
                "The requested lower bound [{least}] for job vertex [{id}] is higher than the upper bound [{most}]."
            ));
        } else {
            bounds.push((
                vertex,
                Bounds {
                    least: least as usize,
                    most: most as usize,
                },
            ));
        }
    }
    for id in ids.iter().filter(|id| !wanted.contains_key(*id)) {
        wrong.push(format!(
            "The request is incomplete, missing job vertex [{id}] resource requirements."
        ));
    }
    match wrong.is_empty() {
        true => Ok(bounds),
        false => Err(Failure::bad_request(wrong.join("\n"))),
    }
}

/// Flink has switched it off, in favour of resource requirements.
pub async fn rescaling(asked: Asked) -> Failure {
    match asked.job() {
        Err(failure) => failure,
        Ok(_) => Failure::with(
            StatusCode::SERVICE_UNAVAILABLE,
            "Rescaling is temporarily disabled. See FLINK-12312.",
        ),
    }
}

/// What Flink's own clients send when they submit: graphs of Java objects.
pub async fn submit_java() -> Failure {
    Failure::bad_request(
        "a job graph in Java does not run on this engine\n  hint: upload the job's SQL (POST /jars/upload, then \
         POST /jars/:jarid/run), or run the jar on Apache Flink",
    )
}

/// The same of what is sent to a job's operators.
pub async fn coordinator() -> Failure {
    Failure::with(
        StatusCode::NOT_IMPLEMENTED,
        "operators of this engine take no messages in Java",
    )
}
