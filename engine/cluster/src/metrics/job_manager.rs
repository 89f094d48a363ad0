//! All that a JobManager's process shows.

use std::sync::Arc;

use millrace_core::{Configuration, Result, options};
use millrace_runtime::operators::now_millis;

use super::{Group, JobFigures, Metric, Process, Scope, StatusMetrics, memory_limit};
use crate::process::host_name;
use crate::resources::ResourceManager;
use crate::status::JobStatus;

pub struct JobManagerMetrics {
    pub process: Process,
    /// As the machine is called.
    pub host: String,
    pub resources: ResourceManager,
    pub status: StatusMetrics,
}

impl JobManagerMetrics {
    pub fn new(config: &Configuration, resources: ResourceManager) -> Result<Self> {
        let limit = config.get_optional(&options::JOB_MANAGER_MEMORY)?;
        let host = match config.get_optional(&options::JOB_MANAGER_ADDRESS)? {
            Some(host) => host,
            None => host_name(),
        };
        Ok(JobManagerMetrics {
            process: Process::new(memory_limit(limit.map(|limit| limit.0))),
            host,
            resources,
            status: StatusMetrics::from_config(config)?,
        })
    }

    /// Of these jobs, those that have not ended: an ended one's metrics are gone, as in Flink.
    pub fn of_jobs(&self, jobs: &[Arc<JobStatus>]) -> Vec<Group> {
        let running = jobs.iter().filter(|job| !job.state.is_terminal());
        let figures: Vec<JobFigures> = running.map(|job| JobFigures::from(&**job)).collect();
        self.groups(&figures)
    }

    /// Of the JobManager's own scope.
    pub fn own(&self, running_jobs: usize) -> Vec<Metric> {
        let slots = self.resources.slots();
        let mut own = vec![
            Metric::gauge("numRegisteredTaskManagers", slots.task_managers),
            Metric::gauge("taskSlotsTotal", slots.all),
            Metric::gauge("taskSlotsAvailable", slots.free),
            Metric::gauge("numRunningJobs", running_jobs),
        ];
        own.extend(self.process.metrics((0, 0, 0)));
        own
    }

    /// All of it, with these jobs.
    pub fn groups(&self, jobs: &[JobFigures]) -> Vec<Group> {
        let now = now_millis();
        let variables = vec![("host", self.host.clone())];
        let running = jobs.iter().filter(|job| job.state == "RUNNING").count();
        let mut groups: Vec<Group> = jobs
            .iter()
            .map(|job| job.group(&variables, self.status, now))
            .collect();
        groups.push(Group {
            scope: Scope::JobManager,
            metrics: self.own(running),
            variables,
        });
        groups
    }
}
