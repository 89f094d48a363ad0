//! Several channels as one input: barriers aligned, watermarks at their minimum.

use std::collections::VecDeque;
use std::time::Instant;

use millrace_core::{CheckpointId, Result};

use crate::channel::{Probe, Receiver, Size};
use crate::element::{Barrier, Batch, Element};
use crate::operators::now_millis;

pub struct InputGate {
    inputs: Vec<Input>,
    /// Where the next look begins, so that no channel starves.
    next: usize,
    alignment: Option<Alignment>,
    /// The newest barrier that was passed on; older ones are left-overs of failed checkpoints.
    passed: Option<CheckpointId>,
    watermark: i64,
    idle: bool,
    /// Elements with the input that they came by; what is merged of all has none.
    ready: VecDeque<(usize, Element)>,
    aligned: Aligned,
}

/// How long the barriers of the newest aligned checkpoint took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aligned {
    /// From its trigger until the first was here.
    pub start_delay_millis: i64,
    /// From the first to the last.
    pub nanos: u64,
}

struct Input {
    receiver: Receiver,
    /// Which input of the operator the channel belongs to.
    number: usize,
    watermark: i64,
    idle: bool,
    ended: bool,
    /// Holds until the alignment of this checkpoint is over.
    barrier: Option<CheckpointId>,
}

struct Alignment {
    barrier: Barrier,
    missing: usize,
    began: Instant,
    start_delay_millis: i64,
}

impl InputGate {
    /// Channels, each with the input of the operator that it belongs to.
    pub fn new(receivers: Vec<(usize, Receiver)>) -> Self {
        let inputs = receivers.into_iter().map(|(number, receiver)| Input {
            receiver,
            number,
            watermark: i64::MIN,
            idle: false,
            ended: false,
            barrier: None,
        });
        InputGate {
            inputs: inputs.collect(),
            next: 0,
            alignment: None,
            passed: None,
            watermark: i64::MIN,
            idle: false,
            ready: VecDeque::new(),
            aligned: Aligned::default(),
        }
    }

    pub fn probes(&self) -> Vec<Probe> {
        self.inputs.iter().map(|input| input.receiver.probe()).collect()
    }

    pub fn aligned(&self) -> Aligned {
        self.aligned
    }

    /// The next element of the merged stream, if there is one now. A batch comes with the number of
    /// the operator's input that it belongs to.
    pub fn poll(&mut self) -> Result<Option<(usize, Element)>> {
        loop {
            if let Some(element) = self.ready.pop_front() {
                return Ok(Some(element));
            }
            let Some((index, element)) = self.receive()? else {
                return Ok(None);
            };
            self.take(index, element);
        }
    }

    /// The batches among the elements to come, the next first, until they have so many rows or bytes: no more
    /// than what waits in the channels now.
    pub fn look_ahead(&mut self, rows: usize, bytes: usize) -> Result<Vec<(usize, &Batch)>> {
        let mut waiting = Size::default();
        self.ready
            .iter()
            .for_each(|(_, element)| waiting += Size::of(element));
        while waiting.rows < rows
            && waiting.bytes < bytes
            && let Some((index, element)) = self.receive()?
        {
            waiting += Size::of(&element);
            self.take(index, element);
        }
        let mut coming = Vec::new();
        for (input, element) in &self.ready {
            if let Element::Batch(batch) = element {
                coming.push((*input, batch));
            }
        }
        Ok(coming)
    }

    fn receive(&mut self) -> Result<Option<(usize, Element)>> {
        let count = self.inputs.len();
        for turn in 0..count {
            let index = (self.next + turn) % count;
            if self.inputs[index].barrier.is_some() {
                continue;
            }
            if let Some(element) = self.inputs[index].receiver.try_receive()? {
                self.next = (index + 1) % count;
                return Ok(Some((index, element)));
            }
        }
        Ok(None)
    }

    fn take(&mut self, index: usize, element: Element) {
        match element {
            Element::Batch(batch) => {
                self.inputs[index].idle = false;
                let number = self.inputs[index].number;
                let batch = self.lowered(index, batch);
                self.ready.push_back((number, Element::Batch(batch)));
            }
            Element::Watermark(watermark) => {
                let input = &mut self.inputs[index];
                input.watermark = input.watermark.max(watermark);
                input.idle = false;
                self.merge_watermarks();
            }
            Element::Idle => {
                self.inputs[index].idle = true;
                self.merge_watermarks();
            }
            Element::Barrier(barrier) => self.align(index, barrier),
            // Of several sources' splits no one could tell which are which.
            Element::Splits(splits) => {
                if self.inputs.len() == 1 {
                    self.merged(Element::Splits(splits));
                }
            }
            Element::EndOfInput => {
                self.inputs[index].ended = true;
                if self.inputs.iter().all(|i| i.ended) {
                    self.merged(Element::EndOfInput);
                }
            }
        }
    }

    fn merged(&mut self, element: Element) {
        self.ready.push_back((0, element));
    }

    /// A batch in which the watermark of its channel rose: that of all channels may be lower.
    fn lowered(&self, index: usize, batch: Batch) -> Batch {
        let Some(own) = &batch.watermarks else {
            return batch;
        };
        let others = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(i, input)| *i != index && !input.idle);
        let Some(lowest) = others.map(|(_, input)| input.watermark).min() else {
            return batch;
        };
        // What was passed on once stays.
        let lowest = lowest.max(self.watermark);
        let watermarks = own.iter().map(|w| (*w).min(lowest)).collect();
        Batch {
            watermarks: Some(watermarks),
            ..batch
        }
    }

    fn merge_watermarks(&mut self) {
        let active = self.inputs.iter().filter(|i| !i.idle).map(|i| i.watermark).min();
        match active {
            None if !self.idle => {
                self.idle = true;
                self.merged(Element::Idle);
            }
            None => {}
            Some(lowest) => {
                let resumed = std::mem::replace(&mut self.idle, false);
                if lowest > self.watermark || (resumed && lowest == self.watermark && lowest > i64::MIN) {
                    self.watermark = lowest;
                    self.merged(Element::Watermark(lowest));
                }
            }
        }
    }

    fn align(&mut self, index: usize, barrier: Barrier) {
        if self.passed.is_some_and(|passed| barrier.checkpoint <= passed) {
            return;
        }
        match &self.alignment {
            Some(current) if current.barrier.checkpoint > barrier.checkpoint => return,
            Some(current) if current.barrier.checkpoint == barrier.checkpoint => {}
            // A newer barrier: the checkpoint before it has failed, its waiting inputs go on.
            _ => {
                self.inputs.iter_mut().for_each(|i| i.barrier = None);
                self.alignment = Some(Alignment {
                    barrier,
                    missing: self.inputs.len(),
                    began: Instant::now(),
                    start_delay_millis: (now_millis() - barrier.timestamp).max(0),
                });
            }
        }
        self.inputs[index].barrier = Some(barrier.checkpoint);
        if let Some(alignment) = &mut self.alignment {
            alignment.missing -= 1;
            if alignment.missing == 0 {
                self.passed = Some(barrier.checkpoint);
                self.aligned = Aligned {
                    start_delay_millis: alignment.start_delay_millis,
                    nanos: alignment.began.elapsed().as_nanos() as u64,
                };
                self.ready.push_back((0, Element::Barrier(alignment.barrier)));
                self.alignment = None;
                self.inputs.iter_mut().for_each(|i| i.barrier = None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use arrow::record_batch::RecordBatch;
    use millrace_connector_api::{ChangeBatch, Waker};

    use super::*;
    use crate::channel::{Sender, channel};

    fn gate(inputs: usize) -> (Vec<Sender>, InputGate) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..inputs)
            .map(|_| channel(1 << 20, Waker::default(), Waker::default()))
            .unzip();
        (
            senders,
            InputGate::new(receivers.into_iter().map(|r| (0, r)).collect()),
        )
    }

    fn row(value: i64) -> Element {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Element::Batch(ChangeBatch::inserts(RecordBatch::try_from_iter([("a", column)]).unwrap()).into())
    }

    fn barrier(id: u64) -> Element {
        Element::Barrier(Barrier {
            checkpoint: CheckpointId(id),
            timestamp: 0,
            stop: false,
            drain: false,
            complete: None,
        })
    }

    fn drain(gate: &mut InputGate) -> Vec<String> {
        std::iter::from_fn(|| gate.poll().unwrap())
            .map(|(_, element)| match element {
                Element::Batch(b) => b
                    .change
                    .rows
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .value(0)
                    .to_string(),
                Element::Barrier(b) => format!("b{}", b.checkpoint),
                Element::Watermark(w) => format!("w{w}"),
                Element::Idle => "idle".into(),
                Element::Splits(splits) => format!("splits {splits:?}"),
                Element::EndOfInput => "end".into(),
            })
            .collect()
    }

    #[test]
    fn what_follows_a_barrier_waits_for_the_barriers_of_all_inputs() {
        let (inputs, mut gate) = gate(2);
        for element in [row(1), barrier(1), row(2)] {
            inputs[0].send(element).unwrap();
        }
        inputs[1].send(row(3)).unwrap();
        assert_eq!(drain(&mut gate), ["1", "3"]);
        inputs[1].send(barrier(1)).unwrap();
        assert_eq!(drain(&mut gate), ["b1", "2"]);
    }

    #[test]
    fn a_newer_barrier_ends_the_wait_for_an_older_one() {
        let (inputs, mut gate) = gate(2);
        inputs[0].send(barrier(1)).unwrap();
        inputs[0].send(row(1)).unwrap();
        inputs[1].send(barrier(2)).unwrap();
        assert_eq!(
            drain(&mut gate),
            ["1"],
            "input 0 goes on, input 1 waits for barrier 2"
        );
        inputs[0].send(barrier(2)).unwrap();
        assert_eq!(drain(&mut gate), ["b2"]);
        inputs[1].send(barrier(1)).unwrap();
        assert!(drain(&mut gate).is_empty(), "a left-over is not passed on");
    }

    #[test]
    fn barriers_pass_after_the_end_of_some_inputs() {
        let (inputs, mut gate) = gate(2);
        inputs[0].send(Element::EndOfInput).unwrap();
        inputs[0].send(barrier(1)).unwrap();
        inputs[1].send(barrier(1)).unwrap();
        assert_eq!(drain(&mut gate), ["b1"]);
        inputs[1].send(Element::EndOfInput).unwrap();
        assert_eq!(drain(&mut gate), ["end"]);
    }

    #[test]
    fn the_end_of_some_inputs_is_not_that_of_the_stream() {
        let (inputs, mut gate) = gate(2);
        inputs[0].send(Element::Watermark(i64::MAX)).unwrap();
        inputs[0].send(Element::EndOfInput).unwrap();
        inputs[1].send(Element::Watermark(5)).unwrap();
        assert_eq!(drain(&mut gate), ["w5"]);
        // A stop at this point: nothing says that no earlier row follows.
        inputs[0].send(barrier(1)).unwrap();
        inputs[1].send(barrier(1)).unwrap();
        assert_eq!(drain(&mut gate), ["b1"]);
        inputs[1].send(Element::Watermark(i64::MAX)).unwrap();
        inputs[1].send(Element::EndOfInput).unwrap();
        assert_eq!(drain(&mut gate), [format!("w{}", i64::MAX), "end".to_owned()]);
    }

    #[test]
    fn the_watermark_is_the_lowest_of_the_active_inputs() {
        let (inputs, mut gate) = gate(2);
        inputs[0].send(Element::Watermark(10)).unwrap();
        assert!(drain(&mut gate).is_empty());
        inputs[1].send(Element::Watermark(5)).unwrap();
        assert_eq!(drain(&mut gate), ["w5"]);
        inputs[1].send(Element::Idle).unwrap();
        assert_eq!(drain(&mut gate), ["w10"]);
        inputs[0].send(Element::Idle).unwrap();
        assert_eq!(drain(&mut gate), ["idle"]);
    }
}
