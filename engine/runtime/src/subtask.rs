//! The step loop of a subtask.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver as CommandReceiver, TryRecvError};
use millrace_core::{CheckpointId, Result, failpoint};

use crate::control::{Command, Event, OperatorSnapshot, Reporter};
use crate::element::{Barrier, Element};
use crate::gate::InputGate;
use crate::metrics::TaskMetrics;
use crate::operators::{Operator, now_millis};
use crate::output::RemoteOutput;
use crate::sink::SinkEnd;
use crate::source::{SourceHead, SourceStep};

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    Worked,
    /// Nothing to do until the waker is called.
    Idle,
    /// A reader or the outside takes nothing at present; the waker will be called.
    BackPressured,
    /// Cancelled: no further step.
    Finished,
}

pub(crate) enum Stage {
    Source(SourceHead),
    Operator(Box<dyn Operator>),
    Sink(SinkEnd),
}

/// One operator of the chain with its readers.
pub(crate) struct Link {
    pub uid: String,
    pub name: String,
    pub stage: Stage,
    /// Indexes of operators further down the chain that read its output.
    pub local: Vec<usize>,
    pub remote: Vec<RemoteOutput>,
}

/// A checkpoint whose barrier has passed and whose sinks still gather their state.
struct Snapshotting {
    checkpoint: CheckpointId,
    operators: Vec<OperatorSnapshot>,
    sinks_missing: Vec<usize>,
}

pub struct Subtask {
    pub(crate) links: Vec<Link>,
    /// Merged channels into the first operator; none where it is a source.
    pub(crate) gate: Option<InputGate>,
    pub(crate) commands: CommandReceiver<Command>,
    pub(crate) reporter: Box<dyn Reporter>,
    pub(crate) metrics: Arc<TaskMetrics>,
    snapshotting: Option<Snapshotting>,
    /// Completed checkpoints that sinks still make visible, the oldest first.
    committing: VecDeque<CheckpointId>,
    last_tick: i64,
}

/// Operators are ticked so often at most, in milliseconds.
const TICK: i64 = 50;

impl Subtask {
    pub(crate) fn new(
        links: Vec<Link>,
        gate: Option<InputGate>,
        commands: CommandReceiver<Command>,
        reporter: Box<dyn Reporter>,
        metrics: Arc<TaskMetrics>,
    ) -> Self {
        Subtask {
            links,
            gate,
            commands,
            reporter,
            metrics,
            snapshotting: None,
            committing: VecDeque::new(),
            last_tick: 0,
        }
    }

    pub fn metrics(&self) -> &Arc<TaskMetrics> {
        &self.metrics
    }

    /// Takes commands, drives sinks, and pushes up to `budget` elements through the chain.
    pub fn step(&mut self, budget: usize) -> Result<Progress> {
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => break,
                // Nobody is there any more who could cancel it.
                Err(TryRecvError::Disconnected) => return Ok(Progress::Finished),
            };
            match command {
                Command::Trigger(barrier) => self.trigger(barrier)?,
                Command::Complete(checkpoint) => self.complete(checkpoint)?,
                Command::Cancel => return Ok(Progress::Finished),
            }
        }
        self.drive_sinks()?;
        self.tick()?;
        for done in 0..budget {
            if !self.has_room()? {
                return Ok(if done == 0 {
                    Progress::BackPressured
                } else {
                    Progress::Worked
                });
            }
            if !self.take_one()? {
                if done > 0 {
                    return Ok(Progress::Worked);
                }
                for link in &mut self.links {
                    if let Stage::Sink(sink) = &mut link.stage {
                        sink.idle()?;
                    }
                }
                return Ok(Progress::Idle);
            }
        }
        Ok(Progress::Worked)
    }

    /// Whether everything behind the head takes one more batch.
    fn has_room(&mut self) -> Result<bool> {
        // Nothing from behind the barrier may reach a sink that still gathers what is before it.
        if self.snapshotting.is_some() {
            return Ok(false);
        }
        for link in &mut self.links {
            if !link.remote.iter().all(RemoteOutput::has_room) {
                return Ok(false);
            }
            if let Stage::Sink(sink) = &mut link.stage
                && !sink.is_ready()?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Pushes one element through the chain, if the input has one.
    fn take_one(&mut self) -> Result<bool> {
        if let Some(gate) = &mut self.gate {
            let Some(element) = gate.poll() else {
                return Ok(false);
            };
            match element {
                Element::Barrier(barrier) => self.pass_barrier(barrier)?,
                Element::EndOfInput => {
                    self.push(0, Element::EndOfInput)?;
                    self.reporter.report(Event::Ended);
                }
                other => self.push(0, other)?,
            }
            return Ok(true);
        }
        let Stage::Source(source) = &mut self.links[0].stage else {
            return Ok(false);
        };
        match source.poll()? {
            SourceStep::Pending => Ok(false),
            SourceStep::Batch(batch) => {
                self.metrics.operators[0]
                    .records_out
                    .add(batch.change.len() as u64);
                self.emit(0, Element::Batch(batch))?;
                Ok(true)
            }
            SourceStep::Ended => {
                for element in SourceHead::end_elements() {
                    self.emit(0, element)?;
                }
                self.reporter.report(Event::Ended);
                Ok(true)
            }
        }
    }

    /// Hands an element to an operator of the chain, and what comes out to its readers.
    fn push(&mut self, index: usize, element: Element) -> Result<()> {
        let metrics = &self.metrics.operators[index];
        if let Element::Batch(batch) = &element {
            metrics.records_in.add(batch.change.len() as u64);
        }
        let mut out = Vec::new();
        match &mut self.links[index].stage {
            Stage::Sink(sink) => return sink.push(&element),
            Stage::Source(_) => return Ok(()),
            Stage::Operator(operator) => match element {
                Element::Batch(batch) => operator.batch(batch, &mut out)?,
                other => operator.other(other, &mut out)?,
            },
        }
        self.emit_all(index, out)
    }

    fn emit_all(&mut self, index: usize, elements: Vec<Element>) -> Result<()> {
        for element in elements {
            if let Element::Batch(batch) = &element {
                self.metrics.operators[index]
                    .records_out
                    .add(batch.change.len() as u64);
            }
            self.emit(index, element)?;
        }
        Ok(())
    }

    /// Gives an operator's output to all of its readers.
    fn emit(&mut self, index: usize, element: Element) -> Result<()> {
        for remote in &mut self.links[index].remote {
            remote.send(&element);
        }
        for reader in 0..self.links[index].local.len() {
            let to = self.links[index].local[reader];
            self.push(to, element.clone())?;
        }
        Ok(())
    }

    fn trigger(&mut self, barrier: Barrier) -> Result<()> {
        match self.gate {
            // Barriers reach it through its channels.
            Some(_) => Ok(()),
            None => self.pass_barrier(barrier),
        }
    }

    /// The barrier is here: what came before it is in every operator's state, what follows is not.
    fn pass_barrier(&mut self, barrier: Barrier) -> Result<()> {
        let mut operators = Vec::new();
        let mut sinks_missing = Vec::new();
        for (index, link) in self.links.iter_mut().enumerate() {
            for remote in &mut link.remote {
                remote.send(&Element::Barrier(barrier));
            }
            let entries = match &mut link.stage {
                Stage::Source(source) => source.snapshot(barrier.checkpoint, barrier.stop)?,
                Stage::Operator(operator) => operator.snapshot()?,
                Stage::Sink(sink) => {
                    sink.begin_checkpoint(barrier)?;
                    sinks_missing.push(index);
                    continue;
                }
            };
            operators.push(OperatorSnapshot {
                uid: link.uid.clone(),
                name: link.name.clone(),
                entries,
            });
        }
        self.snapshotting = Some(Snapshotting {
            checkpoint: barrier.checkpoint,
            operators,
            sinks_missing,
        });
        self.drive_sinks()
    }

    fn drive_sinks(&mut self) -> Result<()> {
        if let Some(current) = &mut self.snapshotting {
            let mut still_missing = Vec::new();
            for &index in &current.sinks_missing {
                let link = &mut self.links[index];
                let Stage::Sink(sink) = &mut link.stage else {
                    continue;
                };
                match sink.poll_checkpoint(current.checkpoint)? {
                    None => still_missing.push(index),
                    Some(state) => current.operators.push(OperatorSnapshot {
                        uid: link.uid.clone(),
                        name: link.name.clone(),
                        entries: vec![state],
                    }),
                }
            }
            current.sinks_missing = still_missing;
        }
        if let Some(done) = self.snapshotting.take_if(|s| s.sinks_missing.is_empty()) {
            self.reporter.report(Event::Snapshot {
                checkpoint: done.checkpoint,
                operators: done.operators,
            });
            failpoint::pass("checkpoint.after-acknowledge");
        }
        if !self.committing.is_empty() {
            let mut all_visible = true;
            for link in &mut self.links {
                if let Stage::Sink(sink) = &mut link.stage {
                    all_visible &= sink.poll_commits()?;
                }
            }
            if all_visible {
                for checkpoint in self.committing.drain(..) {
                    self.reporter.report(Event::Committed { checkpoint });
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        for link in &mut self.links {
            match &mut link.stage {
                Stage::Source(source) => source.checkpoint_complete(checkpoint)?,
                Stage::Sink(sink) => sink.checkpoint_complete(checkpoint)?,
                Stage::Operator(_) => {}
            }
        }
        self.committing.push_back(checkpoint);
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        let now = now_millis();
        if now - self.last_tick < TICK {
            return Ok(());
        }
        self.last_tick = now;
        for index in 0..self.links.len() {
            let mut out = Vec::new();
            match &mut self.links[index].stage {
                Stage::Operator(operator) => operator.tick(now, &mut out)?,
                Stage::Source(source) => source.update_metrics(),
                Stage::Sink(_) => {}
            }
            self.emit_all(index, out)?;
        }
        Ok(())
    }
}
