//! From the head to an attempt: the restored state, and the sinks brought to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_connector_api::Registry;
use millrace_connector_api::sink::RecoverContext;
use millrace_core::{CheckpointId, Configuration, Error, Result, options};
use millrace_dataflow::{JobGraph, Operator, SinkSpec};
use millrace_runtime::build::RestoredOperator;
use millrace_state::head::{AttemptRecord, Head, Resume, Status};
use millrace_state::job::find_checkpoint;
use millrace_state::{JobStore, Leadership, Metadata, Store};
use tokio::runtime::Handle;

use crate::job::{Restore, Start};
use crate::{compatibility, twins, words};

/// The state of a checkpoint.
#[derive(Clone, Default)]
pub struct RestoredState {
    /// By uid.
    pub operators: Arc<HashMap<String, RestoredOperator>>,
    /// What the checkpoint says of itself.
    pub metadata: Metadata,
    /// The checkpoint folder that it is in, if it is not one of those that the job's head holds.
    pub elsewhere: Option<String>,
}

impl RestoredState {
    fn entries(&self, uid: &str) -> Vec<Vec<u8>> {
        self.operators
            .get(uid)
            .map(|o| o.entries.clone())
            .unwrap_or_default()
    }
}

/// What the sinks of a graph must have on record before they are opened.
pub fn attempt_record(graph: &JobGraph, registry: &Registry, epoch: u64) -> Result<AttemptRecord> {
    let mut sinks = BTreeMap::new();
    for (uid, spec, parallelism) in sinks_of(graph) {
        let record = registry
            .sink(&spec.table)?
            .attempt_record(spec, epoch, parallelism)?;
        if !record.is_empty() {
            sinks.insert(uid.to_owned(), hex::encode(record));
        }
    }
    Ok(AttemptRecord { epoch, sinks })
}

fn sinks_of(graph: &JobGraph) -> impl Iterator<Item = (&str, &SinkSpec, usize)> {
    graph
        .operators()
        .filter_map(|(node, parallelism)| match &node.operator {
            Operator::Sink(spec) => Some((node.uid.as_str(), spec, parallelism)),
            _ => None,
        })
}

/// What a run starts from, by what was asked for and what the head says.
pub fn resume_from(start: &Start, head: &Head, job: &JobStore) -> Resume {
    match start {
        Start::Fresh => Resume::Fresh,
        Start::Resume if head.status == Status::Finished => Resume::Fresh,
        Start::Resume => head.resume.clone(),
        Start::ResumeOrFrom(_) if is_unfinished(head) => head.resume.clone(),
        Start::From(restore) | Start::ResumeOrFrom(restore) => {
            let path = restore.path.trim_end_matches('/').trim_end_matches("/_metadata");
            let own = head
                .completed
                .iter()
                .find(|c| same_place(path, &job.describe_checkpoint(c)));
            match own {
                Some(c) => Resume::Checkpoint(c.id),
                None => Resume::Elsewhere {
                    path: path.to_owned(),
                    committed: false,
                },
            }
        }
    }
}

/// Whether there is a run to resume.
fn is_unfinished(head: &Head) -> bool {
    head.status != Status::Finished && (head.resume != Resume::Fresh || !head.attempts.is_empty())
}

/// Whether two paths or URIs mean one folder. One of ours that is not known again would be taken for
/// another job's, and decided twice.
fn same_place(a: &str, b: &str) -> bool {
    let (a, b) = (normal(a), normal(b));
    if a == b {
        return true;
    }
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// One spelling of a place: `file:` is left out, `s3a` and `s3p` are `s3`, slashes stand alone.
fn normal(place: &str) -> String {
    let (scheme, path) = match place.split_once("://") {
        Some(("file", path)) => ("", path),
        Some(("s3" | "s3a" | "s3p", path)) => ("s3://", path),
        Some(_) => return place.to_owned(),
        None => ("", place.strip_prefix("file:").unwrap_or(place)),
    };
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("{scheme}{root}{}", parts.join("/"))
}

/// Whether a given start can be restored, looked at before anything is changed.
pub fn check_start(
    start: &Start,
    restore: &Restore,
    job: &JobStore,
    graph: &JobGraph,
    config: &Configuration,
    runtime: &Handle,
) -> Result<()> {
    let head = job.head()?.unwrap_or_else(|| Head::new(&graph.name));
    let state = match resume_from(start, &head, job) {
        Resume::Fresh => return Ok(()),
        Resume::Checkpoint(id) => load_for(graph, job.store(), &job.read(&head, id)?)?,
        Resume::Elsewhere { path, .. } => load_elsewhere(graph, &path, config, runtime)?,
    };
    compatibility::compare(&state.metadata, graph)?.check(restore.allow_non_restored_state)
}

pub fn load(store: &Arc<dyn Store>, metadata: &Metadata) -> Result<RestoredState> {
    let mut operators: HashMap<String, RestoredOperator> = HashMap::new();
    for operator in &metadata.operators {
        let restored = operators.entry(operator.uid.clone()).or_default();
        for subtask in &operator.subtasks {
            for blob in &subtask.entries {
                restored.entries.push(blob.load(store.as_ref())?);
            }
            restored.keyed.extend(subtask.keyed.clone());
        }
    }
    Ok(RestoredState {
        operators: Arc::new(operators),
        metadata: metadata.clone(),
        elsewhere: None,
    })
}

/// What a job restores.
fn load_for(graph: &JobGraph, store: &Arc<dyn Store>, metadata: &Metadata) -> Result<RestoredState> {
    load(store, &twins::told_apart(metadata, graph))
}

fn load_elsewhere(
    graph: &JobGraph,
    path: &str,
    config: &Configuration,
    runtime: &Handle,
) -> Result<RestoredState> {
    let (store, metadata) = find_checkpoint(path, config, runtime)?;
    Ok(RestoredState {
        elsewhere: Some(store.describe()),
        ..load_for(graph, &store, &metadata)?
    })
}

/// `millrace.recovery.lost-output`.
pub fn ignores_lost_output(config: &Configuration) -> Result<bool> {
    match config.get(&options::LOST_OUTPUT)?.to_ascii_lowercase().as_str() {
        "fail" => Ok(false),
        "ignore" => Ok(true),
        other => Err(Error::user("millrace.recovery.lost-output has a wrong value")
            .with_detail(other.to_owned())
            .with_hint("it takes fail or ignore")),
    }
}

/// Uids of operators that have state and are not in the graph.
fn unclaimed<'a>(state: &'a RestoredState, graph: &JobGraph) -> Vec<&'a str> {
    state
        .operators
        .iter()
        .filter(|(_, operator)| !operator.keyed.is_empty() || operator.entries.iter().any(|e| !e.is_empty()))
        .map(|(uid, _)| uid.as_str())
        .filter(|uid| !graph.operators().any(|(node, _)| node.uid == *uid))
        .collect()
}

/// The graph with the number of key groups that restored state was divided into: a key's group must
/// be the same as when its state was written.
pub fn adopt_key_groups(
    graph: &JobGraph,
    restored: Option<&RestoredState>,
    config: &Configuration,
) -> Result<JobGraph> {
    let mut graph = graph.clone();
    let Some(restored) = restored else {
        return Ok(graph);
    };
    let given = config.get(&options::MAX_PARALLELISM)?;
    for vertex in &mut graph.vertices {
        let uids = vertex.operators.iter().map(|o| o.node.uid.as_str());
        let files = uids
            .filter_map(|uid| restored.operators.get(uid))
            .flat_map(|o| &o.keyed);
        let Some(written) = files.map(|f| f.max_parallelism).next() else {
            continue;
        };
        if given != -1 && given != i64::from(written) {
            return Err(
                Error::user("the checkpoint was taken with another pipeline.max-parallelism")
                    .with_detail(format!("it has {written} key groups, {given} are asked for"))
                    .with_hint(format!(
                        "set pipeline.max-parallelism to {written}, or start anew with --fresh"
                    )),
            );
        }
        if vertex.parallelism > written as usize {
            return Err(
                Error::user("the parallelism is above the number of key groups of the checkpoint")
                    .with_detail(format!(
                        "{}: {} subtasks, {written} key groups",
                        vertex.name, vertex.parallelism
                    ))
                    .with_hint(format!("run it with a parallelism of at most {written}")),
            );
        }
        vertex.max_parallelism = written as u16;
    }
    Ok(graph)
}

/// Reads the state that an attempt restores, and brings every sink to it.
pub struct Recovery<'a> {
    pub graph: &'a JobGraph,
    pub registry: &'a Registry,
    pub config: &'a Configuration,
    pub runtime: &'a Handle,
    pub leadership: &'a Leadership,
    /// What the job's checkpoints are read from.
    pub files: Arc<dyn Store>,
    /// State of operators that the job does not have is left out.
    pub allows_non_restored: bool,
}

impl Recovery<'_> {
    pub fn run(&self) -> Result<Option<Arc<RestoredState>>> {
        let head = self.leadership.head();
        let newest = head.completed.last().map(|c| c.id);
        let restored = match &head.resume {
            Resume::Fresh => None,
            Resume::Checkpoint(id) => Some((
                Some(*id),
                load_for(self.graph, &self.files, &self.leadership.read(*id)?)?,
            )),
            Resume::Elsewhere { path, .. } => {
                Some((None, load_elsewhere(self.graph, path, self.config, self.runtime)?))
            }
        };
        if let Some((_, state)) = &restored {
            compatibility::compare(&state.metadata, self.graph)?.check(self.allows_non_restored)?;
        }
        match &restored {
            None => {
                // Complete checkpoints of an earlier run are its users' data: they become visible
                // though this run begins anew.
                let left = match newest.filter(|id| head.committed_through < Some(*id)) {
                    Some(id) => load(&self.files, &self.leadership.read(id)?)?,
                    None => RestoredState::default(),
                };
                self.refuse_lost_sinks(&left)?;
                // Who begins anew goes on without what can no longer be had.
                self.recover_sinks(&left, None, false, true)?;
            }
            Some((id, state)) => {
                let newer = match newest {
                    Some(newest) if Some(newest) != *id => {
                        Some(load(&self.files, &self.leadership.read(newest)?)?)
                    }
                    _ => None,
                };
                let committed = match &head.resume {
                    // A savepoint was written once all of it was committed.
                    Resume::Elsewhere { committed, .. } => *committed || state.metadata.is_committed,
                    _ => id.is_some() && *id <= head.committed_through,
                };
                self.recover_sinks(state, newer.as_ref(), committed, false)?;
            }
        }
        match (&restored, &head.resume) {
            (Some((id, state)), resume) => self.tell(*id, state, resume),
            (None, _) => words::nothing_restored(self.leadership.job().job_id()),
        }
        Ok(restored.map(|(_, state)| Arc::new(state)))
    }

    /// What is restored, in Flink's words.
    fn tell(&self, id: Option<CheckpointId>, state: &RestoredState, resume: &Resume) {
        let job = self.leadership.job().job_id();
        let Metadata {
            checkpoint,
            timestamp,
            is_self_contained,
            ..
        } = state.metadata;
        let path = match resume {
            Resume::Elsewhere { path, .. } => {
                words::starts_from(job, path);
                path.clone()
            }
            _ => {
                let mut completed = self.leadership.head().completed.iter();
                let own = completed.find(|completed| Some(completed.id) == id);
                own.map_or_else(String::new, |own| self.leadership.job().describe_checkpoint(own))
            }
        };
        words::restored(job, CheckpointId(checkpoint), is_self_contained, timestamp, &path);
        match id {
            Some(CheckpointId(id)) => tracing::info!(checkpoint = id, "restored"),
            None => tracing::info!(path, "restored"),
        }
    }

    /// Sinks of the earlier run that this job does not have: what they have pending would be lost.
    fn refuse_lost_sinks(&self, left: &RestoredState) -> Result<()> {
        let attempts = &self.leadership.head().attempts;
        let is_sink = |uid: &str| attempts.iter().any(|a| a.sinks.contains_key(uid));
        let lost: Vec<_> = unclaimed(left, self.graph)
            .into_iter()
            .filter(|uid| is_sink(uid))
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        Err(Error::user(
            "the earlier run's last checkpoint holds output of sinks that this job does not have",
        )
        .with_detail(lost.join(", "))
        .with_hint(
            "run the SQL that took it once more, which makes that output visible, \
                     or give the changed job another pipeline.name",
        ))
    }

    fn recover_sinks(
        &self,
        restored: &RestoredState,
        newest: Option<&RestoredState>,
        committed: bool,
        anew: bool,
    ) -> Result<()> {
        let head = self.leadership.head();
        let may_lose = anew || ignores_lost_output(self.config)?;
        for (uid, spec, _) in sinks_of(self.graph) {
            let mut earlier_attempts = Vec::new();
            for record in &head.attempts {
                if let Some(bytes) = record.sinks.get(uid) {
                    earlier_attempts.push(hex::decode(bytes).map_err(|e| {
                        Error::internal("the head of the job holds an unreadable attempt record")
                            .with_source(e)
                    })?);
                }
            }
            let context = RecoverContext {
                config: self.config.clone(),
                uid: uid.to_owned(),
                runtime: self.runtime.clone(),
                restored: restored.entries(uid),
                committed,
                newest: newest.map(|n| n.entries(uid)),
                earlier_attempts,
                elsewhere: matches!(head.resume, Resume::Elsewhere { .. }),
                may_lose,
            };
            let recovered = self.registry.sink(&spec.table)?.recover(spec, context)?;
            tracing::info!(
                sink = %spec.table.name,
                committed = recovered.committed,
                repeated = recovered.repeated,
                fenced = recovered.fenced,
                lost = recovered.lost,
                "recovered sink"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_several_spellings() {
        for same in ["/a/b", "file:///a/b", "file:/a//b", "/a/b/"] {
            assert!(same_place(same, "/a/b"), "{same}");
        }
        for same in ["s3://k/c/j", "s3a://k/c//j", "s3p://k/c/j/"] {
            assert!(same_place(same, "s3://k/c/j"), "{same}");
        }
        assert!(!same_place("s3://k/c/j", "s3://other/c/j"));
        assert!(!same_place("a/b", "/a/b"));
    }
}
