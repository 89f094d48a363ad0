//! Commands to a subtask and what it reports. Values only, so that both can go over a network.

use crossbeam_channel::{Receiver, Sender, unbounded};
use millrace_connector_api::Waker;
use millrace_core::{CheckpointId, Error};
use millrace_state::keyed::KeyedSnapshot;

use crate::element::Barrier;

#[derive(Debug, Clone)]
pub enum Command {
    /// To subtasks with a source: put this barrier into the stream.
    Trigger(Barrier),
    /// The head has been swapped: make visible what belongs to the checkpoint.
    Complete(CheckpointId),
    /// All is done, or the attempt is given up: end without a further word.
    Cancel,
}

#[derive(Debug)]
pub enum Event {
    /// Sources and sinks are open.
    Started,
    /// The state for a checkpoint; from now on `Complete` may come.
    Snapshot {
        checkpoint: CheckpointId,
        operators: Vec<OperatorSnapshot>,
    },
    /// The subtask's source gives nothing more before a checkpoint is complete.
    Held,
    /// All sources of the subtask are at their end.
    Ended,
    /// Everything up to this completed checkpoint is visible.
    Committed { checkpoint: CheckpointId },
    /// The subtask is gone: after `Cancel`, or with an error.
    Stopped { error: Option<Error> },
}

/// The state of one operator of a subtask: entries that any subtask can be given, and keyed state.
#[derive(Debug)]
pub struct OperatorSnapshot {
    pub uid: String,
    pub name: String,
    pub entries: Vec<Vec<u8>>,
    /// To be put away, which may block.
    pub keyed: Option<KeyedSnapshot>,
}

/// Where a subtask's reports go; called on its thread, must not block.
pub trait Reporter: Send {
    fn report(&self, event: Event);
}

impl<F: Fn(Event) + Send> Reporter for F {
    fn report(&self, event: Event) {
        self(event)
    }
}

/// The way to a subtask: commands in order, each of which wakes it.
#[derive(Clone)]
pub struct Mailbox {
    sender: Sender<Command>,
    waker: Waker,
}

impl Mailbox {
    pub fn new(waker: Waker) -> (Mailbox, Receiver<Command>) {
        let (sender, receiver) = unbounded();
        (Mailbox { sender, waker }, receiver)
    }

    /// A subtask that is gone takes no commands; its last report says so.
    pub fn send(&self, command: Command) {
        let _ = self.sender.send(command);
        self.waker.wake();
    }
}
