//! `EXPLAIN JSON_EXECUTION_PLAN`: the operators as Flink's plan visualizer reads them.

use millrace_core::{Error, Result};
use millrace_dataflow::{Graph, Operator, Partitioning, explain};
use serde_json::json;

pub(crate) fn write(graph: &Graph) -> Result<String> {
    let nodes: Vec<_> = graph
        .nodes
        .iter()
        .map(|node| {
            let pact = match &node.operator {
                Operator::Source(_) | Operator::Values { .. } => "Data Source",
                Operator::Sink(_) => "Data Sink",
                _ => "Operator",
            };
            let predecessors: Vec<_> = node
                .inputs
                .iter()
                .map(|edge| {
                    let strategy = match &edge.partitioning {
                        Partitioning::Forward => "FORWARD",
                        Partitioning::Rebalance => "REBALANCE",
                        Partitioning::Hash { keys } if keys.is_empty() => "GLOBAL",
                        Partitioning::Hash { .. } => "HASH",
                    };
                    json!({ "id": edge.from + 1, "ship_strategy": strategy, "side": "second" })
                })
                .collect();
            json!({
                "id": node.id + 1,
                "type": node.name,
                "pact": pact,
                "contents": explain::describe(graph, node),
                "parallelism": node.parallelism,
                "predecessors": predecessors,
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "nodes": nodes }))
        .map_err(|e| Error::internal("the plan cannot be written as JSON").with_source(e))
}
