//! A job's master: attempts one after the other, until the job has ended or cannot be restarted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use millrace_connector_api::Registry;
use millrace_core::{CheckpointId, Configuration, Error, Result, options};
use millrace_dataflow::{JobGraph, Operator};
use millrace_runtime::state_schema;
use millrace_state::copies::{Copies, WithCopies};
use millrace_state::head::{Head, Resume, Status};
use millrace_state::job::StateWriter;
use millrace_state::keyed::RunFolder;
use millrace_state::{JobStore, Leadership, Store, location};
use tokio::runtime::Handle;

use crate::attempt::{Attempt, CheckpointSettings, Message};
use crate::job::{JobSpec, Outcome, Start};
use crate::recovery::{self, Recovery};
use crate::restart::RestartStrategy;
use crate::status::{JobStatus, State};
use crate::store_worker::StoreWorker;
use crate::task_manager::{Deployment, end};

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
    /// Where keyed state lies while the job runs.
    state_folder: PathBuf,
    /// State files that are on this machine too.
    copies: Option<Copies>,
    reads_copies: bool,
}

impl JobMaster {
    /// Checks all that can be checked before anything is started.
    pub fn new(
        spec: JobSpec,
        runtime: Handle,
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
        let state_folder = state_folder(&spec.config)?;
        let reads_copies = spec.config.get(&options::LOCAL_RECOVERY)?;
        let keeps_copies = spec.config.get_optional(&options::LOCAL_BACKUP)?;
        let copies = match &store {
            Some(store) if keeps_copies.unwrap_or(reads_copies) => Some(Copies::open(
                &copies_folder(&spec.config, &state_folder)?,
                store.job_id(),
            )?),
            _ => None,
        };
        let restart =
            RestartStrategy::from_config(&spec.config, store.is_some() && settings.interval.is_some())?;
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
            state_folder,
            copies,
            reads_copies,
        })
    }

    pub fn run(mut self) -> Result<Outcome> {
        let outcome = self.attempts();
        // Who ended the job may start it anywhere.
        if let (Ok(_), Some(copies)) = (&outcome, &self.copies) {
            copies.remove();
        }
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
            tracing::warn!(%error, ?pause, "the job failed and will be restarted");
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

    /// What checkpoints of this job are read from.
    fn files(&self, job: &JobStore) -> Arc<dyn Store> {
        match (&self.copies, self.reads_copies) {
            (Some(copies), true) => Arc::new(WithCopies::new(job.store().clone(), copies.clone())),
            _ => job.store().clone(),
        }
    }

    fn state_writer(&self) -> Option<StateWriter> {
        let writer = StateWriter::new(self.store.clone()?);
        Some(match &self.copies {
            Some(copies) => writer.with_copies(copies.clone()),
            None => writer,
        })
    }

    /// A folder for keyed state, if the job has any.
    fn run_folder(&self) -> Result<Option<RunFolder>> {
        let is_keyed = self.graph.operators().any(|(node, _)| node.operator.is_keyed());
        is_keyed
            .then(|| RunFolder::create(&self.state_folder))
            .transpose()
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
                files: self.files(leadership.job()),
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
                match StoreWorker::start(
                    leadership,
                    self.settings.retained,
                    self.copies.clone(),
                    self.sender.clone(),
                ) {
                    Ok(worker) => Some(worker),
                    Err(e) => {
                        let error = Error::external("a thread could not be started").with_source(e);
                        return (Err(error), None);
                    }
                }
            }
        };
        let prepared = recovery::adopt_key_groups(&self.graph, restored.as_deref(), &self.config)
            .and_then(|graph| Ok((self.run_folder()?, state_schema::of_job(&graph)?, graph)));
        let (run, schemas, graph) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return (Err(error), worker.and_then(|w| w.finish().ok())),
        };
        let deployed = Deployment {
            graph: &graph,
            attempt: number,
            config: &self.config,
            registry: &self.registry,
            runtime: &self.runtime,
            restored,
            run: run.as_ref().map(RunFolder::path),
            state_writer: self.state_writer(),
            messages: &self.sender,
        }
        .deploy();
        let outcome = deployed.and_then(|tasks| {
            self.with_status(|s| s.tasks = tasks.iter().map(|t| t.metrics.clone()).collect());
            tracing::info!(attempt = number, subtasks = tasks.len(), "running");
            let outcome = Attempt::new(
                number,
                &self.graph.name,
                &schemas,
                &self.settings,
                &tasks,
                &self.messages,
                worker.as_ref(),
                &self.status,
                next_checkpoint,
                &mut self.stop_requested,
            )
            .run();
            end(tasks);
            outcome
        });
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

/// The first of `execution.checkpointing.local-backup.dirs`, else a folder on the disk of keyed state.
fn copies_folder(config: &Configuration, state_folder: &Path) -> Result<PathBuf> {
    Ok(match config.get_optional(&options::LOCAL_BACKUP_DIRECTORIES)? {
        Some(given) => first_of(&given),
        None => state_folder.join("local-copies"),
    })
}

/// Of folders that are divided by commas or colons.
fn first_of(folders: &str) -> PathBuf {
    let first = folders.split([',', ':']).next().unwrap_or_default();
    PathBuf::from(first.trim())
}

/// `state.backend.rocksdb.localdir`, else a folder in the first of `io.tmp.dirs`, else in the machine's.
pub fn state_folder(config: &Configuration) -> Result<PathBuf> {
    if let Some(given) = config.get_optional(&options::LOCAL_STATE_DIRECTORY)? {
        return Ok(given.into());
    }
    let temporary = match config.get_optional(&options::TEMPORARY_DIRECTORIES)? {
        Some(given) => first_of(&given),
        None => std::env::temp_dir(),
    };
    Ok(temporary.join("millrace-state"))
}
