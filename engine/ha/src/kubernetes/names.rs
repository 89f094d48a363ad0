//! Flink's names and keys in Kubernetes.

use std::collections::BTreeMap;

use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Configuration, Error, Result, options};
use uuid::Uuid;

use crate::services::parse_job;
use crate::settings::wrong;
use crate::{Addresses, LeaderInfo};

/// The annotation that the lease is in.
pub(super) const LEASE: &str = "control-plane.alpha.kubernetes.io/leader";
/// The number of the next checkpoint.
pub(super) const COUNTER: &str = "counter";

const LEADER: &str = "org.apache.flink.k8s.leader.";
const PLAN: &str = "executionPlan-";
const CHECKPOINT: &str = "checkpointID-";

/// What has an address of its own in Flink. Here all of them are the JobManager.
const COMPONENTS: [&str; 3] = ["dispatcher", "resourcemanager", "restserver"];

#[derive(Debug, Clone)]
pub(super) struct Names {
    cluster_id: String,
}

impl Names {
    pub(super) fn from_config(config: &Configuration) -> Result<Names> {
        let option = &options::KUBERNETES_CLUSTER_ID;
        let cluster_id = config.get_optional(option)?.ok_or_else(|| {
            Error::user(format!("the configuration option '{}' is missing", option.key)).with_hint(format!(
                "{}; without it there is no name for HA data",
                option.description
            ))
        })?;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let fits = cluster_id.len() <= 45
            && cluster_id.chars().all(allowed)
            && edge(cluster_id.chars().next())
            && edge(cluster_id.chars().last());
        match fits {
            true => Ok(Names { cluster_id }),
            false => Err(wrong(
                option.key,
                &cluster_id,
                "it takes at most 45 lower-case letters, digits and '-', the first and the last no '-'",
            )),
        }
    }

    /// The ConfigMap of the lease.
    pub(super) fn cluster(&self) -> String {
        format!("{}-cluster-config-map", self.cluster_id)
    }

    pub(super) fn job(&self, job: JobId) -> String {
        format!("{}-{job}-config-map", self.cluster_id)
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app", self.cluster_id.as_str()),
            ("type", "flink-native-kubernetes"),
            // Of Flink up to 1.20; operators look for either.
            ("configmap-type", "high-availability"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

/// Keys and values that say where a leader is.
pub(super) fn leader_entries(me: &Addresses, session: Uuid) -> BTreeMap<String, String> {
    COMPONENTS
        .map(|component| {
            let address = match component {
                "restserver" => &me.rest,
                _ => &me.control,
            };
            (leader_key(component), format!("{session},{address}"))
        })
        .into()
}

pub(super) fn leader_keys() -> [String; 3] {
    COMPONENTS.map(leader_key)
}

fn leader_key(component: &str) -> String {
    format!("{LEADER}{component}")
}

/// None when no leader is told, or not one.
pub(super) fn leader_of(data: &BTreeMap<String, String>) -> Option<LeaderInfo> {
    let entry = |component| -> Option<(Uuid, String)> {
        let (session, address) = data.get(&leader_key(component))?.split_once(',')?;
        Some((session.parse().ok()?, address.to_owned()))
    };
    let ((session, control), (of_rest, rest)) = (entry("dispatcher")?, entry("restserver")?);
    let addresses = Addresses { control, rest };
    (session == of_rest).then_some(LeaderInfo { session, addresses })
}

pub(super) fn plan_key(job: JobId) -> String {
    format!("{PLAN}{job}")
}

/// The job of a key of the cluster's ConfigMap.
pub(super) fn job_of(key: &str) -> Option<JobId> {
    parse_job(key.strip_prefix(PLAN)?)
}

pub(super) fn checkpoint_key(id: CheckpointId) -> String {
    format!("{CHECKPOINT}{:019}", id.0)
}

/// The checkpoint of a key of a job's ConfigMap.
pub(super) fn checkpoint_of(key: &str) -> Option<CheckpointId> {
    key.strip_prefix(CHECKPOINT)?.parse().ok().map(CheckpointId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_flinks() {
        let mut config = Configuration::default();
        config.set("kubernetes.cluster-id", "my-job");
        let names = Names::from_config(&config).unwrap();
        let job = JobId([0xab; 16]);
        assert_eq!(names.cluster(), "my-job-cluster-config-map");
        assert_eq!(names.job(job), format!("my-job-{job}-config-map"));
        assert_eq!(names.labels()["app"], "my-job");
        assert_eq!(names.labels()["type"], "flink-native-kubernetes");
        assert_eq!(
            checkpoint_key(CheckpointId(7)),
            "checkpointID-0000000000000000007"
        );
        assert_eq!(
            checkpoint_of(&checkpoint_key(CheckpointId(7))),
            Some(CheckpointId(7))
        );
        assert_eq!(job_of(&plan_key(job)), Some(job));
        assert_eq!(job_of("jobGraph-1"), None);
    }

    #[test]
    fn a_leader_is_read_back_and_half_a_leader_is_none() {
        let me = Addresses {
            control: "a:6123".to_owned(),
            rest: "http://a:8081".to_owned(),
        };
        let session = Uuid::new_v4();
        let mut data = leader_entries(&me, session);
        assert_eq!(
            data["org.apache.flink.k8s.leader.restserver"],
            format!("{session},http://a:8081")
        );
        let leader = leader_of(&data).unwrap();
        assert_eq!((leader.session, leader.addresses), (session, me.clone()));
        data.extend(
            leader_entries(&me, Uuid::new_v4())
                .into_iter()
                .filter(|(key, _)| key.ends_with("restserver")),
        );
        assert_eq!(leader_of(&data), None);
        data.clear();
        assert_eq!(leader_of(&data), None);
    }
}
