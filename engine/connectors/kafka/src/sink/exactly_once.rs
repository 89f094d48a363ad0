//! The exactly-once writer: one transaction a checkpoint, and when its id may be used again.
//!
//! A writer has a pool of transactional ids, for a transaction stays open until its checkpoint is
//! complete while the next one is already written. An id goes round:
//!
//! ```text
//! free -> current -> preparing -> prepared -> committing -> cooling -> free
//!        first      barrier of    handle in   N complete    N committed: in no later state
//!        record     checkpoint N  state N                   a later M complete
//! ```
//!
//! Why cooling. With transactions of version 1 an id keeps its epoch from one transaction to the
//! next, so a handle (id, producer id, epoch) means whatever transaction the id has now. Recovery
//! commits every handle of the newest complete checkpoint. Were the id of a handle H of checkpoint N
//! in use again while N is still the newest, recovery would commit half of the new transaction.
//! So an id is free again only when a checkpoint M > N is complete whose state does not hold H,
//! that is, one whose state was made after the commit of H was confirmed. From then on no recovery
//! commits H: M's state, or a later one, is the newest, and where an older one is asked for, what
//! the newest does not hold counts as done.
//!
//! Why zombies do no harm. Recovery commits the handles H of the newest checkpoint N and fences
//! every other id of earlier attempts; those of H it must leave alone, since a crash makes it run
//! again and it must be able to repeat EndTxn with the same epoch. A subtask of the old attempt
//! that still lives can do two things to such an id. It can commit H again, which changes nothing.
//! Or it can begin a new transaction, but by the rule above only after it was told that a
//! checkpoint M > N is complete; if such an M exists, recovery did not restore N but M, where H is
//! not held and its id was fenced. (A deposed JobManager completes nothing: its head swap is
//! refused.) The ids of H are fenced by the first recovery that restores a checkpoint of a later
//! attempt: attempt records are kept until then. Where the newest checkpoint is not known, since a
//! checkpoint was copied to another place, the start time in the handle tells a newer transaction
//! from H.
//!
//! Nothing here aborts. A transaction whose checkpoint was declined, timed out or failed stays
//! prepared, rides in every later state and commits, in order, with the next complete checkpoint:
//! the sources do not rewind for it. What no checkpoint holds is aborted by recovery's fencing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use millrace_connector_api::sink::SinkWriter;
use millrace_connector_api::{ChangeBatch, Metric, Waker};
use millrace_core::{CheckpointId, Error, Result, failpoint};

use super::claim::Claim;
use super::encode::RecordEncoder;
use super::figures::{Committables, Figures};
use super::outbox::Outbox;
use super::state::{Prepared, WriterState, transactional_id};
use super::stragglers::Stragglers;
use crate::writer::{Client, Committed, TransactionalWriter};

/// Ids a subtask has. Three or four turn round where checkpoints complete; the others are for
/// checkpoints that do not: as many may fail in a row before the sink takes nothing more.
pub const IDS: u32 = 64;

/// Prepared transactions that keep their client: those of older checkpoints wait without.
const ATTACHED: usize = 4;

/// Which ids are this subtask's.
pub struct Ids {
    pub prefix: String,
    pub attempt: u64,
    pub subtask: usize,
    /// See `SinkContext::gated`.
    pub gated: bool,
}

pub struct ExactlyOnce {
    client: Box<dyn Client>,
    outbox: Outbox,
    ids: Ids,
    waker: Waker,
    /// One subtask looks for all.
    stragglers: Option<Stragglers>,
    /// Held, not read.
    _claim: Claim,

    /// Ids that were opened so far; the next one's number.
    used: u32,
    opening: Option<Box<dyn TransactionalWriter>>,
    free: Vec<Box<dyn TransactionalWriter>>,
    current: Option<Box<dyn TransactionalWriter>>,
    checkpoint: Option<Pending>,
    /// In the order in which they commit.
    prepared: VecDeque<Uncommitted>,
    cooling: Vec<Cooling>,
    /// The newest checkpoint that is known to be complete.
    completed: Option<CheckpointId>,
    is_committing: bool,
    /// That all ids wait has been told.
    is_out_of_ids: bool,
    figures: Arc<Figures>,
    /// Transactions that were prepared, and those that were committed.
    prepared_in_all: u64,
    committed: u64,
}

/// A checkpoint whose barrier has come and whose state is not given yet.
struct Pending {
    checkpoint: CheckpointId,
    stage: Stage,
}

enum Stage {
    /// The rest of the outbox goes out, then everything is acknowledged.
    Flush(Box<dyn TransactionalWriter>),
    Prepare(Box<dyn TransactionalWriter>),
    Done,
}

struct Uncommitted {
    prepared: Prepared,
    writer: Box<dyn TransactionalWriter>,
    /// It rides in another checkpoint, and must prove again that it is open: a coordinator aborts
    /// transactions that are open for too long.
    is_proving: bool,
}

/// Committed, and maybe still held by the newest complete checkpoint.
struct Cooling {
    writer: Box<dyn TransactionalWriter>,
    /// The first checkpoint whose state does not hold it.
    absent_since: Option<CheckpointId>,
}

impl ExactlyOnce {
    /// Starts to open the first id and returns.
    pub fn open(
        client: Box<dyn Client>,
        encoder: RecordEncoder,
        ids: Ids,
        claim: Claim,
        waker: Waker,
        stragglers: Option<Stragglers>,
        figures: Arc<Figures>,
    ) -> Result<Self> {
        let mut writer = ExactlyOnce {
            client,
            outbox: Outbox::new(encoder),
            ids,
            waker,
            stragglers,
            _claim: claim,
            used: 0,
            opening: None,
            free: Vec::new(),
            current: None,
            checkpoint: None,
            prepared: VecDeque::new(),
            cooling: Vec::new(),
            completed: None,
            is_committing: false,
            is_out_of_ids: false,
            figures,
            prepared_in_all: 0,
            committed: 0,
        };
        writer.open_next()?;
        Ok(writer)
    }

    /// Sees to it that an id is free or on its way, as long as there are any.
    fn open_next(&mut self) -> Result<()> {
        if let Some(opening) = &mut self.opening
            && opening.poll_open()?.is_ready()
        {
            self.free.extend(self.opening.take());
        }
        if self.free.is_empty() && self.opening.is_none() && self.used < IDS {
            let id = transactional_id(&self.ids.prefix, self.ids.attempt, self.ids.subtask, self.used);
            self.opening = Some(self.client.transactional(&id, self.waker.clone())?);
            self.used += 1;
        }
        Ok(())
    }

    fn advance_checkpoint(&mut self) -> Result<Poll<()>> {
        let Some(pending) = &mut self.checkpoint else {
            return Err(Error::internal(
                "the Kafka sink was asked for a checkpoint that was not begun",
            ));
        };
        loop {
            pending.stage = match std::mem::replace(&mut pending.stage, Stage::Done) {
                Stage::Flush(mut writer) => {
                    if self.outbox.send(&mut *writer)?.is_pending() || writer.poll_flush()?.is_pending() {
                        pending.stage = Stage::Flush(writer);
                        return Ok(Poll::Pending);
                    }
                    failpoint::pass("sink.after-flush");
                    writer.start_prepare()?;
                    Stage::Prepare(writer)
                }
                Stage::Prepare(mut writer) => {
                    let Poll::Ready(handle) = writer.poll_prepare()? else {
                        pending.stage = Stage::Prepare(writer);
                        return Ok(Poll::Pending);
                    };
                    // Transactions are begun with a record to write, so there is something in it.
                    let handle = handle.ok_or_else(|| {
                        Error::internal("a Kafka transaction has no records that it was begun for")
                    })?;
                    failpoint::pass("sink.after-handle");
                    let prepared = Prepared {
                        checkpoint: pending.checkpoint,
                        handle,
                    };
                    self.prepared_in_all += 1;
                    self.prepared.push_back(Uncommitted {
                        prepared,
                        writer,
                        is_proving: false,
                    });
                    Stage::Done
                }
                Stage::Done => return Self::advance_proofs(&mut self.prepared),
            };
        }
    }

    fn advance_proofs(prepared: &mut VecDeque<Uncommitted>) -> Result<Poll<()>> {
        for riding in prepared.iter_mut().filter(|u| u.is_proving) {
            let Poll::Ready(handle) = riding.writer.poll_prepare()? else {
                return Ok(Poll::Pending);
            };
            if handle.as_ref() != Some(&riding.prepared.handle) {
                return Err(Error::external(
                    "a Kafka transaction that waits for its commit is another one now",
                )
                .with_detail(format!("it was {:?}, it is {handle:?}", riding.prepared.handle)));
            }
            riding.is_proving = false;
        }
        Ok(Poll::Ready(()))
    }

    fn is_due(&self) -> bool {
        let next = self.prepared.front().map(|u| u.prepared.checkpoint);
        next.is_some_and(|next| self.completed.is_some_and(|completed| next <= completed))
    }

    /// Commits what complete checkpoints hold, one after the other.
    fn commit(&mut self) -> Result<Poll<()>> {
        while self.is_due() {
            let Some(next) = self.prepared.front_mut() else {
                break;
            };
            if !self.is_committing {
                failpoint::pass("sink.before-commit");
                next.is_proving = false;
                next.writer.start_commit()?;
                self.is_committing = true;
            }
            let Poll::Ready(committed) = next.writer.poll_commit()? else {
                return Ok(Poll::Pending);
            };
            self.is_committing = false;
            if let Some(done) = self.prepared.pop_front() {
                self.committed += 1;
                tracing::debug!(
                    transactional_id = done.prepared.handle.transactional_id,
                    checkpoint = done.prepared.checkpoint.0,
                    "committed"
                );
                match committed {
                    Committed::Reusable => {
                        self.cooling.push(Cooling {
                            writer: done.writer,
                            absent_since: None,
                        });
                    }
                    Committed::Spent => drop(done.writer),
                }
            }
            // Several are due after checkpoints that failed. Those of other subtasks may still be open
            // at either point.
            failpoint::pass(match self.is_due() {
                true => "sink.between-commits",
                false => "sink.after-commit",
            });
        }
        Ok(Poll::Ready(()))
    }
}

impl SinkWriter for ExactlyOnce {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        let _ = self.commit()?;
        if let Some(stragglers) = &mut self.stragglers {
            stragglers.poll();
        }
        // Records behind the barrier must not overtake those before it on another connection.
        if self.checkpoint.is_some() {
            return Ok(Poll::Pending);
        }
        if let Some(current) = &mut self.current {
            if self.outbox.send(&mut **current)?.is_pending() {
                return Ok(Poll::Pending);
            }
            // A spare is opened while this one is written, so that no barrier waits for it.
            let ready = current.poll_ready()?;
            self.open_next()?;
            return Ok(ready);
        }
        self.open_next()?;
        if self.free.is_empty() {
            if self.opening.is_none() {
                if self.prepared.is_empty() && self.cooling.is_empty() {
                    return Err(Error::external("the Kafka sink has no transactional id left")
                        .with_detail(format!(
                            "prefix '{}', {IDS} ids of a subtask are spent",
                            self.ids.prefix
                        ))
                        .with_hint(
                            "a restart gives it new ones; see the log for why commits left them unusable",
                        ));
                }
                // The barrier of the checkpoint that would free one is behind the records that wait.
                if self.ids.gated {
                    return Err(Error::external(
                        "no checkpoint has completed for so long that the Kafka sink has no transactional id left",
                    )
                    .with_detail(format!(
                        "prefix '{}': {} transactions of {IDS} wait for their commit",
                        self.ids.prefix,
                        self.prepared.len()
                    ))
                    .with_hint("see the log for why checkpoints fail; a restart goes back to the last complete one"));
                }
                if !std::mem::replace(&mut self.is_out_of_ids, true) {
                    tracing::warn!(
                        ids = IDS,
                        uncommitted = self.prepared.len(),
                        "all transactional ids wait for a checkpoint to complete"
                    );
                }
            }
            return Ok(Poll::Pending);
        }
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.current.is_none() {
            let mut next = self
                .free
                .pop()
                .ok_or_else(|| Error::internal("the Kafka sink was given a batch before it was ready"))?;
            next.begin()?;
            self.current = Some(next);
        }
        if let Some(current) = &mut self.current {
            self.outbox.push(batch)?;
            let _ = self.outbox.send(&mut **current)?;
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        failpoint::pass("sink.before-flush");
        match &mut self.checkpoint {
            // The last one was given up before its state was made. Nothing was written since, so
            // what it was preparing belongs to this one.
            Some(pending) => pending.checkpoint = checkpoint,
            None => {
                let stage = self.current.take().map_or(Stage::Done, Stage::Flush);
                self.checkpoint = Some(Pending { checkpoint, stage });
                let completed = self.completed;
                for riding in &mut self.prepared {
                    if completed.is_none_or(|completed| riding.prepared.checkpoint > completed) {
                        riding.writer.start_prepare()?;
                        riding.is_proving = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        let _ = self.commit()?;
        if self.advance_checkpoint()?.is_pending() {
            return Ok(Poll::Pending);
        }
        let Some(Pending { checkpoint, .. }) = self.checkpoint.take() else {
            return Err(Error::internal(
                "the Kafka sink was asked for a checkpoint that was not begun",
            ));
        };
        for cooling in &mut self.cooling {
            cooling.absent_since.get_or_insert(checkpoint);
        }
        let waiting = self.prepared.len().saturating_sub(ATTACHED);
        for uncommitted in self.prepared.iter_mut().take(waiting) {
            uncommitted.writer.detach();
        }
        let state = WriterState::new(self.prepared.iter().map(|u| u.prepared.clone()).collect());
        state.encode().map(Poll::Ready)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.is_out_of_ids = false;
        self.completed = self.completed.max(Some(checkpoint));
        if let Some(stragglers) = &mut self.stragglers {
            stragglers.checkpoint_complete();
        }
        let is_cold = |c: &mut Cooling| c.absent_since.is_some_and(|since| since <= checkpoint);
        self.free
            .extend(self.cooling.extract_if(.., is_cold).map(|c| c.writer));
        // Whoever waits for an id, or for a commit, looks again.
        self.waker.wake();
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        self.commit()
    }

    fn bytes_written(&self) -> Option<u64> {
        Some(self.outbox.bytes())
    }

    fn metrics(&mut self) -> Vec<Metric> {
        self.figures.metrics(Some(Committables {
            total: self.prepared_in_all,
            committed: self.committed,
            pending: self.prepared.len(),
        }))
    }
}
