//! The services, by `high-availability.type`.

use std::sync::Arc;

use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Configuration, Error, Result, options};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::{Addresses, Election, LeaderInfo, kubernetes, zookeeper};

/// The connection to the store of HA data. Clones share it; it ends with the last of them and of their elections.
#[derive(Clone)]
pub struct HaServices(Store);

#[derive(Clone)]
enum Store {
    ZooKeeper(Arc<zookeeper::Services>),
    Kubernetes(Arc<kubernetes::Services>),
}

/// The factory that older configurations name instead of `kubernetes`.
const KUBERNETES_FACTORY: &str = "org.apache.flink.kubernetes.highavailability.KubernetesHaServicesFactory";

impl HaServices {
    /// None for `high-availability.type: NONE`. Checks the options, which errors name, and reads a kubeconfig; the
    /// store need not be reachable yet, and is connected to in the background.
    pub fn open(config: &Configuration, runtime: &Handle) -> Result<Option<HaServices>> {
        let kind = config.get(&options::HA_TYPE)?;
        let store = match kind.trim() {
            kind if kind.eq_ignore_ascii_case("none") => return Ok(None),
            kind if kind.eq_ignore_ascii_case("zookeeper") => {
                let settings = zookeeper::Settings::from_config(config)?;
                Store::ZooKeeper(zookeeper::Services::start(settings, runtime))
            }
            kind if kind.eq_ignore_ascii_case("kubernetes") || kind == KUBERNETES_FACTORY => {
                let settings = kubernetes::Settings::from_config(config)?;
                Store::Kubernetes(kubernetes::Services::start(settings, config, runtime)?)
            }
            kind => {
                return Err(Error::user("there is no such kind of high availability")
                    .with_detail(format!("{}: '{kind}'", options::HA_TYPE.key))
                    .with_hint("it takes NONE, zookeeper or kubernetes"));
            }
        };
        Ok(Some(HaServices(store)))
    }

    /// Contends for the leadership of the cluster. A leader publishes its addresses.
    pub fn elect(&self, me: Addresses) -> Election {
        match &self.0 {
            Store::ZooKeeper(services) => services.elect(me),
            Store::Kubernetes(services) => services.elect(me),
        }
    }

    /// The leader as others know it; none before it is known, and after a leader has gone. While the store cannot be
    /// reached it is the last one known.
    pub fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        match &self.0 {
            Store::ZooKeeper(services) => services.leader(),
            Store::Kubernetes(services) => services.leader(),
        }
    }

    /// The entries of all jobs, as they are after every write of earlier leaders.
    pub async fn jobs(&self) -> Result<Vec<(JobId, Vec<u8>)>> {
        match &self.0 {
            Store::ZooKeeper(services) => services.jobs().await,
            Store::Kubernetes(services) => services.jobs().await,
        }
    }

    /// A job's pointers to checkpoints, the newest last.
    pub async fn checkpoints(&self, job: JobId) -> Result<Vec<(CheckpointId, Vec<u8>)>> {
        match &self.0 {
            Store::ZooKeeper(services) => services.checkpoints(job).await,
            Store::Kubernetes(services) => services.checkpoints(job).await,
        }
    }
}

/// 32 hexadecimal digits.
pub(crate) fn parse_job(text: &str) -> Option<JobId> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(JobId(id))
}
