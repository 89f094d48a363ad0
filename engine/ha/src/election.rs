//! A contender for the leadership, as its owner holds it.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::Leadership;

/// Whether this contender leads.
#[derive(Debug, Clone)]
pub enum Leading {
    NotLeading,
    Leading(Leadership),
}

impl Leading {
    pub fn leadership(&self) -> Option<&Leadership> {
        match self {
            Leading::NotLeading => None,
            Leading::Leading(leadership) => Some(leadership),
        }
    }
}

/// A contender. It contends until it is closed or dropped, which gives a leadership up at once.
#[derive(Debug)]
pub struct Election {
    leading: watch::Receiver<Leading>,
    end: Option<oneshot::Sender<End>>,
    task: Option<JoinHandle<()>>,
}

/// How a contender goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The leadership is released.
    Release,
    /// And if it was this one's, all HA data of the cluster goes with it.
    CleanUp,
}

/// Tells a contender's task that it shall end.
pub(crate) struct Ending(oneshot::Receiver<End>);

impl Ending {
    /// Returns when it shall end; not to be awaited again afterwards.
    pub(crate) async fn asked(&mut self) -> End {
        (&mut self.0).await.unwrap_or(End::Release)
    }
}

impl Election {
    /// Starts a contender's task, which ends some time after its `Ending` says so.
    pub(crate) fn start<F>(
        runtime: &Handle,
        contend: impl FnOnce(watch::Sender<Leading>, Ending) -> F,
    ) -> Election
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, leading) = watch::channel(Leading::NotLeading);
        let (end, ending) = oneshot::channel();
        Election {
            leading,
            end: Some(end),
            task: Some(runtime.spawn(contend(sender, Ending(ending)))),
        }
    }

    /// Tells of each change.
    pub fn leading(&self) -> watch::Receiver<Leading> {
        self.leading.clone()
    }

    /// Gives up, and returns when another contender can lead (or the store could not be reached).
    pub async fn close(self) {
        self.end(End::Release).await;
    }

    /// The same for a cluster that is no more: if this contender leads, the cluster's HA data is deleted, apart from
    /// that of jobs that are still in it.
    pub async fn close_and_clean_up(self) {
        self.end(End::CleanUp).await;
    }

    async fn end(mut self, how: End) {
        if let Some(end) = self.end.take() {
            let _ = end.send(how);
        }
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}
