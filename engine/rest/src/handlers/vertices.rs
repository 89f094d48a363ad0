//! Vertices of a job and their subtasks.

use axum::http::StatusCode;
use millrace_rest_types::metrics::Metric;
use millrace_rest_types::vertices::{FlameGraph, VertexAccumulators};

use crate::answer::{Answer, Failure, Result, ok};
use crate::figures::{Scope, number};
use crate::handlers::jobs::shown_job;
use crate::handlers::{Asked, State, now};
use crate::model::{Job, Subtask, Vertex};
use crate::view::pressure::{self, Times};
use crate::view::subtasks;

/// Flame graphs are disabled.
const NO_FLAME_GRAPHS: i64 = -2;

/// The vertex of a request; where there is none, what is told depends on the path.
fn vertex<'a>(job: &'a Job, asked: &Asked, missing: fn(&str) -> Failure) -> Result<&'a Vertex> {
    let id = asked.id("vertexid")?;
    job.vertex(&id).ok_or_else(|| missing(&id))
}

fn not_found(id: &str) -> Failure {
    Failure::not_found(format!("JobVertex {id} not found"))
}

fn not_there(id: &str) -> Failure {
    Failure::unknown_vertex(id)
}

pub async fn details(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    ok(&subtasks::details(vertex(&job, &asked, not_found)?, now()))
}

pub async fn times(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    ok(&subtasks::times(vertex(&job, &asked, not_there)?, now()))
}

pub async fn task_managers(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    ok(&subtasks::task_managers(vertex(&job, &asked, not_found)?, now()))
}

pub async fn accumulators(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    ok(&VertexAccumulators {
        id: vertex(&job, &asked, not_there)?.id.clone(),
        user_accumulators: Vec::new(),
    })
}

pub async fn subtasks_accumulators(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    ok(&subtasks::all_accumulators(vertex(&job, &asked, not_there)?))
}

/// The subtask of a request, with its place.
fn subtask<'a>(job: &'a Job, asked: &Asked) -> Result<(&'a Vertex, usize, &'a Subtask)> {
    let vertex = vertex(job, asked, not_there)?;
    let index = asked.number("subtaskindex")?;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let found = vertex.subtasks.get(index).ok_or_else(|| {
        Failure::with(
            StatusCode::NOT_FOUND,
            format!("Invalid subtask index for vertex {}", vertex.id),
        )
    })?;
    Ok((vertex, index, found))
}

/// The same of an attempt: the present one is the only one that is known.
fn attempt<'a>(job: &'a Job, asked: &Asked) -> Result<(&'a Vertex, usize, &'a Subtask)> {
    let number = asked.number("attempt")?;
    let found = subtask(job, asked)?;
    match found.2.attempt == number {
        true => Ok(found),
        false => Err(Failure::with(
            StatusCode::NOT_FOUND,
            format!("Invalid attempt num {number}"),
        )),
    }
}

pub async fn subtask_details(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    let (_, index, found) = subtask(&job, &asked)?;
    ok(&subtasks::attempt(index, found, now()))
}

pub async fn attempt_details(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    let (_, index, found) = attempt(&job, &asked)?;
    ok(&subtasks::attempt(index, found, now()))
}

pub async fn attempt_accumulators(state: State, asked: Asked) -> Answer {
    let job = shown_job(&state, &asked)?;
    let (vertex, index, found) = attempt(&job, &asked)?;
    ok(&subtasks::attempt_accumulators(&job.id, vertex, index, found))
}

fn scope(job: &Job, vertex: &Vertex, subtask: usize) -> Scope {
    Scope::Subtask {
        job: job.id.clone(),
        vertex: vertex.id.clone(),
        subtask,
    }
}

/// Of a vertex that is not there, or that nothing is known of, nothing is told.
pub async fn back_pressure(state: State, asked: Asked) -> Answer {
    let id = asked.id("vertexid")?;
    let job = shown_job(&state, &asked)?;
    let of_subtask = |vertex: &Vertex, subtask: usize| {
        let samples = state.parts.metrics.samples(&scope(&job, vertex, subtask));
        let time = |name: &str| number(&samples, name);
        Some(Times {
            back_pressured: time("backPressuredTimeMsPerSecond")?,
            idle: time("idleTimeMsPerSecond")?,
            busy: time("busyTimeMsPerSecond")?,
        })
    };
    let times: Option<Vec<Times>> = match job.vertex(&id) {
        None => None,
        Some(_) if job.state.is_final() => None,
        Some(vertex) => (0..vertex.subtasks.len())
            .map(|subtask| of_subtask(vertex, subtask))
            .collect(),
    };
    ok(&pressure::of(&times.unwrap_or_default(), now()))
}

/// Of the rows that come in: sources have none.
pub async fn watermarks(state: State, asked: Asked) -> Answer {
    const NAME: &str = "currentInputWatermark";
    let job = shown_job(&state, &asked)?;
    let vertex = vertex(&job, &asked, not_there)?;
    let metric = |subtask: usize| {
        let samples = state.parts.metrics.samples(&scope(&job, vertex, subtask));
        let (_, value) = samples.into_iter().find(|(name, _)| name == NAME)?;
        Some(Metric {
            id: format!("{subtask}.{NAME}"),
            value: Some(value),
        })
    };
    let all: Vec<Metric> = (0..vertex.subtasks.len()).filter_map(metric).collect();
    ok(&all)
}

pub async fn flame_graph(asked: Asked) -> Answer {
    asked.job()?;
    asked.id("vertexid")?;
    ok(&FlameGraph {
        end_timestamp: NO_FLAME_GRAPHS,
        data: None,
    })
}
