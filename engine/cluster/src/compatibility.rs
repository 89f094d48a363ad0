//! Whether a job can go on from a checkpoint: operator by operator, before anything is started.

use std::collections::BTreeMap;
use std::fmt;

use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::{Graph, JobGraph, Operator};
use millrace_runtime::state_schema;
use millrace_state::Metadata;
use millrace_state::job::find_checkpoint;
use millrace_state::metadata::OperatorState;
use tokio::runtime::Handle;

use crate::{recovery, twins};

/// What becomes of an operator's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The operator goes on from it.
    Kept,
    /// The job does not have the operator.
    Lost,
    /// The checkpoint does not have the operator: it starts empty.
    New,
    /// The operator keeps something else; what differs.
    Incompatible(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFate {
    pub uid: String,
    pub name: String,
    pub fate: Fate,
}

/// The operators with state of a job and of a checkpoint: those of the job first, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compatibility {
    pub operators: Vec<OperatorFate>,
}

/// Compares a planned job with a checkpoint by its path, and its key groups too.
pub fn with_checkpoint(
    graph: &Graph,
    name: &str,
    config: &Configuration,
    path: &str,
    runtime: &Handle,
) -> Result<Compatibility> {
    let graph = JobGraph::build(graph, name, config)?;
    let (store, metadata) = find_checkpoint(path, config, runtime)?;
    let metadata = twins::told_apart(&metadata, &graph);
    let restored = recovery::load(&store, &metadata)?;
    recovery::adopt_key_groups(&graph, Some(&restored), config)?;
    compare(&metadata, &graph)
}

fn has_state(operator: &OperatorState) -> bool {
    let subtasks = || operator.subtasks.iter();
    subtasks().any(|s| s.keyed.is_some() || s.entries.iter().any(|e| !e.is_empty()))
}

pub fn compare(metadata: &Metadata, graph: &JobGraph) -> Result<Compatibility> {
    let written: BTreeMap<&str, &OperatorState> = metadata
        .operators
        .iter()
        .filter(|operator| has_state(operator))
        .map(|operator| (operator.uid.as_str(), operator))
        .collect();
    let planned = state_schema::of_job(graph)?;
    let mut operators = Vec::new();
    for (node, _) in graph.operators() {
        let fate = match written.get(node.uid.as_str()) {
            None if has_place(&node.operator) => Fate::New,
            None => continue,
            Some(state) => {
                // An older checkpoint does not say what it keeps; its uid is all that is known.
                let schemas = state.schema.as_ref().zip(planned.get(&node.uid));
                let difference = schemas.and_then(|(written, planned)| written.difference(planned));
                let is_lost_keyed =
                    !node.operator.is_keyed() && state.subtasks.iter().any(|s| s.keyed.is_some());
                match difference {
                    Some(difference) => Fate::Incompatible(difference),
                    None if is_lost_keyed => Fate::Incompatible(
                        "it is kept by key, and the job's operator keeps none so".to_owned(),
                    ),
                    None => Fate::Kept,
                }
            }
        };
        operators.push(OperatorFate {
            uid: node.uid.clone(),
            name: node.name.clone(),
            fate,
        });
    }
    let mut lost: Vec<&OperatorState> = written
        .into_values()
        .filter(|state| !graph.operators().any(|(node, _)| node.uid == state.uid))
        .collect();
    // What keyed state is made of is in its uid: an operator that was changed has another one.
    for operator in operators.iter_mut().filter(|o| o.fate == Fate::New) {
        let Some(schema) = planned.get(&operator.uid) else {
            continue;
        };
        let is_like = |state: &&OperatorState| {
            let is_of_kind = kind_and_tables(&state.uid) == kind_and_tables(&operator.uid);
            is_of_kind && state.schema.is_some()
        };
        // Several may be: one with the same keys before others.
        let same_keys = |state: &&OperatorState| {
            let keys = state.schema.as_ref().map(|s| &s.keys);
            is_like(state) && keys == Some(&schema.keys)
        };
        let at = lost.iter().position(same_keys);
        let Some(at) = at.or_else(|| lost.iter().position(is_like)) else {
            continue;
        };
        let before = lost.remove(at);
        let difference = before.schema.as_ref().and_then(|s| s.difference(schema));
        let difference = difference.unwrap_or_else(|| {
            "it was kept under another condition, window or range, or beside other columns".to_owned()
        });
        operator.fate = Fate::Incompatible(format!("in the checkpoint it is {}: {difference}", before.uid));
    }
    operators.extend(lost.into_iter().map(|state| OperatorFate {
        uid: state.uid.clone(),
        name: state.name.clone(),
        fate: Fate::Lost,
    }));
    Ok(Compatibility { operators })
}

/// Of a uid of keyed state: `group-aggregate:orders` of `group-aggregate:orders:1f5c03a8`.
fn kind_and_tables(uid: &str) -> &str {
    let mut ends = uid.match_indices(':').map(|(at, _)| at);
    ends.nth(1).map_or(uid, |end| &uid[..end])
}

/// Whether an operator has something to remember.
fn has_place(operator: &Operator) -> bool {
    let is_end = matches!(
        operator,
        Operator::Source(_) | Operator::Sink(_) | Operator::Values { .. }
    );
    is_end || operator.is_keyed()
}

impl Compatibility {
    /// An error for what can never be restored, and, unless `may_lose`, for what would be lost silently,
    /// pending transactions among it.
    pub fn check(&self, may_lose: bool) -> Result<()> {
        let of = |wanted: fn(&Fate) -> bool| {
            let all = self.operators.iter().filter(|o| wanted(&o.fate));
            all.map(ToString::to_string).collect::<Vec<_>>()
        };
        let incompatible = of(|fate| matches!(fate, Fate::Incompatible(_)));
        if !incompatible.is_empty() {
            return Err(
                Error::user("the checkpoint's state does not fit operators of this job")
                    .with_detail(incompatible.join("; "))
                    .with_hint(
                        "run the SQL that took the checkpoint, give the changed job another pipeline.name, \
                         or start anew with --fresh",
                    ),
            );
        }
        let lost = of(|fate| *fate == Fate::Lost);
        if !lost.is_empty() && !may_lose {
            return Err(
                Error::user("the checkpoint has state of operators that this job does not have")
                    .with_detail(lost.join("; "))
                    .with_hint(
                        "run the SQL that took the checkpoint, give the changed job another pipeline.name, \
                         or start anew with --fresh",
                    ),
            );
        }
        Ok(())
    }
}

impl fmt::Display for OperatorFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match &self.fate {
            Fate::Kept => "kept",
            Fate::Lost => "lost: the job has no operator of this uid",
            Fate::New => "new: starts empty",
            Fate::Incompatible(difference) => {
                return write!(f, "{} ({}): incompatible: {difference}", self.uid, self.name);
            }
        };
        write!(f, "{} ({}): {fate}", self.uid, self.name)
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operators.iter().try_for_each(|o| writeln!(f, "{o}"))
    }
}
