//! What a job remembers for people: its checkpoints and its failures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_core::{CheckpointId, Configuration, Error, Result, options};
use millrace_runtime::operators::now_millis;

use crate::checkpoint::StoredSnapshot;

/// Complete checkpoints that statistics are over at most, as in Flink.
const FIGURES: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    Checkpoint,
    Savepoint,
    /// The last one of a job that is stopped on request.
    StopWithSavepoint {
        drain: bool,
    },
    /// The last one before the job's subtasks are laid out anew, or the job ends by itself.
    Last,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointOutcome {
    InProgress,
    /// Its folder: a path or URI.
    Completed {
        path: Option<String>,
    },
    Failed {
        why: String,
    },
}

/// What a subtask has given to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskCheckpoint {
    /// Of the job graph's subtasks, vertex by vertex.
    pub task: usize,
    /// Milliseconds since 1970.
    pub acknowledged: i64,
    /// Bytes of its state, and of those that were written for this checkpoint.
    pub state_bytes: u64,
    pub written_bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointRecord {
    pub id: CheckpointId,
    pub kind: CheckpointKind,
    /// Milliseconds since 1970.
    pub triggered: i64,
    /// Of its last acknowledgement, or of its trigger.
    pub latest_acknowledgement: i64,
    pub subtasks: Vec<SubtaskCheckpoint>,
    /// Subtasks that were asked.
    pub tasks: usize,
    /// How many subtasks each vertex had.
    pub widths: Arc<[usize]>,
    /// Until its head swap or failure.
    pub duration: Duration,
    pub outcome: CheckpointOutcome,
    /// Bytes of all files that it needs, and of those that were written for it.
    pub bytes: u64,
    pub written: u64,
    pub is_discarded: bool,
}

/// What a run was restored from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub id: CheckpointId,
    pub path: String,
    pub is_savepoint: bool,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// What statistics are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// From the trigger to the head swap.
    pub duration: Duration,
    /// Bytes of all files that it needs, and of those that were written for it.
    pub bytes: u64,
    pub written: u64,
}

#[derive(Debug, Clone)]
pub struct CheckpointHistory {
    /// How many are remembered in `recent`.
    most: usize,
    pub triggered: u64,
    pub completed: u64,
    pub failed: u64,
    /// Times that a run began from one.
    pub restored: u64,
    /// The newest last. The newest savepoint, completed and failed ones are among `latest_*` also when they are gone
    /// from here.
    pub recent: VecDeque<Arc<CheckpointRecord>>,
    pub latest_completed: Option<Arc<CheckpointRecord>>,
    pub latest_savepoint: Option<Arc<CheckpointRecord>>,
    pub latest_failed: Option<Arc<CheckpointRecord>>,
    pub latest_restored: Option<Restored>,
    /// Of complete ones, the newest last.
    pub figures: Arc<VecDeque<Figures>>,
}

impl CheckpointHistory {
    /// Remembers as many as `web.checkpoints.history` says, but at least the one that is under way.
    pub fn from_config(config: &Configuration) -> Result<Self> {
        Ok(CheckpointHistory {
            most: config.get(&options::WEB_CHECKPOINT_HISTORY)?.max(1),
            triggered: 0,
            completed: 0,
            failed: 0,
            restored: 0,
            recent: VecDeque::new(),
            latest_completed: None,
            latest_savepoint: None,
            latest_failed: None,
            latest_restored: None,
            figures: Arc::default(),
        })
    }

    pub fn began(&mut self, id: CheckpointId, kind: CheckpointKind, widths: Arc<[usize]>) {
        self.triggered += 1;
        let now = now_millis();
        self.recent.push_back(Arc::new(CheckpointRecord {
            id,
            kind,
            triggered: now,
            latest_acknowledgement: now,
            subtasks: Vec::new(),
            tasks: widths.iter().sum(),
            widths,
            duration: Duration::ZERO,
            outcome: CheckpointOutcome::InProgress,
            bytes: 0,
            written: 0,
            is_discarded: false,
        }));
        if self.recent.len() > self.most {
            self.recent.pop_front();
        }
    }

    fn change(
        &mut self,
        id: CheckpointId,
        change: impl FnOnce(&mut CheckpointRecord),
    ) -> Option<Arc<CheckpointRecord>> {
        let record = self.recent.iter_mut().find(|record| record.id == id)?;
        change(Arc::make_mut(record));
        Some(record.clone())
    }

    pub fn acknowledged(&mut self, id: CheckpointId, task: usize, snapshots: &[StoredSnapshot]) {
        self.change(id, |record| {
            let now = now_millis();
            record.latest_acknowledgement = now;
            let own = format!("/chk-{id}/");
            let files = || snapshots.iter().flat_map(StoredSnapshot::files);
            let inline: u64 = snapshots.iter().map(StoredSnapshot::inline_bytes).sum();
            let written: u64 = files().filter(|f| f.path.contains(&own)).map(|f| f.bytes).sum();
            record.subtasks.push(SubtaskCheckpoint {
                task,
                acknowledged: now,
                state_bytes: inline + files().map(|f| f.bytes).sum::<u64>(),
                written_bytes: inline + written,
            });
        });
    }

    pub fn completed(&mut self, id: CheckpointId, path: Option<String>, bytes: u64, written: u64) {
        self.completed += 1;
        let done = self.change(id, |record| {
            record.duration = Duration::from_millis((now_millis() - record.triggered).max(0) as u64);
            record.outcome = CheckpointOutcome::Completed { path };
            record.bytes = bytes;
            record.written = written;
        });
        if let Some(done) = &done {
            let figures = Arc::make_mut(&mut self.figures);
            figures.push_back(Figures {
                duration: done.duration,
                bytes,
                written,
            });
            if figures.len() > FIGURES {
                figures.pop_front();
            }
        }
        self.latest_completed = done.or(self.latest_completed.take());
    }

    /// A checkpoint's copy is a savepoint now.
    pub fn saved(&mut self, id: CheckpointId, savepoint: &str) {
        let saved = self.change(id, |record| {
            record.outcome = CheckpointOutcome::Completed {
                path: Some(savepoint.to_owned()),
            };
        });
        self.latest_savepoint = saved.or(self.latest_savepoint.take());
    }

    pub fn failed(&mut self, id: CheckpointId, why: &Error) {
        self.failed += 1;
        let why = why.message().to_owned();
        let failed = self.change(id, |record| {
            record.duration = Duration::from_millis((now_millis() - record.triggered).max(0) as u64);
            record.outcome = CheckpointOutcome::Failed { why };
        });
        self.latest_failed = failed.or(self.latest_failed.take());
    }

    /// What was under way when an attempt ended.
    pub fn given_up(&mut self, why: &Error) {
        let open: Vec<CheckpointId> = self
            .recent
            .iter()
            .filter(|record| record.outcome == CheckpointOutcome::InProgress)
            .map(|record| record.id)
            .collect();
        for id in open {
            self.failed(id, why);
        }
    }

    /// Complete ones before this are gone from the checkpoint folder.
    pub fn discarded_before(&mut self, oldest_kept: CheckpointId) {
        for record in &mut self.recent {
            let is_plain = matches!(record.kind, CheckpointKind::Checkpoint | CheckpointKind::Last);
            let is_complete = matches!(record.outcome, CheckpointOutcome::Completed { .. });
            if record.id < oldest_kept && is_plain && is_complete && !record.is_discarded {
                Arc::make_mut(record).is_discarded = true;
            }
        }
    }

    pub fn in_progress(&self) -> usize {
        let open = |record: &&Arc<CheckpointRecord>| record.outcome == CheckpointOutcome::InProgress;
        self.recent.iter().filter(open).count()
    }
}

/// One failure of a job, its root cause first.
#[derive(Debug, Clone)]
pub struct ExceptionRecord {
    pub root: Exception,
    /// What failed with it or because of it.
    pub concurrent: Vec<Exception>,
}

#[derive(Debug, Clone)]
pub struct Exception {
    /// Message, detail, causes and hint, as they are logged.
    pub text: String,
    /// The first line of it.
    pub message: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// None: the whole job failed.
    pub task: Option<FailedTask>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTask {
    pub name: String,
    pub task_manager: String,
    pub endpoint: Option<String>,
}

impl Exception {
    pub fn new(error: &Error, task: Option<FailedTask>) -> Self {
        Exception {
            text: error.to_string(),
            message: error.message().to_owned(),
            at: now_millis(),
            task,
        }
    }
}

#[derive(Debug, Clone)]
pub struct ExceptionHistory {
    /// How many are remembered.
    most: usize,
    /// The newest first.
    pub entries: VecDeque<Arc<ExceptionRecord>>,
    pub is_truncated: bool,
}

impl ExceptionHistory {
    /// Remembers as many as `web.exception-history-size` says, but at least the one that a job ended with.
    pub fn from_config(config: &Configuration) -> Result<Self> {
        Ok(ExceptionHistory {
            most: config.get(&options::WEB_EXCEPTION_HISTORY)?.max(1),
            entries: VecDeque::new(),
            is_truncated: false,
        })
    }

    pub fn add(&mut self, root: Exception, concurrent: Vec<Exception>) {
        self.entries
            .push_front(Arc::new(ExceptionRecord { root, concurrent }));
        if self.entries.len() > self.most {
            self.entries.pop_back();
            self.is_truncated = true;
        }
    }
}
