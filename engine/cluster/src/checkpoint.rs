//! A checkpoint that is being taken: who has given its state, and what it is.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use millrace_runtime::Barrier;
use millrace_state::keyed::KeyedFiles;
use millrace_state::metadata::FileRef;
use millrace_state::schema::StateSchema;
use millrace_state::{Metadata, OperatorState, StateBlob, SubtaskState};

/// One operator's state of one subtask, its large entries put away as files already.
#[derive(Debug)]
pub struct StoredSnapshot {
    pub uid: String,
    pub name: String,
    pub entries: Vec<StateBlob>,
    pub keyed: Option<KeyedFiles>,
}

impl StoredSnapshot {
    /// Bytes of what is no file.
    pub fn inline_bytes(&self) -> u64 {
        let entries = self.entries.iter().filter(|entry| entry.as_file().is_none());
        entries.map(StateBlob::len).sum::<u64>()
            + self.keyed.iter().map(KeyedFiles::inline_bytes).sum::<u64>()
    }

    /// Those that it names.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let entries = self.entries.iter().filter_map(StateBlob::as_file);
        entries.chain(self.keyed.iter().flat_map(KeyedFiles::file_refs))
    }
}

pub struct PendingCheckpoint {
    pub barrier: Barrier,
    pub triggered: Instant,
    missing: HashSet<usize>,
    operators: BTreeMap<String, OperatorState>,
}

impl PendingCheckpoint {
    pub fn new(barrier: Barrier, tasks: usize) -> Self {
        PendingCheckpoint {
            barrier,
            triggered: Instant::now(),
            missing: (0..tasks).collect(),
            operators: BTreeMap::new(),
        }
    }

    /// Takes a task's acknowledgement; says whether it was the last.
    pub fn acknowledge(&mut self, task: usize, subtask: usize, snapshots: Vec<StoredSnapshot>) -> bool {
        if !self.missing.remove(&task) {
            return false;
        }
        for snapshot in snapshots {
            let operator = self
                .operators
                .entry(snapshot.uid.clone())
                .or_insert_with(|| OperatorState {
                    uid: snapshot.uid,
                    name: snapshot.name,
                    subtasks: Vec::new(),
                    schema: None,
                });
            operator.subtasks.push(SubtaskState {
                subtask: subtask as u32,
                entries: snapshot.entries,
                keyed: snapshot.keyed,
            });
        }
        self.missing.is_empty()
    }

    /// How many subtasks have not acknowledged.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// `schemas` are those of the job's operators with keyed state, by uid.
    pub fn into_metadata(
        self,
        epoch: u64,
        job_name: &str,
        is_final: bool,
        schemas: &BTreeMap<String, StateSchema>,
    ) -> Metadata {
        let mut operators: Vec<_> = self.operators.into_values().collect();
        for operator in &mut operators {
            operator.subtasks.sort_by_key(|s| s.subtask);
            operator.schema = schemas.get(&operator.uid).cloned();
        }
        Metadata {
            checkpoint: self.barrier.checkpoint.0,
            epoch,
            timestamp: self.barrier.timestamp,
            job_name: job_name.to_owned(),
            operators,
            is_final,
            ..Metadata::default()
        }
    }
}
