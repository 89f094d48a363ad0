//! The job graph: operators chained into vertices, each run by a number of subtasks.

use std::collections::HashMap;

use millrace_core::{Configuration, Error, Result, options};
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Node, NodeId, Operator, Partitioning};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobGraph {
    pub name: String,
    /// In topological order.
    pub vertices: Vec<Vertex>,
    pub edges: Vec<JobEdge>,
}

/// Operators that share a thread. The first one heads the chain: it is a source, or it reads the
/// vertex's input edges; every other has exactly one input, an earlier operator of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vertex {
    pub name: String,
    pub parallelism: usize,
    pub operators: Vec<ChainedOperator>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainedOperator {
    pub node: Node,
    /// Index in the chain of the operator that feeds this one; none for the head.
    pub input: Option<usize>,
}

/// A channel from every subtask of one vertex to subtasks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEdge {
    pub from_vertex: usize,
    /// Index in the chain of the operator whose output it carries.
    pub from_operator: usize,
    pub to_vertex: usize,
    pub partitioning: Partitioning,
}

impl JobGraph {
    /// Sets parallelism and chains the operators of a plan.
    pub fn build(graph: &Graph, name: &str, config: &Configuration) -> Result<JobGraph> {
        let parallelism = parallelisms(graph, config)?;
        let chaining = config.get(&options::OPERATOR_CHAINING)?;
        let mut place: HashMap<NodeId, (usize, usize)> = HashMap::new();
        let mut vertices: Vec<Vertex> = Vec::new();
        let mut edges = Vec::new();
        for node in &graph.nodes {
            let width = parallelism[node.id];
            let chained_to = match node.inputs.as_slice() {
                [only] if chaining && only.partitioning == Partitioning::Forward => place
                    .get(&only.from)
                    .filter(|(vertex, _)| vertices[*vertex].parallelism == width)
                    .copied(),
                _ => None,
            };
            let vertex = match chained_to {
                Some((vertex, input)) => {
                    vertices[vertex].operators.push(ChainedOperator {
                        node: node.clone(),
                        input: Some(input),
                    });
                    vertex
                }
                None => {
                    vertices.push(Vertex {
                        name: String::new(),
                        parallelism: width,
                        operators: vec![ChainedOperator {
                            node: node.clone(),
                            input: None,
                        }],
                    });
                    for edge in &node.inputs {
                        let &(from_vertex, from_operator) = place.get(&edge.from).ok_or_else(|| {
                            Error::internal("a plan is not in topological order")
                                .with_detail(node.name.clone())
                        })?;
                        let same_width = vertices[from_vertex].parallelism == width;
                        let partitioning = if same_width {
                            edge.partitioning
                        } else {
                            Partitioning::Rebalance
                        };
                        edges.push(JobEdge {
                            from_vertex,
                            from_operator,
                            to_vertex: vertices.len() - 1,
                            partitioning,
                        });
                    }
                    vertices.len() - 1
                }
            };
            place.insert(node.id, (vertex, vertices[vertex].operators.len() - 1));
        }
        for vertex in &mut vertices {
            let names: Vec<_> = vertex.operators.iter().map(|o| o.node.name.as_str()).collect();
            vertex.name = names.join(" -> ");
        }
        Ok(JobGraph {
            name: name.to_owned(),
            vertices,
            edges,
        })
    }

    /// All operators with the parallelism of their vertex.
    pub fn operators(&self) -> impl Iterator<Item = (&Node, usize)> {
        self.vertices
            .iter()
            .flat_map(|v| v.operators.iter().map(move |o| (&o.node, v.parallelism)))
    }
}

/// A node's own parallelism, else the default; operators between follow the job's default.
fn parallelisms(graph: &Graph, config: &Configuration) -> Result<Vec<usize>> {
    let table = config.get(&options::TABLE_PARALLELISM)?;
    let default = match usize::try_from(table) {
        Ok(n) if n > 0 => n,
        _ => config.get(&options::PARALLELISM)?,
    };
    if default == 0 {
        return Err(Error::user("parallelism.default is 0").with_hint("set it to 1 or more"));
    }
    // An operator with one input and no setting of its own takes its input's parallelism, so that
    // rows of a partition stay in order up to the sink.
    let mut widths: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inherited = match (&node.operator, node.inputs.as_slice()) {
            (Operator::Sink(_), _) => default,
            (Operator::Values { .. }, _) => 1,
            (_, [only]) => widths[only.from],
            _ => default,
        };
        widths.push(node.parallelism.unwrap_or(inherited).max(1));
    }
    Ok(widths)
}
