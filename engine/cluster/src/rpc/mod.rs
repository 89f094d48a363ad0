//! Control between JobManager and TaskManagers: `proto/control.proto` over tonic.

mod inspection;
mod job_manager;
mod task_manager;

pub use job_manager::{ControlService, Heartbeats};
pub use task_manager::{Worker, WorkerSettings};

/// What is generated of `proto/control.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("millrace.cluster.v1");
}

use millrace_core::{Error, JobId, Result};

use crate::exchange::AttemptId;

/// No limit of tonic's own: the state of a job may be long, and comes in one message.
pub const LONGEST_MESSAGE: usize = 1 << 30;

impl From<AttemptId> for proto::Attempt {
    fn from(id: AttemptId) -> Self {
        proto::Attempt {
            job: id.job.0.to_vec(),
            attempt: id.attempt,
        }
    }
}

impl proto::Attempt {
    fn id(&self) -> Result<AttemptId> {
        let job = self
            .job
            .as_slice()
            .try_into()
            .map_err(|_| Error::external("a message of another process names a job in a wrong way"))?;
        Ok(AttemptId {
            job: JobId(job),
            attempt: self.attempt,
        })
    }
}
