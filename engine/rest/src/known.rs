//! From what the cluster knows of a job to the job that pages show.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_cluster::status::{Execution, ExecutionState as State, JobStatus as Known};
use millrace_core::{Configuration, JobId, Result, options};
use millrace_dataflow::{Graph, JobEdge, JobGraph, Node, Partitioning, explain};
use millrace_rest_types::{ExecutionState, JobStatus};

use crate::figures::{self, MetricSource, NoMetrics, Sample, Scope};
use crate::model::{Edge, Io, Job, Place, Subtask, Vertex};

/// As it is now; what its subtasks have counted comes from `metrics`.
pub fn job(known: &Known, source: &dyn MetricSource) -> Job {
    let id = known.id.to_string();
    let edges = &known.graph.edges;
    let plan = plan(&known.graph);
    let vertices = known.graph.vertices.iter().enumerate().map(|(place, vertex)| {
        let reads = edges.iter().any(|edge| edge.to_vertex == place);
        let writes = edges.iter().any(|edge| edge.from_vertex == place);
        let vertex_id = vertex.id().to_string();
        let executions = known
            .executions
            .iter()
            .filter(|execution| execution.vertex == place);
        let subtasks = executions.map(|execution| {
            let scope = Scope::Subtask {
                job: id.clone(),
                vertex: vertex_id.clone(),
                subtask: execution.subtask,
            };
            subtask(execution, &source.samples(&scope), reads, writes)
        });
        Vertex {
            name: vertex.name.clone(),
            description: description(&plan, vertex),
            parallelism: vertex.parallelism,
            max_parallelism: u32::from(vertex.max_parallelism),
            // All vertices of a job share slots.
            slot_sharing_group: id.clone(),
            subtasks: subtasks.collect(),
            id: vertex_id,
        }
    });
    Job {
        name: known.name.clone(),
        state: job_status(known.state.flink()),
        timestamps: known
            .since
            .iter()
            .map(|(name, at)| (job_status(name), *at))
            .collect(),
        max_parallelism: max_parallelism(known),
        vertices: vertices.collect(),
        edges: edges.iter().map(edge).collect(),
        id,
    }
}

/// The plan that a job graph was made of.
fn plan(graph: &JobGraph) -> Graph {
    let mut nodes: Vec<Node> = graph.operators().map(|(node, _)| node.clone()).collect();
    nodes.sort_by_key(|node| node.id);
    Graph { nodes }
}

/// Its operators in a chain, as Flink draws them: each below the one that it reads from.
fn description(plan: &Graph, vertex: &millrace_dataflow::Vertex) -> Vec<String> {
    let mut depths: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for operator in &vertex.operators {
        let depth = operator.input.map_or(0, |input| depths[input] + 1);
        depths.push(depth);
        let branch = match depth {
            0 => String::new(),
            depth => format!("{}+- ", "   ".repeat(depth - 1)),
        };
        let node = &operator.node;
        lines.push(format!(
            "{branch}[{}]:{}",
            node.id + 1,
            explain::describe(plan, node)
        ));
    }
    lines
}

/// A job that is not submitted.
pub fn planned(id: JobId, graph: Arc<JobGraph>, config: Arc<Configuration>) -> Result<Job> {
    let known = Known::new(id, &graph.name, config, graph.clone())?;
    Ok(job(&known, &NoMetrics))
}

fn max_parallelism(known: &Known) -> Option<i64> {
    let configured = known.config.get(&options::MAX_PARALLELISM).ok()?;
    (configured > 0).then_some(configured)
}

pub fn job_status(name: &str) -> JobStatus {
    let found = JobStatus::ALL.into_iter().find(|status| status.name() == name);
    found.unwrap_or(JobStatus::Created)
}

fn execution_state(state: State) -> ExecutionState {
    match state {
        State::Created => ExecutionState::Created,
        State::Scheduled => ExecutionState::Scheduled,
        State::Deploying => ExecutionState::Deploying,
        State::Initializing => ExecutionState::Initializing,
        State::Running => ExecutionState::Running,
        State::Finished => ExecutionState::Finished,
        State::Canceling => ExecutionState::Canceling,
        State::Canceled => ExecutionState::Canceled,
        State::Failed => ExecutionState::Failed,
    }
}

fn subtask(execution: &Execution, samples: &[Sample], reads: bool, writes: bool) -> Subtask {
    let timestamps: BTreeMap<ExecutionState, i64> = State::ALL
        .into_iter()
        .map(|state| (execution_state(state), execution.since[state as usize]))
        .filter(|(_, at)| *at > 0)
        .collect();
    Subtask {
        attempt: execution.attempt,
        state: execution_state(execution.state),
        timestamps,
        place: Some(Place {
            id: execution.task_manager.clone(),
            endpoint: execution
                .endpoint
                .clone()
                .unwrap_or_else(|| execution.task_manager.clone()),
        }),
        io: io(samples, reads, writes),
    }
}

/// A vertex that reads no channel has read nothing, and so for writing.
fn io(samples: &[Sample], reads: bool, writes: bool) -> Io {
    let count = |name: &str, is_any: bool| match is_any {
        true => figures::number(samples, name).map(|count| count as u64),
        false => (!samples.is_empty()).then_some(0),
    };
    let time = |name: &str| figures::number(samples, name).unwrap_or(0.0);
    Io {
        read_bytes: count("numBytesIn", reads),
        write_bytes: count("numBytesOut", writes),
        read_records: count("numRecordsIn", reads),
        write_records: count("numRecordsOut", writes),
        back_pressured: time("accumulateBackPressuredTimeMs") as u64,
        idle: time("accumulateIdleTimeMs") as u64,
        busy: time("accumulateBusyTimeMs"),
    }
}

fn edge(edge: &JobEdge) -> Edge {
    Edge {
        from: edge.from_vertex,
        to: edge.to_vertex,
        input: edge.to_input,
        strategy: match &edge.partitioning {
            Partitioning::Forward => "FORWARD",
            Partitioning::Hash { keys } if keys.is_empty() => "GLOBAL",
            Partitioning::Hash { .. } => "HASH",
            Partitioning::Rebalance => "REBALANCE",
        }
        .to_owned(),
    }
}
