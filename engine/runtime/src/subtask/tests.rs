//! Steps of a subtask, one element at a time.

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
        self.trigger(id, stop, false);
    }

    fn trigger(&self, id: u64, stop: bool, drain: bool) {
        self.mailbox.send(Command::Trigger(Barrier {
            checkpoint: CheckpointId(id),
            timestamp: 0,
            stop,
            drain,
            complete: None,
        }));
    }

    /// Steps of one element until nothing is left to do or `most` are done; what came out.
    fn steps(&mut self, most: usize) -> Vec<String> {
        for _ in 0..most {
            if self.subtask.step(1).unwrap() == Progress::Idle {
                break;
            }
        }
        std::iter::from_fn(|| self.output.try_receive().unwrap())
            .map(|element| match element {
                Element::Batch(_) => "batch".to_owned(),
                Element::Barrier(b) if b.stop => format!("stop {}", b.checkpoint),
                Element::Barrier(b) => format!("barrier {}", b.checkpoint),
                Element::Watermark(i64::MAX) => "highest watermark".to_owned(),
                Element::Watermark(w) => format!("watermark {w}"),
                Element::Idle => "idle".to_owned(),
                Element::Splits(splits) => format!("splits {splits:?}"),
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

/// Gives each row five times, one at a time.
struct Fivefold {
    row: Option<Element>,
    left: usize,
}

impl Operator for Fivefold {
    fn batch(&mut self, _: usize, batch: crate::element::Batch, out: &mut Vec<Element>) -> Result<()> {
        assert_eq!(self.left, 0, "nothing comes while there is more");
        self.row = Some(Element::Batch(batch));
        self.left = 5;
        self.resume(out)
    }

    fn has_more(&self) -> bool {
        self.left > 0
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        self.left -= 1;
        out.extend(self.row.clone());
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        assert_eq!(self.left, 0, "a barrier waits");
        Ok(Vec::new())
    }
}

#[test]
fn much_is_given_as_there_is_room_and_before_the_barrier() {
    let mut source = source(2);
    let link = Link {
        uid: "fivefold".to_owned(),
        name: "fivefold".to_owned(),
        stage: Stage::Operator(Box::new(Fivefold { row: None, left: 0 })),
        local: Vec::new(),
        keyed: None,
        remote: Vec::new(),
    };
    let metrics = TaskMetrics::new(["source".to_owned(), "fivefold".to_owned()]);
    let (sender, output) = channel(1, Waker::default(), Waker::default());
    let schema = Arc::new(Schema::empty());
    let remote = RemoteOutput::new(vec![sender], &Partitioning::Forward, 0, &schema, 1).unwrap();
    source.output = output;
    source.subtask.metrics = metrics;
    source.subtask.links[0].remote.clear();
    source.subtask.links[0].local = vec![1];
    source.subtask.links.push(link);
    source.subtask.links[1].remote.push(remote);
    // A batch fills the channel.
    assert_eq!(source.subtask.step(100).unwrap(), Progress::Worked);
    source.barrier(1, false);
    assert_eq!(source.subtask.step(100).unwrap(), Progress::BackPressured);
    let mut given = Vec::new();
    while source.events.lock().unwrap().is_empty() {
        given.extend(source.steps(1));
    }
    assert_eq!(given, [&["batch"; 5][..], &["barrier 1"]].concat());
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
fn a_drain_sends_the_highest_watermark_before_the_stop() {
    let mut source = source(1);
    source.trigger(1, true, true);
    assert_eq!(source.steps(100), ["highest watermark", "stop 1"]);
    // Of a source that has ended it came before.
    let mut ended = self::source(0);
    assert_eq!(ended.steps(100), ["highest watermark", "end"]);
    ended.trigger(1, true, true);
    assert_eq!(ended.steps(100), ["stop 1"]);
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
