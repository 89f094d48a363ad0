//! Lists of jobs, a job, and its graph.

use std::collections::BTreeMap;

use millrace_rest_types::jobs::{JobDetails, JobOverview, JobType, JobVertex, TaskCounts};
use millrace_rest_types::plan::{Input, Node, Plan};
use millrace_rest_types::vertices::StateCounts;
use millrace_rest_types::{ExecutionState, JobStatus};

use crate::model::{Edge, Job, Vertex};
use crate::view::subtasks::{self, io_metrics};

pub fn overview(job: &Job, now: i64) -> JobOverview {
    let mut tasks = TaskCounts::default();
    let mut changed = job.ended();
    for subtask in job.vertices.iter().flat_map(|vertex| &vertex.subtasks) {
        tasks.add(subtask.state);
        changed = changed.max(subtask.at(subtask.state));
    }
    JobOverview {
        jid: job.id.clone(),
        name: job.name.clone(),
        start_time: job.began(),
        end_time: job.ended(),
        duration: job.duration(now),
        state: job.state,
        last_modification: changed.max(0),
        tasks,
        pending_operators: 0,
    }
}

pub fn details(job: &Job, now: i64) -> JobDetails {
    let vertices: Vec<JobVertex> = job.vertices.iter().map(|v| job_vertex(v, now)).collect();
    JobDetails {
        jid: job.id.clone(),
        name: job.name.clone(),
        is_stoppable: false,
        state: job.state,
        job_type: JobType::Streaming,
        start_time: job.began(),
        end_time: job.ended(),
        duration: job.duration(now),
        max_parallelism: job.max_parallelism.unwrap_or(-1),
        now,
        timestamps: timestamps(job),
        status_counts: counts(vertices.iter().map(|vertex| vertex.status)),
        vertices,
        plan: plan(job),
        stream_graph: None,
        pending_operators: 0,
    }
}

fn timestamps(job: &Job) -> BTreeMap<JobStatus, i64> {
    let at = |status: JobStatus| job.timestamps.get(&status).copied().unwrap_or(0);
    JobStatus::ALL
        .map(|status| (status, at(status)))
        .into_iter()
        .collect()
}

fn job_vertex(vertex: &Vertex, now: i64) -> JobVertex {
    let span = subtasks::span(&vertex.subtasks, now);
    JobVertex {
        id: vertex.id.clone(),
        slot_sharing_group_id: vertex.slot_sharing_group.clone(),
        name: vertex.name.clone(),
        max_parallelism: vertex.max_parallelism,
        parallelism: vertex.parallelism,
        status: subtasks::together(&vertex.subtasks),
        start_time: span.start,
        end_time: span.end,
        duration: span.duration,
        tasks: counts(vertex.subtasks.iter().map(|subtask| subtask.state)),
        metrics: io_metrics(&vertex.subtasks),
    }
}

/// Every state has its number.
pub fn counts(states: impl Iterator<Item = ExecutionState>) -> StateCounts {
    let mut counts: StateCounts = ExecutionState::ALL.map(|state| (state, 0)).into_iter().collect();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

pub fn plan(job: &Job) -> Plan {
    let node = |(place, vertex): (usize, &Vertex)| {
        let inputs = job.edges.iter().filter(|edge| edge.to == place);
        Node {
            id: vertex.id.clone(),
            parallelism: vertex.parallelism,
            operator: String::new(),
            operator_strategy: String::new(),
            description: html(&vertex.description),
            optimizer_properties: BTreeMap::new(),
            inputs: inputs.map(|edge| input(job, edge)).collect(),
        }
    };
    Plan {
        jid: job.id.clone(),
        name: job.name.clone(),
        kind: JobType::Streaming,
        nodes: job.vertices.iter().enumerate().map(node).collect(),
    }
}

fn input(job: &Job, edge: &Edge) -> Input {
    Input {
        id: job.vertices[edge.from].id.clone(),
        num: edge.input,
        exchange: "pipelined_bounded".to_owned(),
        ship_strategy: edge.strategy.clone(),
        local_strategy: None,
        caching: None,
    }
}

/// Lines of text, each ended as Flink ends them.
fn html(lines: &[String]) -> String {
    let mut out = String::new();
    for line in lines {
        for c in line.chars() {
            match c {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '"' => out.push_str("&quot;"),
                c => out.push(c),
            }
        }
        out.push_str("<br/>");
    }
    out
}
