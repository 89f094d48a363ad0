//! Metrics by name.

use std::collections::BTreeMap;

use millrace_rest_types::metrics::{AggregatedMetric, Metric};

use crate::answer::{Answer, Failure, Result, ok};
use crate::figures::{Sample, Scope};
use crate::handlers::{Asked, State};
use crate::parameters::{Aggregation, parse_id};
use crate::statistics::aggregated;

/// Names alone, or the values that are asked for.
fn told(samples: Vec<Sample>, asked: &Asked) -> Answer {
    let wanted = asked.query_list("get");
    let metrics: Vec<Metric> = match asked.query("get") {
        None => {
            let names = samples.into_iter().map(|(id, _)| Metric { id, value: None });
            names.collect()
        }
        Some(_) => {
            let found = wanted
                .into_iter()
                .filter_map(|name| samples.iter().find(|(id, _)| id == name));
            found
                .map(|(id, value)| Metric {
                    id: id.clone(),
                    value: Some(value.clone()),
                })
                .collect()
        }
    };
    ok(&metrics)
}

/// Names alone, or what is asked for of the values of several places.
fn told_together(places: Vec<Vec<Sample>>, asked: &Asked) -> Answer {
    let aggregations: Vec<Aggregation> = asked
        .query_list("agg")
        .into_iter()
        .map(|text| {
            text.parse()
                .map_err(|()| Failure::parameter("query", "agg", text))
        })
        .collect::<Result<_>>()?;
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in places.iter().flatten() {
        let numbers = values.entry(name).or_default();
        numbers.extend(value.parse::<f64>().ok());
    }
    if asked.query("get").is_none() {
        let names = values.into_keys().map(|id| Metric {
            id: id.to_owned(),
            value: None,
        });
        return ok(&names.collect::<Vec<_>>());
    }
    let wanted = asked.query_list("get").into_iter();
    let told: Vec<AggregatedMetric> = wanted
        .filter_map(|name| {
            let numbers = values.get(name).filter(|numbers| !numbers.is_empty())?;
            Some(aggregated(name, numbers, &aggregations))
        })
        .collect();
    ok(&told)
}

pub async fn job_manager(state: State, asked: Asked) -> Answer {
    told(state.parts.metrics.samples(&Scope::JobManager), &asked)
}

pub async fn task_manager(state: State, asked: Asked) -> Answer {
    let id = asked.text("taskmanagerid").to_owned();
    told(state.parts.metrics.samples(&Scope::TaskManager { id }), &asked)
}

pub async fn task_managers(state: State, asked: Asked) -> Answer {
    let wanted = asked.query_list("taskmanagers");
    let all = state.dispatcher().resources().task_managers();
    let places = all
        .into_iter()
        .filter(|manager| wanted.is_empty() || wanted.contains(&manager.id.as_str()))
        .map(|manager| {
            state
                .parts
                .metrics
                .samples(&Scope::TaskManager { id: manager.id })
        })
        .collect();
    told_together(places, &asked)
}

pub async fn job(state: State, asked: Asked) -> Answer {
    let job = asked.job()?.to_string();
    told(state.parts.metrics.samples(&Scope::Job { job }), &asked)
}

pub async fn jobs(state: State, asked: Asked) -> Answer {
    let mut wanted = Vec::new();
    for text in asked.query_list("jobs") {
        wanted.push(parse_id(text).ok_or_else(|| Failure::parameter("query", "jobs", text))?);
    }
    let all = state
        .dispatcher()
        .jobs()
        .into_iter()
        .map(|job| job.id.to_string());
    let places = all
        .filter(|id| wanted.is_empty() || wanted.contains(id))
        .map(|job| state.parts.metrics.samples(&Scope::Job { job }))
        .collect();
    told_together(places, &asked)
}

/// Samples of each subtask of the vertex of a request, in their order. None: there is no such job or vertex.
fn of_subtasks(state: &State, asked: &Asked) -> Result<Vec<Vec<Sample>>> {
    let (id, vertex) = (asked.job()?, asked.id("vertexid")?);
    let Some(job) = state.dispatcher().job(id) else {
        return Ok(Vec::new());
    };
    let found = job.graph.vertices.iter().find(|v| v.id().to_string() == vertex);
    let width = found.map_or(0, |vertex| vertex.parallelism);
    let scope = |subtask| Scope::Subtask {
        job: id.to_string(),
        vertex: vertex.clone(),
        subtask,
    };
    Ok((0..width)
        .map(|subtask| state.parts.metrics.samples(&scope(subtask)))
        .collect())
}

/// As `subtask.metric`.
pub async fn vertex(state: State, asked: Asked) -> Answer {
    let places = of_subtasks(&state, &asked)?.into_iter().enumerate();
    let samples = places.flat_map(|(subtask, samples)| {
        let named = samples.into_iter();
        named.map(move |(name, value)| (format!("{subtask}.{name}"), value))
    });
    told(samples.collect(), &asked)
}

pub async fn subtasks(state: State, asked: Asked) -> Answer {
    let wanted = numbers(asked.query_list("subtasks"))?;
    let places = of_subtasks(&state, &asked)?.into_iter().enumerate();
    let places = places
        .filter(|(subtask, _)| wanted.is_empty() || wanted.contains(subtask))
        .map(|(_, samples)| samples);
    told_together(places.collect(), &asked)
}

/// Numbers and ranges of them: 0,2-4.
fn numbers(texts: Vec<&str>) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for text in texts {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if last < 1 << 16 => numbers.extend(first..=last),
            _ => return Err(Failure::parameter("query", "subtasks", text)),
        }
    }
    Ok(numbers)
}

pub async fn subtask(state: State, asked: Asked) -> Answer {
    let index = usize::try_from(asked.number("subtaskindex")?).unwrap_or(usize::MAX);
    let samples = of_subtasks(&state, &asked)?.into_iter().nth(index);
    told(samples.unwrap_or_default(), &asked)
}

pub async fn job_manager_operators(state: State, asked: Asked) -> Answer {
    let scope = Scope::JobManagerOperator {
        job: asked.job()?.to_string(),
        vertex: asked.id("vertexid")?,
    };
    told(state.parts.metrics.samples(&scope), &asked)
}
