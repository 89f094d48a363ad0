//! Flink's paths in ZooKeeper.

use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{ConfigOption, Configuration, Result, options};

use crate::services::parse_job;
use crate::settings::wrong;

/// What has an address of its own in Flink, by its node's name. Here all of them are the JobManager.
pub(super) const COMPONENTS: [&str; 3] = ["dispatcher", "resource_manager", "rest_server"];

#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// `/<root>/<cluster-id>`
    cluster: String,
    /// The name of the node above the jobs' entries; it may have slashes in it.
    plans: String,
}

impl Paths {
    pub(super) fn from_config(config: &Configuration) -> Result<Paths> {
        let parts = |option: &ConfigOption<String>| -> Result<Vec<String>> {
            let text = config.get(option)?;
            let parts: Vec<String> = text
                .split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect();
            if parts.iter().any(|part| !is_name(part)) {
                return Err(wrong(
                    option.key,
                    &text,
                    "it takes the path of a node of ZooKeeper",
                ));
            }
            Ok(parts)
        };
        let mut cluster = parts(&options::HA_ZOOKEEPER_ROOT)?;
        cluster.extend(parts(&options::HA_CLUSTER_ID)?);
        let plans = parts(&options::HA_ZOOKEEPER_EXECUTION_PLANS_PATH)?;
        for (option, parts) in [
            (&options::HA_CLUSTER_ID, &cluster),
            (&options::HA_ZOOKEEPER_EXECUTION_PLANS_PATH, &plans),
        ] {
            if parts.is_empty() {
                return Err(wrong(
                    option.key,
                    "/",
                    "it takes the path of a node below the root",
                ));
            }
        }
        Ok(Paths {
            cluster: format!("/{}", cluster.join("/")),
            plans: plans.join("/"),
        })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn leader(&self) -> String {
        format!("{}/leader", self.cluster)
    }

    pub(super) fn latch(&self) -> String {
        format!("{}/leader/latch", self.cluster)
    }

    pub(super) fn component(&self, name: &str) -> String {
        format!("{}/leader/{name}", self.cluster)
    }

    pub(super) fn info(&self, component: &str) -> String {
        format!("{}/leader/{component}/connection_info", self.cluster)
    }

    pub(super) fn plans(&self) -> String {
        format!("{}/{}", self.cluster, self.plans)
    }

    pub(super) fn plan(&self, job: JobId) -> String {
        format!("{}/{}/{job}", self.cluster, self.plans)
    }

    pub(super) fn job(&self, job: JobId) -> String {
        format!("{}/jobs/{job}", self.cluster)
    }

    pub(super) fn checkpoints(&self, job: JobId) -> String {
        format!("{}/jobs/{job}/checkpoints", self.cluster)
    }

    pub(super) fn checkpoint(&self, job: JobId, id: CheckpointId) -> String {
        format!("{}/jobs/{job}/checkpoints/{:019}", self.cluster, id.0)
    }

    pub(super) fn counter(&self, job: JobId) -> String {
        format!("{}/jobs/{job}/checkpoint_id_counter", self.cluster)
    }
}

/// The job of a node below `plans`.
pub(super) fn job_of(name: &str) -> Option<JobId> {
    parse_job(name)
}

/// The checkpoint of a node below `checkpoints`.
pub(super) fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    name.parse().ok().map(CheckpointId)
}

fn is_name(part: &str) -> bool {
    part != "." && part != ".." && !part.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(pairs: &[(&str, &str)]) -> Result<Paths> {
        let config = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Paths::from_config(&config)
    }

    #[test]
    fn paths_are_flinks() {
        let job = JobId([0xab; 16]);
        let defaults = paths(&[]).unwrap();
        assert_eq!(defaults.latch(), "/flink/default/leader/latch");
        assert_eq!(
            defaults.info("rest_server"),
            "/flink/default/leader/rest_server/connection_info"
        );
        assert_eq!(
            defaults.plan(job),
            format!("/flink/default/execution-plans/{job}")
        );
        assert_eq!(
            defaults.checkpoint(job, CheckpointId(7)),
            format!("/flink/default/jobs/{job}/checkpoints/0000000000000000007")
        );
        let own = paths(&[
            ("high-availability.zookeeper.path.root", "a/b/"),
            ("high-availability.cluster-id", "/c"),
        ]);
        assert_eq!(own.unwrap().cluster(), "/a/b/c");
    }

    #[test]
    fn what_is_no_path_is_refused_by_its_key() {
        for (key, value) in [
            ("high-availability.cluster-id", "a/../b"),
            ("high-availability.zookeeper.path.root", "a\u{1}"),
            ("high-availability.zookeeper.path.execution-plans", "/"),
        ] {
            let e = paths(&[(key, value)]).unwrap_err().to_string();
            assert!(e.contains(key), "{e}");
        }
    }

    #[test]
    fn names_of_nodes_are_read_back() {
        assert_eq!(checkpoint_of("0000000000000000007"), Some(CheckpointId(7)));
        assert_eq!(job_of(&"ab".repeat(16)), Some(JobId([0xab; 16])));
        assert_eq!(job_of("locks"), None);
    }
}
