//! A job's master: attempts one after the other, until the job has ended or cannot be restarted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use millrace_connector_api::Registry;
use millrace_core::{CheckpointId, Configuration, Error, JobId, Result, options};
use millrace_dataflow::{JobGraph, Operator};
use millrace_runtime::operators::now_millis;
use millrace_runtime::state_schema;
use millrace_state::head::{AttemptRecord, Head, Resume, Status};
use millrace_state::{JobStore, Leadership, location, savepoint};
use tokio::runtime::Handle;

use crate::attempt::{Attempt, AttemptEnd, CheckpointSettings, Context, Failure, failure};
use crate::control::{Ending, Mailbox, Message, TaskEvent};
use crate::exchange::AttemptId;
use crate::gateway::{Deployed, Deployment, End, Reports, Restored, SlotSource, Slots};
use crate::history::{self, Exception};
use crate::job::{ClaimMode, Discard, JobSpec, Outcome, Restore, Start};
use crate::parallelism::{self, Placement, Scheduling};
use crate::pointer::Pointer;
use crate::recovery::{self, Recovery, RestoredState};
use crate::resources::Subscription;
use crate::restart::RestartStrategy;
use crate::status::{Execution, ExecutionState, JobStatus, State};
use crate::store_worker::{StoreSettings, StoreWorker};
use crate::wishes::Wishes;

pub struct JobMaster {
    id: JobId,
    graph: JobGraph,
    config: Configuration,
    registry: Registry,
    start: Start,
    discard: Discard,
    runtime: Handle,
    sender: Sender<Message>,
    messages: Receiver<Message>,
    status: Arc<Mutex<JobStatus>>,
    settings: CheckpointSettings,
    store: Option<JobStore>,
    restart: RestartStrategy,
    wishes: Wishes,
    /// Where its subtasks run.
    slots: SlotSource,
    scheduling: Scheduling,
    pointer: Option<Arc<dyn Pointer>>,
}

/// What an attempt begins with.
struct Prepared {
    graph: JobGraph,
    restored: Option<Arc<RestoredState>>,
    slots: Vec<Slots>,
}

impl JobMaster {
    /// Checks all that can be checked before anything is started.
    pub fn new(
        spec: JobSpec,
        runtime: Handle,
        slots: SlotSource,
        pointer: Option<Arc<dyn Pointer>>,
        sender: Sender<Message>,
        messages: Receiver<Message>,
    ) -> Result<Self> {
        let settings = CheckpointSettings::from_config(&spec.config)?;
        millrace_runtime::build::session_zone(&spec.config)?;
        recovery::ignores_lost_output(&spec.config)?;
        let graph = JobGraph::build(&spec.graph, &spec.name, &spec.config)?;
        let scheduling = Scheduling::from_config(&spec.config)?;
        let bounds = scheduling.bounds(&graph);
        let directory = spec.config.get_optional(&options::CHECKPOINT_DIRECTORY)?;
        check_checkpoints(&graph, &spec.registry, &settings, directory.as_deref())?;
        if directory.is_none() && spec.start != Start::Resume {
            return Err(
                Error::user("there is nothing to start from: the job has no checkpoint folder")
                    .with_hint("set execution.checkpointing.dir"),
            );
        }
        for (node, _) in graph.operators() {
            match &node.operator {
                Operator::Source(source) => spec.registry.source(&source.table)?.check(source)?,
                Operator::Sink(sink) => spec.registry.sink(&sink.table)?.check(sink)?,
                _ => {}
            }
        }
        let store = match directory {
            Some(directory) => {
                let store = location::open(&directory, &spec.config, &runtime)?;
                Some(JobStore::with_id(store, spec.id, &spec.name))
            }
            None => None,
        };
        let restart =
            RestartStrategy::from_config(&spec.config, store.is_some() && settings.interval.is_some())?;
        let config = Arc::new(spec.config.clone());
        let mut status = JobStatus::new(spec.id, &spec.name, config, Arc::new(graph.clone()))?;
        status.bounds = bounds.clone();
        Ok(JobMaster {
            id: spec.id,
            wishes: Wishes::new(bounds, graph.clone(), store.is_some()),
            graph,
            config: spec.config,
            registry: spec.registry,
            start: spec.start,
            discard: spec.discard,
            runtime,
            sender,
            messages,
            status: Arc::new(Mutex::new(status)),
            settings,
            store,
            restart,
            slots,
            scheduling,
            pointer,
        })
    }

    pub fn status(&self) -> Arc<Mutex<JobStatus>> {
        self.status.clone()
    }

    pub fn run(mut self) -> Result<Outcome> {
        let outcome = self.attempts();
        if let Err(error) = &outcome {
            // Where it was not an attempt that failed.
            let is_known = |s: &JobStatus| {
                s.exceptions
                    .entries
                    .iter()
                    .any(|e| e.root.text == error.to_string())
            };
            self.with_status(|s| {
                if !is_known(s) {
                    s.exceptions.add(Exception::new(error, None), Vec::new());
                }
            });
        }
        while let Ok(message) = self.messages.try_recv() {
            self.wishes.take(message);
        }
        self.wishes.refuse("the job has ended");
        self.with_status(|s| s.enter_outcome(&outcome));
        outcome
    }

    fn with_status(&self, change: impl FnOnce(&mut JobStatus)) {
        change(&mut self.status.lock().unwrap_or_else(|e| e.into_inner()));
    }

    fn attempts(&mut self) -> Result<Outcome> {
        let mut leadership = self.lead()?;
        let mut attempt = leadership.as_ref().map_or(1, Leadership::epoch);
        let mut next_checkpoint = leadership.as_mut().map_or(CheckpointId(1), Leadership::next_id);
        loop {
            self.with_status(|s| {
                s.enter(State::Recovering);
                s.attempt = attempt;
            });
            let (outcome, returned) = self.attempt(leadership, attempt, &mut next_checkpoint);
            leadership = returned;
            match outcome {
                Ok(AttemptEnd::Job(outcome)) => return self.conclude(outcome, leadership, next_checkpoint),
                Ok(AttemptEnd::Redeploy) => self.with_status(|s| s.rescales += 1),
                Err(error) => {
                    // Without the right to complete checkpoints nothing may run.
                    if self.store.is_some() && leadership.is_none() {
                        return Err(error);
                    }
                    let Some(pause) = self.restart.after(&error, Instant::now()) else {
                        return Err(error);
                    };
                    tracing::warn!(%error, ?pause, "the job failed and will be restarted");
                    self.with_status(|s| {
                        s.enter(State::Restarting);
                        s.restarts += 1;
                    });
                    if let Some(ended) = self.ended_within(pause) {
                        return match ended {
                            Some(outcome) => self.conclude(outcome, leadership, next_checkpoint),
                            None => Err(error),
                        };
                    }
                }
            }
            self.with_status(|s| s.tasks.clear());
            attempt += 1;
            if let Some(leads) = &mut leadership {
                // The store may be what failed: its outage ends no job that may be restarted.
                while let Err(error) = leads.next_attempt(next_checkpoint) {
                    let Some(pause) = self.restart.after(&error, Instant::now()) else {
                        return Err(error);
                    };
                    tracing::warn!(%error, ?pause, "the restart is tried again");
                    match self.ended_within(pause) {
                        None => {}
                        Some(Some(outcome)) => return self.conclude(outcome, leadership, next_checkpoint),
                        Some(None) => return Err(error),
                    }
                }
                attempt = leads.epoch();
            }
        }
    }

    /// Writes down how the job ended, and leaves behind what is to stay.
    fn conclude(
        &mut self,
        outcome: Outcome,
        leadership: Option<Leadership>,
        next_checkpoint: CheckpointId,
    ) -> Result<Outcome> {
        let Some(mut leadership) = leadership else {
            return Ok(outcome);
        };
        match outcome {
            Outcome::Suspended => {}
            Outcome::Finished => {
                leadership.close(Status::Finished)?;
                self.discard(&mut leadership, self.discard.finished);
            }
            Outcome::Stopped => leadership.close(Status::Stopped)?,
            Outcome::Cancelled => match self.settle(&mut leadership, next_checkpoint) {
                Ok(()) => self.discard(&mut leadership, self.discard.cancelled),
                // The checkpoint is what can still be made visible.
                Err(error) => {
                    tracing::warn!(job = %self.id, %error, "what the cancelled job had pending is not visible; its checkpoints stay");
                }
            },
        }
        Ok(outcome)
    }

    /// What complete checkpoints of a job hold that does not go on becomes visible, and nothing of it stays open.
    fn settle(&self, leadership: &mut Leadership, next_checkpoint: CheckpointId) -> Result<()> {
        leadership.next_attempt(next_checkpoint)?;
        let files = leadership.job().store().clone();
        self.recovery(leadership, files).run()?;
        let epoch = leadership.epoch();
        leadership.recovered(&AttemptRecord {
            epoch,
            sinks: Default::default(),
        })?;
        leadership.close(Status::Stopped)
    }

    fn discard(&self, leadership: &mut Leadership, is_wanted: bool) {
        if !is_wanted {
            return;
        }
        match leadership.delete_all() {
            Ok(()) => self.with_status(|s| s.checkpoints.discarded_before(CheckpointId(u64::MAX))),
            Err(error) => tracing::warn!(job = %self.id, %error, "checkpoints of the ended job stay"),
        }
    }

    /// Takes the job over, where it has a checkpoint folder.
    fn lead(&self) -> Result<Option<Leadership>> {
        let Some(store) = &self.store else { return Ok(None) };
        if let Start::From(restore) | Start::ResumeOrFrom(restore) = &self.start {
            // What cannot be restored must not become what the next run starts from.
            recovery::check_start(
                &self.start,
                restore,
                store,
                &self.graph,
                &self.config,
                &self.runtime,
            )?;
        }
        let leadership = store.take_over(|head: &mut Head| {
            head.resume = recovery::resume_from(&self.start, head, store);
            head.status = Status::Running;
            if let (Start::From(restore) | Start::ResumeOrFrom(restore), Resume::Elsewhere { path, .. }) =
                (&self.start, &head.resume)
                && restore.claim == ClaimMode::Claim
            {
                head.claimed = Some(path.clone());
            }
            Ok(())
        })?;
        let from = match &leadership.head().resume {
            Resume::Fresh => "the beginning".to_owned(),
            Resume::Checkpoint(id) => format!("checkpoint {id}"),
            Resume::Elsewhere { path, .. } => path.clone(),
        };
        tracing::info!(
            job = %self.graph.name, id = %store.job_id(), attempt = leadership.epoch(), from, "starting"
        );
        Ok(Some(leadership))
    }

    /// Waits between attempts. Something: the submitter asked for the end meanwhile, and with nothing waited for where
    /// an outcome is given.
    fn ended_within(&mut self, pause: Duration) -> Option<Option<Outcome>> {
        let until = Instant::now() + pause;
        loop {
            match &self.wishes.ending {
                None => {}
                Some(Ending::Cancel) => return Some(Some(Outcome::Cancelled)),
                Some(Ending::Suspend) => return Some(Some(Outcome::Suspended)),
                Some(_) => return Some(None),
            }
            match self.messages.recv_deadline(until) {
                Ok(message) => self.wishes.take(message),
                Err(_) => return None,
            }
        }
    }

    /// Slots, waited for as long as is told. None: the submitter asked for the end meanwhile.
    fn acquire(&mut self) -> Result<Option<Vec<Slots>>> {
        let resources = match &self.slots {
            SlotSource::Own(slots) => return Ok(Some(slots.clone())),
            SlotSource::Shared(resources) => resources.clone(),
        };
        let _subscription = watch(&self.slots, &self.sender);
        let began = Instant::now();
        let until = self.scheduling.wait.map(|wait| began + wait);
        // Since when there is enough to start with.
        let mut enough_since = None;
        let mut is_told = false;
        loop {
            let wanted = parallelism::slots(&self.wishes.bounds);
            let now = Instant::now();
            let shortage = match resources.acquire(wanted.most) {
                Ok(slots) => return Ok(Some(slots)),
                Err(shortage) => shortage,
            };
            let mut wait_until = until;
            if shortage.free >= wanted.least && wanted.least > 0 {
                let take_at = *enough_since.get_or_insert(now) + self.scheduling.stabilization;
                if now >= take_at {
                    match resources.acquire(shortage.free.min(wanted.most)) {
                        Ok(slots) => return Ok(Some(slots)),
                        Err(_) => continue,
                    }
                }
                wait_until = Some(wait_until.map_or(take_at, |until| until.min(take_at)));
            } else {
                enough_since = None;
            }
            let needs = match wanted.least == wanted.most {
                true => wanted.most.to_string(),
                false => format!("{} to {}", wanted.least, wanted.most),
            };
            let there = format!(
                "the job needs {needs} slots; {} are free, of {} on {} TaskManagers",
                shortage.free, shortage.all, shortage.task_managers
            );
            if !is_told {
                tracing::info!(job = %self.graph.name, there, "waiting for resources");
                self.with_status(|s| s.enter(State::WaitingForResources));
                is_told = true;
            }
            if enough_since.is_none() && until.is_some_and(|until| now >= until) {
                return Err(Error::external("no resources available")
                    .with_detail(format!("{there}; waited for {:?}", now.duration_since(began)))
                    .with_hint(
                        "start more TaskManagers, or lower parallelism.default; slot.request.timeout is how long it waits \
                         (adaptive: jobmanager.adaptive-scheduler.submission.resource-wait-timeout)",
                    ));
            }
            let message = match wait_until {
                Some(until) => self.messages.recv_deadline(until).ok(),
                None => self.messages.recv().ok(),
            };
            if let Some(message) = message {
                self.wishes.take(message);
            }
            if self.wishes.ending.is_some() {
                return Ok(None);
            }
        }
    }

    fn recovery<'a>(
        &'a self,
        leadership: &'a Leadership,
        files: Arc<dyn millrace_state::Store>,
    ) -> Recovery<'a> {
        Recovery {
            graph: &self.graph,
            registry: &self.registry,
            config: &self.config,
            runtime: &self.runtime,
            leadership,
            files,
            allows_non_restored: matches!(
                &self.start,
                Start::From(Restore {
                    allow_non_restored_state: true,
                    ..
                }) | Start::ResumeOrFrom(Restore {
                    allow_non_restored_state: true,
                    ..
                })
            ),
        }
    }

    /// Brings sinks to what is restored, and waits for slots. None: the submitter asked for the end meanwhile.
    fn prepare(&mut self, leadership: &mut Option<Leadership>) -> Result<Option<Prepared>> {
        let bounds = parallelism::slots(&self.wishes.bounds);
        // Where it is not known how many subtasks there will be, sinks are put on record when it is.
        let is_settled = bounds.least == bounds.most || matches!(self.slots, SlotSource::Own(_));
        let restored = match leadership {
            None => None,
            Some(leadership) => {
                let files = leadership.job().store().clone();
                let restored = self.recovery(leadership, files).run()?;
                let mut record = AttemptRecord {
                    epoch: leadership.epoch(),
                    sinks: Default::default(),
                };
                if is_settled {
                    let widths = parallelism::widths(&self.wishes.bounds, usize::MAX);
                    let graph = self.graph.with_parallelism(&widths)?;
                    // Before a sink is opened, what it may leave behind is on record.
                    record = recovery::attempt_record(&graph, &self.registry, leadership.epoch())?;
                }
                leadership.recovered(&record)?;
                self.with_status(|s| note_restored(s, leadership, restored.as_deref()));
                restored
            }
        };
        let graph = recovery::adopt_key_groups(&self.graph, restored.as_deref(), &self.config)?;
        let Some(slots) = self.acquire()? else {
            return Ok(None);
        };
        let count = slots.iter().map(|s| s.count).sum();
        let laid_out = graph
            .with_parallelism(&parallelism::widths(&self.wishes.bounds, count))
            .and_then(|graph| {
                if let Some(leadership) = leadership
                    && !is_settled
                {
                    let record = recovery::attempt_record(&graph, &self.registry, leadership.epoch())?;
                    leadership.opens(&record)?;
                }
                Ok(graph)
            });
        match laid_out {
            Ok(graph) => Ok(Some(Prepared {
                graph,
                restored,
                slots,
            })),
            Err(error) => {
                self.release(&slots);
                Err(error)
            }
        }
    }

    fn release(&self, slots: &[Slots]) {
        if let SlotSource::Shared(resources) = &self.slots {
            resources.release(slots);
        }
    }

    /// One attempt, from recovery to the last thread's end.
    fn attempt(
        &mut self,
        leadership: Option<Leadership>,
        number: u64,
        next_checkpoint: &mut CheckpointId,
    ) -> (Result<AttemptEnd>, Option<Leadership>) {
        let mut leadership = leadership;
        self.wishes.is_asked = false;
        let Prepared {
            graph,
            restored,
            slots,
        } = match self.prepare(&mut leadership) {
            Ok(Some(prepared)) => prepared,
            // What was complete is shown by now; nothing was begun.
            Ok(None) => {
                let outcome = match self.wishes.ending {
                    Some(Ending::Cancel) => Outcome::Cancelled,
                    Some(Ending::Suspend) => Outcome::Suspended,
                    _ => Outcome::Stopped,
                };
                return (Ok(AttemptEnd::Job(outcome)), leadership);
            }
            Err(error) => {
                self.with_status(|s| s.exceptions.add(Exception::new(&error, None), Vec::new()));
                return (Err(error), leadership);
            }
        };
        let files = leadership
            .as_ref()
            .map(|leadership| leadership.job().store().clone());
        let worker = match leadership {
            None => None,
            Some(leadership) => {
                match StoreWorker::start(leadership, self.store_settings(), self.sender.clone()) {
                    Ok(worker) => Some(worker),
                    Err(e) => {
                        self.release(&slots);
                        let error = Error::external("a thread could not be started").with_source(e);
                        return (Err(error), None);
                    }
                }
            }
        };
        let outcome = self.on_slots(
            number,
            graph,
            restored,
            &slots,
            worker.as_ref(),
            files,
            next_checkpoint,
        );
        self.release(&slots);
        match worker.map(StoreWorker::finish) {
            None => (outcome, None),
            Some(Ok(leadership)) => (outcome, Some(leadership)),
            Some(Err(error)) => (Err(error), None),
        }
    }

    fn store_settings(&self) -> StoreSettings {
        let (config, runtime) = (self.config.clone(), self.runtime.clone());
        StoreSettings {
            retained: self.settings.retained,
            pointer: self.pointer.clone(),
            delete_claimed: Box::new(move |path| {
                let (store, metadata) = millrace_state::job::find_checkpoint(path, &config, &runtime)?;
                match metadata.is_self_contained {
                    true => savepoint::delete(store.as_ref(), &metadata),
                    false => Err(Error::unsupported("claiming another job's checkpoint").with_hint(
                        "claim a savepoint; delete the checkpoint by hand when no job needs its files",
                    )),
                }
            }),
        }
    }

    /// Runs subtasks in slots, and ends them.
    #[allow(clippy::too_many_arguments, reason = "what was prepared, each under its name")]
    fn on_slots(
        &mut self,
        number: u64,
        graph: JobGraph,
        restored: Option<Arc<RestoredState>>,
        slots: &[Slots],
        worker: Option<&StoreWorker>,
        files: Option<Arc<dyn millrace_state::Store>>,
        next_checkpoint: &mut CheckpointId,
    ) -> Result<AttemptEnd> {
        let schemas = state_schema::of_job(&graph)?;
        let widths: Arc<[usize]> = graph.vertices.iter().map(|v| v.parallelism).collect();
        let deployment = Deployment {
            attempt: AttemptId {
                job: self.id,
                attempt: number,
            },
            job_name: graph.name.clone(),
            graph: graph.clone(),
            config: self.config.clone(),
            restored: restored.map(|restored| Restored {
                operators: restored.operators.clone(),
                elsewhere: restored.elsewhere.clone(),
            }),
            places: Vec::new(),
            peers: Vec::new(),
            me: 0,
            slots: 0,
        };
        let reports: Arc<dyn Reports> = Arc::new(Mailbox(self.sender.clone()));
        let deployed = match Deployed::start(slots, deployment, &reports) {
            Ok(deployed) => deployed,
            Err(error) => {
                self.with_status(|s| s.exceptions.add(Exception::new(&error, None), Vec::new()));
                return Err(error);
            }
        };
        self.with_status(|s| {
            s.graph = Arc::new(graph);
            s.tasks = deployed.metrics.clone();
            s.bounds = self.wishes.bounds.clone();
            let attempt = u64::from(s.restarts + s.rescales);
            s.executions = deployed
                .tasks
                .iter()
                .map(|task| execution(task, attempt))
                .collect();
        });
        tracing::info!(attempt = number, subtasks = deployed.tasks.len(), "running");
        let _subscription = watch(&self.slots, &self.sender);
        let placement = Placement::new(&self.slots, slots, &widths, &self.scheduling);
        let outcome = Attempt::new(Context {
            number,
            job: self.id,
            job_name: &self.graph.name,
            config: &self.config,
            runtime: &self.runtime,
            schemas: &schemas,
            settings: &self.settings,
            tasks: &deployed.tasks,
            widths: widths.clone(),
            messages: &self.messages,
            sender: &self.sender,
            store: worker,
            files,
            status: &self.status,
            next_checkpoint,
            wishes: &mut self.wishes,
            placement,
        })
        .run();
        if matches!(outcome, Ok(AttemptEnd::Job(Outcome::Cancelled))) {
            self.with_status(|s| s.enter(State::Cancelling));
        }
        self.with_status(|s| {
            for task in 0..s.executions.len() {
                s.enter_execution(task, ExecutionState::Canceling);
            }
        });
        // Who ended the job may start it anywhere.
        let tasks = deployed.end(match outcome {
            Ok(AttemptEnd::Job(Outcome::Suspended) | AttemptEnd::Redeploy) | Err(_) => End::Attempt,
            Ok(_) => End::Job,
        });
        let is_well = matches!(
            outcome,
            Ok(AttemptEnd::Job(Outcome::Finished | Outcome::Stopped) | AttemptEnd::Redeploy)
        );
        self.with_status(|s| {
            let state = match is_well {
                true => ExecutionState::Finished,
                false => ExecutionState::Canceled,
            };
            for task in 0..s.executions.len() {
                s.enter_execution(task, state);
            }
        });
        outcome.map_err(|first| self.failed(number, &tasks, first))
    }

    /// The root cause of a failure, which goes into the history with what failed beside it.
    fn failed(&mut self, number: u64, tasks: &[crate::gateway::Task], first: Failure) -> Error {
        let mut failures = vec![first];
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Task {
                    attempt,
                    task,
                    event: TaskEvent::Stopped { error: Some(error) },
                } if attempt == number => failures.push(failure(tasks, &self.status, task, error)),
                other => self.wishes.take(other),
            }
        }
        // A connection breaks because of what happened at its other end, if that is known.
        let is_consequence = |failure: &Failure| millrace_runtime::channel::is_lost(&failure.error);
        let root = failures.iter().position(|f| !is_consequence(f)).unwrap_or(0);
        let root = failures.remove(root);
        let exception = |failure: &Failure| Exception::new(&failure.error, failure.task.clone());
        self.with_status(|s| {
            s.exceptions
                .add(exception(&root), failures.iter().map(exception).collect());
        });
        root.error
    }
}

/// Has the JobMaster hear of TaskManagers that come and go.
fn watch(slots: &SlotSource, sender: &Sender<Message>) -> Option<Subscription> {
    let SlotSource::Shared(resources) = slots else {
        return None;
    };
    let sender = sender.clone();
    Some(resources.subscribe(move || drop(sender.send(Message::Resources))))
}

fn execution(task: &crate::gateway::Task, attempt: u64) -> Execution {
    let mut execution = Execution {
        vertex: task.vertex,
        subtask: task.subtask,
        attempt,
        task_manager: task.task_manager().to_owned(),
        endpoint: task.endpoint().map(str::to_owned),
        state: ExecutionState::Created,
        since: [0; ExecutionState::ALL.len()],
    };
    for state in &ExecutionState::ALL[..4] {
        execution.enter(*state);
    }
    execution
}

fn note_restored(status: &mut JobStatus, leadership: &Leadership, restored: Option<&RestoredState>) {
    let Some(restored) = restored else { return };
    let head = leadership.head();
    let path = match &head.resume {
        Resume::Fresh => return,
        Resume::Checkpoint(id) => {
            let known = head.completed.iter().find(|c| c.id == *id);
            let path = known.map(|c| leadership.job().describe_checkpoint(c));
            path.unwrap_or_default()
        }
        Resume::Elsewhere { path, .. } => path.clone(),
    };
    status.checkpoints.restored += 1;
    status.checkpoints.latest_restored = Some(history::Restored {
        id: CheckpointId(restored.metadata.checkpoint),
        path,
        is_savepoint: restored.metadata.is_self_contained,
        at: now_millis(),
    });
}

/// An exactly-once sink shows nothing without checkpoints: refused before anything is started.
fn check_checkpoints(
    graph: &JobGraph,
    registry: &Registry,
    settings: &CheckpointSettings,
    directory: Option<&str>,
) -> Result<()> {
    if settings.interval.is_some() && directory.is_none() {
        return Err(Error::user("execution.checkpointing.interval is set, execution.checkpointing.dir is not")
            .with_hint("say where checkpoints go, such as -D execution.checkpointing.dir=/var/lib/millrace or s3://bucket/path"));
    }
    for (node, _) in graph.operators() {
        if let Operator::Sink(sink) = &node.operator
            && registry
                .sink(&sink.table)?
                .validate(&sink.table)?
                .needs_checkpoints
            && settings.interval.is_none()
        {
            return Err(Error::user(format!(
                "table '{}' is written exactly-once, which needs checkpoints, and the job has none",
                sink.table.name
            ))
            .with_hint(
                "set execution.checkpointing.interval (such as '1 s') and execution.checkpointing.dir",
            ));
        }
    }
    Ok(())
}
