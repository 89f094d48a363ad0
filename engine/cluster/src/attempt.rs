//! One attempt to run a job: its event loop, from deployed subtasks to their end.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, Result, failpoint, options};
use millrace_runtime::operators::now_millis;
use millrace_runtime::{Barrier, Command};
use millrace_state::job::CheckpointSize;
use millrace_state::schema::StateSchema;

use crate::checkpoint::{PendingCheckpoint, StoredSnapshot};
use crate::exchange::AttemptId;
use crate::gateway::{Reports, Task};
use crate::job::Outcome;
use crate::status::{CheckpointStatus, JobStatus, State};
use crate::store_worker::{StoreWorker, unanswered};

/// What the JobMaster hears, in one order.
pub enum Message {
    /// The submitter asks for the job's end.
    Stop,
    /// From a subtask of an attempt; those of earlier attempts are dropped.
    Task {
        attempt: u64,
        task: usize,
        event: TaskEvent,
    },
    /// TaskManagers have come or gone, or slots are free.
    Resources,
    /// A checkpoint's head swap was done, or failed.
    Stored {
        checkpoint: CheckpointId,
        outcome: Result<CheckpointSize>,
    },
}

/// Puts reports of subtasks where the JobMaster hears them.
pub struct Mailbox(pub Sender<Message>);

impl Reports for Mailbox {
    fn report(&self, attempt: AttemptId, task: usize, event: TaskEvent) {
        let _ = self.0.send(Message::Task {
            attempt: attempt.attempt,
            task,
            event,
        });
    }
}

pub enum TaskEvent {
    Started,
    Held,
    Ended,
    Acknowledged {
        checkpoint: CheckpointId,
        snapshots: Vec<StoredSnapshot>,
    },
    Declined {
        checkpoint: CheckpointId,
        error: Error,
    },
    Committed {
        checkpoint: CheckpointId,
    },
    Stopped {
        error: Option<Error>,
    },
}

/// How checkpoints are taken.
#[derive(Debug, Clone)]
pub struct CheckpointSettings {
    /// None: only at the end and at a stop.
    pub interval: Option<Duration>,
    pub timeout: Duration,
    pub min_pause: Duration,
    pub tolerable_failures: u32,
    pub retained: usize,
    /// The job stops where its sources hold still (`millrace.test.stop-at-checkpoint`).
    pub stop_when_held: bool,
}

impl CheckpointSettings {
    pub fn from_config(config: &Configuration) -> Result<Self> {
        Ok(CheckpointSettings {
            interval: config
                .get_optional(&options::CHECKPOINT_INTERVAL)?
                .filter(|i| !i.is_zero()),
            timeout: config.get(&options::CHECKPOINT_TIMEOUT)?,
            min_pause: config.get(&options::CHECKPOINT_MIN_PAUSE)?,
            tolerable_failures: config.get(&options::CHECKPOINT_TOLERABLE_FAILURES)?,
            retained: config.get(&options::CHECKPOINTS_RETAINED)?,
            stop_when_held: config.get(&options::TEST_STOP)?,
        })
    }
}

/// A last checkpoint that failed is tried again after this pause.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

pub struct Attempt<'a> {
    pub number: u64,
    pub job_name: &'a str,
    /// Of the operators with keyed state, by uid.
    pub schemas: &'a BTreeMap<String, StateSchema>,
    pub settings: &'a CheckpointSettings,
    pub tasks: &'a [Task],
    pub messages: &'a Receiver<Message>,
    /// None for a job without a checkpoint folder: its checkpoints are not kept.
    pub store: Option<&'a StoreWorker>,
    pub status: &'a Arc<Mutex<JobStatus>>,
    pub next_checkpoint: &'a mut CheckpointId,
    pub stop_requested: &'a mut bool,
    run: Run,
}

/// What changes while an attempt runs.
struct Run {
    started: usize,
    /// Tasks whose source waits for a checkpoint.
    held: HashSet<usize>,
    /// A checkpoint is due now, whatever the interval.
    due: bool,
    ended: HashSet<usize>,
    pending: Option<PendingCheckpoint>,
    storing: Option<Storing>,
    last_trigger: Instant,
    last_end: Instant,
    failures: u32,
    /// The newest checkpoint that is complete.
    complete: Option<CheckpointId>,
    finishing: Option<Finishing>,
    not_before: Instant,
}

struct Storing {
    barrier: Barrier,
    triggered: Instant,
    began: Instant,
}

/// The job is to end: with a last checkpoint, then all of it visible.
struct Finishing {
    outcome: Outcome,
    /// The completed last checkpoint and the tasks that have not made it visible.
    last: Option<(CheckpointId, HashSet<usize>)>,
}

impl<'a> Attempt<'a> {
    #[allow(
        clippy::too_many_arguments,
        reason = "the JobMaster lends its parts, each under its name"
    )]
    pub fn new(
        number: u64,
        job_name: &'a str,
        schemas: &'a BTreeMap<String, StateSchema>,
        settings: &'a CheckpointSettings,
        tasks: &'a [Task],
        messages: &'a Receiver<Message>,
        store: Option<&'a StoreWorker>,
        status: &'a Arc<Mutex<JobStatus>>,
        next_checkpoint: &'a mut CheckpointId,
        stop_requested: &'a mut bool,
    ) -> Self {
        let now = Instant::now();
        Attempt {
            number,
            job_name,
            schemas,
            settings,
            tasks,
            messages,
            store,
            status,
            next_checkpoint,
            stop_requested,
            run: Run {
                started: 0,
                held: HashSet::new(),
                due: false,
                ended: HashSet::new(),
                pending: None,
                storing: None,
                last_trigger: now,
                last_end: now,
                failures: 0,
                complete: None,
                finishing: None,
                not_before: now,
            },
        }
    }

    /// Runs until the job has ended or failed. The caller cancels and joins the tasks.
    pub fn run(mut self) -> Result<Outcome> {
        loop {
            if !self.run.held.is_empty() && self.sources_wait() {
                self.run.held.clear();
                self.run.due = true;
                *self.stop_requested |= self.settings.stop_when_held;
            }
            if self.run.finishing.is_none() && self.run.started == self.tasks.len() {
                if self.run.ended.len() == self.tasks.len() {
                    self.finish(Outcome::Finished);
                } else if *self.stop_requested {
                    self.finish(Outcome::Stopped);
                }
            }
            let now = Instant::now();
            self.check_timeout(now)?;
            let wait = match self.next_trigger(now) {
                Some(at) if at <= now => {
                    self.trigger(now)?;
                    continue;
                }
                Some(at) => at - now,
                None => Duration::from_millis(500),
            };
            match self.messages.recv_timeout(wait.min(Duration::from_millis(500))) {
                Ok(message) => {
                    if let Some(outcome) = self.handle(message)? {
                        return Ok(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the JobMaster lost its mailbox"));
                }
            }
        }
    }

    /// Whether no source gives anything more before a checkpoint is complete.
    fn sources_wait(&self) -> bool {
        let mut sources = self.tasks.iter().enumerate().filter(|(_, task)| task.is_source);
        sources.all(|(number, _)| self.run.held.contains(&number) || self.run.ended.contains(&number))
    }

    fn finish(&mut self, outcome: Outcome) {
        self.run.finishing = Some(Finishing { outcome, last: None });
        // A checkpoint that is under way is not the last one: it is given up, and harms nothing.
        self.run.pending = None;
        self.run.failures = 0;
        self.with_status(|s| s.state = State::Stopping);
    }

    fn with_status(&self, change: impl FnOnce(&mut JobStatus)) {
        change(&mut self.status.lock().unwrap_or_else(|e| e.into_inner()));
    }

    fn next_trigger(&self, now: Instant) -> Option<Instant> {
        if self.run.started < self.tasks.len() || self.run.storing.is_some() {
            return None;
        }
        if let Some(pending) = &self.run.pending {
            return Some(pending.triggered + self.settings.timeout).filter(|at| *at > now);
        }
        match &self.run.finishing {
            Some(Finishing { last: None, .. }) => Some(self.run.not_before),
            Some(_) => None,
            None if self.run.due => Some(now),
            None => {
                // Without a folder there is nothing that a checkpoint in between would be for.
                let interval = self.store.and(self.settings.interval)?;
                Some((self.run.last_trigger + interval).max(self.run.last_end + self.settings.min_pause))
            }
        }
    }

    fn trigger(&mut self, now: Instant) -> Result<()> {
        let checkpoint = *self.next_checkpoint;
        *self.next_checkpoint = checkpoint.next();
        let barrier = Barrier {
            checkpoint,
            timestamp: now_millis(),
            stop: self.run.finishing.is_some(),
            complete: self.run.complete,
        };
        self.run.last_trigger = now;
        self.run.due = false;
        self.run.pending = Some(PendingCheckpoint::new(barrier, self.tasks.len()));
        for task in self.tasks {
            task.send(Command::Trigger(barrier))?;
        }
        failpoint::mark("checkpoint.triggered");
        Ok(())
    }

    fn check_timeout(&mut self, now: Instant) -> Result<()> {
        // No other checkpoint can be tried while one is being stored.
        if let Some(storing) = &self.run.storing
            && now.duration_since(storing.began) >= self.settings.timeout
        {
            return Err(unanswered().with_detail(format!(
                "checkpoint {} is being stored for longer than execution.checkpointing.timeout, {} s",
                storing.barrier.checkpoint,
                self.settings.timeout.as_secs()
            )));
        }
        let timed_out = self
            .run
            .pending
            .take_if(|p| now.duration_since(p.triggered) >= self.settings.timeout);
        match timed_out {
            None => Ok(()),
            Some(pending) => {
                let error = Error::external("a checkpoint took longer than execution.checkpointing.timeout")
                    .with_detail(format!(
                        "checkpoint {}: {} of {} subtasks have not given their state",
                        pending.barrier.checkpoint,
                        pending.missing(),
                        self.tasks.len()
                    ))
                    .with_hint("look for back-pressure, or raise execution.checkpointing.timeout");
                self.checkpoint_failed(pending.barrier.checkpoint, error)
            }
        }
    }

    /// Counts a failed checkpoint; the job fails when there were too many in a row.
    fn checkpoint_failed(&mut self, checkpoint: CheckpointId, error: Error) -> Result<()> {
        self.run.last_end = Instant::now();
        self.run.not_before = Instant::now() + RETRY_PAUSE;
        self.run.failures += 1;
        self.with_status(|s| s.failed_checkpoints += 1);
        tracing::warn!(%checkpoint, %error, kind = ?error.kind(), failures_in_a_row = self.run.failures, "checkpoint failed");
        // A final verdict of the store: no later checkpoint can succeed.
        if error.kind() == ErrorKind::Fenced {
            return Err(error);
        }
        if self.run.failures > self.settings.tolerable_failures {
            return Err(Error::new(
                ErrorKind::External,
                "more checkpoints failed in a row than are tolerated",
            )
            .with_detail(format!(
                "{} failed, execution.checkpointing.tolerable-failed-checkpoints is {}; the last: {error}",
                self.run.failures, self.settings.tolerable_failures
            )));
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<Option<Outcome>> {
        match message {
            Message::Stop => {
                *self.stop_requested = true;
                Ok(None)
            }
            Message::Resources => Ok(None),
            Message::Stored { checkpoint, outcome } => {
                let Some(storing) = self.run.storing.take_if(|s| s.barrier.checkpoint == checkpoint) else {
                    return Ok(None);
                };
                match outcome {
                    Ok(size) => self.completed(storing, Some(size))?,
                    Err(error) => self.checkpoint_failed(checkpoint, error)?,
                }
                Ok(None)
            }
            Message::Task { attempt, .. } if attempt != self.number => Ok(None),
            Message::Task { task, event, .. } => self.task_event(task, event),
        }
    }

    fn task_event(&mut self, task: usize, event: TaskEvent) -> Result<Option<Outcome>> {
        match event {
            TaskEvent::Started => {
                self.run.started += 1;
                if self.run.started == self.tasks.len() {
                    self.run.last_trigger = Instant::now();
                    self.with_status(|s| s.state = State::Running);
                }
            }
            TaskEvent::Held => {
                self.run.held.insert(task);
            }
            TaskEvent::Ended => {
                self.run.ended.insert(task);
            }
            TaskEvent::Acknowledged {
                checkpoint,
                snapshots,
            } => {
                let subtask = self.tasks[task].subtask;
                let complete = match &mut self.run.pending {
                    Some(p) if p.barrier.checkpoint == checkpoint => p.acknowledge(task, subtask, snapshots),
                    _ => false,
                };
                if complete && let Some(pending) = self.run.pending.take() {
                    self.store_checkpoint(pending)?;
                }
            }
            TaskEvent::Declined { checkpoint, error } => {
                let declined = self
                    .run
                    .pending
                    .take_if(|p| p.barrier.checkpoint == checkpoint)
                    .is_some();
                if declined {
                    self.checkpoint_failed(checkpoint, error)?;
                }
            }
            TaskEvent::Committed { checkpoint } => {
                if let Some(Finishing {
                    outcome,
                    last: Some((last, missing)),
                }) = &mut self.run.finishing
                    && *last == checkpoint
                {
                    missing.remove(&task);
                    if missing.is_empty() {
                        return Ok(Some(*outcome));
                    }
                }
            }
            TaskEvent::Stopped { error } => {
                let error = error.unwrap_or_else(|| Error::internal("a subtask ended without being told to"));
                tracing::warn!(task = %self.tasks[task].name, %error, "subtask failed");
                return Err(error);
            }
        }
        Ok(None)
    }

    fn store_checkpoint(&mut self, pending: PendingCheckpoint) -> Result<()> {
        failpoint::mark("checkpoint.acknowledged");
        let storing = Storing {
            barrier: pending.barrier,
            triggered: pending.triggered,
            began: Instant::now(),
        };
        let is_final = matches!(
            self.run.finishing,
            Some(Finishing {
                outcome: Outcome::Finished,
                ..
            })
        );
        match self.store {
            Some(worker) => {
                self.run.storing = Some(storing);
                worker.complete(pending.into_metadata(self.number, self.job_name, is_final, self.schemas));
                Ok(())
            }
            None => self.completed(storing, None),
        }
    }

    /// The head is swapped (or there is none to swap): sinks make visible what they hold.
    fn completed(&mut self, storing: Storing, size: Option<CheckpointSize>) -> Result<()> {
        let checkpoint = storing.barrier.checkpoint;
        self.run.failures = 0;
        self.run.complete = Some(checkpoint);
        self.run.last_end = Instant::now();
        if let Some(CheckpointSize { bytes, written }) = size {
            let duration = storing.triggered.elapsed();
            self.with_status(|s| {
                s.checkpoint = Some(CheckpointStatus {
                    id: checkpoint,
                    duration,
                    bytes,
                    written,
                });
                tracing::debug!(
                    %checkpoint,
                    milliseconds = duration.as_millis(),
                    bytes,
                    written,
                    records_in = s.totals().records_in,
                    "checkpoint completed"
                );
            });
        }
        if storing.barrier.stop
            && let Some(finishing) = &mut self.run.finishing
        {
            finishing.last = Some((checkpoint, (0..self.tasks.len()).collect()));
        }
        for task in self.tasks {
            task.send(Command::Complete(checkpoint))?;
        }
        failpoint::mark("checkpoint.notified");
        Ok(())
    }
}
