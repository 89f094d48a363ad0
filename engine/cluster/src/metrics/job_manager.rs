//! All that a JobManager's process shows. Of TaskManagers, slots and jobs only one that leads knows; a standby has none.

use millrace_core::{Configuration, Result, options};
use millrace_runtime::operators::now_millis;

use super::{Group, JobFigures, Metric, Process, Scope, StatusMetrics, memory_limit};
use crate::process::Role;
use crate::resources::Shortage;

pub struct JobManagerMetrics {
    pub process: Process,
    /// As others reach it.
    pub host: String,
    pub status: StatusMetrics,
}

impl JobManagerMetrics {
    pub fn new(config: &Configuration, host: &str) -> Result<Self> {
        let limit = config.get_optional(&options::JOB_MANAGER_MEMORY)?;
        Ok(JobManagerMetrics {
            process: Process::new(memory_limit(limit.map(|limit| limit.0))),
            host: host.to_owned(),
            status: StatusMetrics::from_config(config)?,
        })
    }

    /// Of the JobManager's own scope.
    pub fn own(&self, role: &Role) -> Vec<Metric> {
        let (slots, running) = match role {
            Role::Leader(dispatcher) => {
                let jobs = dispatcher.jobs();
                let running = jobs.iter().filter(|job| job.state.flink() == "RUNNING").count();
                (dispatcher.resources().slots(), running)
            }
            Role::Standby => (
                Shortage {
                    free: 0,
                    all: 0,
                    task_managers: 0,
                },
                0,
            ),
        };
        let mut own = vec![
            Metric::gauge("numRegisteredTaskManagers", slots.task_managers),
            Metric::gauge("taskSlotsTotal", slots.all),
            Metric::gauge("taskSlotsAvailable", slots.free),
            Metric::gauge("numRunningJobs", running),
        ];
        own.extend(self.process.metrics((0, 0, 0)));
        own
    }

    /// All of it. A job that has ended is gone from here, as in Flink.
    pub fn groups(&self, role: &Role) -> Vec<Group> {
        let now = now_millis();
        let variables = vec![("host", self.host.clone())];
        let jobs = match role {
            Role::Leader(dispatcher) => dispatcher.jobs(),
            Role::Standby => Vec::new(),
        };
        let jobs = jobs.iter().filter(|job| !job.state.is_terminal());
        let mut groups: Vec<Group> = jobs
            .map(|job| JobFigures::from(&**job).group(&variables, self.status, now))
            .collect();
        groups.push(Group {
            scope: Scope::JobManager,
            metrics: self.own(role),
            variables,
        });
        groups
    }
}
