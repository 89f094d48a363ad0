//! Vertices and their subtasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jobs::Accumulator;
use crate::number::Double;
use crate::states::ExecutionState;

/// How many of something are in each state; every state has an entry.
pub type StateCounts = BTreeMap<ExecutionState, usize>;

/// What has gone in and out. A figure is complete where every subtask has told it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IoMetrics {
    pub read_bytes: u64,
    pub read_bytes_complete: bool,
    pub write_bytes: u64,
    pub write_bytes_complete: bool,
    /// Of channels between vertices: 0 for sources.
    pub read_records: u64,
    pub read_records_complete: bool,
    /// To channels between vertices: 0 for sinks.
    pub write_records: u64,
    pub write_records_complete: bool,
    pub accumulated_backpressured_time: u64,
    pub accumulated_idle_time: u64,
    /// Not a number where it is not known.
    pub accumulated_busy_time: Double,
}

/// `GET /jobs/:jobid/vertices/:vertexid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VertexDetails {
    pub id: String,
    pub name: String,
    pub parallelism: usize,
    pub max_parallelism: u32,
    pub now: i64,
    pub subtasks: Vec<SubtaskAttempt>,
    pub aggregated: Aggregated,
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex` and `.../attempts/:attempt`; also in lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SubtaskAttempt {
    pub subtask: usize,
    pub status: ExecutionState,
    /// Counted from 0.
    pub attempt: u64,
    /// Host and data port of its TaskManager; `(unassigned)` before there is one.
    pub endpoint: String,
    /// When it was deployed; -1 before.
    pub start_time: i64,
    pub end_time: i64,
    pub duration: i64,
    pub metrics: IoMetrics,
    pub taskmanager_id: String,
    /// How long it has been in each state, of those before its end; -1: it has not come there.
    pub status_duration: BTreeMap<ExecutionState, i64>,
    /// As `start_time`, under the name that it had before.
    #[serde(rename = "start_time")]
    pub start_time_compatible: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_concurrent_attempts: Option<Vec<SubtaskAttempt>>,
}

/// Figures of several subtasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Aggregated {
    /// By the names of `IoMetrics`.
    pub metrics: BTreeMap<String, Distribution>,
    pub status_duration: BTreeMap<ExecutionState, Distribution>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    pub min: i64,
    pub max: i64,
    pub avg: i64,
    pub sum: i64,
    pub median: i64,
    pub p25: i64,
    pub p75: i64,
    pub p95: i64,
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasktimes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskTimes {
    pub id: String,
    pub name: String,
    pub now: i64,
    pub subtasks: Vec<SubtaskTime>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskTime {
    pub subtask: usize,
    /// Host and data port.
    pub endpoint: String,
    /// Since it was scheduled; -1 before.
    pub duration: i64,
    /// When it came into each state; 0: never.
    pub timestamps: BTreeMap<ExecutionState, i64>,
}

/// `GET /jobs/:jobid/vertices/:vertexid/taskmanagers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VertexTaskManagers {
    pub id: String,
    pub name: String,
    pub now: i64,
    pub taskmanagers: Vec<VertexTaskManager>,
}

/// The subtasks of a vertex on one TaskManager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VertexTaskManager {
    /// Host and data port.
    pub endpoint: String,
    pub status: ExecutionState,
    pub start_time: i64,
    pub end_time: i64,
    pub duration: i64,
    pub metrics: IoMetrics,
    pub status_counts: StateCounts,
    pub taskmanager_id: String,
    pub aggregated: Aggregated,
}

/// `GET /jobs/:jobid/vertices/:vertexid/accumulators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VertexAccumulators {
    pub id: String,
    pub user_accumulators: Vec<Accumulator>,
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/accumulators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtasksAccumulators {
    pub id: String,
    pub parallelism: usize,
    pub subtasks: Vec<SubtaskAccumulators>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SubtaskAccumulators {
    pub subtask: usize,
    pub attempt: u64,
    pub endpoint: String,
    pub user_accumulators: Vec<Accumulator>,
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt/accumulators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptAccumulators {
    pub subtask: usize,
    pub attempt: u64,
    /// The attempt's, as Flink makes it of ids and numbers.
    pub id: String,
    pub user_accumulators: Vec<Accumulator>,
}

/// `GET /jobs/:jobid/vertices/:vertexid/backpressure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackPressure {
    pub status: BackPressureStatus,
    /// All that follows is there where the status is ok.
    #[serde(
        rename = "backpressureLevel",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub level: Option<BackPressureLevel>,
    /// The same under the name that it had before.
    #[serde(
        rename = "backpressure-level",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub level_compatible: Option<BackPressureLevel>,
    #[serde(rename = "end-timestamp", default, skip_serializing_if = "Option::is_none")]
    pub end_timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtasks: Option<Vec<SubtaskBackPressure>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackPressureStatus {
    Ok,
    /// Nothing is known of the vertex.
    Deprecated,
}

/// By the share of time: ok up to a tenth, low up to a half, high above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackPressureLevel {
    Ok,
    Low,
    High,
}

/// Shares of the last second or so, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubtaskBackPressure {
    pub subtask: usize,
    #[serde(rename = "attempt-number", default, skip_serializing_if = "Option::is_none")]
    pub attempt_number: Option<u64>,
    #[serde(rename = "backpressureLevel")]
    pub level: BackPressureLevel,
    #[serde(rename = "backpressure-level")]
    pub level_compatible: BackPressureLevel,
    pub ratio: Double,
    #[serde(rename = "idleRatio")]
    pub idle_ratio: Double,
    #[serde(rename = "busyRatio")]
    pub busy_ratio: Double,
    #[serde(
        rename = "other-concurrent-attempts",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub other_concurrent_attempts: Option<Vec<SubtaskBackPressure>>,
}

/// `GET /jobs/:jobid/vertices/:vertexid/flamegraph`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlameGraph {
    /// -1: nothing was sampled yet; -2: flame graphs are disabled; -3: the subtasks have ended.
    pub end_timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<FlameNode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlameNode {
    pub name: String,
    pub value: u64,
    pub children: Vec<FlameNode>,
}
