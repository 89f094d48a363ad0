//! The thread that completes checkpoints: store calls may take long, the JobMaster may not wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use millrace_core::{CheckpointId, Error, Result};
use millrace_state::{Leadership, Metadata};

use crate::control::{Message, Stored};
use crate::pointer::Pointer;

/// For a store call that is under way when the attempt ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Owns the leadership while an attempt runs; gives it back at the end.
pub struct StoreWorker {
    requests: Sender<Request>,
    thread: std::thread::JoinHandle<Leadership>,
}

enum Request {
    Complete {
        metadata: Metadata,
        is_to_be_copied: bool,
    },
    Copied(CheckpointId),
}

/// What it does beside completing checkpoints.
pub struct StoreSettings {
    pub retained: usize,
    pub pointer: Option<Arc<dyn Pointer>>,
    /// Deletes a restored checkpoint that the job has claimed, by its path.
    pub delete_claimed: Box<DeleteClaimed>,
}

type DeleteClaimed = dyn Fn(&str) -> Result<()> + Send;

impl StoreWorker {
    pub fn start(
        leadership: Leadership,
        settings: StoreSettings,
        results: Sender<Message>,
    ) -> std::io::Result<Self> {
        let (requests, receiver) = crossbeam_channel::unbounded();
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || work(leadership, &settings, &receiver, &results))?;
        Ok(StoreWorker { requests, thread })
    }

    /// Its result comes as `Message::Stored`. The files of one that is to be copied stay until `copied`.
    pub fn complete(&self, metadata: Metadata, is_to_be_copied: bool) {
        let _ = self.requests.send(Request::Complete {
            metadata,
            is_to_be_copied,
        });
    }

    /// The checkpoint has been copied, or that was given up.
    pub fn copied(&self, checkpoint: CheckpointId) {
        let _ = self.requests.send(Request::Copied(checkpoint));
    }

    /// Waits for what is being done and gives the leadership back. A store that hangs keeps it: what is
    /// not done by then is left to itself, and nothing of this job can be led by this process any more.
    pub fn finish(self) -> Result<Leadership> {
        drop(self.requests);
        let until = Instant::now() + PATIENCE;
        while !self.thread.is_finished() {
            if Instant::now() > until {
                return Err(unanswered());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread
            .join()
            .map_err(|panic| millrace_runtime::driver::panicked(panic.as_ref()))
    }
}

/// The checkpoint folder hangs.
pub fn unanswered() -> Error {
    Error::external("the checkpoint folder does not answer")
        .with_hint("see whether its disk, mount or server hangs, then start the job again: it resumes")
}

fn work(
    mut leadership: Leadership,
    settings: &StoreSettings,
    requests: &Receiver<Request>,
    results: &Sender<Message>,
) -> Leadership {
    for request in requests {
        let (metadata, is_to_be_copied) = match request {
            Request::Complete {
                metadata,
                is_to_be_copied,
            } => (metadata, is_to_be_copied),
            Request::Copied(checkpoint) => {
                leadership.unpin(checkpoint);
                continue;
            }
        };
        let checkpoint = CheckpointId(metadata.checkpoint);
        // A panic must fail the checkpoint: without an answer none would ever follow it.
        let completed = catch_unwind(AssertUnwindSafe(|| {
            leadership.complete(&metadata, settings.retained)
        }))
        .unwrap_or_else(|panic| Err(millrace_runtime::driver::panicked(panic.as_ref())));
        let outcome = completed.map(|completed| {
            if is_to_be_copied {
                leadership.pin(checkpoint);
            }
            let path = leadership.job().describe_checkpoint(&completed);
            if let Some(pointer) = &settings.pointer {
                pointer.completed(&completed, &path);
            }
            Stored {
                size: leadership.size(&metadata, &completed),
                path,
                oldest: leadership.head().completed.first().map_or(checkpoint, |c| c.id),
            }
        });
        let is_complete = outcome.is_ok();
        let _ = results.send(Message::Stored { checkpoint, outcome });
        if is_complete && let Some(claimed) = leadership.claimed() {
            // It is no longer needed: nothing of it is in the checkpoint that is complete now.
            match (settings.delete_claimed)(&claimed) {
                Ok(()) => tracing::info!(path = claimed, "the claimed checkpoint is deleted"),
                Err(error) => tracing::warn!(path = claimed, %error, "the claimed checkpoint stays"),
            }
            leadership.forget_claimed();
        }
    }
    leadership
}
