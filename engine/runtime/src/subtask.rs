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
    /// Completed checkpoints that sinks still make visible, the oldest first.
    committing: VecDeque<CheckpointId>,
    last_tick: i64,
    /// Batches to come whose keys are in memory.
    prefetched: usize,
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
            prefetched: 0,
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
        self.look_ahead()?;
        if let Some(gate) = &mut self.gate {
            let Some((input, element)) = gate.poll() else {
                return Ok(false);
            };
            match element {
                Element::Barrier(barrier) => self.pass_barrier(barrier)?,
                Element::EndOfInput => {
                    self.push(0, input, Element::EndOfInput)?;
                    self.reporter.report(Event::Ended);
                }
                batch @ Element::Batch(_) => {
                    self.prefetched = self.prefetched.saturating_sub(1);
                    self.push(0, input, batch)?;
                }
                other => self.push(0, input, other)?,
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
            SourceStep::Splits(splits) => {
                self.emit(0, Element::Splits(splits))?;
                Ok(true)
            }
            SourceStep::Held => {
                self.reporter.report(Event::Held);
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
            let coming = gate.look_ahead(rows);
            // One batch alone is looked up when it is worked on.
            if coming.len() > 1 {
                operator.prefetch(&coming)?;
                self.prefetched = coming.len();
            }
        }
        Ok(())
    }

    /// Hands an element to an operator of the chain, and what comes out to its readers.
    fn push(&mut self, index: usize, input: usize, element: Element) -> Result<()> {
        let metrics = &self.metrics.operators[index];
        if let Element::Batch(batch) = &element {
            metrics.records_in.add(batch.change.len() as u64);
        }
        let mut out = Vec::new();
        match &mut self.links[index].stage {
            Stage::Sink(sink) => return sink.push(&element),
            Stage::Source(_) => return Ok(()),
            Stage::Operator(operator) => match element {
                Element::Batch(batch) => operator.batch(input, batch, &mut out)?,
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
            remote.send(&element)?;
        }
        for reader in 0..self.links[index].local.len() {
            let to = self.links[index].local[reader];
            self.push(to, 0, element.clone())?;
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
        for index in 0..self.links.len() {
            if let Stage::Operator(operator) = &mut self.links[index].stage {
                let mut out = Vec::new();
                operator.before_barrier(&mut out)?;
                self.emit_all(index, out)?;
            }
        }
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
                    .map(|backend| backend.snapshot(barrier.checkpoint)),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::Schema;
    use arrow::record_batch::RecordBatch;
    use millrace_connector_api::source::{SourceBatch, SourcePoll, SourceReader};
    use millrace_connector_api::{ChangeBatch, Waker};
    use millrace_dataflow::Partitioning;

    use super::*;
    use crate::channel::{Receiver, channel};
    use crate::control::Mailbox;

    /// So many batches, then its end.
    struct Counted(usize);

    impl SourceReader for Counted {
        fn poll(&mut self) -> Result<SourcePoll> {
            if self.0 == 0 {
                return Ok(SourcePoll::End);
            }
            self.0 -= 1;
            let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
            let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
            Ok(SourcePoll::Batch(SourceBatch {
                batch: ChangeBatch::inserts(rows),
                splits: vec![(0, 1)],
            }))
        }

        fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>> {
            Ok(vec![vec![self.0 as u8]])
        }

        fn checkpoint_complete(&mut self, _: CheckpointId) -> Result<()> {
            Ok(())
        }

        fn pending_records(&self) -> Option<u64> {
            None
        }
    }

    /// A source whose output another subtask reads.
    struct Source {
        subtask: Subtask,
        mailbox: Mailbox,
        output: Receiver,
        events: Arc<Mutex<Vec<String>>>,
    }

    fn source(batches: usize) -> Source {
        source_that_holds(batches, None)
    }

    fn source_that_holds(batches: usize, hold_after: Option<u64>) -> Source {
        let (sender, output) = channel(1 << 20, Waker::default(), Waker::default());
        let metrics = TaskMetrics::new(["source".to_owned()]);
        let link = Link {
            uid: "u".to_owned(),
            name: "source".to_owned(),
            stage: Stage::Source(SourceHead::new(
                Box::new(Counted(batches)),
                metrics.clone(),
                hold_after,
            )),
            local: Vec::new(),
            keyed: None,
            remote: vec![
                RemoteOutput::new(
                    vec![sender],
                    &Partitioning::Forward,
                    0,
                    &Arc::new(Schema::empty()),
                    1,
                )
                .unwrap(),
            ],
        };
        let (mailbox, commands) = Mailbox::new(Waker::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let reporter = {
            let events = events.clone();
            move |event: Event| {
                events.lock().unwrap().push(match event {
                    Event::Snapshot { checkpoint, .. } => format!("state {checkpoint}"),
                    Event::Held => "held".to_owned(),
                    Event::Ended => "ended".to_owned(),
                    other => format!("{other:?}"),
                })
            }
        };
        Source {
            subtask: Subtask::new(vec![link], None, commands, Box::new(reporter), metrics),
            mailbox,
            output,
            events,
        }
    }

    impl Source {
        fn barrier(&self, id: u64, stop: bool) {
            self.mailbox.send(Command::Trigger(Barrier {
                checkpoint: CheckpointId(id),
                timestamp: 0,
                stop,
            }));
        }

        /// Steps of one element until nothing is left to do or `most` are done; what came out.
        fn steps(&mut self, most: usize) -> Vec<String> {
            for _ in 0..most {
                if self.subtask.step(1).unwrap() == Progress::Idle {
                    break;
                }
            }
            std::iter::from_fn(|| self.output.try_receive())
                .map(|element| match element {
                    Element::Batch(_) => "batch".to_owned(),
                    Element::Barrier(b) if b.stop => format!("stop {}", b.checkpoint),
                    Element::Barrier(b) => format!("barrier {}", b.checkpoint),
                    Element::Watermark(i64::MAX) => "highest watermark".to_owned(),
                    Element::Watermark(w) => format!("watermark {w}"),
                    Element::Idle => "idle".to_owned(),
                    Element::Splits(splits) => format!("{splits:?}"),
                    Element::EndOfInput => "end".to_owned(),
                })
                .collect()
        }
    }

    #[test]
    fn nothing_follows_a_stop_and_it_is_no_end() {
        let mut source = source(10);
        assert_eq!(source.steps(2), ["batch", "batch"]);
        source.barrier(1, true);
        assert_eq!(source.steps(100), ["stop 1"]);
        // The stop's checkpoint failed: another one, still without an end.
        source.barrier(2, true);
        assert_eq!(source.steps(100), ["stop 2"]);
        assert_eq!(*source.events.lock().unwrap(), ["state 1", "state 2"]);
    }

    #[test]
    fn a_source_that_is_told_to_holds_still_until_a_checkpoint_is_complete() {
        let mut source = source_that_holds(3, Some(2));
        assert_eq!(source.steps(100), ["batch", "batch"]);
        source.barrier(1, false);
        assert_eq!(source.steps(100), ["barrier 1"]);
        assert_eq!(*source.events.lock().unwrap(), ["held", "state 1"]);
        source.mailbox.send(Command::Complete(CheckpointId(1)));
        assert_eq!(source.steps(100), ["batch", "highest watermark", "end"]);
    }

    #[test]
    fn a_source_that_holds_still_can_be_stopped() {
        let mut source = source_that_holds(3, Some(1));
        assert_eq!(source.steps(100), ["batch"]);
        source.barrier(1, true);
        source.mailbox.send(Command::Complete(CheckpointId(1)));
        assert_eq!(source.steps(100), ["stop 1"]);
    }

    #[test]
    fn the_highest_watermark_is_sent_at_the_true_end_once_and_barriers_follow_it() {
        let mut source = source(1);
        assert_eq!(source.steps(100), ["batch", "highest watermark", "end"]);
        source.barrier(1, false);
        assert_eq!(source.steps(100), ["barrier 1"]);
        source.barrier(2, true);
        assert_eq!(source.steps(100), ["stop 2"]);
        assert_eq!(*source.events.lock().unwrap(), ["ended", "state 1", "state 2"]);
    }
}
