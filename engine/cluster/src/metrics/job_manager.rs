//! All that a JobManager's process shows.

use millrace_runtime::operators::now_millis;

use super::{Group, JobFigures, Metric, Process, Scope, StatusMetrics};
use crate::resources::ResourceManager;

pub struct JobManagerMetrics {
    pub process: Process,
    /// As the machine is called.
    pub host: String,
    pub resources: ResourceManager,
    pub status: StatusMetrics,
}

impl JobManagerMetrics {
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
