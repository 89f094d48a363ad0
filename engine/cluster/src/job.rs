//! What is submitted, and the handle that the submitter gets.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use millrace_connector_api::Registry;
use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::Graph;
use tokio::runtime::Handle;

use crate::attempt::Message;
use crate::gateway::{SlotSource, Slots};
use crate::job_master::JobMaster;
use crate::status::JobStatus;
use crate::task_manager::TaskManager;

/// A job as it is submitted.
#[derive(Clone)]
pub struct JobSpec {
    pub name: String,
    pub graph: Graph,
    pub config: Configuration,
    pub registry: Registry,
    pub start: Start,
}

/// What a run begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// An unfinished run of the same job is resumed; else it starts anew.
    Resume,
    /// Anew, whatever is there. What complete checkpoints of the earlier run hold is committed.
    Fresh,
    /// From the checkpoint in this folder (a path or URI).
    From(String),
}

/// How a job ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All input was processed and everything is visible.
    Finished,
    /// Stopped on request, with a checkpoint where the job has them.
    Stopped,
}

/// A running job. Cheap to clone, but for its end, which one owner waits for.
pub struct JobHandle {
    messages: Sender<Message>,
    status: Arc<Mutex<JobStatus>>,
    thread: JoinHandle<Result<Outcome>>,
}

/// Asks a job to stop; may be sent to other threads.
#[derive(Clone)]
pub struct Stopper(Sender<Message>);

impl Stopper {
    /// Stops with a checkpoint; asking again changes nothing.
    pub fn stop(&self) {
        let _ = self.0.send(Message::Stop);
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
    let (messages, receiver) = crossbeam_channel::unbounded();
    let status = Arc::new(Mutex::new(JobStatus::new(&spec.name)));
    let master = JobMaster::new(spec, runtime, slots, messages.clone(), receiver, status.clone())?;
    let thread = std::thread::Builder::new()
        .name("job-master".to_owned())
        .stack_size(crate::STACK)
        .spawn(move || master.run())
        .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
    Ok(JobHandle {
        messages,
        status,
        thread,
    })
}

impl JobHandle {
    pub fn stopper(&self) -> Stopper {
        Stopper(self.messages.clone())
    }

    pub fn status(&self) -> JobStatus {
        self.status.lock().unwrap_or_else(|e| e.into_inner()).clone()
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
