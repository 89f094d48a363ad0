//! One attempt to run a job: its event loop, from deployed subtasks to their end.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, JobId, Result, options};
use millrace_runtime::operators::now_millis;
use millrace_runtime::{Barrier, Command};
use millrace_state::schema::StateSchema;
use millrace_state::{Metadata, Store};
use tokio::runtime::Handle;

use crate::checkpoint::PendingCheckpoint;
use crate::control::{Ending, Message, Reply, Stored, TaskEvent};
use crate::gateway::Task;
use crate::history::{CheckpointKind, FailedTask};
use crate::job::Outcome;
use crate::parallelism::Placement;
use crate::saving::{Saving, Source};
use crate::status::{CheckpointStatus, ExecutionState, JobStatus, State};
use crate::store_worker::{StoreWorker, unanswered};
use crate::wishes::Wishes;
use crate::words;

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
/// Between two looks at what nobody tells of.
const TICK: Duration = Duration::from_millis(500);

/// What the JobMaster lends an attempt.
pub struct Context<'a> {
    pub number: u64,
    pub job: JobId,
    pub job_name: &'a str,
    pub config: &'a Configuration,
    pub runtime: &'a Handle,
    /// Of the operators with keyed state, by uid.
    pub schemas: &'a BTreeMap<String, StateSchema>,
    pub settings: &'a CheckpointSettings,
    pub tasks: &'a [Task],
    /// How many of them each vertex has.
    pub widths: Arc<[usize]>,
    pub messages: &'a Receiver<Message>,
    pub sender: &'a Sender<Message>,
    /// None for a job without a checkpoint folder: its checkpoints are not kept.
    pub store: Option<&'a StoreWorker>,
    /// What its checkpoints are read from.
    pub files: Option<Arc<dyn Store>>,
    pub status: &'a Arc<Mutex<JobStatus>>,
    pub next_checkpoint: &'a mut CheckpointId,
    pub wishes: &'a mut Wishes,
    pub placement: Placement<'a>,
}

pub struct Attempt<'a> {
    with: Context<'a>,
    run: Run,
}

/// How an attempt ended that did not fail.
pub enum AttemptEnd {
    Job(Outcome),
    /// Another one follows at once, from the checkpoint that this one ended with.
    Redeploy,
}

/// What an attempt failed with.
pub struct Failure {
    pub error: Error,
    /// None: not one of its subtasks.
    pub task: Option<FailedTask>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, task: None }
    }
}

/// What changes while an attempt runs.
struct Run {
    started: usize,
    /// Tasks whose source waits for a checkpoint.
    held: HashSet<usize>,
    /// A checkpoint is due now, whatever the interval.
    due: bool,
    ended: HashSet<usize>,
    pending: Option<Pending>,
    storing: Option<Storing>,
    /// Savepoints on their way, each with the tasks that have not made its checkpoint visible.
    savings: Vec<(Saving, HashSet<usize>)>,
    last_trigger: Instant,
    last_end: Instant,
    failures: u32,
    /// The newest checkpoint that is complete.
    complete: Option<CheckpointId>,
    finishing: Option<Finishing>,
    not_before: Instant,
}

struct Pending {
    checkpoint: PendingCheckpoint,
    asked: Asked,
}

/// Who waits for a checkpoint.
#[derive(Default)]
struct Asked {
    savepoint: Option<(String, Reply<String>)>,
    replies: Vec<Reply<CheckpointId>>,
}

impl Asked {
    fn refuse(self, why: &Error) {
        let refusal = || Error::new(why.kind(), why.message()).with_detail(why.detail().unwrap_or_default());
        if let Some((_, reply)) = self.savepoint {
            reply.give(Err(refusal()));
        }
        for reply in self.replies {
            reply.give(Err(refusal()));
        }
    }
}

struct Storing {
    barrier: Barrier,
    triggered: Instant,
    began: Instant,
    asked: Asked,
    /// To be copied.
    metadata: Option<Metadata>,
}

/// The attempt is to end: with a last checkpoint, then all of it visible.
struct Finishing {
    goal: Goal,
    drain: bool,
    /// Who waits for a savepoint of the last checkpoint.
    savepoint: Option<(String, Reply<String>)>,
    /// It is being copied, or has been.
    is_saved: bool,
    /// The completed last checkpoint and the tasks that have not made it visible.
    last: Option<(CheckpointId, HashSet<usize>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Finished,
    Stopped,
    Redeploy,
}

type Step<T> = std::result::Result<T, Failure>;

impl<'a> Attempt<'a> {
    pub fn new(with: Context<'a>) -> Self {
        let now = Instant::now();
        Attempt {
            with,
            run: Run {
                started: 0,
                held: HashSet::new(),
                due: false,
                ended: HashSet::new(),
                pending: None,
                storing: None,
                savings: Vec::new(),
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
    pub fn run(mut self) -> Step<AttemptEnd> {
        let outcome = self.until_end();
        let why = match &outcome {
            Ok(_) => Error::external("the job has ended"),
            Err(Failure { error, .. }) => Error::external("the job failed").with_detail(error.message()),
        };
        self.with_status(|s| s.checkpoints.given_up(&why));
        let Run {
            pending,
            storing,
            savings,
            finishing,
            ..
        } = self.run;
        let asked = pending
            .map(|pending| pending.asked)
            .into_iter()
            .chain(storing.map(|s| s.asked));
        asked.for_each(|asked| asked.refuse(&why));
        let again = || Error::new(why.kind(), why.message()).with_detail(why.detail().unwrap_or_default());
        for (saving, _) in savings {
            saving.abandon(again());
        }
        if let Some((_, reply)) = finishing.and_then(|finishing| finishing.savepoint) {
            reply.give(Err(again()));
        }
        outcome
    }

    fn until_end(&mut self) -> Step<AttemptEnd> {
        loop {
            if !self.run.held.is_empty() && self.sources_wait() {
                self.run.held.clear();
                self.run.due = true;
                if self.with.settings.stop_when_held {
                    self.with.wishes.end(Ending::Stop);
                }
            }
            if let Some(end) = self.look_for_an_end() {
                return Ok(end);
            }
            let now = Instant::now();
            self.check_timeout(now)?;
            let wait = match self.next_trigger(now) {
                Some(at) if at <= now => {
                    self.trigger(now)?;
                    continue;
                }
                Some(at) => at - now,
                None => TICK,
            };
            match self.with.messages.recv_timeout(wait.min(TICK)) {
                Ok(message) => {
                    if let Some(end) = self.handle(message)? {
                        return Ok(end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the JobMaster lost its mailbox").into());
                }
            }
        }
    }

    /// Begins the end where it is due; gives the one that nothing is waited for.
    fn look_for_an_end(&mut self) -> Option<AttemptEnd> {
        match &self.with.wishes.ending {
            Some(Ending::Cancel) => return Some(AttemptEnd::Job(Outcome::Cancelled)),
            Some(Ending::Suspend) => return Some(AttemptEnd::Job(Outcome::Suspended)),
            _ => {}
        }
        let is_running = self.run.started == self.with.tasks.len();
        if !is_running || self.run.finishing.is_some() {
            return None;
        }
        if self.run.ended.len() == self.with.tasks.len() {
            self.finish(Goal::Finished, false, None);
        } else if let Some(ending) = self.with.wishes.ending.take() {
            match ending {
                Ending::Savepoint { target, drain, reply } => {
                    self.finish(Goal::Stopped, drain, Some((target, reply)));
                }
                other => {
                    // It stays: a restart in between does not undo it.
                    self.with.wishes.ending = Some(other);
                    self.finish(Goal::Stopped, false, None);
                }
            }
        } else if self.with.store.is_some() {
            let Wishes { bounds, is_asked, .. } = &*self.with.wishes;
            if let Some(why) = self.with.placement.why_again(bounds, *is_asked, Instant::now()) {
                tracing::info!(
                    job = self.with.job_name,
                    why,
                    "subtasks are laid out anew, after a checkpoint"
                );
                self.finish(Goal::Redeploy, false, None);
            }
        }
        None
    }

    /// Whether no source gives anything more before a checkpoint is complete.
    fn sources_wait(&self) -> bool {
        let mut sources = self
            .with
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| task.is_source);
        sources.all(|(number, _)| self.run.held.contains(&number) || self.run.ended.contains(&number))
    }

    fn finish(&mut self, goal: Goal, drain: bool, savepoint: Option<(String, Reply<String>)>) {
        self.run.finishing = Some(Finishing {
            goal,
            drain,
            is_saved: savepoint.is_none(),
            savepoint,
            last: None,
        });
        // A checkpoint that is under way is not the last one: it is given up, and harms nothing.
        if let Some(pending) = self.run.pending.take() {
            let why = Error::external("the checkpoint was given up for the job's last one");
            self.with_status(|s| s.checkpoints.failed(pending.checkpoint.barrier.checkpoint, &why));
            pending.asked.refuse(&why);
        }
        self.run.failures = 0;
        if goal != Goal::Redeploy {
            self.with_status(|s| s.enter(State::Stopping));
        }
    }

    fn with_status(&self, change: impl FnOnce(&mut JobStatus)) {
        change(&mut self.with.status.lock().unwrap_or_else(|e| e.into_inner()));
    }

    fn next_trigger(&self, now: Instant) -> Option<Instant> {
        if self.run.started < self.with.tasks.len() || self.run.storing.is_some() {
            return None;
        }
        if let Some(pending) = &self.run.pending {
            return Some(pending.checkpoint.triggered + self.with.settings.timeout).filter(|at| *at > now);
        }
        match &self.run.finishing {
            Some(Finishing { last: None, .. }) => Some(self.run.not_before),
            Some(_) => None,
            None if self.run.due || self.with.wishes.wants_checkpoint() => Some(now),
            None => {
                // Without a folder there is nothing that a checkpoint in between would be for.
                let interval = self.with.store.and(self.with.settings.interval)?;
                let pause = self.run.last_end + self.with.settings.min_pause;
                Some((self.run.last_trigger + interval).max(pause))
            }
        }
    }

    fn trigger(&mut self, now: Instant) -> Step<()> {
        let checkpoint = *self.with.next_checkpoint;
        *self.with.next_checkpoint = checkpoint.next();
        let barrier = Barrier {
            checkpoint,
            timestamp: now_millis(),
            stop: self.run.finishing.is_some(),
            drain: self
                .run
                .finishing
                .as_ref()
                .is_some_and(|finishing| finishing.drain),
            complete: self.run.complete,
        };
        let asked = match &self.run.finishing {
            Some(_) => Asked::default(),
            None => Asked {
                savepoint: self.with.wishes.savepoints.pop_front(),
                replies: std::mem::take(&mut self.with.wishes.checkpoints),
            },
        };
        let kind = match &self.run.finishing {
            Some(Finishing {
                savepoint: Some(_),
                drain,
                ..
            }) => CheckpointKind::StopWithSavepoint { drain: *drain },
            Some(_) => CheckpointKind::Last,
            None if asked.savepoint.is_some() => CheckpointKind::Savepoint,
            None => CheckpointKind::Checkpoint,
        };
        let widths = self.with.widths.clone();
        self.with_status(|s| s.checkpoints.began(checkpoint, kind, widths));
        words::checkpoint_triggered(self.with.job, checkpoint, kind, barrier.timestamp);
        self.run.last_trigger = now;
        self.run.due = false;
        self.run.pending = Some(Pending {
            checkpoint: PendingCheckpoint::new(barrier, self.with.tasks.len()),
            asked,
        });
        for task in self.with.tasks {
            task.send(Command::Trigger(barrier))?;
        }
        Ok(())
    }

    fn check_timeout(&mut self, now: Instant) -> Step<()> {
        let timeout = self.with.settings.timeout;
        // No other checkpoint can be tried while one is being stored.
        if let Some(storing) = &self.run.storing
            && now.duration_since(storing.began) >= timeout
        {
            return Err(unanswered()
                .with_detail(format!(
                    "checkpoint {} is being stored for longer than execution.checkpointing.timeout, {} s",
                    storing.barrier.checkpoint,
                    timeout.as_secs()
                ))
                .into());
        }
        let timed_out = self
            .run
            .pending
            .take_if(|p| now.duration_since(p.checkpoint.triggered) >= timeout);
        match timed_out {
            None => Ok(()),
            Some(Pending { checkpoint, asked }) => {
                let error = Error::external("a checkpoint took longer than execution.checkpointing.timeout")
                    .with_detail(format!(
                        "checkpoint {}: {} of {} subtasks have not given their state",
                        checkpoint.barrier.checkpoint,
                        checkpoint.missing(),
                        self.with.tasks.len()
                    ))
                    .with_hint("look for back-pressure, or raise execution.checkpointing.timeout");
                self.checkpoint_failed(checkpoint.barrier.checkpoint, error, asked)
            }
        }
    }

    /// Counts a failed checkpoint; the job fails when there were too many in a row.
    fn checkpoint_failed(&mut self, checkpoint: CheckpointId, error: Error, asked: Asked) -> Step<()> {
        self.run.last_end = Instant::now();
        self.run.not_before = Instant::now() + RETRY_PAUSE;
        self.run.failures += 1;
        asked.refuse(&error);
        self.with_status(|s| {
            s.failed_checkpoints += 1;
            s.checkpoints.failed(checkpoint, &error);
        });
        tracing::warn!(%checkpoint, %error, failures_in_a_row = self.run.failures, "checkpoint failed");
        words::checkpoint_failed(self.with.job, checkpoint, self.run.failures);
        // A final verdict of the store: no later checkpoint can succeed.
        if error.kind() == ErrorKind::Fenced {
            return Err(error.into());
        }
        if self.run.failures > self.with.settings.tolerable_failures {
            return Err(Error::new(
                ErrorKind::External,
                "more checkpoints failed in a row than are tolerated",
            )
            .with_detail(format!(
                "{} failed, execution.checkpointing.tolerable-failed-checkpoints is {}; the last: {error}",
                self.run.failures, self.with.settings.tolerable_failures
            ))
            .into());
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Step<Option<AttemptEnd>> {
        match message {
            Message::Stored { checkpoint, outcome } => {
                let Some(storing) = self.run.storing.take_if(|s| s.barrier.checkpoint == checkpoint) else {
                    return Ok(None);
                };
                match outcome {
                    Ok(stored) => self.completed(storing, Some(stored))?,
                    Err(error) => self.checkpoint_failed(checkpoint, error, storing.asked)?,
                }
                Ok(None)
            }
            Message::Copied { checkpoint, outcome } => {
                if let Some(store) = self.with.store {
                    store.copied(checkpoint);
                }
                match outcome {
                    Ok(()) => {
                        for (saving, _) in self
                            .run
                            .savings
                            .iter_mut()
                            .filter(|(s, _)| s.checkpoint == checkpoint)
                        {
                            saving.is_copied = true;
                            saving.proceed();
                        }
                        Ok(None)
                    }
                    Err(error) => Ok(self.saved(checkpoint, Err(error))),
                }
            }
            Message::Saved { checkpoint, outcome } => Ok(self.saved(checkpoint, outcome)),
            Message::Task { attempt, .. } if attempt != self.with.number => Ok(None),
            Message::Task { task, event, .. } => self.task_event(task, event),
            other => {
                let changes_bounds = matches!(other, Message::Bounds { .. });
                self.with.wishes.take(other);
                if changes_bounds {
                    self.with_status(|s| s.bounds = self.with.wishes.bounds.clone());
                }
                Ok(None)
            }
        }
    }

    /// A savepoint is there, or is not to be.
    fn saved(&mut self, checkpoint: CheckpointId, outcome: Result<String>) -> Option<AttemptEnd> {
        let place = self
            .run
            .savings
            .iter()
            .position(|(s, _)| s.checkpoint == checkpoint)?;
        let (saving, _) = self.run.savings.swap_remove(place);
        match &outcome {
            Ok(path) => {
                tracing::info!(%checkpoint, path, "savepoint completed");
                self.with_status(|s| s.checkpoints.saved(checkpoint, path));
            }
            Err(error) => tracing::warn!(%checkpoint, %error, "savepoint failed"),
        }
        let is_there = outcome.is_ok();
        saving.reply.give(outcome);
        let finishing = self.run.finishing.as_mut()?;
        let is_last = finishing
            .last
            .as_ref()
            .is_some_and(|(last, _)| *last == checkpoint);
        if !is_last {
            return None;
        }
        finishing.is_saved = true;
        if !is_there {
            // What it was stopped for is not there: it goes on.
            finishing.goal = Goal::Redeploy;
        }
        self.end_if_done()
    }

    /// The end, if the last checkpoint is complete, all of it is visible, and it has been copied where that was asked.
    fn end_if_done(&self) -> Option<AttemptEnd> {
        let finishing = self.run.finishing.as_ref()?;
        let (_, missing) = finishing.last.as_ref()?;
        if !missing.is_empty() || !finishing.is_saved {
            return None;
        }
        Some(match finishing.goal {
            Goal::Finished => AttemptEnd::Job(Outcome::Finished),
            Goal::Stopped => AttemptEnd::Job(Outcome::Stopped),
            Goal::Redeploy => AttemptEnd::Redeploy,
        })
    }

    fn task_event(&mut self, task: usize, event: TaskEvent) -> Step<Option<AttemptEnd>> {
        match event {
            TaskEvent::Started => {
                self.run.started += 1;
                let is_last = self.run.started == self.with.tasks.len();
                self.with_status(|s| {
                    s.enter_execution(task, ExecutionState::Running);
                    if is_last {
                        s.enter(State::Running);
                    }
                });
                if is_last {
                    self.run.last_trigger = Instant::now();
                }
            }
            TaskEvent::Held => {
                self.run.held.insert(task);
            }
            TaskEvent::Ended => {
                self.run.ended.insert(task);
                self.with_status(|s| s.enter_execution(task, ExecutionState::Finished));
            }
            TaskEvent::Acknowledged {
                checkpoint,
                snapshots,
            } => {
                let subtask = self.with.tasks[task].subtask;
                let is_current = |pending: &Pending| pending.checkpoint.barrier.checkpoint == checkpoint;
                if self.run.pending.as_ref().is_some_and(is_current) {
                    self.with_status(|s| s.checkpoints.acknowledged(checkpoint, task, &snapshots));
                }
                let complete = match &mut self.run.pending {
                    Some(p) if p.checkpoint.barrier.checkpoint == checkpoint => {
                        p.checkpoint.acknowledge(task, subtask, snapshots)
                    }
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
                    .take_if(|p| p.checkpoint.barrier.checkpoint == checkpoint);
                if let Some(declined) = declined {
                    self.checkpoint_failed(checkpoint, error, declined.asked)?;
                }
            }
            TaskEvent::Committed { checkpoint } => return Ok(self.committed(task, checkpoint)),
            TaskEvent::Stopped { error } => {
                let error = error.unwrap_or_else(|| Error::internal("a subtask ended without being told to"));
                return Err(failure(self.with.tasks, self.with.status, task, error));
            }
        }
        Ok(None)
    }

    /// A subtask has made visible what it has of a checkpoint.
    fn committed(&mut self, task: usize, checkpoint: CheckpointId) -> Option<AttemptEnd> {
        for (saving, missing) in &mut self.run.savings {
            if checkpoint >= saving.checkpoint {
                missing.remove(&task);
                saving.is_committed = missing.is_empty();
                saving.proceed();
            }
        }
        let finishing = self.run.finishing.as_mut()?;
        let (last, missing) = finishing.last.as_mut()?;
        if *last == checkpoint {
            missing.remove(&task);
        }
        self.end_if_done()
    }

    fn store_checkpoint(&mut self, pending: Pending) -> Step<()> {
        let Pending { checkpoint, asked } = pending;
        let is_final = matches!(
            self.run.finishing,
            Some(Finishing {
                goal: Goal::Finished,
                ..
            })
        );
        let mut storing = Storing {
            barrier: checkpoint.barrier,
            triggered: checkpoint.triggered,
            began: Instant::now(),
            asked,
            metadata: None,
        };
        let Some(worker) = self.with.store else {
            return self.completed(storing, None);
        };
        let metadata =
            checkpoint.into_metadata(self.with.number, self.with.job_name, is_final, self.with.schemas);
        let is_savepoint = storing.asked.savepoint.is_some()
            || matches!(&self.run.finishing, Some(finishing) if finishing.savepoint.is_some());
        storing.metadata = is_savepoint.then(|| metadata.clone());
        self.run.storing = Some(storing);
        worker.complete(metadata, is_savepoint);
        Ok(())
    }

    /// The head is swapped (or there is none to swap): sinks make visible what they hold.
    fn completed(&mut self, storing: Storing, stored: Option<Stored>) -> Step<()> {
        let checkpoint = storing.barrier.checkpoint;
        self.run.failures = 0;
        self.run.complete = Some(checkpoint);
        self.run.last_end = Instant::now();
        let duration = storing.triggered.elapsed();
        let job = self.with.job;
        self.with_status(|s| match &stored {
            Some(Stored { size, path, oldest }) => {
                s.checkpoint = Some(CheckpointStatus {
                    id: checkpoint,
                    duration,
                    bytes: size.bytes,
                    written: size.written,
                });
                s.checkpoints
                    .completed(checkpoint, Some(path.clone()), size.bytes, size.written);
                s.checkpoints.discarded_before(*oldest);
                let finalization = storing.began.elapsed();
                words::checkpoint_completed(job, checkpoint, size.bytes, duration, finalization);
            }
            None => s.checkpoints.completed(checkpoint, None, 0, 0),
        });
        let Storing { asked, metadata, .. } = storing;
        let mut savepoint = asked.savepoint;
        if storing.barrier.stop
            && let Some(finishing) = &mut self.run.finishing
        {
            finishing.last = Some((checkpoint, (0..self.with.tasks.len()).collect()));
            savepoint = savepoint.or(finishing.savepoint.take());
        }
        for reply in asked.replies {
            reply.give(Ok(checkpoint));
        }
        if let (Some((target, reply)), Some(metadata), Some(files)) = (savepoint, metadata, &self.with.files)
        {
            let source = Source {
                job: self.with.job,
                metadata,
                files: files.clone(),
                config: self.with.config.clone(),
                runtime: self.with.runtime.clone(),
            };
            let saving = Saving::start(target, source, reply, self.with.sender.clone())?;
            let tasks = (0..self.with.tasks.len()).collect();
            self.run.savings.push((saving, tasks));
        }
        for task in self.with.tasks {
            task.send(Command::Complete(checkpoint))?;
        }
        Ok(())
    }
}

/// A subtask has failed: which, and with what.
pub fn failure(tasks: &[Task], status: &Mutex<JobStatus>, task: usize, error: Error) -> Failure {
    let failed = &tasks[task];
    tracing::warn!(task = %failed.name, %error, "subtask failed");
    status
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .enter_execution(task, ExecutionState::Failed);
    Failure {
        error,
        task: Some(FailedTask {
            name: failed.name.clone(),
            task_manager: failed.task_manager().to_owned(),
            endpoint: failed.endpoint().map(str::to_owned),
        }),
    }
}
