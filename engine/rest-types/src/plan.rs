//! The graph of a job, as it is drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jobs::JobType;

/// `GET /jobs/:jobid/plan` and `GET|POST /jars/:jarid/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInfo {
    pub plan: Plan,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub jid: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: JobType,
    /// One a vertex, in topological order.
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The vertex's.
    pub id: String,
    pub parallelism: usize,
    /// Empty, as Flink has it for streams.
    pub operator: String,
    pub operator_strategy: String,
    /// The chain of operators in HTML.
    pub description: String,
    pub optimizer_properties: BTreeMap<String, serde_json::Value>,
    /// Left out for sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The vertex that it comes from.
    pub id: String,
    /// Which of the inputs it is.
    pub num: usize,
    /// `pipelined_bounded`.
    pub exchange: String,
    /// `FORWARD`, `HASH`, `REBALANCE`, ...
    pub ship_strategy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_strategy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caching: Option<String>,
}
