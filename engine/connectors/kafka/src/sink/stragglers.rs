//! Transactions that earlier attempts opened after they were fenced.
//!
//! An attempt that was deposed and does not know it yet can still open an id that it never used
//! before: nobody knew of it when the recovery fenced. What it writes there is never committed, but
//! until the transaction times out, readers of committed records are shown nothing behind it. So the
//! new attempt looks again: first when its own first checkpoint is complete, then now and then.

use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_connector_api::source::tokio_handle::Handle as Runtime;
use millrace_kafka_wire::Admin;

use super::recovery;
use super::task::Task;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(30);

pub struct Stragglers {
    admin: Admin,
    runtime: Runtime,
    waker: Waker,
    prefix: String,
    /// Ids of attempts before this one are looked for.
    attempt: u64,
    looked: Option<Instant>,
    looking: Option<Task<u64>>,
}

impl Stragglers {
    pub fn new(admin: Admin, runtime: Runtime, waker: Waker, prefix: String, attempt: u64) -> Self {
        Stragglers {
            admin,
            runtime,
            waker,
            prefix,
            attempt,
            looked: None,
            looking: None,
        }
    }

    /// A checkpoint of this attempt is complete: what earlier attempts left behind is decided, so
    /// whatever of theirs is open now belongs to no checkpoint.
    pub fn checkpoint_complete(&mut self) {
        if self.looking.is_some() || self.looked.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.looked = Some(Instant::now());
        let (admin, prefix, attempt) = (self.admin.clone(), self.prefix.clone(), self.attempt);
        self.looking = Some(Task::spawn(&self.runtime, self.waker.clone(), async move {
            recovery::fence_stragglers(&admin, &prefix, attempt).await
        }));
    }

    /// A failure is no more than a look that comes later.
    pub fn poll(&mut self) {
        let Some(looking) = &mut self.looking else { return };
        match looking.poll() {
            Ok(std::task::Poll::Pending) => return,
            Ok(std::task::Poll::Ready(0)) => {}
            Ok(std::task::Poll::Ready(fenced)) => tracing::warn!(
                prefix = self.prefix,
                fenced,
                "an earlier attempt still wrote: its transactions are aborted"
            ),
            Err(error) => tracing::warn!(prefix = self.prefix, %error, "looking for stragglers failed"),
        }
        self.looking = None;
    }
}
