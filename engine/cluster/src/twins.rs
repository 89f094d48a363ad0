//! Operators of a job that keep the same of the same rows, where its checkpoint has one of them.
//!
//! Such have one uid, `group-aggregate:orders:1f5c03a8`, with something behind it that tells them apart once there
//! are several (`engine/sql/src/uids.rs`): when a statement comes to a job that keeps what another one keeps
//! already, and cannot share its operator. What the one has kept is then the state of each.

use millrace_dataflow::JobGraph;
use millrace_state::Metadata;

/// The checkpoint as a job restores it.
pub fn told_apart(metadata: &Metadata, graph: &JobGraph) -> Metadata {
    let mut metadata = metadata.clone();
    let is_planned = |uid: &str| graph.operators().any(|(node, _)| node.uid == uid);
    let mut shared: Vec<String> = Vec::new();
    for (node, _) in graph.operators().filter(|(node, _)| node.operator.is_keyed()) {
        let known = |uid: &str| metadata.operators.iter().find(|operator| operator.uid == uid);
        if known(&node.uid).is_some() {
            continue;
        }
        let mut uids = std::iter::successors(Some(node.uid.as_str()), |uid| shorter(uid)).skip(1);
        let Some(before) = uids.find_map(|uid| known(uid).filter(|_| !is_planned(uid))) else {
            continue;
        };
        let mut own = before.clone();
        shared.push(std::mem::replace(&mut own.uid, node.uid.clone()));
        metadata.operators.push(own);
    }
    metadata
        .operators
        .retain(|operator| !shared.contains(&operator.uid));
    metadata
}

/// Without its last part, if what is left still says what is kept.
fn shorter(uid: &str) -> Option<&str> {
    let (rest, _) = uid.rsplit_once(':')?;
    (rest.matches(':').count() >= 2).then_some(rest)
}
