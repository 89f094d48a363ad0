//! The step loop of a subtask.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver as CommandReceiver, TryRecvError};
use millrace_core::{CheckpointId, Result, failpoint};
use millrace_state::keyed::KeyedBackend;

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
    /// Where a keyed operator keeps its state.
    pub keyed: Option<KeyedBackend>,
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
    /// What is on its way through the chain, the next at the end.
    work: Vec<Work>,
    /// Barriers that wait for it.
    barriers: VecDeque<Barrier>,
    /// A barrier whose operators send on what they have held for more rows: up to this one.
    passing: Option<(Barrier, usize)>,
    /// Completed checkpoints that sinks still make visible, the oldest first.
    committing: VecDeque<CheckpointId>,
    last_tick: i64,
    /// Batches to come whose keys are in memory.
    prefetched: usize,
    /// Since when there is no room for what comes, in milliseconds.
    held_up: Option<i64>,
    /// What the last step waits for.
    waits: Waits,
    /// When figures were last gathered that are not counted on the way.
    last_report: i64,
    /// Timers of all operators, then.
    fired: u64,
}

/// What a subtask that is at work with nothing at present waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Waits {
    #[default]
    Nothing,
    /// A sink: for the outside, or for what it gathers for a checkpoint.
    Sink,
    /// Readers of its output, before it takes something in.
    Output,
    /// The same, in the middle of what it has taken in.
    OutputWithin,
}

/// What is left to be done of an element that has been taken.
enum Work {
    /// Hand an element to an operator's readers.
    Emit(usize, Element),
    /// Hand an element to an operator, as one of an input of its.
    Push(usize, usize, Element),
    /// The operator has more to give.
    Resume(usize),
    /// The input has ended.
    Ended,
}

/// Bytes of rows that are taken out of channels ahead of time, at most.
const LOOK_AHEAD_BYTES: usize = 8 << 20;

/// Operators are ticked so often at most, in milliseconds.
const TICK: i64 = 50;
/// Figures are gathered so often, in milliseconds.
const REPORT: i64 = 1_000;

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
            work: Vec::new(),
            barriers: VecDeque::new(),
            passing: None,
            committing: VecDeque::new(),
            last_tick: 0,
            prefetched: 0,
            held_up: None,
            waits: Waits::default(),
            last_report: 0,
            fired: 0,
        }
    }

    pub fn metrics(&self) -> &Arc<TaskMetrics> {
        &self.metrics
    }

    /// What it waits for since the last step, where that said `BackPressured`.
    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// Takes commands, drives sinks, and pushes up to `budget` elements through the chain.
    pub fn step(&mut self, budget: usize) -> Result<Progress> {
        self.report_figures();
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => break,
                // Nobody is there any more who could cancel it.
                Err(TryRecvError::Disconnected) => return Ok(Progress::Finished),
            };
            self.metrics.mails.add(1);
            match command {
                Command::Trigger(barrier) => self.trigger(barrier),
                Command::Complete(checkpoint) => self.complete(checkpoint)?,
                Command::Cancel => return Ok(Progress::Finished),
            }
        }
        self.drive_sinks()?;
        for done in 0..budget {
            let waits = match done {
                0 => Progress::BackPressured,
                _ => Progress::Worked,
            };
            // What has been taken goes through before anything else: a barrier too waits for it.
            if !self.go_on()? {
                if self.waits == Waits::Output {
                    self.waits = Waits::OutputWithin;
                }
                self.held_up.get_or_insert_with(now_millis);
                return Ok(waits);
            }
            if let Some(barrier) = self.barriers.pop_front() {
                self.metrics
                    .start_delay_nanos
                    .set((now_millis() - barrier.timestamp).max(0) * 1_000_000);
                if let Stage::Source(source) = &self.links[0].stage
                    && barrier.drain
                    && !source.has_ended()
                {
                    self.work.push(Work::Emit(0, Element::Watermark(i64::MAX)));
                }
                self.passing = Some((barrier, 0));
                continue;
            }
            if !self.has_room()? {
                self.held_up.get_or_insert_with(now_millis);
                return Ok(waits);
            }
            if let Some(since) = self.held_up.take() {
                let millis = now_millis() - since;
                for link in &mut self.links {
                    if let Stage::Operator(operator) = &mut link.stage {
                        operator.held_up(millis);
                    }
                }
            }
            if done == 0 && self.tick()? {
                continue;
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
        // A barrier that was taken last passes at once: nobody waits for what it gathers.
        self.go_on()?;
        Ok(Progress::Worked)
    }

    /// Whether everything behind the head takes one more batch.
    fn has_room(&mut self) -> Result<bool> {
        // Nothing from behind the barrier may reach a sink that still gathers what is before it.
        if self.snapshotting.is_some() {
            self.waits = Waits::Sink;
            return Ok(false);
        }
        for link in &mut self.links {
            if !link.remote.iter().all(RemoteOutput::has_room) {
                self.waits = Waits::Output;
                return Ok(false);
            }
            if let Stage::Sink(sink) = &mut link.stage
                && !sink.is_ready()?
            {
                self.waits = Waits::Sink;
                return Ok(false);
            }
        }
        self.waits = Waits::Nothing;
        Ok(true)
    }

    /// Pushes one element through the chain, if the input has one.
    fn take_one(&mut self) -> Result<bool> {
        self.look_ahead()?;
        if let Some(gate) = &mut self.gate {
            let Some((input, element)) = gate.poll()? else {
                return Ok(false);
            };
            match element {
                Element::Barrier(barrier) => {
                    let aligned = gate.aligned();
                    let delay = aligned.start_delay_millis * 1_000_000;
                    self.metrics.start_delay_nanos.set(delay);
                    self.metrics.alignment_nanos.set(aligned.nanos as i64);
                    self.passing = Some((barrier, 0));
                }
                Element::EndOfInput => {
                    self.work.push(Work::Ended);
                    self.work.push(Work::Push(0, input, Element::EndOfInput));
                }
                other => {
                    if let Element::Batch(_) = other {
                        self.prefetched = self.prefetched.saturating_sub(1);
                    }
                    self.work.push(Work::Push(0, input, other));
                }
            }
            return self.go_on().map(|_| true);
        }
        let Stage::Source(source) = &mut self.links[0].stage else {
            return Ok(false);
        };
        match source.poll()? {
            SourceStep::Pending => return Ok(false),
            SourceStep::Batch(batch) => {
                let rows = batch.change.len() as u64;
                self.metrics.operators[0].records_in.add(rows);
                self.metrics.operators[0].records_out.add(rows);
                self.work.push(Work::Emit(0, Element::Batch(batch)));
            }
            SourceStep::Splits(splits) => self.work.push(Work::Emit(0, Element::Splits(splits))),
            SourceStep::Held => self.reporter.report(Event::Held),
            SourceStep::Ended => {
                self.work.push(Work::Ended);
                let elements = SourceHead::end_elements().into_iter().rev();
                self.work.extend(elements.map(|element| Work::Emit(0, element)));
            }
        }
        self.go_on().map(|_| true)
    }

    /// Does what is left of what was taken, and passes the barrier that waits for it; false where it has to
    /// wait for room.
    fn go_on(&mut self) -> Result<bool> {
        loop {
            while let Some(work) = self.work.pop() {
                match work {
                    Work::Emit(index, element) => self.emit(index, element)?,
                    Work::Push(index, input, element) => self.push(index, input, element)?,
                    Work::Resume(index) => {
                        // What an operator gives at once has room; how much more it has nobody knows.
                        if !self.has_room()? {
                            self.work.push(Work::Resume(index));
                            return Ok(false);
                        }
                        self.operate(index, |operator, out| operator.resume(out))?;
                    }
                    Work::Ended => self.reporter.report(Event::Ended),
                }
            }
            let Some((barrier, index)) = self.passing.take() else {
                return Ok(true);
            };
            if index == self.links.len() {
                self.pass_barrier(barrier)?;
                return Ok(true);
            }
            self.passing = Some((barrier, index + 1));
            self.operate(index, |operator, out| operator.before_barrier(out))?;
        }
    }

    /// Lets the chain's head bring into memory what the rows that wait for it will need.
    fn look_ahead(&mut self) -> Result<()> {
        if self.prefetched > 0 {
            return Ok(());
        }
        if let Some(gate) = &mut self.gate
            && let Stage::Operator(operator) = &mut self.links[0].stage
        {
            let rows = operator.look_ahead();
            if rows == 0 {
                return Ok(());
            }
            let coming = gate.look_ahead(rows, LOOK_AHEAD_BYTES)?;
            // One batch alone is looked up when it is worked on.
            if coming.len() > 1 {
                operator.prefetch(&coming)?;
                self.prefetched = coming.len();
            }
        }
        Ok(())
    }

    /// Hands an element to an operator of the chain.
    fn push(&mut self, index: usize, input: usize, element: Element) -> Result<()> {
        let metrics = &self.metrics.operators[index];
        match &element {
            Element::Batch(batch) => metrics.records_in.add(batch.change.len() as u64),
            Element::Watermark(watermark) => metrics.input_watermark.set(*watermark),
            _ => {}
        }
        if let Stage::Sink(sink) = &mut self.links[index].stage {
            sink.push(&element)?;
            metrics.records_out.add(element.rows() as u64);
            return Ok(());
        }
        self.operate(index, |operator, out| match element {
            Element::Batch(batch) => operator.batch(input, batch, out),
            other => operator.other(other, out),
        })
    }

    /// Has an operator work; what comes out goes on next, then what it has more.
    fn operate(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut dyn Operator, &mut Vec<Element>) -> Result<()>,
    ) -> Result<()> {
        let Stage::Operator(operator) = &mut self.links[index].stage else {
            return Ok(());
        };
        let mut out = Vec::new();
        let late = self.metrics.late_records.get();
        work(operator.as_mut(), &mut out)?;
        let late = self.metrics.late_records.get() - late;
        if late > 0 {
            self.metrics.operators[index].late_records.add(late);
        }
        if operator.has_more() {
            self.work.push(Work::Resume(index));
        }
        for element in out.into_iter().rev() {
            if let Element::Batch(batch) = &element {
                self.metrics.operators[index]
                    .records_out
                    .add(batch.change.len() as u64);
            }
            self.work.push(Work::Emit(index, element));
        }
        Ok(())
    }

    /// Gives an operator's output to all of its readers.
    fn emit(&mut self, index: usize, element: Element) -> Result<()> {
        if let Element::Watermark(watermark) = element {
            self.metrics.operators[index].output_watermark.set(watermark);
        }
        for remote in &mut self.links[index].remote {
            remote.send(&element)?;
        }
        for to in self.links[index].local.iter().rev() {
            self.work.push(Work::Push(*to, 0, element.clone()));
        }
        Ok(())
    }

    fn trigger(&mut self, barrier: Barrier) {
        // Others reach it through its channels.
        if self.gate.is_none() {
            self.barriers.push_back(barrier);
        }
    }

    /// The barrier is here: what came before it is in every operator's state, what follows is not.
    fn pass_barrier(&mut self, barrier: Barrier) -> Result<()> {
        let mut operators = Vec::new();
        let mut sinks_missing = Vec::new();
        for (index, link) in self.links.iter_mut().enumerate() {
            for remote in &mut link.remote {
                remote.send(&Element::Barrier(barrier))?;
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
                keyed: link
                    .keyed
                    .as_ref()
                    .map(|backend| backend.snapshot(barrier.checkpoint, barrier.complete)),
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
                        keyed: None,
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
            if let Some(backend) = &link.keyed {
                backend.checkpoint_complete(checkpoint);
            }
            match &mut link.stage {
                Stage::Source(source) => source.checkpoint_complete(checkpoint)?,
                Stage::Sink(sink) => sink.checkpoint_complete(checkpoint)?,
                Stage::Operator(_) => {}
            }
        }
        self.committing.push_back(checkpoint);
        Ok(())
    }

    /// Gathers what is not counted on the way, also where nothing can be taken in.
    fn report_figures(&mut self) {
        self.metrics.mail_queue.set(self.commands.len() as i64);
        let now = now_millis();
        if now - self.last_report < REPORT {
            return;
        }
        self.last_report = now;
        let mut fired = 0;
        for (link, own) in self.links.iter_mut().zip(&self.metrics.operators) {
            match &mut link.stage {
                Stage::Source(source) => source.update_metrics(),
                Stage::Sink(sink) => sink.update_metrics(own),
                Stage::Operator(operator) => fired += operator.fired_timers(),
            }
        }
        self.metrics.fired_timers.add(fired - self.fired);
        self.fired = fired;
    }

    /// Lets operators look at the clock from time to time; whether they had something to give.
    fn tick(&mut self) -> Result<bool> {
        let now = now_millis();
        if now - self.last_tick < TICK {
            return Ok(false);
        }
        self.last_tick = now;
        // What comes out of one is worked on before the next looks.
        let mut worked = false;
        for index in 0..self.links.len() {
            self.operate(index, |operator, out| operator.tick(now, out))?;
            worked |= !self.work.is_empty();
            if !self.go_on()? {
                // The others look next time.
                self.last_tick = 0;
                return Ok(true);
            }
        }
        Ok(worked)
    }
}

#[cfg(test)]
mod tests;
