//! One result that is made beside the subtask; its thread is woken when it is there.

use std::task::Poll;

use millrace_connector_api::Waker;
use millrace_connector_api::source::tokio_handle::Handle as Runtime;
use millrace_core::{Error, Result};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

pub struct Task<T>(oneshot::Receiver<Result<T>>);

/// Wakes when it is dropped, so that a task that dies is noticed too.
struct WakeAtEnd(Waker);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Runs what blocks on a thread that may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal("a task of the Kafka sink died").with_source(e)),
    }
}

impl<T: Send + 'static> Task<T> {
    pub fn spawn(
        runtime: &Runtime,
        waker: Waker,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = oneshot::channel();
        let wake = WakeAtEnd(waker);
        runtime.spawn(async move {
            let wake = wake;
            // Nobody waits if the writer is gone.
            let _ = sender.send(work.await);
            drop(wake);
        });
        Task(receiver)
    }

    pub fn poll(&mut self) -> Result<Poll<T>> {
        match self.0.try_recv() {
            Ok(result) => result.map(Poll::Ready),
            Err(TryRecvError::Empty) => Ok(Poll::Pending),
            Err(TryRecvError::Closed) => Err(Error::internal("a task of the Kafka sink died")),
        }
    }
}
