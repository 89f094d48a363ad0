//! Who reads an operator's output: operators of the same chain, and other subtasks.

use millrace_dataflow::Partitioning;

use crate::channel::Sender;
use crate::element::Element;

/// One edge out of a subtask: a channel to each subtask of the reading vertex that it feeds.
pub struct RemoteOutput {
    channels: Vec<Sender>,
    partitioning: Partitioning,
    next: usize,
}

impl RemoteOutput {
    /// `Forward` has one channel, `Rebalance` one to each reading subtask. `start` spreads the
    /// first batches of several writers.
    pub fn new(channels: Vec<Sender>, partitioning: Partitioning, start: usize) -> Self {
        let next = if channels.is_empty() {
            0
        } else {
            start % channels.len()
        };
        RemoteOutput {
            channels,
            partitioning,
            next,
        }
    }

    pub fn has_room(&self) -> bool {
        self.channels.iter().all(Sender::has_room)
    }

    pub fn send(&mut self, element: &Element) {
        match (element, self.partitioning) {
            (Element::Batch(_), Partitioning::Rebalance) => {
                self.channels[self.next].send(element.clone());
                self.next = (self.next + 1) % self.channels.len();
            }
            _ => self
                .channels
                .iter()
                .for_each(|channel| channel.send(element.clone())),
        }
    }
}
