//! Transactional ids at their coordinator: Kafka's `TransactionCoordinator` and `TransactionMetadata`, for clients that
//! speak transactions of version 1.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError;

/// A partition by topic and number.
pub type Place = (String, i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What is known of one id.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub state: State,
    pub producer_id: i64,
    pub epoch: i16,
    /// Before the epoch was raised last, where a producer asked for that.
    last_epoch: i16,
    pub timeout: i32,
    /// In milliseconds by the coordinator's clock; -1: none was begun.
    pub started: i64,
    pub partitions: BTreeSet<Place>,
    /// Markers are written from then on, in milliseconds.
    pub markers_at: i64,
}

/// What a request for a producer id brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub producer_id: i64,
    pub epoch: i16,
}

impl Transaction {
    pub fn new(producer_id: i64, timeout: i32) -> Self {
        Transaction {
            state: State::Empty,
            producer_id,
            epoch: -1,
            last_epoch: -1,
            timeout,
            started: -1,
            partitions: BTreeSet::new(),
            markers_at: 0,
        }
    }

    /// InitProducerId. `expected`: who the producer takes itself for.
    pub fn init(
        &mut self,
        timeout: i32,
        expected: Option<Identity>,
        now: i64,
    ) -> Result<Identity, ResponseError> {
        if let Some(expected) = expected
            && expected.producer_id != self.producer_id
        {
            return Err(ResponseError::ProducerFenced);
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            State::Ongoing => {
                if let Some(expected) = expected
                    && expected.epoch != self.epoch
                    && expected.epoch != self.last_epoch
                {
                    return Err(ResponseError::ProducerFenced);
                }
                self.abort_and_fence(now);
                Err(ResponseError::ConcurrentTransactions)
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                let (epoch, last_epoch) = match expected {
                    None => (self.epoch + 1, -1),
                    Some(_) if self.epoch == -1 => (self.epoch + 1, self.epoch),
                    Some(expected) if expected.epoch == self.epoch => (self.epoch + 1, self.epoch),
                    Some(expected) if expected.epoch == self.last_epoch => (self.epoch, self.last_epoch),
                    Some(_) => return Err(ResponseError::ProducerFenced),
                };
                self.epoch = epoch;
                self.last_epoch = last_epoch;
                self.timeout = timeout;
                self.state = State::Empty;
                self.started = -1;
                self.partitions.clear();
                Ok(Identity {
                    producer_id: self.producer_id,
                    epoch: self.epoch,
                })
            }
        }
    }

    /// The open transaction is aborted with a higher epoch, so that its producer is fenced.
    fn abort_and_fence(&mut self, now: i64) {
        self.epoch += 1;
        self.last_epoch = -1;
        self.state = State::PrepareAbort;
        self.markers_at = now;
    }

    fn check(&self, identity: Identity) -> Result<(), ResponseError> {
        if identity.producer_id != self.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        match identity.epoch == self.epoch {
            true => Ok(()),
            false => Err(ResponseError::ProducerFenced),
        }
    }

    /// AddPartitionsToTxn.
    pub fn add(&mut self, identity: Identity, places: &[Place], now: i64) -> Result<(), ResponseError> {
        self.check(identity)?;
        match self.state {
            State::PrepareCommit | State::PrepareAbort => return Err(ResponseError::ConcurrentTransactions),
            State::Ongoing => {}
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                self.state = State::Ongoing;
                self.started = now;
                self.partitions.clear();
            }
        }
        self.partitions.extend(places.iter().cloned());
        Ok(())
    }

    /// Whether a producer may write to a partition.
    pub fn verify(&self, identity: Identity, place: &Place) -> Result<(), ResponseError> {
        self.check(identity)?;
        match self.state {
            State::Ongoing if self.partitions.contains(place) => Ok(()),
            State::PrepareCommit | State::PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// EndTxn.
    pub fn end(&mut self, identity: Identity, is_commit: bool, now: i64) -> Result<(), ResponseError> {
        self.check(identity)?;
        match (self.state, is_commit) {
            (State::Ongoing, _) => {
                self.state = match is_commit {
                    true => State::PrepareCommit,
                    false => State::PrepareAbort,
                };
                self.markers_at = now;
                Ok(())
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(()),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// A transaction that is open for too long is aborted.
    pub fn expire(&mut self, now: i64) -> bool {
        let is_over = self.state == State::Ongoing && now >= self.started + i64::from(self.timeout);
        if is_over {
            self.abort_and_fence(now);
        }
        is_over
    }

    /// The markers are written: whether the transaction was committed, and where it wrote.
    pub fn complete(&mut self) -> Option<(bool, BTreeSet<Place>)> {
        let is_commit = match self.state {
            State::PrepareCommit => true,
            State::PrepareAbort => false,
            _ => return None,
        };
        self.state = match is_commit {
            true => State::CompleteCommit,
            false => State::CompleteAbort,
        };
        Some((is_commit, std::mem::take(&mut self.partitions)))
    }
}
