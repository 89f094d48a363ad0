//! From the head to an attempt: the restored state, and the sinks brought to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_connector_api::Registry;
use millrace_connector_api::sink::RecoverContext;
use millrace_core::{CheckpointId, Configuration, Error, Result};
use millrace_dataflow::{JobGraph, Operator, SinkSpec};
use millrace_state::head::{AttemptRecord, Head, Resume, Status};
use millrace_state::job::read_metadata;
use millrace_state::{JobStore, Leadership, Metadata, Store, location};
use tokio::runtime::Handle;

use crate::job::Start;

/// The state of an operator by its uid: the entries of all of its subtasks.
pub type RestoredState = HashMap<String, Vec<Vec<u8>>>;

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
        Start::From(path) => {
            let path = path.trim_end_matches('/').trim_end_matches("/_metadata");
            let own = head
                .completed
                .iter()
                .find(|c| same_place(path, &job.describe_checkpoint(c)));
            match own {
                Some(c) => Resume::Checkpoint(c.id),
                None => Resume::Elsewhere(path.to_owned()),
            }
        }
    }
}

fn same_place(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Reads the state that an attempt restores, and brings every sink to it.
pub struct Recovery<'a> {
    pub graph: &'a JobGraph,
    pub registry: &'a Registry,
    pub config: &'a Configuration,
    pub runtime: &'a Handle,
    pub leadership: &'a Leadership,
}

impl Recovery<'_> {
    pub fn run(&self) -> Result<Option<Arc<RestoredState>>> {
        let head = self.leadership.head();
        let job = self.leadership.job();
        let newest = head.completed.last().map(|c| c.id);
        let restored = match &head.resume {
            Resume::Fresh => None,
            Resume::Checkpoint(id) => {
                Some((Some(*id), self.load(job.store().as_ref(), &job.read(head, *id)?)?))
            }
            Resume::Elsewhere(path) => Some((None, self.load_elsewhere(path)?)),
        };
        if let Some((_, state)) = &restored {
            self.refuse_unclaimed(state)?;
        }
        match &restored {
            None => {
                // Complete checkpoints of an earlier run are its users' data: they become visible
                // though this run begins anew.
                let left = match newest.filter(|id| head.committed_through != Some(*id)) {
                    Some(id) => self.load(job.store().as_ref(), &job.read(head, id)?)?,
                    None => RestoredState::new(),
                };
                self.recover_sinks(&left, None, false)?;
            }
            Some((id, state)) => {
                let newer = match newest {
                    Some(newest) if Some(newest) != *id => {
                        Some(self.load(job.store().as_ref(), &job.read(head, newest)?)?)
                    }
                    _ => None,
                };
                let committed = id.is_some() && head.committed_through == *id;
                self.recover_sinks(state, newer.as_ref(), committed)?;
            }
        }
        match (&restored, &head.resume) {
            (Some((Some(CheckpointId(id)), _)), _) => tracing::info!(checkpoint = id, "restored"),
            (_, Resume::Elsewhere(path)) => tracing::info!(path, "restored"),
            _ => {}
        }
        Ok(restored.map(|(_, state)| Arc::new(state)))
    }

    fn load(&self, store: &dyn Store, metadata: &Metadata) -> Result<RestoredState> {
        let mut state = RestoredState::new();
        for operator in &metadata.operators {
            let entries = state.entry(operator.uid.clone()).or_default();
            for blob in operator.subtasks.iter().flat_map(|s| &s.entries) {
                entries.push(blob.load(store)?);
            }
        }
        Ok(state)
    }

    /// A checkpoint by the path of its folder, `<checkpoint folder>/<job>/chk-<n>`.
    fn load_elsewhere(&self, path: &str) -> Result<RestoredState> {
        let mut parts = path.rsplitn(3, '/');
        let (Some(checkpoint), Some(job), Some(folder)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::user("this is not the path of a checkpoint")
                .with_detail(path)
                .with_hint("give the whole path, <checkpoint folder>/<job>/chk-<n>"));
        };
        let store = location::open(folder, self.config, self.runtime)?;
        let metadata = read_metadata(store.as_ref(), &format!("{job}/{checkpoint}/_metadata"))?;
        self.load(store.as_ref(), &metadata)
    }

    /// State without an operator would be lost silently, pending transactions among it.
    fn refuse_unclaimed(&self, state: &RestoredState) -> Result<()> {
        let unclaimed: Vec<_> = state
            .iter()
            .filter(|(uid, entries)| {
                entries.iter().any(|e| !e.is_empty())
                    && !self.graph.operators().any(|(node, _)| node.uid == **uid)
            })
            .map(|(uid, _)| uid.as_str())
            .collect();
        if unclaimed.is_empty() {
            return Ok(());
        }
        Err(Error::user("the checkpoint has state of operators that this job does not have")
            .with_detail(unclaimed.join(", "))
            .with_hint("run the SQL that took the checkpoint, give the changed job another pipeline.name, or start anew with --fresh"))
    }

    fn recover_sinks(
        &self,
        restored: &RestoredState,
        newest: Option<&RestoredState>,
        committed: bool,
    ) -> Result<()> {
        let head = self.leadership.head();
        for (uid, spec, _) in sinks_of(self.graph) {
            let mut earlier_attempts = Vec::new();
            for record in head.attempts.iter().filter(|a| a.epoch < head.epoch) {
                if let Some(bytes) = record.sinks.get(uid) {
                    earlier_attempts.push(hex::decode(bytes).map_err(|e| {
                        Error::external("the head of the job holds an unreadable attempt record")
                            .with_source(e)
                    })?);
                }
            }
            let context = RecoverContext {
                config: self.config.clone(),
                uid: uid.to_owned(),
                runtime: self.runtime.clone(),
                restored: restored.get(uid).cloned().unwrap_or_default(),
                committed,
                newest: newest.map(|n| n.get(uid).cloned().unwrap_or_default()),
                earlier_attempts,
            };
            let recovered = self.registry.sink(&spec.table)?.recover(spec, context)?;
            tracing::info!(
                sink = %spec.table.name,
                committed = recovered.committed,
                fenced = recovered.fenced,
                "recovered sink"
            );
        }
        Ok(())
    }
}
