//! What is submitted, and the handle that the submitter gets.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use millrace_connector_api::Registry;
use millrace_core::{CheckpointId, Configuration, Error, JobId, Result};
use millrace_dataflow::Graph;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::control::{Message, Reply};
use crate::gateway::{SlotSource, Slots};
use crate::job_master::JobMaster;
use crate::pointer::Pointer;
use crate::status::{Bounds, JobStatus};
use crate::task_manager::TaskManager;
use crate::words;

/// A job as it is submitted.
#[derive(Clone)]
pub struct JobSpec {
    /// What its checkpoints are found by in the checkpoint folder: one run of an id at a time.
    pub id: JobId,
    pub name: String,
    pub graph: Graph,
    pub config: Configuration,
    pub registry: Registry,
    pub start: Start,
    /// Its checkpoints go when it has ended in this way.
    pub discard: Discard,
}

/// After which ends a job's checkpoints are deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discard {
    pub finished: bool,
    pub cancelled: bool,
}

/// What a run begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// An unfinished run of the same job is resumed; else it starts anew.
    Resume,
    /// Anew, whatever is there. What complete checkpoints of the earlier run hold is committed.
    Fresh,
    /// From this checkpoint or savepoint, whatever the job has of its own.
    From(Restore),
    /// An unfinished run of the same job is resumed; else it starts from this.
    ResumeOrFrom(Restore),
}

/// A checkpoint or savepoint to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The path or URI of its folder.
    pub path: String,
    /// State of operators that the job does not have is left out; else it is refused.
    pub allow_non_restored_state: bool,
    pub claim: ClaimMode,
}

/// Whose a restored checkpoint is from then on: Flink's `execution.state-recovery.claim-mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClaimMode {
    /// Its owner's: the job never needs it again once it has a checkpoint of its own.
    #[default]
    NoClaim,
    /// The job's: it deletes it once it has a checkpoint of its own.
    Claim,
}

impl<T: Into<String>> From<T> for Restore {
    fn from(path: T) -> Self {
        Restore {
            path: path.into(),
            allow_non_restored_state: false,
            claim: ClaimMode::default(),
        }
    }
}

/// How a job ended without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All input was processed and everything is visible.
    Finished,
    /// Stopped on request, with a checkpoint where the job has them.
    Stopped,
    /// Ended on request, with what was complete by then.
    Cancelled,
    /// Given up by this process: another one goes on with it.
    Suspended,
}

/// A running job. Cheap to clone, but for its end, which one owner waits for.
pub struct JobHandle {
    messages: Sender<Message>,
    status: Arc<Mutex<JobStatus>>,
    thread: JoinHandle<Result<Outcome>>,
}

/// Asks things of a job; may be sent to other threads.
#[derive(Clone)]
pub struct JobControl {
    messages: Sender<Message>,
    status: Arc<Mutex<JobStatus>>,
}

impl JobControl {
    pub fn status(&self) -> JobStatus {
        self.status.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Looks at the status without a copy of it.
    pub fn look<T>(&self, look: impl FnOnce(&JobStatus) -> T) -> T {
        look(&self.status.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Stops with a checkpoint; asking again changes nothing.
    pub fn stop(&self) {
        let _ = self.messages.send(Message::Stop);
    }

    /// Ends it at once. What complete checkpoints hold becomes visible.
    pub fn cancel(&self) {
        let _ = self.messages.send(Message::Cancel);
    }

    /// Gives it up, for another process to go on with.
    pub fn suspend(&self) {
        let _ = self.messages.send(Message::Suspend);
    }

    /// Stops with a savepoint below `target`; answers with its path. With `drain`, all windows and timers fire before.
    pub fn stop_with_savepoint(&self, target: String, drain: bool) -> oneshot::Receiver<Result<String>> {
        words::stop_asked(self.look(|status| status.id));
        self.ask(|reply| Message::StopWithSavepoint { target, drain, reply })
    }

    /// Takes a savepoint below `target`; answers with its path.
    pub fn savepoint(&self, target: String) -> oneshot::Receiver<Result<String>> {
        words::savepoint_asked(self.look(|status| status.id));
        self.ask(|reply| Message::Savepoint { target, reply })
    }

    /// Takes a checkpoint now; answers with its number.
    pub fn checkpoint(&self) -> oneshot::Receiver<Result<CheckpointId>> {
        words::checkpoint_asked(self.look(|status| status.id));
        self.ask(|reply| Message::Checkpoint { reply })
    }

    /// How many subtasks each vertex may have from now on, by its index.
    pub fn set_bounds(&self, bounds: Vec<(usize, Bounds)>) -> oneshot::Receiver<Result<()>> {
        self.ask(|reply| Message::Bounds { bounds, reply })
    }

    /// A job that has ended drops the question, and with it the answer's sender.
    fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Message) -> oneshot::Receiver<Result<T>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.messages.send(question(Reply::new(reply)));
        answer
    }
}

/// Checks a job against the outside systems and starts it in this process.
pub fn submit(spec: JobSpec, runtime: Handle) -> Result<JobHandle> {
    // As many slots as it may want.
    let slots = Slots {
        gateway: Arc::new(TaskManager::embedded(spec.registry.clone(), runtime.clone())),
        count: usize::from(u16::MAX),
    };
    submit_to(spec, runtime, SlotSource::Own(vec![slots]))
}

/// The same, with subtasks in slots from there.
pub fn submit_to(spec: JobSpec, runtime: Handle, slots: SlotSource) -> Result<JobHandle> {
    submit_with(spec, runtime, slots, None, |_| {})
}

/// The same. `pointer` hears of every complete checkpoint; `ended` is called when the job has ended, before whoever
/// joins it hears of that.
pub fn submit_with(
    spec: JobSpec,
    runtime: Handle,
    slots: SlotSource,
    pointer: Option<Arc<dyn Pointer>>,
    ended: impl FnOnce(&Result<Outcome>) + Send + 'static,
) -> Result<JobHandle> {
    let (messages, receiver) = crossbeam_channel::unbounded();
    let master = JobMaster::new(spec, runtime, slots, pointer, messages.clone(), receiver)?;
    let status = master.status();
    let (id, name) = {
        let status = status.lock().unwrap_or_else(|e| e.into_inner());
        (status.id, status.name.clone())
    };
    let thread = std::thread::Builder::new()
        .name("job-master".to_owned())
        .stack_size(crate::STACK)
        .spawn(move || {
            let _whose = tracing::info_span!("job", job_id = %id, job_name = name).entered();
            let outcome = master.run();
            ended(&outcome);
            outcome
        })
        .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
    Ok(JobHandle {
        messages,
        status,
        thread,
    })
}

impl JobHandle {
    pub fn control(&self) -> JobControl {
        JobControl {
            messages: self.messages.clone(),
            status: self.status.clone(),
        }
    }

    pub fn status(&self) -> JobStatus {
        self.control().status()
    }

    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the job's end.
    pub fn join(self) -> Result<Outcome> {
        self.thread
            .join()
            .unwrap_or_else(|panic| Err(millrace_runtime::driver::panicked(panic.as_ref())))
    }
}
