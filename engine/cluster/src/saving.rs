//! A savepoint on its way: the copy of a complete checkpoint, made beside the running job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};
use millrace_core::{CheckpointId, Configuration, Error, JobId, Result};
use millrace_state::savepoint::Savepoint;
use millrace_state::{Metadata, Store};
use tokio::runtime::Handle;

use crate::control::{Message, Reply};

/// What is to be copied, and where.
pub struct Source {
    pub job: JobId,
    pub metadata: Metadata,
    /// What the job's checkpoints are read from.
    pub files: Arc<dyn Store>,
    pub config: Configuration,
    pub runtime: Handle,
}

/// Copies on a thread of its own: it says `Message::Copied` when the files are there, waits for `go_ahead`, and says
/// `Message::Saved` at last. One that is dropped before deletes what it has written.
pub struct Saving {
    pub checkpoint: CheckpointId,
    pub reply: Reply<String>,
    /// All of its transactions are committed, and all of its files are there.
    pub is_committed: bool,
    pub is_copied: bool,
    go_ahead: Sender<()>,
    is_wanted: Arc<AtomicBool>,
}

impl Saving {
    pub fn start(
        target: String,
        source: Source,
        reply: Reply<String>,
        results: Sender<Message>,
    ) -> Result<Self> {
        let checkpoint = CheckpointId(source.metadata.checkpoint);
        let (go_ahead, word) = crossbeam_channel::bounded(1);
        let is_wanted = Arc::new(AtomicBool::new(true));
        let wanted = is_wanted.clone();
        std::thread::Builder::new()
            .name("savepoint".to_owned())
            .spawn(move || save(&target, source, &wanted, &word, &results))
            .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
        Ok(Saving {
            checkpoint,
            reply,
            is_committed: false,
            is_copied: false,
            go_ahead,
            is_wanted,
        })
    }

    /// Lets it become a savepoint, if nothing is missing any more.
    pub fn proceed(&self) {
        if self.is_committed && self.is_copied {
            let _ = self.go_ahead.try_send(());
        }
    }

    /// It is not to be.
    pub fn abandon(self, why: Error) {
        self.is_wanted.store(false, Ordering::Release);
        self.reply.give(Err(why));
    }
}

fn save(
    target: &str,
    source: Source,
    is_wanted: &AtomicBool,
    go_ahead: &Receiver<()>,
    results: &Sender<Message>,
) {
    let Source {
        job,
        metadata,
        files,
        config,
        runtime,
    } = source;
    let checkpoint = CheckpointId(metadata.checkpoint);
    let begun = Savepoint::begin(target, job, metadata, &config, &runtime);
    let mut savepoint = match begun {
        Ok(savepoint) => savepoint,
        Err(error) => {
            let outcome = Err(error);
            let _ = results.send(Message::Copied { checkpoint, outcome });
            return;
        }
    };
    let outcome = savepoint.copy(files.as_ref(), &|| is_wanted.load(Ordering::Acquire));
    let is_whole = outcome.is_ok();
    let _ = results.send(Message::Copied { checkpoint, outcome });
    if !is_whole || go_ahead.recv().is_err() || !is_wanted.load(Ordering::Acquire) {
        savepoint.abandon();
        return;
    }
    let outcome = savepoint.finish();
    let _ = results.send(Message::Saved { checkpoint, outcome });
}
