//! The seam's first implementation: librdkafka. Its transactions are of version 1 on every broker.
//!
//! `native` is one C producer; `partitions` chooses where records go; `task` runs what blocks, or
//! waits for a broker, beside the subtask. Deliveries are counted by callbacks, which run on the
//! subtask's thread whenever it polls, and on a flush's; a callback that fires while nobody polls
//! only wakes the subtask.

mod native;
mod partitions;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_connector_api::source::tokio_handle::Handle as Runtime;
use millrace_core::{Error, Result};
use millrace_kafka_wire::{
    Admin, END_TXN_V1, EndTxn, TokenSource, Transaction, TransactionDescription, TransactionState,
};

use self::native::{Failure, Native};
use self::partitions::Spread;
pub use self::task::Task;
use super::figures::Figures;
use super::options::ClientProperties;
use crate::writer::{Block, Client, Committed, Handle, Protocol, TransactionalWriter, Writer};

/// One blocking call of librdkafka; between two of them it is seen whether anybody still waits.
const CALL_MS: i32 = 5_000;
/// One call of librdkafka's flush; between two of them it is seen whether a record failed.
const FLUSH_MS: i32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);

/// What every producer of a subtask is made with.
pub struct Librdkafka {
    pub topic: String,
    /// The one partition to write to; else records are spread as the Java client does it.
    pub partition: Option<i32>,
    /// In librdkafka's names, without ids.
    pub properties: Vec<(String, String)>,
    pub tokens: Option<Arc<dyn TokenSource>>,
    pub transaction_timeout: Duration,
    pub admin: Admin,
    pub runtime: Runtime,
    pub figures: Arc<Figures>,
}

impl Librdkafka {
    fn producer(&self, own: &[(&str, &str)], waker: Waker) -> Result<Producer> {
        let mut properties = self.properties.clone();
        properties.extend(own.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let native = Native::new(&properties, &self.topic, self.tokens.clone(), waker.clone())?;
        Ok(Producer {
            native: Some(Arc::new(native)),
            topic: self.topic.clone(),
            spread: Spread::new(self.partition),
            room_at: None,
            flushing: None,
            transaction: None,
            runtime: self.runtime.clone(),
            waker,
            figures: self.figures.clone(),
            timed: None,
        })
    }
}

/// Whether librdkafka makes a producer of these properties. Takes no transactional id over.
pub fn check(client: &ClientProperties, topic: &str, transaction_timeout: Option<Duration>) -> Result<()> {
    let mut properties = client.properties.clone();
    if let Some(timeout) = transaction_timeout {
        let timeout = timeout.as_millis().to_string();
        properties.push(("transactional.id".to_owned(), "check".to_owned()));
        properties.push(("transaction.timeout.ms".to_owned(), timeout));
    }
    let native = Native::new(&properties, topic, client.tokens.clone(), Waker::default())?;
    // It joins threads, for which nobody has to wait.
    std::thread::spawn(move || drop(native));
    Ok(())
}

impl Client for Librdkafka {
    fn plain(&self, waker: Waker) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.producer(&[], waker)?))
    }

    fn transactional(&self, transactional_id: &str, waker: Waker) -> Result<Box<dyn TransactionalWriter>> {
        let timeout = self.transaction_timeout.as_millis().to_string();
        let own = [
            ("transactional.id", transactional_id),
            ("transaction.timeout.ms", &timeout),
        ];
        let mut producer = self.producer(&own, waker.clone())?;
        producer.transaction = Some(TransactionLimits {
            timeout: self.transaction_timeout,
            begun: None,
        });
        let cancelled = Arc::new(AtomicBool::new(false));
        let opening = open(
            producer.native()?.clone(),
            transactional_id.to_owned(),
            self.admin.clone(),
            cancelled.clone(),
        );
        let opening = Task::spawn(&self.runtime, waker.clone(), opening);
        Ok(Box::new(TransactionalProducer {
            producer,
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

/// A producer with or without transactions.
struct Producer {
    /// There until it is closed.
    native: Option<Arc<Native>>,
    topic: String,
    spread: Spread,
    /// The queue was full: there is room again once no more than so many records are in flight.
    room_at: Option<u64>,
    /// Sends what lingers, and wakes the subtask when it is acknowledged.
    flushing: Option<Task<()>>,
    transaction: Option<TransactionLimits>,
    runtime: Runtime,
    waker: Waker,
    figures: Arc<Figures>,
    /// When a record was handed over whose acknowledgement is waited for, and how many there were with it.
    timed: Option<(Instant, u64)>,
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

impl Producer {
    fn native(&self) -> Result<&Arc<Native>> {
        self.native
            .as_ref()
            .ok_or_else(|| Error::internal("the Kafka producer is gone"))
    }

    /// Runs callbacks; an error if a record was not delivered.
    fn drive(&mut self) -> Result<()> {
        let native = self.native()?.clone();
        native.poll();
        self.figures.failed(native.take_failed());
        if let Some((at, records)) = self.timed
            && native.produced() - native.in_flight() >= records
        {
            self.figures.sent(at.elapsed());
            self.timed = None;
        }
        match native.failure() {
            None => Ok(()),
            Some(failure) => Err(self.error("a record could not be written to Kafka", &failure)),
        }
    }

    /// Has a thread that may block tell librdkafka not to linger, which it does as long as a call of
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
            let native = self.native()?.clone();
            if native.in_flight() == 0 {
                return Ok(Poll::Ready(()));
            }
            let flush = task::blocking(move || {
                native.flush(FLUSH_MS);
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

impl Writer for Producer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        let Some(room_at) = self.room_at else {
            self.drive()?;
            return Ok(Poll::Ready(()));
        };
        self.native()?.await_events();
        self.drive()?;
        let native = self.native()?;
        if native.in_flight() > room_at {
            return Ok(Poll::Pending);
        }
        native.stop_awaiting();
        self.room_at = None;
        Ok(Poll::Ready(()))
    }

    fn produce(&mut self, block: &Block, from: usize) -> Result<usize> {
        let native = self.native()?.clone();
        let taken = self
            .spread
            .produce(&native, block, from)
            .map_err(|f| self.error("a record could not be written to Kafka", &f))?;
        if taken > 0 {
            self.timed
                .get_or_insert_with(|| (Instant::now(), native.produced()));
        }
        if from + taken < block.len() {
            self.room_at = Some(native.in_flight() / 2);
        }
        native.poll();
        Ok(taken)
    }

    fn poll_flush(&mut self) -> Result<Poll<()>> {
        self.drive()?;
        if self.native()?.in_flight() > 0 && self.keep_flushing()?.is_pending() {
            return Ok(Poll::Pending);
        }
        match self.native()?.fatal() {
            None => Ok(Poll::Ready(())),
            Some(failure) => Err(self.error("the Kafka producer failed", &failure)),
        }
    }
}

impl Producer {
    /// Freeing a producer joins its threads, which the subtask's thread must not wait for.
    fn close(&mut self) {
        if let Some(native) = self.native.take() {
            self.runtime.spawn_blocking(move || drop(native));
        }
    }
}

impl Drop for Producer {
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

struct TransactionalProducer {
    producer: Producer,
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

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

impl Writer for TransactionalProducer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        self.producer.poll_ready()
    }

    fn produce(&mut self, block: &Block, from: usize) -> Result<usize> {
        self.producer.produce(block, from)
    }

    fn poll_flush(&mut self) -> Result<Poll<()>> {
        self.producer.poll_flush()
    }
}

impl TransactionalWriter for TransactionalProducer {
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
        let native = self.producer.native()?;
        native
            .begin_transaction()
            .map_err(|f| self.producer.error("a Kafka transaction could not be begun", &f))?;
        self.produced_before = native.produced();
        if let Some(limits) = &mut self.producer.transaction {
            limits.begun = Some(Instant::now());
        }
        Ok(())
    }

    fn start_prepare(&mut self) -> Result<()> {
        // Without a client it was flushed before.
        if let Some(native) = &self.producer.native {
            if native.in_flight() > 0 {
                return Err(Error::internal(
                    "a Kafka transaction was to be prepared before it was flushed",
                ));
            }
            if native.produced() == self.produced_before {
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
            .producer
            .transaction
            .as_ref()
            .is_some_and(TransactionLimits::is_over);
        let timeout = self
            .producer
            .transaction
            .as_ref()
            .map_or(Duration::ZERO, |t| t.timeout);
        self.preparing = Some(Task::spawn(
            &self.producer.runtime,
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
        if let Some(native) = self.producer.native.clone() {
            self.producer.drive()?;
            if let Some(failure) = native.fatal() {
                return Err(self.producer.error("the Kafka producer failed", &failure));
            }
        }
        self.prepared = Some(handle.clone());
        Ok(Poll::Ready(Some(handle)))
    }

    fn detach(&mut self) {
        if self.prepared.is_some() {
            self.producer.close();
        }
    }

    fn start_commit(&mut self) -> Result<()> {
        let Some(handle) = self.prepared.take() else {
            return Err(Error::internal(
                "a Kafka transaction was to be committed before it was prepared",
            ));
        };
        self.preparing = None;
        let native = self.producer.native.clone();
        let committing = commit(native, handle, self.admin.clone(), self.cancelled.clone());
        self.committing = Some(Task::spawn(
            &self.producer.runtime,
            self.waker.clone(),
            committing,
        ));
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
        if let Some(limits) = &mut self.producer.transaction {
            limits.begun = None;
        }
        Ok(Poll::Ready(committed))
    }
}

/// Takes the id over and learns who we are to the coordinator.
async fn open(native: Arc<Native>, id: String, admin: Admin, cancelled: Arc<AtomicBool>) -> Result<Identity> {
    task::blocking({
        let id = id.clone();
        move || init(&native, &id, &cancelled)
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

fn init(native: &Native, id: &str, cancelled: &AtomicBool) -> Result<()> {
    let started = Instant::now();
    native.await_broker(CALL_MS);
    loop {
        let Err(failure) = native.init_transactions(CALL_MS) else {
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
    match failure.code {
        rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT => {
            super::options::timeout_too_long(None).with_detail(detail)
        }
        _ if failure.is_fenced() => fenced().with_detail(detail),
        _ => Error::external("a transactional Kafka producer could not be opened").with_detail(detail),
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

/// Commits until that is known and seen. Where librdkafka cannot (any more), the coordinator is asked
/// directly, as recovery does.
async fn commit(
    native: Option<Arc<Native>>,
    handle: Handle,
    admin: Admin,
    cancelled: Arc<AtomicBool>,
) -> Result<Committed> {
    let mut committed = Committed::Spent;
    if let Some(native) = native {
        let given_up = task::blocking({
            let handle = handle.clone();
            move || commit_by_client(&native, &handle, &cancelled)
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

/// Gives why librdkafka cannot commit; nothing if it did.
fn commit_by_client(native: &Native, handle: &Handle, cancelled: &AtomicBool) -> Result<Option<Failure>> {
    loop {
        match native.commit_transaction(CALL_MS) {
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
