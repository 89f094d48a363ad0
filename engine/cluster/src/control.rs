//! What a JobMaster is asked and told.

use crossbeam_channel::Sender;
use millrace_core::{CheckpointId, Error, Result};
use millrace_state::job::CheckpointSize;
use tokio::sync::oneshot;

use crate::checkpoint::StoredSnapshot;
use crate::exchange::AttemptId;
use crate::gateway::Reports;
use crate::status::Bounds;

/// What the JobMaster hears, in one order.
pub enum Message {
    /// The submitter asks for the job's end, with a checkpoint.
    Stop,
    StopWithSavepoint {
        target: String,
        drain: bool,
        reply: Reply<String>,
    },
    /// The submitter asks for the job's end at once.
    Cancel,
    /// Another process goes on with the job, or will.
    Suspend,
    Savepoint {
        target: String,
        reply: Reply<String>,
    },
    Checkpoint {
        reply: Reply<CheckpointId>,
    },
    /// How many subtasks each vertex may have from now on.
    Bounds {
        bounds: Vec<(usize, Bounds)>,
        reply: Reply<()>,
    },
    /// From a subtask of an attempt; those of earlier attempts are dropped.
    Task {
        attempt: u64,
        task: usize,
        event: TaskEvent,
    },
    /// TaskManagers have come or gone, or slots are free.
    Resources,
    /// A checkpoint's head swap was done, or failed.
    Stored {
        checkpoint: CheckpointId,
        outcome: Result<Stored>,
    },
    /// The files of a savepoint are there, or it failed.
    Copied {
        checkpoint: CheckpointId,
        outcome: Result<()>,
    },
    /// A savepoint is there, or it failed.
    Saved {
        checkpoint: CheckpointId,
        outcome: Result<String>,
    },
}

/// A complete checkpoint.
pub struct Stored {
    pub size: CheckpointSize,
    /// Its folder: a path or URI.
    pub path: String,
    /// The oldest one that is kept.
    pub oldest: CheckpointId,
}

/// Where an answer goes. One that is dropped says that the job has ended.
pub struct Reply<T>(oneshot::Sender<Result<T>>);

impl<T> Reply<T> {
    pub fn new(sender: oneshot::Sender<Result<T>>) -> Self {
        Reply(sender)
    }

    /// Who no longer waits does not hear it.
    pub fn give(self, answer: Result<T>) {
        let _ = self.0.send(answer);
    }
}

/// How a job is to end.
pub enum Ending {
    /// With a checkpoint.
    Stop,
    Savepoint {
        target: String,
        drain: bool,
        reply: Reply<String>,
    },
    Cancel,
    Suspend,
}

impl Ending {
    /// Of two that are asked for the stronger one counts.
    pub fn strength(&self) -> u8 {
        match self {
            Ending::Stop | Ending::Savepoint { .. } => 0,
            Ending::Cancel => 1,
            Ending::Suspend => 2,
        }
    }
}

/// Puts reports of subtasks where the JobMaster hears them.
pub struct Mailbox(pub Sender<Message>);

impl Reports for Mailbox {
    fn report(&self, attempt: AttemptId, task: usize, event: TaskEvent) {
        let _ = self.0.send(Message::Task {
            attempt: attempt.attempt,
            task,
            event,
        });
    }
}

pub enum TaskEvent {
    Started,
    Held,
    Ended,
    Acknowledged {
        checkpoint: CheckpointId,
        snapshots: Vec<StoredSnapshot>,
    },
    Declined {
        checkpoint: CheckpointId,
        error: Error,
    },
    Committed {
        checkpoint: CheckpointId,
    },
    Stopped {
        error: Option<Error>,
    },
}
