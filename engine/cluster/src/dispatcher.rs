//! All jobs of a JobManager: each has a JobMaster of its own, and one that fails touches no other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use millrace_connector_api::Registry;
use millrace_core::{Configuration, Error, ErrorKind, JobId, Result, options};
use millrace_dataflow::JobGraph;
use tokio::runtime::Handle;

use crate::gateway::SlotSource;
use crate::history::Exception;
use crate::job::{JobControl, JobHandle, JobSpec, Outcome, submit_with};
use crate::pointer::Pointer;
use crate::resources::ResourceManager;
use crate::status::{JobStatus, State};
use crate::words;

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
    /// Being begun: no other job of such an id is taken.
    beginning: BTreeSet<JobId>,
    /// The newest last.
    ended: VecDeque<Arc<JobStatus>>,
    /// Nothing is taken any more.
    is_closed: bool,
}

impl Jobs {
    fn show_ended(&mut self, status: JobStatus) {
        self.ended.retain(|earlier| earlier.id != status.id);
        self.ended.push_back(Arc::new(status));
        if self.ended.len() > ENDED {
            self.ended.pop_front();
        }
    }
}

/// A job that is being begun, as long as this is there.
struct Beginning(Dispatcher, JobId);

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.state().beginning.remove(&self.1);
    }
}

/// Between two tries to begin a job.
const PAUSE: Duration = Duration::from_secs(2);

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
        let _beginning = self.reserve(&spec)?;
        self.begin_new(spec)
    }

    /// The same, again and again while what the job needs is not to be had. Comes back when it runs, or when this
    /// JobManager no longer leads.
    pub fn submit_in_time(&self, spec: JobSpec) -> Result<()> {
        let _beginning = self.reserve(&spec)?;
        self.in_time(&spec, |spec| self.begin_new(spec))
    }

    /// Goes on with a job that another JobManager has written down, on a thread of its own: as soon as what it needs
    /// is to be had. One that is refused is shown as failed.
    pub fn recover(&self, spec: JobSpec) {
        let this = self.clone();
        let beginning = match self.reserve(&spec) {
            Ok(beginning) => beginning,
            Err(error) => return tracing::error!(%error, "a job is not recovered"),
        };
        std::thread::spawn(move || {
            tracing::info!("Recovered job {} ({}).", spec.name, spec.id);
            if let Err(error) = this.in_time(&spec, |spec| this.start(spec)) {
                tracing::error!(job = %spec.id, name = spec.name, %error, "the job could not be recovered");
                this.refused(&spec, &error);
            }
            drop(beginning);
        });
    }

    fn begin_new(&self, spec: JobSpec) -> Result<JobHandle> {
        let id = spec.id;
        words::submission_received(&spec.name, id);
        if let Some(entries) = &self.0.entries {
            entries.put(&spec)?;
        }
        let started = self.start(spec);
        if let (Err(_), Some(entries)) = (&started, &self.0.entries) {
            entries.remove(id)?;
        }
        started
    }

    /// Tries until it works, or until it is clear that it will not.
    fn in_time(&self, spec: &JobSpec, begin: impl Fn(JobSpec) -> Result<JobHandle>) -> Result<()> {
        while let Err(error) = begin(spec.clone()) {
            if self.is_closed() {
                return Ok(());
            }
            if error.kind() != ErrorKind::External {
                return Err(error);
            }
            tracing::error!(job = %spec.id, name = spec.name, %error, "the job cannot be begun; trying again");
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Keeps others from beginning a job of the same id.
    fn reserve(&self, spec: &JobSpec) -> Result<Beginning> {
        let mut jobs = self.state();
        if jobs.running.contains_key(&spec.id) || !jobs.beginning.insert(spec.id) {
            return Err(Error::user("a job of this id is running already")
                .with_detail(format!("{} ({})", spec.name, spec.id))
                .with_hint("cancel it first, or submit the job under another id"));
        }
        Ok(Beginning(self.clone(), spec.id))
    }

    /// Shown as a job that has failed.
    fn refused(&self, spec: &JobSpec, error: &Error) {
        let graph = JobGraph::build(&spec.graph, &spec.name, &spec.config);
        let graph = graph.unwrap_or_else(|_| JobGraph::empty(&spec.name));
        let status = |config| JobStatus::new(spec.id, &spec.name, config, Arc::new(graph.clone()));
        // What is wrong may be an option of its histories.
        let Ok(mut status) = status(Arc::new(spec.config.clone())).or_else(|_| status(Arc::default())) else {
            return;
        };
        status.exceptions.add(Exception::new(error, None), Vec::new());
        status.enter(State::Failed);
        self.state().show_ended(status);
    }

    /// Whether a job of this id runs or is being begun.
    pub fn has(&self, id: JobId) -> bool {
        let jobs = self.state();
        jobs.running.contains_key(&id) || jobs.beginning.contains(&id)
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
            let status = control.status();
            words::job_ended(id, status.state.flink());
            jobs.show_ended(status);
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
        words::savepoint_disposed(path);
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
