//! Kubernetes: a lease in an annotation of the cluster's ConfigMap, which holds the leader's addresses and the jobs'
//! entries too.

mod election;
mod jobs;
mod lease;
mod maps;
mod names;
mod observer;
mod settings;
mod tenure;

use std::sync::{Arc, OnceLock};

use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Configuration, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(crate) use settings::Settings;
pub(crate) use tenure::Tenure;

use crate::{Addresses, Election, LeaderInfo};
use maps::Maps;
use observer::Observer;

pub(crate) struct Services {
    maps: Maps,
    /// Started by who first needs it.
    observer: OnceLock<Observer>,
    leader: OnceLock<watch::Receiver<Option<LeaderInfo>>>,
    runtime: Handle,
}

impl Services {
    pub(crate) fn start(
        settings: Settings,
        config: &Configuration,
        runtime: &Handle,
    ) -> Result<Arc<Services>> {
        let _in_runtime = runtime.enter();
        Ok(Arc::new(Services {
            maps: Maps::connect(settings, config)?,
            observer: OnceLock::new(),
            leader: OnceLock::new(),
            runtime: runtime.clone(),
        }))
    }

    fn observer(&self) -> Observer {
        let start = || Observer::start(self.maps.clone(), &self.runtime);
        self.observer.get_or_init(start).clone()
    }

    pub(crate) fn elect(&self, me: Addresses) -> Election {
        let (maps, observer) = (self.maps.clone(), self.observer());
        Election::start(&self.runtime, |leading, ending| {
            election::contend(maps, observer, me, leading, ending)
        })
    }

    pub(crate) fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        let start = || {
            let (sender, receiver) = watch::channel(None);
            self.runtime
                .spawn(observer::follow(self.observer().views(), sender));
            receiver
        };
        self.leader.get_or_init(start).clone()
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<(JobId, Vec<u8>)>> {
        jobs::jobs(&self.maps).await
    }

    pub(crate) async fn checkpoints(&self, job: JobId) -> Result<Vec<(CheckpointId, Vec<u8>)>> {
        jobs::checkpoints(&self.maps, job).await
    }
}
