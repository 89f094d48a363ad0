//! The job graph: operators chained into vertices, each run by a number of subtasks.

use std::collections::HashMap;

use millrace_core::{Configuration, Error, Result, VertexId, key_group, options};
use millrace_expr::RowType;
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
    /// Key groups that keyed state is divided into: parallelism can grow up to here.
    pub max_parallelism: u16,
    pub operators: Vec<ChainedOperator>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainedOperator {
    pub node: Node,
    /// The rows of each of its inputs.
    pub inputs: Vec<RowType>,
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
    /// Which of the reader's inputs it is.
    pub to_input: usize,
    pub partitioning: Partitioning,
}

impl Vertex {
    pub fn id(&self) -> VertexId {
        VertexId::from_uid(&self.operators[0].node.uid)
    }
}

impl JobGraph {
    /// Of a job that could not be planned.
    pub fn empty(name: &str) -> JobGraph {
        JobGraph {
            name: name.to_owned(),
            vertices: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// Sets parallelism and chains the operators of a plan.
    pub fn build(graph: &Graph, name: &str, config: &Configuration) -> Result<JobGraph> {
        let parallelism = parallelisms(graph, config)?;
        let chaining = config.get(&options::OPERATOR_CHAINING)?;
        let max_parallelism = max_parallelism(config)?;
        let shuffles_by_key = !config
            .get(&options::SINK_KEYED_SHUFFLE)?
            .eq_ignore_ascii_case("NONE");
        let mut place: HashMap<NodeId, (usize, usize)> = HashMap::new();
        let mut vertices: Vec<Vertex> = Vec::new();
        let mut edges = Vec::new();
        for node in &graph.nodes {
            let width = parallelism[node.id];
            let inputs: Vec<RowType> = node
                .inputs
                .iter()
                .filter_map(|edge| graph.nodes.get(edge.from))
                .map(|from| from.output.clone())
                .collect();
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
                        inputs,
                        input: Some(input),
                    });
                    vertex
                }
                None => {
                    let most = max_parallelism.unwrap_or_else(|| key_group::default_max_parallelism(width));
                    if width > usize::from(most) {
                        return Err(Error::user("the parallelism is above pipeline.max-parallelism")
                            .with_detail(format!("{}: {width} subtasks, {most} key groups", node.name))
                            .with_hint("raise pipeline.max-parallelism, or lower parallelism.default"));
                    }
                    vertices.push(Vertex {
                        name: String::new(),
                        parallelism: width,
                        max_parallelism: most,
                        operators: vec![ChainedOperator {
                            node: node.clone(),
                            inputs,
                            input: None,
                        }],
                    });
                    for (to_input, edge) in node.inputs.iter().enumerate() {
                        let &(from_vertex, from_operator) = place.get(&edge.from).ok_or_else(|| {
                            Error::internal("a plan is not in topological order")
                                .with_detail(node.name.clone())
                        })?;
                        let same_width = vertices[from_vertex].parallelism == width;
                        let partitioning = match &edge.partitioning {
                            Partitioning::Forward if !same_width => match sink_key(node) {
                                Some(keys) if shuffles_by_key => Partitioning::Hash { keys },
                                _ => Partitioning::Rebalance,
                            },
                            other => other.clone(),
                        };
                        edges.push(JobEdge {
                            from_vertex,
                            from_operator,
                            to_vertex: vertices.len() - 1,
                            to_input,
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

    /// The same graph with so many subtasks of each vertex. Rows that had one reader, the subtask of the same number,
    /// are spread where the numbers are no longer the same: by a sink's key, else one batch after the other, which is
    /// refused for changes, whose order counts.
    pub fn with_parallelism(&self, widths: &[usize]) -> Result<JobGraph> {
        let mut graph = self.clone();
        for (vertex, width) in graph.vertices.iter_mut().zip(widths) {
            if *width == 0 || *width > usize::from(vertex.max_parallelism) {
                return Err(
                    Error::user("the parallelism of a vertex is out of range").with_detail(format!(
                        "{}: {width} of 1 to {}",
                        vertex.name, vertex.max_parallelism
                    )),
                );
            }
            vertex.parallelism = *width;
        }
        for edge in &mut graph.edges {
            let (from, to) = (&graph.vertices[edge.from_vertex], &graph.vertices[edge.to_vertex]);
            if edge.partitioning != Partitioning::Forward || from.parallelism == to.parallelism {
                continue;
            }
            let (writer, reader) = (&from.operators[edge.from_operator].node, &to.operators[0].node);
            edge.partitioning = match sink_key(reader) {
                Some(keys) => Partitioning::Hash { keys },
                None if writer.changelog.is_inserts() => Partitioning::Rebalance,
                None => {
                    return Err(Error::user("two vertices can only have the same parallelism")
                        .with_detail(format!(
                            "{} gives changes to {}, which must stay in order",
                            from.name, to.name
                        ))
                        .with_hint("give both the same"));
                }
            };
        }
        Ok(graph)
    }

    /// How many subtasks of a vertex can have work: one, where all rows are of one group.
    pub fn most_subtasks(&self, vertex: usize) -> usize {
        let head = &self.vertices[vertex].operators[0].node;
        let is_global = self.edges.iter().any(|edge| {
            edge.to_vertex == vertex && edge.partitioning == (Partitioning::Hash { keys: vec![] })
        });
        match is_global || matches!(head.operator, Operator::Values { .. }) {
            true => 1,
            false => self.vertices[vertex].max_parallelism.into(),
        }
    }

    /// All operators with the parallelism of their vertex.
    pub fn operators(&self) -> impl Iterator<Item = (&Node, usize)> {
        self.vertices
            .iter()
            .flat_map(|v| v.operators.iter().map(move |o| (&o.node, v.parallelism)))
    }
}

/// The columns of a sink's PRIMARY KEY: rows of a key have to stay in order.
fn sink_key(node: &Node) -> Option<Vec<usize>> {
    let Operator::Sink(spec) = &node.operator else {
        return None;
    };
    let place = |name: &String| spec.table.columns.iter().position(|c| c.name == *name);
    let key: Option<Vec<usize>> = spec.table.primary_key.iter().map(place).collect();
    key.filter(|key| !key.is_empty())
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
    let sources = config
        .get_optional(&options::SOURCE_PARALLELISM)?
        .unwrap_or(default);
    // An operator with one input and no setting of its own takes its input's parallelism, so that
    // rows of a partition stay in order up to the sink.
    let mut widths: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inherited = match (&node.operator, node.inputs.as_slice()) {
            // Changes of a row stay in order.
            (Operator::Sink(_), [only]) if !graph.nodes[only.from].changelog.is_inserts() => {
                widths[only.from]
            }
            (Operator::Sink(_), _) => default,
            (Operator::Source(_), _) => sources,
            (Operator::Values { .. }, _) => 1,
            // Without a key there is one group of rows, and one subtask has work.
            (_, [edge, ..]) if edge.partitioning == (Partitioning::Hash { keys: vec![] }) => 1,
            (_, [only]) if only.partitioning == Partitioning::Forward => widths[only.from],
            _ => default,
        };
        widths.push(node.parallelism.unwrap_or(inherited).max(1));
    }
    Ok(widths)
}

/// `pipeline.max-parallelism`, if it is given.
fn max_parallelism(config: &Configuration) -> Result<Option<u16>> {
    let given = config.get(&options::MAX_PARALLELISM)?;
    match given {
        -1 => Ok(None),
        1..=32768 => Ok(Some(given as u16)),
        _ => Err(Error::user("pipeline.max-parallelism is out of range")
            .with_detail(given.to_string())
            .with_hint("it takes 1 to 32768, or -1 for a default that follows the parallelism")),
    }
}
