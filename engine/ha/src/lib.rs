//! Which JobManager leads, and what a new leader finds of the one before: in ZooKeeper, in Kubernetes, or nowhere.
//!
//! It may depend on `millrace-core` only. It knows neither jobs nor checkpoints: entries are small bytes, which point
//! to where the caller has written the rest.
//!
//! Names, keys, paths and forms are those of Apache Flink 2.1, so that what looks at a cluster's HA data (the Flink
//! Kubernetes Operator, a `flink` command that looks for the leader, people) finds it where it expects it:
//!
//! ```text
//! Kubernetes   ConfigMap <cluster-id>-cluster-config-map
//!                annotation control-plane.alpha.kubernetes.io/leader     the lease
//!                org.apache.flink.k8s.leader.{dispatcher,resourcemanager,restserver}   <session id>,<address>
//!                executionPlan-<job id>                                  a job's entry, base64
//!              ConfigMap <cluster-id>-<job id>-config-map
//!                checkpointID-<19 digits>, counter                       pointers to checkpoints, the next number
//! ZooKeeper    <root>/<cluster-id>/leader/latch/_c_<uuid>-latch-<n>       contenders, ephemeral
//!              <root>/<cluster-id>/leader/{dispatcher,resource_manager,rest_server}/connection_info
//!              <root>/<cluster-id>/execution-plans/<job id>
//!              <root>/<cluster-id>/jobs/<job id>/checkpoints/<19 digits>
//!              <root>/<cluster-id>/jobs/<job id>/checkpoint_id_counter
//! ```
//!
//! Rules:
//!
//! - **Nothing here decides what is true.** A job's head fences, and says which checkpoint counts; an entry is a hint
//!   where to look. So an entry that somebody deleted is just not there, and none of it is an error.
//! - **Who leads writes, and proves it with each write.** Writes take a [`Leadership`]. ZooKeeper checks in the same
//!   transaction that the contender's node is as it was when it was granted the leadership; Kubernetes takes a change
//!   only of the version that was read with the leader's own lease in it. (A job's own ConfigMap is not the one with
//!   the lease: there the lease is read between reading and writing.)
//! - **A loss is told no later than another one can be granted the leadership**, as far as a process can tell: at the
//!   loss of the connection to ZooKeeper, which is noticed within three fifths of the session's timeout; and when the
//!   lease in Kubernetes has not been renewed within its deadline, counted from before the request that renewed it.
//!   A process that was frozen meanwhile finds out when it runs again: until then its writes are refused.
//! - **Each grant has a session id of its own**, also when the same JobManager is granted the leadership again.
//! - **Nobody polls.** Contenders in ZooKeeper watch the one before them only; in Kubernetes they watch the ConfigMap.
//!
//! Kubernetes: a JobManager needs `get`, `watch`, `create`, `patch` and `delete` on `configmaps` in its namespace, a
//! TaskManager `get` and `watch`. Nothing is listed, and nothing else is touched:
//!
//! ```yaml
//! apiVersion: rbac.authorization.k8s.io/v1
//! kind: Role
//! metadata: {name: jobmanager}
//! rules:
//!   - apiGroups: [""]
//!     resources: [configmaps]
//!     verbs: [get, watch, create, patch, delete]
//! ```
//!
//! Everything is async and belongs to the runtime that [`HaServices::open`] is given; threads outside of it use
//! [`tokio::runtime::Handle::block_on`].
//!
//! Layout: `services`, `election` and `leadership` what callers hold, `settings` options, `zookeeper` and `kubernetes`
//! the two stores, each with its `election`, the `tenure` that a leader writes with, and `jobs`.

mod election;
mod kubernetes;
mod leadership;
mod services;
mod settings;
mod zookeeper;

pub use election::{Election, Leading};
pub use leadership::Leadership;
pub use services::HaServices;

use uuid::Uuid;

/// Bytes that an entry has at most. Both stores refuse more than about 1 MiB a node or ConfigMap.
pub const MAX_ENTRY: usize = 512 * 1024;

/// Where a JobManager is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// `host:port`, for TaskManagers.
    pub control: String,
    /// `http://host:port` or `https://host:port`, for clients.
    pub rest: String,
}

/// The JobManager that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderInfo {
    /// The id of this grant of the leadership.
    pub session: Uuid,
    pub addresses: Addresses,
}
