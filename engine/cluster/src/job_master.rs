//! A job's master: attempts one after the other, until the job has ended or cannot be restarted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use millrace_connector_api::Registry;
use millrace_core::{CheckpointId, Configuration, Error, JobId, Result, options};
use millrace_dataflow::{JobGraph, Operator};
use millrace_runtime::state_schema;
use millrace_state::head::{Head, Resume, Status};
use millrace_state::{JobStore, Leadership, location};
use tokio::runtime::Handle;

use crate::attempt::{Attempt, CheckpointSettings, Mailbox, Message};
use crate::exchange::AttemptId;
use crate::gateway::{Deployed, Deployment, End, Reports, Restored, SlotSource, Slots};
use crate::job::{JobSpec, Outcome, Start};
use crate::recovery::{self, Recovery};
use crate::restart::RestartStrategy;
use crate::status::{JobStatus, State};
use crate::store_worker::StoreWorker;

pub struct JobMaster {
    graph: JobGraph,
    config: Configuration,
    registry: Registry,
    start: Start,
    runtime: Handle,
    sender: Sender<Message>,
    messages: Receiver<Message>,
    status: Arc<Mutex<JobStatus>>,
    settings: CheckpointSettings,
    store: Option<JobStore>,
    restart: RestartStrategy,
    stop_requested: bool,
    /// Where its subtasks run.
    slots: SlotSource,
    /// How long it waits for them.
    slot_timeout: Duration,
}

impl JobMaster {
    /// Checks all that can be checked before anything is started.
    pub fn new(
        spec: JobSpec,
        runtime: Handle,
        slots: SlotSource,
        sender: Sender<Message>,
        messages: Receiver<Message>,
        status: Arc<Mutex<JobStatus>>,
    ) -> Result<Self> {
        let settings = CheckpointSettings::from_config(&spec.config)?;
        millrace_runtime::build::session_zone(&spec.config)?;
        recovery::ignores_lost_output(&spec.config)?;
        let graph = JobGraph::build(&spec.graph, &spec.name, &spec.config)?;
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
                Some(JobStore::new(store, &spec.name))
            }
            None => None,
        };
        let restart =
            RestartStrategy::from_config(&spec.config, store.is_some() && settings.interval.is_some())?;
        let slot_timeout = spec.config.get(&options::SLOT_REQUEST_TIMEOUT)?;
        Ok(JobMaster {
            graph,
            config: spec.config,
            registry: spec.registry,
            start: spec.start,
            runtime,
            sender,
            messages,
            status,
            settings,
            store,
            restart,
            stop_requested: false,
            slots,
            slot_timeout,
        })
    }

    pub fn run(mut self) -> Result<Outcome> {
        let outcome = self.attempts();
        let state = match &outcome {
            Ok(Outcome::Finished) => State::Finished,
            Ok(Outcome::Stopped) => State::Stopped,
            Err(_) => State::Failed,
        };
        self.with_status(|s| s.state = state);
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
                s.state = State::Recovering;
                s.attempt = attempt;
            });
            let (outcome, returned) = self.attempt(leadership, attempt, &mut next_checkpoint);
            leadership = returned;
            let error = match outcome {
                Ok(outcome) => {
                    if let Some(leadership) = &mut leadership {
                        leadership.close(match outcome {
                            Outcome::Finished => Status::Finished,
                            Outcome::Stopped => Status::Stopped,
                        })?;
                    }
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            // Without the right to complete checkpoints nothing may run.
            if self.store.is_some() && leadership.is_none() {
                return Err(error);
            }
            let Some(pause) = self.restart.after(&error, Instant::now()) else {
                return Err(error);
            };
            tracing::warn!(%error, kind = ?error.kind(), ?pause, "the job failed and will be restarted");
            self.with_status(|s| {
                s.state = State::Restarting;
                s.restarts += 1;
                s.tasks.clear();
            });
            if self.stopped_within(pause) {
                return Err(error);
            }
            attempt += 1;
            if let Some(leadership) = &mut leadership {
                // The store may be what failed: its outage ends no job that may be restarted.
                while let Err(error) = leadership.next_attempt(next_checkpoint) {
                    let Some(pause) = self.restart.after(&error, Instant::now()) else {
                        return Err(error);
                    };
                    tracing::warn!(%error, ?pause, "the restart is tried again");
                    if self.stopped_within(pause) {
                        return Err(error);
                    }
                }
                attempt = leadership.epoch();
            }
        }
    }

    /// Takes the job over, where it has a checkpoint folder.
    fn lead(&self) -> Result<Option<Leadership>> {
        let Some(store) = &self.store else { return Ok(None) };
        if let Start::From(_) = &self.start {
            // What cannot be restored must not become what the next run starts from.
            recovery::check_start(&self.start, store, &self.graph, &self.config, &self.runtime)?;
        }
        let leadership = store.take_over(|head: &mut Head| {
            head.resume = recovery::resume_from(&self.start, head, store);
            head.status = Status::Running;
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

    /// Waits between attempts; says whether the submitter asked for the end meanwhile.
    fn stopped_within(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while !self.stop_requested {
            match self.messages.recv_deadline(until) {
                Ok(Message::Stop) => self.stop_requested = true,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.stop_requested
    }

    /// So many slots, waited for as long as is told. None: the submitter asked for the end meanwhile.
    fn acquire(&mut self, wanted: usize) -> Result<Option<Vec<Slots>>> {
        let resources = match &self.slots {
            SlotSource::Own(slots) => return Ok(Some(slots.clone())),
            SlotSource::Shared(resources) => resources.clone(),
        };
        let sender = self.sender.clone();
        let _subscription = resources.subscribe(move || drop(sender.send(Message::Resources)));
        let until = Instant::now() + self.slot_timeout;
        let mut is_told = false;
        loop {
            let shortage = match resources.acquire(wanted) {
                Ok(slots) => return Ok(Some(slots)),
                Err(shortage) => shortage,
            };
            let there = format!(
                "the job needs {wanted} slots; {} are free, of {} on {} TaskManagers",
                shortage.free, shortage.all, shortage.task_managers
            );
            if !is_told {
                tracing::info!(job = %self.graph.name, there, "waiting for resources");
                self.with_status(|s| s.state = State::WaitingForResources);
                is_told = true;
            }
            match self.messages.recv_deadline(until) {
                Ok(Message::Stop) => {
                    self.stop_requested = true;
                    return Ok(None);
                }
                Ok(_) => {}
                Err(_) => {
                    return Err(Error::external("no resources available")
                        .with_detail(format!(
                            "{there}; waited for slot.request.timeout, {:?}",
                            self.slot_timeout
                        ))
                        .with_hint("start more TaskManagers, or lower parallelism.default"));
                }
            }
        }
    }

    /// One attempt, from recovery to the last thread's end.
    fn attempt(
        &mut self,
        leadership: Option<Leadership>,
        number: u64,
        next_checkpoint: &mut CheckpointId,
    ) -> (Result<Outcome>, Option<Leadership>) {
        let mut leadership = leadership;
        let restored = match &mut leadership {
            None => Ok(None),
            Some(leadership) => Recovery {
                graph: &self.graph,
                registry: &self.registry,
                config: &self.config,
                runtime: &self.runtime,
                leadership,
                files: leadership.job().store().clone(),
            }
            .run()
            .and_then(|restored| {
                // Before a sink is opened, what it may leave behind is on record.
                let record = recovery::attempt_record(&self.graph, &self.registry, leadership.epoch())?;
                leadership.recovered(&record)?;
                Ok(restored)
            }),
        };
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => return (Err(error), leadership),
        };
        let worker = match leadership {
            None => None,
            Some(leadership) => {
                match StoreWorker::start(leadership, self.settings.retained, self.sender.clone()) {
                    Ok(worker) => Some(worker),
                    Err(e) => {
                        let error = Error::external("a thread could not be started").with_source(e);
                        return (Err(error), None);
                    }
                }
            }
        };
        let prepared = recovery::adopt_key_groups(&self.graph, restored.as_deref(), &self.config)
            .and_then(|graph| Ok((state_schema::of_job(&graph)?, graph)));
        let (schemas, graph) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return (Err(error), worker.and_then(|w| w.finish().ok())),
        };
        let deployment = Deployment {
            attempt: AttemptId {
                job: JobId::from_name(&graph.name),
                attempt: number,
            },
            job_name: graph.name.clone(),
            graph,
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
        let wanted = deployment
            .graph
            .vertices
            .iter()
            .map(|v| v.parallelism)
            .max()
            .unwrap_or(0);
        let slots = match self.acquire(wanted) {
            Ok(Some(slots)) => slots,
            // What was complete is shown by now; nothing was begun.
            Ok(None) => return (Ok(Outcome::Stopped), worker.and_then(|w| w.finish().ok())),
            Err(error) => return (Err(error), worker.and_then(|w| w.finish().ok())),
        };
        let deployed = Deployed::start(&slots, deployment, &reports);
        let outcome = deployed.and_then(|deployed| {
            self.with_status(|s| s.tasks = deployed.metrics.clone());
            tracing::info!(attempt = number, subtasks = deployed.tasks.len(), "running");
            let outcome = Attempt::new(
                number,
                &self.graph.name,
                &schemas,
                &self.settings,
                &deployed.tasks,
                &self.messages,
                worker.as_ref(),
                &self.status,
                next_checkpoint,
                &mut self.stop_requested,
            )
            .run();
            // Who ended the job may start it anywhere.
            deployed.end(match outcome {
                Ok(_) => End::Job,
                Err(_) => End::Attempt,
            });
            outcome
        });
        if let SlotSource::Shared(resources) = &self.slots {
            resources.release(&slots);
        }
        match worker.map(StoreWorker::finish) {
            None => (outcome, None),
            Some(Ok(leadership)) => (outcome, Some(leadership)),
            Some(Err(error)) => (Err(error), None),
        }
    }
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
