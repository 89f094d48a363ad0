//! What identifies operators from one run of a job to the next: state finds its operator by uid.
//!
//! An operator without a uid that the checkpoint knows is refused at the restore; one that takes
//! another's uid would silently go on from the other's state. So a uid says what its operator is
//! and never only how many like it stood before it, for statements come, go and change places:
//!
//! - a source is `source:t` with the table's own options, else with a hash of what hints change;
//! - a sink is `sink:t`; where several INSERTs write to `t`, with a hash of the sources that it is
//!   fed from, and where that is the same for several, of its query's text;
//! - `VALUES` for one sink, if there are several, go by a hash of their rows;
//! - an operator that keeps state by key is `group-aggregate:orders:1f5c03a8`: what it is, the tables that its
//!   rows come from, and a hash of what it keeps of which rows, by lineage: columns of tables, functions,
//!   conditions (`millrace_dataflow::lineage`). Aliases, views, the sinks behind it and columns that it does
//!   not read are no part of that; several statements share such an operator or each have their own.
//!
//! Nothing of a plan that other statements have a part in is hashed (the columns that a shared
//! source reads). Operators without state are numbered. Keyed ones that are equal to the last word
//! and are not one (calls like RAND, other kinds of rows for their sinks, columns in another order) go
//! by the sinks that they feed, then by number: behind the uid that one of them alone has, by which a
//! restore finds what that one has kept (`engine/cluster/src/twins.rs`).

use std::collections::{BTreeMap, BTreeSet};

use millrace_dataflow::lineage::Lineage;
use millrace_dataflow::{Graph, NodeId, Operator, explain};

/// A name with what tells it from others of the same name.
pub(crate) fn with(base: &str, distinction: &BTreeMap<String, String>) -> String {
    if distinction.is_empty() {
        return base.to_owned();
    }
    let text: Vec<String> = distinction.iter().map(|(k, v)| format!("{k:?}={v:?}")).collect();
    format!("{base}:{}", short(hash(&text.join(","))))
}

/// Tells apart the operators of a graph that have the same uid so far. `queries` has the text that
/// each sink's rows come from.
pub(crate) fn distinguish(graph: &mut Graph, queries: &BTreeMap<NodeId, String>) {
    name_keyed(graph);
    let mut equals: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for node in &graph.nodes {
        equals.entry(node.uid.clone()).or_default().push(node.id);
    }
    equals.retain(|_, nodes| nodes.len() > 1);
    if equals.is_empty() {
        return;
    }
    let (origins, sinks) = (origins(graph), sinks(graph));
    for nodes in equals.into_values() {
        let distinct = |id: NodeId| {
            let node = &graph.nodes[id];
            let told_by = match node.operator {
                Operator::Sink(_) if nodes.iter().filter(|n| origins[**n] == origins[id]).count() > 1 => {
                    queries.get(&id).cloned().unwrap_or_default()
                }
                Operator::Sink(_) => format!("{:?}", origins[id]),
                Operator::Values { .. } => explain::describe(graph, node),
                _ if node.operator.is_keyed() => format!("{:?}", sinks[id]),
                _ => return node.uid.clone(),
            };
            format!("{}:{}", node.uid, short(hash(&told_by)))
        };
        let uids: Vec<String> = nodes.iter().map(|&id| distinct(id)).collect();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, uid) in nodes.iter().zip(&uids) {
            let count = seen.entry(uid).or_default();
            *count += 1;
            graph.nodes[*id].uid = match count {
                1 => uid.clone(),
                n => format!("{uid}:{n}"),
            };
        }
    }
}

/// Names operators with keyed state by what they keep.
fn name_keyed(graph: &mut Graph) {
    let lineage = Lineage::new(&graph.nodes);
    for node in graph.nodes.iter_mut().filter(|node| node.operator.is_keyed()) {
        let (kind, owner) = node.uid.split_once(':').unwrap_or((&node.uid, ""));
        let of = match node.operator {
            Operator::SinkMaterializer(_) => owner.to_owned(),
            _ => lineage.tables(node.id).join("+"),
        };
        node.uid = format!("{kind}:{of}:{}", short(hash(lineage.rows(node.id))));
    }
}

/// For each node the sinks that its rows go to.
fn sinks(graph: &Graph) -> Vec<BTreeSet<String>> {
    let mut all: Vec<BTreeSet<String>> = vec![BTreeSet::new(); graph.nodes.len()];
    for node in graph.nodes.iter().rev() {
        if matches!(node.operator, Operator::Sink(_)) {
            all[node.id].insert(node.uid.clone());
        }
        for edge in &node.inputs {
            let further = all[node.id].clone();
            all[edge.from].extend(further);
        }
    }
    all
}

/// For each node the uids of what its rows come from.
fn origins(graph: &Graph) -> Vec<BTreeSet<String>> {
    let mut all: Vec<BTreeSet<String>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut origins: BTreeSet<String> = node
            .inputs
            .iter()
            .filter_map(|edge| all.get(edge.from))
            .flatten()
            .cloned()
            .collect();
        if node.inputs.is_empty() {
            origins.insert(node.uid.clone());
        }
        all.push(origins);
    }
    all
}

/// FNV-1a: of 64 bits, the same in every version and on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn short(hash: u64) -> String {
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}
