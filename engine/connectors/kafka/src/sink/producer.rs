//! The writers of the sink, on top of any client's producer: what is proved before a handle is given, how a commit
//! is carried through, and what runs beside the subtask meanwhile.
//!
//! `task` runs what blocks, or waits for a broker. Deliveries are counted by the client, on the subtask's thread
//! whenever it polls, and on a flush's; what comes while nobody polls only wakes the subtask. Transactions are of
//! version 1, whatever the brokers know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_connector_api::source::tokio_handle::Handle as Runtime;
use millrace_core::{Error, Result};
use millrace_kafka_wire::{Admin, END_TXN_V1, EndTxn, Transaction, TransactionDescription, TransactionState};

use super::task::{self, Task};
use crate::clients::Clients;
use crate::writer::{
    Block, Client, Committed, Failure, Handle, Producer, ProducerSettings, Protocol, Reason,
    TransactionalWriter, Writer,
};

/// One blocking call of the client; between two of them it is seen whether anybody still waits.
const CALL: Duration = Duration::from_secs(5);
/// One call of the client's flush; between two of them it is seen whether a record failed.
const FLUSH: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(100);
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);

/// What every producer of a subtask is made with.
pub struct Producers {
    pub clients: Arc<dyn Clients>,
    /// Without an id.
    pub settings: ProducerSettings,
    pub transaction_timeout: Duration,
    pub admin: Admin,
    pub runtime: Runtime,
}

impl Producers {
    fn producer(&self, transactional_id: Option<&str>, waker: Waker) -> Result<Beside> {
        let settings = ProducerSettings {
            transactional: transactional_id.map(|id| (id.to_owned(), self.transaction_timeout)),
            ..self.settings.clone()
        };
        Ok(Beside {
            producer: Some(self.clients.producer(&settings, waker.clone())?),
            topic: settings.topic,
            room_at: None,
            flushing: None,
            transaction: None,
            runtime: self.runtime.clone(),
            waker,
        })
    }
}

impl Client for Producers {
    fn plain(&self, waker: Waker) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.producer(None, waker)?))
    }

    fn transactional(&self, transactional_id: &str, waker: Waker) -> Result<Box<dyn TransactionalWriter>> {
        let mut beside = self.producer(Some(transactional_id), waker.clone())?;
        beside.transaction = Some(TransactionLimits {
            timeout: self.transaction_timeout,
            begun: None,
        });
        let cancelled = Arc::new(AtomicBool::new(false));
        let opening = open(
            beside.producer()?.clone(),
            transactional_id.to_owned(),
            self.admin.clone(),
            cancelled.clone(),
        );
        let opening = Task::spawn(&self.runtime, waker.clone(), opening);
        Ok(Box::new(Transactional {
            beside,
            transactional_id: transactional_id.to_owned(),
            admin: self.admin.clone(),
            waker,
            cancelled,
            identity: None,
            opening: Some(opening),
            preparing: None,
            prepared: None,
            committing: None,
            produced_before: 0,
        }))
    }
}

/// A client's producer, with or without transactions, and what is done for it beside the subtask.
struct Beside {
    /// There until it is closed.
    producer: Option<Arc<dyn Producer>>,
    topic: String,
    /// The queue was full: there is room again once no more than so many records are in flight.
    room_at: Option<u64>,
    /// Sends what lingers, and wakes the subtask when it is acknowledged.
    flushing: Option<Task<()>>,
    transaction: Option<TransactionLimits>,
    runtime: Runtime,
    waker: Waker,
}

struct TransactionLimits {
    timeout: Duration,
    begun: Option<Instant>,
}

impl TransactionLimits {
    /// Whether the coordinator may have aborted the open transaction because of its age.
    fn is_over(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() >= self.timeout)
    }
}

impl Beside {
    fn producer(&self) -> Result<&Arc<dyn Producer>> {
        self.producer
            .as_ref()
            .ok_or_else(|| Error::internal("the Kafka producer is gone"))
    }

    /// Runs callbacks; an error if a record was not delivered.
    fn drive(&self) -> Result<()> {
        let producer = self.producer()?;
        producer.poll();
        match producer.failure() {
            None => Ok(()),
            Some(failure) => Err(self.error("a record could not be written to Kafka", &failure)),
        }
    }

    /// Has a thread that may block tell the client not to linger, which librdkafka does as long as a call of
    /// its flush lasts; `Ready` when everything is acknowledged.
    fn keep_flushing(&mut self) -> Result<Poll<()>> {
        loop {
            if let Some(flushing) = &mut self.flushing {
                if flushing.poll()?.is_pending() {
                    return Ok(Poll::Pending);
                }
                self.flushing = None;
            }
            // A failed record is never acknowledged.
            self.drive()?;
            let producer = self.producer()?.clone();
            if producer.in_flight() == 0 {
                return Ok(Poll::Ready(()));
            }
            let flush = task::blocking(move || {
                producer.flush(FLUSH);
                Ok(())
            });
            self.flushing = Some(Task::spawn(&self.runtime, self.waker.clone(), flush));
        }
    }

    fn error(&self, what: &str, failure: &Failure) -> Error {
        let detail = format!("topic '{}': {failure}", self.topic);
        if failure.is_fenced() {
            return match &self.transaction {
                Some(limits) if limits.is_over() => timed_out(limits.timeout).with_detail(detail),
                _ => fenced().with_detail(detail),
            };
        }
        Error::external(what).with_detail(detail)
    }
}

impl Writer for Beside {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        let Some(room_at) = self.room_at else {
            self.drive()?;
            return Ok(Poll::Ready(()));
        };
        self.producer()?.await_events();
        self.drive()?;
        let producer = self.producer()?;
        if producer.in_flight() > room_at {
            return Ok(Poll::Pending);
        }
        producer.stop_awaiting();
        self.room_at = None;
        Ok(Poll::Ready(()))
    }

    fn produce(&mut self, block: &Block, from: usize) -> Result<usize> {
        let producer = self.producer()?.clone();
        let taken = producer
            .produce(block, from)
            .map_err(|f| self.error("a record could not be written to Kafka", &f))?;
        if from + taken < block.len() {
            self.room_at = Some(producer.in_flight() / 2);
        }
        producer.poll();
        Ok(taken)
    }

    fn poll_flush(&mut self) -> Result<Poll<()>> {
        self.drive()?;
        if self.producer()?.in_flight() > 0 && self.keep_flushing()?.is_pending() {
            return Ok(Poll::Pending);
        }
        match self.producer()?.fatal() {
            None => Ok(Poll::Ready(())),
            Some(failure) => Err(self.error("the Kafka producer failed", &failure)),
        }
    }
}

impl Beside {
    /// Freeing a producer joins its threads, which the subtask's thread must not wait for.
    fn close(&mut self) {
        if let Some(producer) = self.producer.take() {
            self.runtime.spawn_blocking(move || drop(producer));
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whom the coordinator knows under a transactional id since we opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    producer_id: i64,
    epoch: i16,
}

struct Transactional {
    beside: Beside,
    transactional_id: String,
    admin: Admin,
    waker: Waker,
    /// Set when the writer is dropped: nobody waits any more.
    cancelled: Arc<AtomicBool>,
    identity: Option<Identity>,
    opening: Option<Task<Identity>>,
    preparing: Option<Task<Handle>>,
    prepared: Option<Handle>,
    committing: Option<Task<Committed>>,
    /// Records of earlier transactions.
    produced_before: u64,
}

impl Drop for Transactional {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

impl Writer for Transactional {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        self.beside.poll_ready()
    }

    fn produce(&mut self, block: &Block, from: usize) -> Result<usize> {
        self.beside.produce(block, from)
    }

    fn poll_flush(&mut self) -> Result<Poll<()>> {
        self.beside.poll_flush()
    }
}

impl TransactionalWriter for Transactional {
    fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    fn poll_open(&mut self) -> Result<Poll<()>> {
        let Some(opening) = &mut self.opening else {
            return Ok(Poll::Ready(()));
        };
        let Poll::Ready(identity) = opening.poll()? else {
            return Ok(Poll::Pending);
        };
        self.identity = Some(identity);
        self.opening = None;
        Ok(Poll::Ready(()))
    }

    fn begin(&mut self) -> Result<()> {
        let producer = self.beside.producer()?;
        producer
            .begin_transaction()
            .map_err(|f| self.beside.error("a Kafka transaction could not be begun", &f))?;
        self.produced_before = producer.produced();
        if let Some(limits) = &mut self.beside.transaction {
            limits.begun = Some(Instant::now());
        }
        Ok(())
    }

    fn start_prepare(&mut self) -> Result<()> {
        // Without a client it was flushed before.
        if let Some(producer) = &self.beside.producer {
            if producer.in_flight() > 0 {
                return Err(Error::internal(
                    "a Kafka transaction was to be prepared before it was flushed",
                ));
            }
            if producer.produced() == self.produced_before {
                return Ok(());
            }
        }
        let Some(identity) = self.identity else {
            return Err(Error::internal(
                "a Kafka transaction was to be prepared before it was opened",
            ));
        };
        let (admin, id) = (self.admin.clone(), self.transactional_id.clone());
        let is_over = self
            .beside
            .transaction
            .as_ref()
            .is_some_and(TransactionLimits::is_over);
        let timeout = self
            .beside
            .transaction
            .as_ref()
            .map_or(Duration::ZERO, |t| t.timeout);
        self.preparing = Some(Task::spawn(
            &self.beside.runtime,
            self.waker.clone(),
            async move {
                let known = admin
                    .describe_transactions(std::slice::from_ref(&id))
                    .await?
                    .remove(&id);
                prove(&id, identity, known.as_ref()).map_err(|e| {
                    if is_over {
                        timed_out(timeout).with_source(e)
                    } else {
                        e
                    }
                })
            },
        ));
        Ok(())
    }

    fn poll_prepare(&mut self) -> Result<Poll<Option<Handle>>> {
        let Some(preparing) = &mut self.preparing else {
            return Ok(Poll::Ready(None));
        };
        let Poll::Ready(handle) = preparing.poll()? else {
            return Ok(Poll::Pending);
        };
        self.preparing = None;
        // While we asked, a record cannot have failed (all were acknowledged), the client can.
        if let Some(producer) = &self.beside.producer {
            self.beside.drive()?;
            if let Some(failure) = producer.fatal() {
                return Err(self.beside.error("the Kafka producer failed", &failure));
            }
        }
        self.prepared = Some(handle.clone());
        Ok(Poll::Ready(Some(handle)))
    }

    fn detach(&mut self) {
        if self.prepared.is_some() {
            self.beside.close();
        }
    }

    fn start_commit(&mut self) -> Result<()> {
        let Some(handle) = self.prepared.take() else {
            return Err(Error::internal(
                "a Kafka transaction was to be committed before it was prepared",
            ));
        };
        self.preparing = None;
        let producer = self.beside.producer.clone();
        let committing = commit(producer, handle, self.admin.clone(), self.cancelled.clone());
        self.committing = Some(Task::spawn(&self.beside.runtime, self.waker.clone(), committing));
        Ok(())
    }

    fn poll_commit(&mut self) -> Result<Poll<Committed>> {
        let Some(committing) = &mut self.committing else {
            return Err(Error::internal("no commit of a Kafka transaction was started"));
        };
        let Poll::Ready(committed) = committing.poll()? else {
            return Ok(Poll::Pending);
        };
        self.committing = None;
        if let Some(limits) = &mut self.beside.transaction {
            limits.begun = None;
        }
        Ok(Poll::Ready(committed))
    }
}

/// Takes the id over and learns who we are to the coordinator.
async fn open(
    producer: Arc<dyn Producer>,
    id: String,
    admin: Admin,
    cancelled: Arc<AtomicBool>,
) -> Result<Identity> {
    task::blocking({
        let id = id.clone();
        move || init(&*producer, &id, &cancelled)
    })
    .await?;
    let known = admin
        .describe_transactions(std::slice::from_ref(&id))
        .await?
        .remove(&id);
    known
        .map(|t| Identity {
            producer_id: t.producer_id,
            epoch: t.epoch,
        })
        .ok_or_else(|| {
            Error::external("Kafka does not know a transactional id that was just initialised")
                .with_detail(format!("transactional id '{id}'"))
        })
}

fn init(producer: &dyn Producer, id: &str, cancelled: &AtomicBool) -> Result<()> {
    let started = Instant::now();
    producer.await_broker(CALL);
    loop {
        let Err(failure) = producer.init_transactions(CALL) else {
            return Ok(());
        };
        if !failure.is_retriable || started.elapsed() > OPEN_TIMEOUT {
            return Err(open_error(id, &failure));
        }
        if cancelled.load(Ordering::Acquire) {
            return Err(Error::external("the sink was closed while it was opened"));
        }
        tracing::warn!(transactional_id = id, %failure, "a transactional producer waits for its coordinator");
        std::thread::sleep(PAUSE);
    }
}

fn open_error(id: &str, failure: &Failure) -> Error {
    let detail = format!("transactional id '{id}': {failure}");
    match failure.reason {
        Reason::TimeoutTooLong => super::options::timeout_too_long(None).with_detail(detail),
        Reason::Fenced => fenced().with_detail(detail),
        Reason::Other => {
            Error::external("a transactional Kafka producer could not be opened").with_detail(detail)
        }
    }
}

/// Only an open transaction with our producer id and epoch can be committed later by a handle.
fn prove(id: &str, identity: Identity, known: Option<&TransactionDescription>) -> Result<Handle> {
    let detail = |t: &TransactionDescription| {
        format!(
            "transactional id '{id}' is {:?} with producer id {} and epoch {}; ours are {} and {}",
            t.state, t.producer_id, t.epoch, identity.producer_id, identity.epoch
        )
    };
    match known {
        Some(t) if (t.producer_id, t.epoch) != (identity.producer_id, identity.epoch) => {
            Err(fenced().with_detail(detail(t)))
        }
        Some(t) if t.state == TransactionState::Ongoing => Ok(Handle {
            transactional_id: id.to_owned(),
            producer_id: t.producer_id,
            epoch: t.epoch,
            start_time: t.start_time,
            protocol: Protocol::V1,
        }),
        Some(t) => Err(
            Error::external("a flushed Kafka transaction is not open at its coordinator")
                .with_detail(detail(t)),
        ),
        None => Err(
            Error::external("Kafka does not know the transactional id of a flushed transaction")
                .with_detail(format!("transactional id '{id}'")),
        ),
    }
}

/// Commits until that is known and seen. Where the client cannot (any more), the coordinator is asked
/// directly, as recovery does.
async fn commit(
    producer: Option<Arc<dyn Producer>>,
    handle: Handle,
    admin: Admin,
    cancelled: Arc<AtomicBool>,
) -> Result<Committed> {
    let mut committed = Committed::Spent;
    if let Some(producer) = producer {
        let given_up = task::blocking({
            let handle = handle.clone();
            move || commit_by_client(&*producer, &handle, &cancelled)
        })
        .await?;
        match given_up {
            None => committed = Committed::Reusable,
            Some(failure) => tracing::warn!(
                transactional_id = handle.transactional_id,
                %failure,
                "a transaction is committed by its handle"
            ),
        }
    }
    if committed == Committed::Spent {
        commit_by_handle(&handle, &admin).await?;
    }
    // Decided it is in any case: a partition without a leader must not fail the job.
    if let Err(error) = admin.await_markers(&[handle.transactional_id]).await {
        tracing::warn!(%error, "a commit is not visible everywhere yet");
    }
    Ok(committed)
}

/// Gives why the client cannot commit; nothing if it did.
fn commit_by_client(
    producer: &dyn Producer,
    handle: &Handle,
    cancelled: &AtomicBool,
) -> Result<Option<Failure>> {
    loop {
        match producer.commit_transaction(CALL) {
            Ok(()) => return Ok(None),
            Err(failure) if !failure.is_retriable || failure.is_fatal => return Ok(Some(failure)),
            Err(failure) => {
                if cancelled.load(Ordering::Acquire) {
                    return Err(Error::external("the sink was closed while it committed")
                        .with_detail(format!("{}; the next recovery commits", detail(handle))));
                }
                tracing::warn!(
                    transactional_id = handle.transactional_id,
                    %failure,
                    "a commit is tried again"
                );
                std::thread::sleep(PAUSE);
            }
        }
    }
}

async fn commit_by_handle(handle: &Handle, admin: &Admin) -> Result<()> {
    let Protocol::V1 = handle.protocol;
    let outcome = admin.end_txn(&transaction(handle), END_TXN_V1, true).await?;
    if outcome == EndTxn::Done {
        return Ok(());
    }
    let id = &handle.transactional_id;
    let known = admin
        .describe_transactions(std::slice::from_ref(id))
        .await?
        .remove(id);
    let detail = format!("{}: {outcome:?}; the coordinator knows {known:?}", detail(handle));
    match known.map(|t| t.state) {
        // Somebody has initialised the id anew, which only the recovery of another run does, and only
        // after it has committed what its checkpoint holds.
        Some(TransactionState::Empty | TransactionState::Ongoing | TransactionState::PrepareEpochFence) => {
            Err(fenced().with_detail(detail))
        }
        _ => Err(super::recovery::lost(detail)),
    }
}

fn transaction(handle: &Handle) -> Transaction {
    Transaction {
        transactional_id: handle.transactional_id.clone(),
        producer_id: handle.producer_id,
        epoch: handle.epoch,
    }
}

fn detail(handle: &Handle) -> String {
    format!(
        "transactional id '{}', producer id {}, epoch {}",
        handle.transactional_id, handle.producer_id, handle.epoch
    )
}

fn fenced() -> Error {
    Error::fenced("another run of this job has taken over")
        .with_hint("stop one of the two runs; runs that are to live side by side need different 'sink.transactional-id-prefix'es")
}

/// Before its checkpoint is complete nothing is lost: the job goes back to the last checkpoint.
fn timed_out(timeout: Duration) -> Error {
    Error::external(format!(
        "a Kafka transaction was open for longer than its timeout of {} s and was aborted",
        timeout.as_secs()
    ))
    .with_hint(
        "let checkpoints complete sooner, or raise 'properties.transaction.timeout.ms' \
         (up to the brokers' transaction.max.timeout.ms)",
    )
}
