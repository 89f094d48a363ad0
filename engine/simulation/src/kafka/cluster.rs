//! A Kafka cluster's state, and what its brokers answer. What one broker has acknowledged all of them have: nothing is
//! lost with a broker, only who leads a partition, or coordinates an id, becomes another.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::batch::{self, KeyValue};
use super::coordinator::{Identity, Place, State, Transaction};
use super::partition::Partition;

/// Coordinators are assigned by so many partitions of the transaction log.
const COORDINATORS: u64 = 5;
/// `transaction.max.timeout.ms`.
pub const LONGEST_TIMEOUT: i32 = 900_000;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

#[derive(Debug, Clone)]
pub struct BrokerAddress {
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Default)]
pub struct Cluster {
    brokers: Vec<BrokerAddress>,
    /// Broker i takes part.
    alive: Vec<bool>,
    topics: BTreeMap<String, Vec<Partition>>,
    transactions: BTreeMap<String, Transaction>,
    /// The broker of each partition of the transaction log, and until when it still reads it, in milliseconds.
    coordinators: Vec<(usize, i64)>,
    next_producer_id: i64,
    /// Ids are made known no sooner than so long after a transaction's end was decided, in milliseconds.
    pub marker_delay: i64,
    /// What was decided, for whoever looks on: ids, and whether it was a commit.
    pub decisions: Vec<(String, bool)>,
}

impl Cluster {
    pub fn new(brokers: Vec<BrokerAddress>) -> Cluster {
        let count = brokers.len();
        Cluster {
            alive: vec![true; count],
            coordinators: (0..COORDINATORS as usize).map(|i| (i % count, 0)).collect(),
            brokers,
            next_producer_id: 1000,
            ..Cluster::default()
        }
    }

    pub fn create(&mut self, topic: &str, partitions: usize) {
        let brokers = self.brokers.len();
        let partitions = (0..partitions).map(|i| Partition::led_by(i % brokers)).collect();
        self.topics.insert(topic.to_owned(), partitions);
    }

    /// Records of nobody in particular.
    pub fn append(&mut self, topic: &str, partition: i32, records: &[KeyValue], now: i64) {
        let batch = batch::encode(records, batch::ANYBODY, now);
        if let Some(partition) = self.partition(topic, partition) {
            partition
                .append(&batch, |_| Ok(()))
                .expect("a batch of ours is whole");
        }
    }

    pub fn partition(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.get_mut(partition as usize)
    }

    /// Ends of a topic's partitions, and where they are decided to.
    pub fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let partitions = self.topics.get(topic).into_iter().flatten();
        partitions.map(|p| (p.end(), p.last_stable())).collect()
    }

    /// A broker leaves: others lead what it has led, and coordinate what it has.
    pub fn leave(&mut self, broker: usize, now: i64, loading: i64) {
        self.alive[broker] = false;
        let Some(next) = (1..self.brokers.len())
            .map(|step| (broker + step) % self.brokers.len())
            .find(|other| self.alive[*other])
        else {
            return;
        };
        for partition in self.topics.values_mut().flatten() {
            if partition.leader == broker {
                partition.leader = next;
            }
        }
        for (coordinator, until) in &mut self.coordinators {
            if *coordinator == broker {
                (*coordinator, *until) = (next, now + loading);
            }
        }
    }

    pub fn join(&mut self, broker: usize) {
        self.alive[broker] = true;
    }

    /// Every id's coordinator is the next broker from now on, which reads the log first.
    pub fn move_coordinators(&mut self, now: i64, loading: i64) {
        let alive: Vec<usize> = (0..self.brokers.len()).filter(|b| self.alive[*b]).collect();
        for (coordinator, until) in &mut self.coordinators {
            if let Some(next) = alive.iter().find(|b| **b > *coordinator).or(alive.first()) {
                (*coordinator, *until) = (*next, now + loading);
            }
        }
    }

    /// What a coordinator does by itself: it writes markers, and aborts what is open for too long.
    pub fn tick(&mut self, now: i64) {
        let mut ended = Vec::new();
        for (id, transaction) in &mut self.transactions {
            transaction.expire(now);
            if now >= transaction.markers_at + self.marker_delay
                && let Some((is_commit, places)) = transaction.complete()
            {
                ended.push((transaction.producer_id, transaction.epoch, is_commit, places));
                self.decisions.push((id.clone(), is_commit));
            }
        }
        for (producer_id, epoch, is_commit, places) in ended {
            for (topic, partition) in places {
                if let Some(partition) = self.partition(&topic, partition) {
                    partition.end_transaction(producer_id, epoch, is_commit, now);
                }
            }
        }
    }

    /// Ids whose transactions are open.
    pub fn open(&self) -> Vec<String> {
        let open = self
            .transactions
            .iter()
            .filter(|(_, t)| t.state == State::Ongoing);
        open.map(|(id, _)| id.clone()).collect()
    }

    fn slot(&self, id: &str) -> (usize, i64) {
        let hash = id
            .bytes()
            .fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        self.coordinators[(hash % COORDINATORS) as usize]
    }

    /// The id's transaction, if this broker coordinates it.
    fn coordinates(&self, broker: usize, id: &str, now: i64) -> Result<(), ResponseError> {
        let (coordinator, loading_until) = self.slot(id);
        if coordinator != broker {
            return Err(ResponseError::NotCoordinator);
        }
        match now < loading_until {
            true => Err(ResponseError::CoordinatorLoadInProgress),
            false => Ok(()),
        }
    }

    pub fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let brokers = self.brokers.iter().enumerate().filter(|(i, _)| self.alive[*i]);
        let brokers = brokers.map(|(i, broker)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(i as i32))
                .with_host(StrBytes::from_string(broker.host.clone()))
                .with_port(broker.port.into())
        });
        let names: Vec<String> = match &request.topics {
            Some(topics) => topics
                .iter()
                .filter_map(|t| t.name.as_ref().map(|n| n.to_string()))
                .collect(),
            None => self.topics.keys().cloned().collect(),
        };
        let topics = names.into_iter().map(|name| {
            let partitions = self.topics.get(&name);
            let error = match partitions {
                Some(_) => 0,
                None => ResponseError::UnknownTopicOrPartition.code(),
            };
            let partitions = partitions
                .into_iter()
                .flatten()
                .enumerate()
                .map(|(i, partition)| {
                    MetadataResponsePartition::default()
                        .with_partition_index(i as i32)
                        .with_leader_id(BrokerId(partition.leader as i32))
                });
            MetadataResponseTopic::default()
                .with_error_code(error)
                .with_name(Some(topic_name(&name)))
                .with_partitions(partitions.collect())
        });
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_controller_id(BrokerId(0))
            .with_topics(topics.collect())
    }

    pub fn produce(&mut self, broker: usize, request: &ProduceRequest) -> ProduceResponse {
        let mut responses = Vec::new();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            for data in &topic.partition_data {
                let place = (topic.name.to_string(), data.index);
                let records = data.records.clone().unwrap_or_default();
                let id = request.transactional_id.as_ref().map(|id| id.to_string());
                let (error, offset) = match self.append_to(broker, &place, &records, id.as_deref()) {
                    Ok(offset) => (0, offset),
                    Err(error) => (error.code(), -1),
                };
                let response = PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(error)
                    .with_base_offset(offset);
                partitions.push(response);
            }
            responses.push(
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_partition_responses(partitions),
            );
        }
        ProduceResponse::default().with_responses(responses)
    }

    fn append_to(
        &mut self,
        broker: usize,
        place: &Place,
        records: &Bytes,
        id: Option<&str>,
    ) -> Result<i64, ResponseError> {
        let transaction = id.and_then(|id| self.transactions.get(id)).cloned();
        let partition = self.led_by(broker, place)?;
        partition.append(records, |head| {
            let identity = Identity {
                producer_id: head.producer_id,
                epoch: head.epoch,
            };
            match &transaction {
                None => Err(ResponseError::InvalidProducerIdMapping),
                Some(transaction) => transaction.verify(identity, place),
            }
        })
    }

    fn led_by(&mut self, broker: usize, place: &Place) -> Result<&mut Partition, ResponseError> {
        let partition = self
            .partition(&place.0, place.1)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        match partition.leader == broker {
            true => Ok(partition),
            false => Err(ResponseError::NotLeaderOrFollower),
        }
    }

    /// What there is, however little.
    pub fn fetch(&mut self, broker: usize, request: &FetchRequest) -> FetchResponse {
        let is_committed = request.isolation_level == 1;
        let mut responses = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let place = (topic.topic.to_string(), asked.partition);
                let most = asked.partition_max_bytes.max(0) as usize;
                let read = self
                    .led_by(broker, &place)
                    .and_then(|partition| partition.read(asked.fetch_offset, is_committed, most));
                let data = PartitionData::default().with_partition_index(asked.partition);
                partitions.push(match read {
                    Err(error) => data.with_error_code(error.code()).with_high_watermark(-1),
                    Ok(read) => {
                        let aborted = read.aborted.iter().map(|aborted| {
                            AbortedTransaction::default()
                                .with_producer_id(ProducerId(aborted.producer_id))
                                .with_first_offset(aborted.first_offset)
                        });
                        data.with_high_watermark(read.high_watermark)
                            .with_last_stable_offset(read.last_stable)
                            .with_log_start_offset(0)
                            .with_aborted_transactions(Some(aborted.collect()))
                            .with_records(Some(read.records))
                    }
                });
            }
            responses.push(
                FetchableTopicResponse::default()
                    .with_topic(topic.topic.clone())
                    .with_partitions(partitions),
            );
        }
        FetchResponse::default().with_responses(responses)
    }

    pub fn list_offsets(&mut self, broker: usize, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let is_committed = request.isolation_level == 1;
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let place = (topic.name.to_string(), asked.partition_index);
                let offset = self
                    .led_by(broker, &place)
                    .and_then(|partition| match asked.timestamp {
                        EARLIEST => Ok(0),
                        LATEST if is_committed => Ok(partition.last_stable()),
                        LATEST => Ok(partition.end()),
                        // Nobody here looks for a time.
                        _ => Err(ResponseError::UnsupportedForMessageFormat),
                    });
                let response =
                    ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                match offset {
                    Ok(offset) => response.with_offset(offset),
                    Err(error) => response.with_error_code(error.code()).with_offset(-1),
                }
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    pub fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
        version: i16,
    ) -> FindCoordinatorResponse {
        let find = |key: &StrBytes| {
            let (broker, _) = self.slot(key);
            (broker, &self.brokers[broker], self.alive[broker])
        };
        let gone = ResponseError::CoordinatorNotAvailable.code();
        if version < 4 {
            let (broker, address, alive) = find(&request.key);
            return FindCoordinatorResponse::default()
                .with_error_code(if alive { 0 } else { gone })
                .with_node_id(BrokerId(broker as i32))
                .with_host(StrBytes::from_string(address.host.clone()))
                .with_port(address.port.into());
        }
        let coordinators = request.coordinator_keys.iter().map(|key| {
            let (broker, address, alive) = find(key);
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(if alive { 0 } else { gone })
                .with_node_id(BrokerId(broker as i32))
                .with_host(StrBytes::from_string(address.host.clone()))
                .with_port(address.port.into())
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }

    pub fn init_producer_id(
        &mut self,
        broker: usize,
        request: &InitProducerIdRequest,
        now: i64,
    ) -> InitProducerIdResponse {
        let response = InitProducerIdResponse::default();
        match self.init(broker, request, now) {
            Ok(identity) => response
                .with_producer_id(ProducerId(identity.producer_id))
                .with_producer_epoch(identity.epoch),
            Err(error) => response
                .with_error_code(error.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }

    fn init(
        &mut self,
        broker: usize,
        request: &InitProducerIdRequest,
        now: i64,
    ) -> Result<Identity, ResponseError> {
        let Some(id) = request.transactional_id.as_ref().map(|id| id.to_string()) else {
            self.next_producer_id += 1;
            return Ok(Identity {
                producer_id: self.next_producer_id,
                epoch: 0,
            });
        };
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let timeout = request.transaction_timeout_ms;
        if timeout <= 0 || timeout > LONGEST_TIMEOUT {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        self.coordinates(broker, &id, now)?;
        let next = &mut self.next_producer_id;
        let transaction = self.transactions.entry(id).or_insert_with(|| {
            *next += 1;
            Transaction::new(*next, timeout)
        });
        let expected = (request.producer_id.0 >= 0).then_some(Identity {
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
        });
        transaction.init(timeout, expected, now)
    }

    fn transaction(
        &mut self,
        broker: usize,
        id: &TransactionalId,
        now: i64,
    ) -> Result<&mut Transaction, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        self.coordinates(broker, id, now)?;
        self.transactions
            .get_mut(id.as_str())
            .ok_or(ResponseError::InvalidProducerIdMapping)
    }

    pub fn add_partitions(
        &mut self,
        broker: usize,
        request: &AddPartitionsToTxnRequest,
        now: i64,
    ) -> AddPartitionsToTxnResponse {
        let identity = Identity {
            producer_id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let topics = &request.v3_and_below_topics;
        let places: Vec<Place> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| (topic.name.to_string(), *p)))
            .collect();
        let known: BTreeSet<Place> = places
            .iter()
            .filter(|(topic, p)| {
                self.topics
                    .get(topic)
                    .is_some_and(|all| (*p as usize) < all.len())
            })
            .cloned()
            .collect();
        // One that is not there spoils all of them.
        let outcome = match known.len() == places.len() {
            false => Err(ResponseError::OperationNotAttempted),
            true => self
                .transaction(broker, &request.v3_and_below_transactional_id, now)
                .and_then(|transaction| transaction.add(identity, &places, now)),
        };
        let error = outcome.map_or_else(|error| error.code(), |()| 0);
        let results = topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let is_known = known.contains(&(topic.name.to_string(), *partition));
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_partition_error_code(match is_known {
                        true => error,
                        false => ResponseError::UnknownTopicOrPartition.code(),
                    })
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(partitions.collect())
        });
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
    }

    pub fn end_txn(&mut self, broker: usize, request: &EndTxnRequest, now: i64) -> EndTxnResponse {
        let identity = Identity {
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
        };
        let outcome = self
            .transaction(broker, &request.transactional_id, now)
            .and_then(|transaction| transaction.end(identity, request.committed, now));
        EndTxnResponse::default().with_error_code(outcome.map_or_else(|error| error.code(), |()| 0))
    }

    pub fn describe_transactions(
        &mut self,
        broker: usize,
        request: &DescribeTransactionsRequest,
        now: i64,
    ) -> DescribeTransactionsResponse {
        let states = request.transactional_ids.iter().map(|id| {
            let described = Described::default().with_transactional_id(id.clone());
            match self.coordinates(broker, id, now) {
                Err(error) => return described.with_error_code(error.code()),
                Ok(()) => {}
            }
            let Some(transaction) = self.transactions.get(id.as_str()) else {
                return described.with_error_code(ResponseError::TransactionalIdNotFound.code());
            };
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in &transaction.partitions {
                topics.entry(topic).or_default().push(*partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                TopicData::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(partitions)
            });
            described
                .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
                .with_transaction_timeout_ms(transaction.timeout)
                .with_transaction_start_time_ms(transaction.started)
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_producer_epoch(transaction.epoch)
                .with_topics(topics.collect())
        });
        DescribeTransactionsResponse::default().with_transaction_states(states.collect())
    }

    pub fn list_transactions(&self, broker: usize) -> ListTransactionsResponse {
        let own = self
            .transactions
            .iter()
            .filter(|(id, _)| self.slot(id).0 == broker);
        let states = own.map(|(id, transaction)| {
            Listed::default()
                .with_transactional_id(TransactionalId(StrBytes::from_string(id.clone())))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
        });
        ListTransactionsResponse::default().with_transaction_states(states.collect())
    }

    pub fn describe_configs(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let results = request.resources.iter().map(|resource| {
            let value = StrBytes::from_string(LONGEST_TIMEOUT.to_string());
            let entry = DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str("transaction.max.timeout.ms"))
                .with_value(Some(value));
            DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_configs(vec![entry])
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
