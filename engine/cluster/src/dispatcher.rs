//! All jobs of a JobManager: each has a JobMaster of its own, and one that fails touches no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use millrace_connector_api::Registry;
use millrace_core::{Configuration, Error, ErrorKind, JobId, Result, options};
use tokio::runtime::Handle;

use crate::gateway::SlotSource;
use crate::job::{JobControl, JobHandle, JobSpec, Outcome, submit_with};
use crate::pointer::Pointer;
use crate::resources::ResourceManager;
use crate::status::JobStatus;

/// Jobs that have ended and are still shown: Flink's `jobstore.max-capacity` has no bound; memory has.
const ENDED: usize = 200;

/// Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    config: Configuration,
    registry: Registry,
    runtime: Handle,
    resources: ResourceManager,
    entries: Option<Arc<dyn JobEntries>>,
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    running: BTreeMap<JobId, JobControl>,
    /// The newest last.
    ended: VecDeque<Arc<JobStatus>>,
    /// Nothing is taken any more.
    is_closed: bool,
}

/// Where jobs are written down that another JobManager is to go on with when this one is gone.
pub trait JobEntries: Send + Sync {
    /// Before the job begins.
    fn put(&self, spec: &JobSpec) -> Result<()>;
    /// The job was not begun.
    fn remove(&self, job: JobId) -> Result<()>;
    /// The job has ended in this way, and nobody goes on with it.
    fn ended(&self, job: JobId, name: &str, outcome: &Result<Outcome>) -> Result<()>;
    /// Told of the job's checkpoints.
    fn pointer(&self, job: JobId) -> Option<Arc<dyn Pointer>>;
}

impl Dispatcher {
    pub fn new(
        config: Configuration,
        registry: Registry,
        runtime: Handle,
        resources: ResourceManager,
        entries: Option<Arc<dyn JobEntries>>,
    ) -> Self {
        Dispatcher(Arc::new(Inner {
            config,
            registry,
            runtime,
            resources,
            entries,
            jobs: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The cluster's own; what a job sets comes on top of it.
    pub fn config(&self) -> &Configuration {
        &self.0.config
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub fn resources(&self) -> &ResourceManager {
        &self.0.resources
    }

    fn state(&self) -> MutexGuard<'_, Jobs> {
        self.0.jobs.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Checks a job and starts it. Blocks while outside systems are asked.
    pub fn submit(&self, spec: JobSpec) -> Result<JobHandle> {
        let id = spec.id;
        self.check_is_free(&spec)?;
        if let Some(entries) = &self.0.entries {
            entries.put(&spec)?;
        }
        let started = self.start(spec);
        if let (Err(_), Some(entries)) = (&started, &self.0.entries) {
            entries.remove(id)?;
        }
        started
    }

    /// Goes on with a job that another JobManager has written down.
    pub fn recover(&self, spec: JobSpec) -> Result<JobHandle> {
        tracing::info!("Recovered job {} ({}).", spec.name, spec.id);
        self.start(spec)
    }

    fn check_is_free(&self, spec: &JobSpec) -> Result<()> {
        if self.state().running.contains_key(&spec.id) {
            return Err(Error::user("a job of this id is running already")
                .with_detail(format!("{} ({})", spec.name, spec.id))
                .with_hint("cancel it first, or submit the job under another id"));
        }
        Ok(())
    }

    fn start(&self, spec: JobSpec) -> Result<JobHandle> {
        let id = spec.id;
        let pointer = self.0.entries.as_ref().and_then(|entries| entries.pointer(id));
        let this = self.clone();
        let slots = SlotSource::Shared(self.0.resources.clone());
        if self.state().is_closed {
            return Err(Error::external("this JobManager does not lead"));
        }
        // It may end before it is among the others.
        let (placed, is_placed) = std::sync::mpsc::channel();
        let handle = submit_with(spec, self.0.runtime.clone(), slots, pointer, move |outcome| {
            let _ = is_placed.recv();
            this.ended(id, outcome);
        })?;
        let mut jobs = self.state();
        jobs.running.insert(id, handle.control());
        let is_closed = jobs.is_closed;
        drop(jobs);
        if is_closed {
            handle.control().suspend();
        }
        let _ = placed.send(());
        Ok(handle)
    }

    fn ended(&self, id: JobId, outcome: &Result<Outcome>) {
        let mut jobs = self.state();
        let Some(control) = jobs.running.remove(&id) else {
            return;
        };
        // Another JobManager leads the job already, or is to.
        let goes_on = match outcome {
            Ok(outcome) => *outcome == Outcome::Suspended,
            // What fails while all is given up is tried again elsewhere.
            Err(error) => error.kind() == ErrorKind::Fenced || jobs.is_closed,
        };
        let name = control.look(|status| status.name.clone());
        if !matches!(outcome, Ok(Outcome::Suspended)) {
            jobs.ended.retain(|earlier| earlier.id != id);
            jobs.ended.push_back(Arc::new(control.status()));
            if jobs.ended.len() > ENDED {
                jobs.ended.pop_front();
            }
        }
        drop(jobs);
        self.0.changed.notify_all();
        if let (false, Some(entries)) = (goes_on, &self.0.entries)
            && let Err(error) = entries.ended(id, &name, outcome)
        {
            tracing::warn!(job = %id, %error, "the ended job is still written down for other JobManagers");
        }
    }

    /// It has given its jobs up.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Running ones, then ended ones, the newest last.
    pub fn jobs(&self) -> Vec<Arc<JobStatus>> {
        let jobs = self.state();
        let running = jobs.running.values().map(|control| Arc::new(control.status()));
        running.chain(jobs.ended.iter().cloned()).collect()
    }

    pub fn job(&self, id: JobId) -> Option<Arc<JobStatus>> {
        let jobs = self.state();
        match jobs.running.get(&id) {
            Some(control) => Some(Arc::new(control.status())),
            None => jobs.ended.iter().find(|ended| ended.id == id).cloned(),
        }
    }

    /// Of a job that runs.
    pub fn control(&self, id: JobId) -> Option<JobControl> {
        self.state().running.get(&id).cloned()
    }

    /// Where a job's savepoint goes: where it was asked for, else where the configuration says.
    pub fn savepoint_target(&self, job: &JobStatus, asked: Option<&str>) -> Result<String> {
        let configured = job.config.get_optional(&options::SAVEPOINT_DIRECTORY)?;
        asked.map(str::to_owned).or(configured).ok_or_else(|| {
            Error::user("it is not said where the savepoint is to be written")
                .with_hint("give a target directory, or set execution.checkpointing.savepoint-dir")
        })
    }

    /// Deletes a savepoint by its path.
    pub fn dispose_savepoint(&self, path: &str) -> Result<()> {
        millrace_state::savepoint::dispose(path, &self.0.config, &self.0.runtime)
    }

    /// Gives up all jobs, for another JobManager to go on with, and waits until nothing of them runs here.
    pub fn suspend(&self) {
        let mut jobs = self.state();
        jobs.is_closed = true;
        for control in jobs.running.values() {
            control.suspend();
        }
        while !jobs.running.is_empty() {
            jobs = self.0.changed.wait(jobs).unwrap_or_else(|e| e.into_inner());
        }
    }
}
