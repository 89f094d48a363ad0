//! A producer: records wait in a queue for each partition, a thread sends them, one batch at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest, ProducerId,
};
use millrace_connector_api::Waker;
use millrace_connector_kafka::writer::{Block, Failure, Producer, ProducerSettings, Reason};
use millrace_core::{Error, Result};

use super::link::{Failed, Links, topic_name, transactional_id};
use crate::kafka::batch::{self, KeyValue};
use crate::kafka::broker::millis;

const INIT_PRODUCER_ID: i16 = 4;
const ADD_PARTITIONS: i16 = 3;
const END_TXN: i16 = 3;
const PRODUCE: i16 = 8;
/// Records of a batch, and records that wait, at most.
const BATCH: usize = 100;
const MOST_WAITING: u64 = 400;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(30);
/// A record that is not written for so long has failed: librdkafka's `message.timeout.ms`, as the sink sets it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Who a producer is to its coordinator.
#[derive(Debug, Clone, Copy)]
struct Identity {
    producer_id: i64,
    epoch: i16,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<i32, VecDeque<KeyValue>>,
    produced: u64,
    acknowledged: u64,
    failure: Option<Failure>,
    fatal: Option<Failure>,
    identity: Option<Identity>,
    is_open: bool,
    /// Partitions of the open transaction.
    added: BTreeSet<i32>,
    sequences: BTreeMap<i32, i32>,
    is_awaited: bool,
    is_closed: bool,
    partitions: i32,
    /// Where records without a key go.
    turn: i32,
}

struct Shared {
    topic: String,
    bootstrap: String,
    transactional: Option<(String, Duration)>,
    fixed: Option<i32>,
    state: Mutex<State>,
    changed: Condvar,
    waker: Waker,
}

pub struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a request came to that is not answered as it was hoped.
enum Trouble {
    /// It may be tried again.
    Passing(String),
    Final(Failure),
}

fn failure(reason: Reason, text: impl ToString) -> Failure {
    Failure {
        reason,
        text: text.to_string(),
        is_fatal: true,
        is_retriable: false,
    }
}

fn timed_out(what: &str) -> Failure {
    Failure {
        reason: Reason::Other,
        text: format!("{what} was not done in time"),
        is_fatal: false,
        is_retriable: true,
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Lost(error) => Trouble::Passing(error.to_string()),
            Failed::Refused(error) => error.into(),
        }
    }
}

impl From<ResponseError> for Trouble {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::ProducerFenced | ResponseError::InvalidProducerEpoch => {
                Trouble::Final(failure(Reason::Fenced, error))
            }
            ResponseError::InvalidTransactionTimeout => {
                Trouble::Final(failure(Reason::TimeoutTooLong, error))
            }
            error if error.is_retriable() => Trouble::Passing(error.to_string()),
            error => Trouble::Final(failure(Reason::Other, error)),
        }
    }
}

impl Sender {
    pub fn open(settings: &ProducerSettings, bootstrap: &str, waker: Waker) -> Result<Sender> {
        let shared = Arc::new(Shared {
            topic: settings.topic.clone(),
            bootstrap: bootstrap.to_owned(),
            transactional: settings.transactional.clone(),
            fixed: settings.partition,
            state: Mutex::default(),
            changed: Condvar::new(),
            waker,
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("producer".to_owned())
            .spawn(move || theirs.send_all())
            .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
        Ok(Sender {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        if failure.is_fatal && failure.reason == Reason::Fenced {
            state.fatal.get_or_insert(failure.clone());
        }
        state.failure.get_or_insert(failure);
        drop(state);
        self.changed.notify_all();
        self.waker.wake();
    }

    fn send_all(&self) {
        let mut links = Links::new(&self.bootstrap);
        loop {
            let is_idle = |state: &mut State| {
                let is_empty = state.queues.values().all(VecDeque::is_empty);
                !state.is_closed && (is_empty || state.failure.is_some())
            };
            let mut state = self
                .changed
                .wait_while(self.lock(), is_idle)
                .unwrap_or_else(|e| e.into_inner());
            if state.is_closed {
                return;
            }
            let Some((&partition, queue)) = state.queues.iter_mut().find(|(_, queue)| !queue.is_empty())
            else {
                continue;
            };
            let count = queue.len().min(BATCH);
            let records: Vec<KeyValue> = queue.drain(..count).collect();
            let identity = state.identity;
            let first_sequence = *state.sequences.entry(partition).or_insert(0);
            drop(state);
            if self.send(&mut links, partition, &records, identity, first_sequence) {
                let mut state = self.lock();
                state.acknowledged += records.len() as u64;
                state
                    .sequences
                    .insert(partition, first_sequence + records.len() as i32);
                let is_awaited = state.is_awaited || state.acknowledged == state.produced;
                drop(state);
                self.changed.notify_all();
                if is_awaited {
                    self.waker.wake();
                }
            }
        }
    }

    /// Until the batch is written; false where it never will be.
    fn send(
        &self,
        links: &mut Links,
        partition: i32,
        records: &[KeyValue],
        identity: Option<Identity>,
        first_sequence: i32,
    ) -> bool {
        let writer = match identity {
            None => batch::ANYBODY,
            Some(identity) => batch::Writer {
                producer_id: identity.producer_id,
                epoch: identity.epoch,
                is_transactional: self.transactional.is_some(),
                first_sequence,
            },
        };
        let bytes = batch::encode(records, writer, millis());
        let began = Instant::now();
        loop {
            let trouble = match self.try_send(links, partition, &bytes, identity) {
                Ok(()) => return true,
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Final(failure) => {
                    self.fail(failure);
                    return false;
                }
                Trouble::Passing(why) if began.elapsed() > DELIVERY_TIMEOUT => {
                    self.fail(failure(
                        Reason::Other,
                        format!("a record was not written in time: {why}"),
                    ));
                    return false;
                }
                Trouble::Passing(_) => {}
            }
            links.forget();
            if self.lock().is_closed {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_send(
        &self,
        links: &mut Links,
        partition: i32,
        bytes: &Bytes,
        identity: Option<Identity>,
    ) -> Result<(), Trouble> {
        if let (Some((id, _)), Some(identity)) = (&self.transactional, identity)
            && !self.lock().added.contains(&partition)
        {
            add(links, id, identity, &self.topic, partition)?;
            self.lock().added.insert(partition);
        }
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(bytes.clone()));
        let request = ProduceRequest::default()
            .with_transactional_id(self.transactional.as_ref().map(|(id, _)| transactional_id(id)))
            .with_acks(-1)
            .with_timeout_ms(5000)
            .with_topic_data(vec![
                TopicProduceData::default()
                    .with_name(topic_name(&self.topic))
                    .with_partition_data(vec![data]),
            ]);
        let leader = links.leader(&self.topic, partition)?;
        let answer = links.ask(&leader, &request, PRODUCE)?;
        let answered = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        match answered.map(|partition| partition.error_code.err()) {
            Some(None | Some(ResponseError::DuplicateSequenceNumber)) => Ok(()),
            Some(Some(error)) => Err(error.into()),
            None => Err(Trouble::Passing("an answer without the partition".to_owned())),
        }
    }
}

fn add(links: &mut Links, id: &str, identity: Identity, topic: &str, partition: i32) -> Result<(), Trouble> {
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(id))
        .with_v3_and_below_producer_id(ProducerId(identity.producer_id))
        .with_v3_and_below_producer_epoch(identity.epoch)
        .with_v3_and_below_topics(vec![
            AddPartitionsToTxnTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]),
        ]);
    let coordinator = links.coordinator(id)?;
    let answer = links.ask(&coordinator, &request, ADD_PARTITIONS)?;
    let results = answer.results_by_topic_v3_and_below.iter();
    let mut results = results.flat_map(|topic| &topic.results_by_partition);
    match results.find_map(|result| result.partition_error_code.err()) {
        None => Ok(()),
        // The transaction before is still being ended.
        Some(ResponseError::ConcurrentTransactions) => Err(Trouble::Passing("the id is busy".to_owned())),
        Some(error) => Err(error.into()),
    }
}

fn init(links: &mut Links, id: &str, timeout: Duration) -> Result<Identity, Trouble> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_transaction_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let coordinator = links.coordinator(id)?;
    let answer = links.ask(&coordinator, &request, INIT_PRODUCER_ID)?;
    match answer.error_code.err() {
        None => Ok(Identity {
            producer_id: answer.producer_id.0,
            epoch: answer.producer_epoch,
        }),
        Some(ResponseError::ConcurrentTransactions) => Err(Trouble::Passing("the id is busy".to_owned())),
        Some(error) => Err(error.into()),
    }
}

fn commit(links: &mut Links, id: &str, identity: Identity) -> Result<(), Trouble> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(ProducerId(identity.producer_id))
        .with_producer_epoch(identity.epoch)
        .with_committed(true);
    let coordinator = links.coordinator(id)?;
    let answer = links.ask(&coordinator, &request, END_TXN)?;
    match answer.error_code.err() {
        None => Ok(()),
        Some(ResponseError::ConcurrentTransactions) => Err(Trouble::Passing("the id is busy".to_owned())),
        Some(error) => Err(error.into()),
    }
}

/// Tries until it is done, it can never be, or the time is over.
fn until<T>(
    at_most: Duration,
    links: &mut Links,
    what: &str,
    attempt: impl Fn(&mut Links) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        match attempt(links) {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Passing(_)) => links.forget(),
        }
        if began.elapsed() + PAUSE > at_most {
            return Err(timed_out(what));
        }
        std::thread::sleep(PAUSE);
    }
}

impl Sender {
    fn id(&self) -> Result<&(String, Duration), Failure> {
        let no_id = || failure(Reason::Other, "the producer has no transactional id");
        self.shared.transactional.as_ref().ok_or_else(no_id)
    }

    /// How many partitions the topic has; asked for once.
    fn partitions(&self) -> Option<i32> {
        let known = self.shared.lock().partitions;
        if known > 0 {
            return Some(known);
        }
        let found = Links::new(&self.shared.bootstrap)
            .partitions(&self.shared.topic)
            .ok()?;
        self.shared.lock().partitions = found;
        Some(found)
    }
}

impl Producer for Sender {
    fn poll(&self) {}

    fn flush(&self, at_most: Duration) {
        let is_busy = |state: &mut State| state.acknowledged < state.produced && state.failure.is_none();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), at_most, is_busy);
        drop(waited);
    }

    fn await_events(&self) {
        self.shared.lock().is_awaited = true;
    }

    fn stop_awaiting(&self) {
        self.shared.lock().is_awaited = false;
    }

    fn produce(&self, block: &Block, from: usize) -> Result<usize, Failure> {
        let Some(partitions) = self.partitions() else {
            return Ok(0);
        };
        let mut state = self.shared.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let room = MOST_WAITING.saturating_sub(state.produced - state.acknowledged) as usize;
        let taken = room.min(block.len() - from);
        for i in from..from + taken {
            let key = block.keys.as_ref().and_then(|keys| keys.get(i));
            let partition = match (self.shared.fixed, key) {
                (Some(fixed), _) => fixed,
                (None, Some(key)) => of_key(key, partitions),
                (None, None) => {
                    state.turn = (state.turn + 1) % partitions;
                    state.turn
                }
            };
            let record = (
                key.map(Bytes::copy_from_slice),
                block.values.get(i).map(Bytes::copy_from_slice),
            );
            state.queues.entry(partition).or_default().push_back(record);
        }
        state.produced += taken as u64;
        drop(state);
        self.shared.changed.notify_all();
        Ok(taken)
    }

    fn produced(&self) -> u64 {
        self.shared.lock().produced
    }

    fn in_flight(&self) -> u64 {
        let state = self.shared.lock();
        state.produced - state.acknowledged
    }

    fn failure(&self) -> Option<Failure> {
        self.shared.lock().failure.clone()
    }

    fn fatal(&self) -> Option<Failure> {
        self.shared.lock().fatal.clone()
    }

    fn await_broker(&self, _: Duration) {
        self.partitions();
    }

    fn init_transactions(&self, at_most: Duration) -> Result<(), Failure> {
        let (id, timeout) = self.id()?;
        let mut links = Links::new(&self.shared.bootstrap);
        let identity = until(at_most, &mut links, "init_transactions", |links| {
            init(links, id, *timeout)
        })?;
        self.shared.lock().identity = Some(identity);
        Ok(())
    }

    fn begin_transaction(&self) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        if let Some(fatal) = state.fatal.clone().or(state.failure.clone()) {
            return Err(fatal);
        }
        if state.is_open || state.identity.is_none() {
            return Err(failure(Reason::Other, "a transaction cannot be begun now"));
        }
        state.is_open = true;
        state.added.clear();
        Ok(())
    }

    fn commit_transaction(&self, at_most: Duration) -> Result<(), Failure> {
        let (id, _) = self.id()?;
        self.flush(at_most);
        let (identity, is_empty) = {
            let state = self.shared.lock();
            if let Some(fatal) = state.fatal.clone().or(state.failure.clone()) {
                return Err(fatal);
            }
            if state.acknowledged < state.produced {
                return Err(timed_out("a flush"));
            }
            (state.identity, state.added.is_empty())
        };
        let Some(identity) = identity else {
            return Err(failure(Reason::Other, "no transaction is open"));
        };
        if !is_empty {
            let mut links = Links::new(&self.shared.bootstrap);
            let outcome = until(at_most, &mut links, "commit_transaction", |links| {
                commit(links, id, identity)
            });
            if let Err(failure) = &outcome
                && failure.is_fatal
            {
                self.shared.lock().fatal.get_or_insert(failure.clone());
            }
            outcome?;
        }
        self.shared.lock().is_open = false;
        Ok(())
    }
}

/// As the Java client chooses: murmur2 of the key.
fn of_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX) % partitions
}

/// Austin Appleby's MurmurHash2, with the seed of Kafka's `Utils.murmur2`.
fn murmur2(bytes: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest
            .iter()
            .rev()
            .fold(0u32, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the Java client's own test.
    #[test]
    fn keys_are_hashed_as_in_java() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("abc", 479470107),
            ("", 275646681),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }
}
