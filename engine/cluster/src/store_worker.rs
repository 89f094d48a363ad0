//! The thread that completes checkpoints: store calls may take long, the JobMaster may not wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use millrace_core::{CheckpointId, Error, Result};
use millrace_state::{Leadership, Metadata};

use crate::attempt::Message;

/// For a store call that is under way when the attempt ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Owns the leadership while an attempt runs; gives it back at the end.
pub struct StoreWorker {
    requests: Sender<Metadata>,
    thread: std::thread::JoinHandle<Leadership>,
}

impl StoreWorker {
    pub fn start(leadership: Leadership, retained: usize, results: Sender<Message>) -> std::io::Result<Self> {
        let (requests, receiver) = crossbeam_channel::unbounded();
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || work(leadership, retained, &receiver, &results))?;
        Ok(StoreWorker { requests, thread })
    }

    /// Its result comes as `Message::Stored`.
    pub fn complete(&self, metadata: Metadata) {
        let _ = self.requests.send(metadata);
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
    retained: usize,
    requests: &Receiver<Metadata>,
    results: &Sender<Message>,
) -> Leadership {
    for metadata in requests {
        let checkpoint = CheckpointId(metadata.checkpoint);
        // A panic must fail the checkpoint: without an answer none would ever follow it.
        let outcome = catch_unwind(AssertUnwindSafe(|| leadership.complete(&metadata, retained)))
            .unwrap_or_else(|panic| Err(millrace_runtime::driver::panicked(panic.as_ref())))
            .map(|completed| leadership.size(&metadata, &completed));
        let _ = results.send(Message::Stored { checkpoint, outcome });
    }
    leadership
}
