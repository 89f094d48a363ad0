//! ZooKeeper: an ephemeral sequential node for each contender, each watching the one before it.

mod election;
mod info;
mod jobs;
mod latch;
mod paths;
mod retrieval;
mod session;
mod settings;
mod tenure;

use std::sync::{Arc, OnceLock};

use millrace_core::Result;
use millrace_core::ids::{CheckpointId, JobId};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(crate) use settings::Settings;
pub(crate) use tenure::Tenure;

use crate::{Addresses, Election, LeaderInfo};
use session::Sessions;

/// One session at a time, shared by what goes on in this process.
pub(crate) struct Services {
    sessions: Sessions,
    leader: OnceLock<watch::Receiver<Option<LeaderInfo>>>,
    runtime: Handle,
}

impl Services {
    pub(crate) fn start(settings: Settings, runtime: &Handle) -> Arc<Services> {
        Arc::new(Services {
            sessions: Sessions::start(Arc::new(settings), runtime),
            leader: OnceLock::new(),
            runtime: runtime.clone(),
        })
    }

    pub(crate) fn elect(&self, me: Addresses) -> Election {
        let sessions = self.sessions.clone();
        Election::start(&self.runtime, |leading, ending| {
            election::contend(sessions, me, leading, ending)
        })
    }

    pub(crate) fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        let start = || {
            let (sender, receiver) = watch::channel(None);
            self.runtime
                .spawn(retrieval::follow(self.sessions.feed(), sender));
            receiver
        };
        self.leader.get_or_init(start).clone()
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<(JobId, Vec<u8>)>> {
        jobs::jobs(&self.sessions).await
    }

    pub(crate) async fn checkpoints(&self, job: JobId) -> Result<Vec<(CheckpointId, Vec<u8>)>> {
        jobs::checkpoints(&self.sessions, job).await
    }
}
