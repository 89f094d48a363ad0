//! The options of `high-availability.kubernetes.*` and `kubernetes.*`.

use std::time::Duration;

use millrace_core::{Configuration, Result, options};

use super::names::Names;
use crate::settings::{positive, wrong};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) namespace: String,
    pub(super) names: Names,
    pub(super) lease: Duration,
    /// A leader gives up that has not renewed its lease for so long.
    pub(super) renew_deadline: Duration,
    pub(super) retry_period: Duration,
}

impl Settings {
    pub(crate) fn from_config(config: &Configuration) -> Result<Settings> {
        let lease = positive(config, &options::HA_KUBERNETES_LEASE_DURATION)?;
        let renew_deadline = positive(config, &options::HA_KUBERNETES_RENEW_DEADLINE)?;
        let retry_period = positive(config, &options::HA_KUBERNETES_RETRY_PERIOD)?;
        // Flink's defaults are equal; a leader must have given up when another can follow.
        let renew_deadline = renew_deadline.min(lease * 9 / 10);
        if retry_period >= renew_deadline {
            return Err(wrong(
                options::HA_KUBERNETES_RETRY_PERIOD.key,
                &format!("{} ms", retry_period.as_millis()),
                "a lease must be renewed more often than it ends: it takes less than renew-deadline and less than \
                 nine tenths of lease-duration",
            ));
        }
        Ok(Settings {
            namespace: config.get(&options::KUBERNETES_NAMESPACE)?,
            names: Names::from_config(config)?,
            lease,
            renew_deadline,
            retry_period,
        })
    }

    /// A request that takes longer has failed: two fit into the time that a leader has to renew its lease.
    pub(super) fn request_limit(&self) -> Duration {
        self.renew_deadline / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let mut config = Configuration::default();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        Settings::from_config(&config)
    }

    #[test]
    fn a_missing_cluster_id_is_named() {
        let e = settings(&[]).unwrap_err().to_string();
        assert!(e.contains("kubernetes.cluster-id"), "{e}");
        for id in ["", "A", "-a", "a_b", &"a".repeat(46)] {
            let e = settings(&[("kubernetes.cluster-id", id)])
                .unwrap_err()
                .to_string();
            assert!(e.contains("kubernetes.cluster-id"), "{e}");
        }
    }

    #[test]
    fn flinks_defaults_leave_time_between_two_leaders() {
        let id = ("kubernetes.cluster-id", "a-1");
        let defaults = settings(&[id]).unwrap();
        assert_eq!(defaults.namespace, "default");
        assert_eq!(defaults.lease, Duration::from_secs(15));
        assert!(defaults.renew_deadline < defaults.lease);
        let key = "high-availability.kubernetes.leader-election.retry-period";
        let e = settings(&[id, (key, "14 s")]).unwrap_err().to_string();
        assert!(e.contains(key), "{e}");
    }
}
