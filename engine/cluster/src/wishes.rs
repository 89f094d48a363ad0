//! What a job has been asked for and not yet done.

use std::collections::VecDeque;

use millrace_core::{CheckpointId, Error};
use millrace_dataflow::JobGraph;

use crate::control::{Ending, Message, Reply};
use crate::parallelism;
use crate::status::Bounds;

pub struct Wishes {
    pub ending: Option<Ending>,
    /// Where savepoints are to be written, and who waits for them.
    pub savepoints: VecDeque<(String, Reply<String>)>,
    /// Who waits for a checkpoint.
    pub checkpoints: Vec<Reply<CheckpointId>>,
    /// How many subtasks each vertex may have.
    pub bounds: Vec<Bounds>,
    /// They are others than when the present attempt began.
    pub is_asked: bool,
    graph: JobGraph,
    /// Whether its checkpoints are kept, without which none of this but the end is possible.
    has_store: bool,
}

impl Wishes {
    pub fn new(bounds: Vec<Bounds>, graph: JobGraph, has_store: bool) -> Self {
        Wishes {
            ending: None,
            savepoints: VecDeque::new(),
            checkpoints: Vec::new(),
            bounds,
            is_asked: false,
            graph,
            has_store,
        }
    }

    pub fn wants_checkpoint(&self) -> bool {
        !self.savepoints.is_empty() || !self.checkpoints.is_empty()
    }

    /// The stronger end counts: giving up, then cancelling, then stopping; of two of a kind the later one.
    pub fn end(&mut self, ending: Ending) {
        let before = self.ending.as_ref();
        let given_up = match before.is_some_and(|before| before.strength() > ending.strength()) {
            true => Some(ending),
            false => self.ending.replace(ending),
        };
        if let Some(Ending::Savepoint { reply, .. }) = given_up {
            reply.give(Err(Error::user("the job was asked to end in another way")));
        }
    }

    /// Keeps what is asked; what is of an attempt is dropped.
    pub fn take(&mut self, message: Message) {
        match message {
            Message::Stop => self.end(Ending::Stop),
            Message::Cancel => self.end(Ending::Cancel),
            Message::Suspend => self.end(Ending::Suspend),
            Message::StopWithSavepoint { target, drain, reply } => match self.has_store {
                true => self.end(Ending::Savepoint { target, drain, reply }),
                false => reply.give(Err(without_store())),
            },
            Message::Savepoint { target, reply } => match self.has_store {
                true => self.savepoints.push_back((target, reply)),
                false => reply.give(Err(without_store())),
            },
            Message::Checkpoint { reply } => match self.has_store {
                true => self.checkpoints.push(reply),
                false => reply.give(Err(without_store())),
            },
            Message::Bounds { bounds, reply } => {
                if !self.has_store {
                    return reply.give(Err(without_store()));
                }
                match parallelism::with_asked(&self.graph, &self.bounds, &bounds) {
                    Ok(changed) => {
                        self.bounds = changed;
                        self.is_asked = true;
                        reply.give(Ok(()));
                    }
                    Err(error) => reply.give(Err(error)),
                }
            }
            Message::Task { .. }
            | Message::Resources
            | Message::Stored { .. }
            | Message::Copied { .. }
            | Message::Saved { .. } => {}
        }
    }

    /// The job has ended: who still waits is told.
    pub fn refuse(&mut self, why: &str) {
        if let Some(Ending::Savepoint { reply, .. }) = self.ending.take() {
            reply.give(Err(Error::user(why)));
        }
        for (_, reply) in self.savepoints.drain(..) {
            reply.give(Err(Error::user(why)));
        }
        for reply in self.checkpoints.drain(..) {
            reply.give(Err(Error::user(why)));
        }
    }
}

fn without_store() -> Error {
    Error::user("the job has no checkpoint folder")
        .with_hint("set execution.checkpointing.dir, and start it again")
}
