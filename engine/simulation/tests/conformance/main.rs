//! The model of Kafka beside Kafka itself: random sequences of requests, the same to both, and the same answers.
//!
//! What differs by right is not compared: which producer ids there are (but which of them are the same is), and the
//! broker's clock. A broker is busy for a moment behind the end of a transaction; both are asked until they are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use millrace_simulation::client::link::{Links, topic_name, transactional_id};
use millrace_simulation::kafka::batch::{self, Writer};
use millrace_simulation::kafka::broker::{Brokers, Fate};
use millrace_simulation::kafka::cluster::{BrokerAddress, Cluster};
use millrace_simulation::kernel::Random;
use millrace_testkit::kafka::{Kafka, Version};

/// Sequences, and requests of each.
const SEQUENCES: u64 = 40;
const STEPS: usize = 60;
const IDS: usize = 2;
const PARTITIONS: i32 = 2;
/// For what passes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a producer takes itself for; it goes on doing so after others have taken its id.
#[derive(Debug, Clone, Copy)]
struct Producer {
    id: usize,
    producer_id: i64,
    epoch: i16,
    sequences: [i32; PARTITIONS as usize],
}

/// A request, by what both systems know of.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Takes an id over, as somebody new.
    Init {
        id: usize,
    },
    /// Asks for a higher epoch, as who one is.
    Bump {
        producer: usize,
    },
    Add {
        producer: usize,
        partition: i32,
    },
    /// Some records; `skip` of the sequence numbers are left out before, or were there before.
    Produce {
        producer: usize,
        partition: i32,
        records: usize,
        skip: i32,
    },
    End {
        producer: usize,
        is_commit: bool,
    },
    Describe {
        id: usize,
    },
    Fetch {
        partition: i32,
        is_committed: bool,
    },
}

/// What a step came to, as far as it is the same everywhere.
type Outcome = String;

/// One of the two.
struct System {
    links: Links,
    broker: String,
    topic: String,
    prefix: String,
    producers: Vec<Producer>,
    /// Producer ids in the order in which they were met.
    known: Vec<i64>,
}

fn code(code: i16) -> String {
    match code.err() {
        None => "fine".to_owned(),
        Some(error) => format!("{error:?}"),
    }
}

fn is_busy(code: i16) -> bool {
    matches!(
        code.err(),
        Some(
            ResponseError::ConcurrentTransactions
                | ResponseError::CoordinatorLoadInProgress
                | ResponseError::CoordinatorNotAvailable
                | ResponseError::NotCoordinator
        )
    )
}

impl System {
    fn id(&self, id: usize) -> TransactionalId {
        transactional_id(&format!("{}-{id}", self.prefix))
    }

    /// The name of a producer id.
    fn name(&mut self, producer_id: i64) -> String {
        if producer_id < 0 {
            return "none".to_owned();
        }
        let at = self.known.iter().position(|known| *known == producer_id);
        let at = at.unwrap_or_else(|| {
            self.known.push(producer_id);
            self.known.len() - 1
        });
        format!("producer {at}")
    }

    fn ask<R: kafka_protocol::protocol::Request>(&mut self, request: &R, version: i16) -> R::Response {
        let broker = self.broker.clone();
        let answer = self.links.ask(&broker, request, version);
        answer.unwrap_or_else(|e| panic!("{broker}: {e}"))
    }

    /// Until it is not busy.
    fn ask_until<R: kafka_protocol::protocol::Request>(
        &mut self,
        request: &R,
        version: i16,
        code: impl Fn(&R::Response) -> i16,
    ) -> R::Response {
        let began = Instant::now();
        loop {
            let answer = self.ask(request, version);
            if !is_busy(code(&answer)) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{}: busy for ever", self.broker);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Until the id's last transaction is ended everywhere.
    fn settle(&mut self, id: usize) {
        let began = Instant::now();
        while self.describe(id).0.starts_with("Prepare") {
            assert!(began.elapsed() < PATIENCE, "{}: ends for ever", self.broker);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn describe(&mut self, id: usize) -> (String, Outcome) {
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![self.id(id)]);
        let answer = self.ask_until(&request, 0, |answer| answer.transaction_states[0].error_code);
        let found = &answer.transaction_states[0];
        let partitions: BTreeSet<i32> = found
            .topics
            .iter()
            .flat_map(|t| t.partitions.iter().copied())
            .collect();
        let (state, epoch) = (found.transaction_state.to_string(), found.producer_epoch);
        let begun = found.transaction_start_time_ms > 0;
        let name = self.name(found.producer_id.0);
        let outcome = format!(
            "{} {state} {name} epoch {epoch} begun {begun} {partitions:?}",
            code(found.error_code)
        );
        (state, outcome)
    }

    fn init(&mut self, id: usize, producer_id: i64, epoch: i16) -> (Outcome, Option<(i64, i16)>) {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.id(id)))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(epoch);
        let answer = self.ask_until(&request, 4, |answer| answer.error_code);
        let taken = (answer.producer_id.0, answer.producer_epoch);
        let name = self.name(taken.0);
        let outcome = format!("{} {name} epoch {}", code(answer.error_code), taken.1);
        (outcome, answer.error_code.is_ok().then_some(taken))
    }

    fn perform(&mut self, step: Step) -> Outcome {
        match step {
            Step::Init { id } => {
                let (outcome, taken) = self.init(id, -1, -1);
                if let Some((producer_id, epoch)) = taken {
                    self.producers.push(Producer {
                        id,
                        producer_id,
                        epoch,
                        sequences: [0; PARTITIONS as usize],
                    });
                }
                outcome
            }
            Step::Bump { producer } => {
                let known = self.producers[producer];
                let (outcome, taken) = self.init(known.id, known.producer_id, known.epoch);
                if let Some((producer_id, epoch)) = taken {
                    self.producers[producer] = Producer {
                        producer_id,
                        epoch,
                        sequences: [0; PARTITIONS as usize],
                        ..known
                    };
                }
                outcome
            }
            Step::Add { producer, partition } => {
                let known = self.producers[producer];
                let request = AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(self.id(known.id))
                    .with_v3_and_below_producer_id(ProducerId(known.producer_id))
                    .with_v3_and_below_producer_epoch(known.epoch)
                    .with_v3_and_below_topics(vec![
                        AddPartitionsToTxnTopic::default()
                            .with_name(topic_name(&self.topic))
                            .with_partitions(vec![partition]),
                    ]);
                let of = |answer: &AddPartitionsToTxnResponse| {
                    answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
                };
                let answer = self.ask_until(&request, 3, of);
                code(of(&answer))
            }
            Step::Produce {
                producer,
                partition,
                records,
                skip,
            } => self.produce(producer, partition, records, skip),
            Step::End { producer, is_commit } => {
                let known = self.producers[producer];
                let request = EndTxnRequest::default()
                    .with_transactional_id(self.id(known.id))
                    .with_producer_id(ProducerId(known.producer_id))
                    .with_producer_epoch(known.epoch)
                    .with_committed(is_commit);
                let answer = self.ask_until(&request, 3, |answer| answer.error_code);
                self.settle(known.id);
                code(answer.error_code)
            }
            Step::Describe { id } => self.describe(id).1,
            Step::Fetch {
                partition,
                is_committed,
            } => {
                let topic = self.topic.clone();
                let (mut from, mut all) = (0, Vec::new());
                loop {
                    let fetched = self.links.fetch(&topic, partition, from, is_committed, 0);
                    let fetched = fetched.unwrap_or_else(|e| panic!("{}: {e}", self.broker));
                    all.extend(fetched.records.iter().map(|r| {
                        let value = r.value.as_deref().unwrap_or_default();
                        format!("{}:{}", r.offset, String::from_utf8_lossy(value))
                    }));
                    if fetched.next == from {
                        let stable = fetched.last_stable;
                        return format!("{all:?} to {} of {}", stable, fetched.high_watermark);
                    }
                    from = fetched.next;
                }
            }
        }
    }

    fn produce(&mut self, producer: usize, partition: i32, records: usize, skip: i32) -> Outcome {
        let known = self.producers[producer];
        let first_sequence = known.sequences[partition as usize] + skip;
        if first_sequence < 0 {
            return "nothing was there before".to_owned();
        }
        let values = (0..records).map(|i| format!("{producer}/{}", first_sequence + i as i32));
        let values: Vec<_> = values.map(|value| (None, Some(Bytes::from(value)))).collect();
        let writer = Writer {
            producer_id: known.producer_id,
            epoch: known.epoch,
            is_transactional: true,
            first_sequence,
        };
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch::encode(&values, writer, 1_700_000_000_000)));
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.id(known.id)))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![
                TopicProduceData::default()
                    .with_name(topic_name(&self.topic))
                    .with_partition_data(vec![data]),
            ]);
        let of = |answer: &ProduceResponse| answer.responses[0].partition_responses[0].error_code;
        let answer = self.ask_until(&request, 8, of);
        let answered = &answer.responses[0].partition_responses[0];
        if answered.error_code.is_ok() && skip >= 0 {
            self.producers[producer].sequences[partition as usize] = first_sequence + records as i32;
        }
        format!("{} at {}", code(answered.error_code), answered.base_offset)
    }
}

fn choose(random: &mut Random, producers: usize) -> Step {
    let id = random.range(0..IDS as u64) as usize;
    let partition = random.range(0..PARTITIONS as u64) as i32;
    // Who came last is the one that may do something, mostly.
    let producer = match producers {
        0 => return Step::Init { id },
        _ if random.chance(700) => producers - 1,
        _ => random.range(0..producers as u64) as usize,
    };
    match random.range(0..20) {
        0 | 1 => Step::Init { id },
        2 => Step::Bump { producer },
        3..7 => Step::Add { producer, partition },
        7..12 => Step::Produce {
            producer,
            partition,
            records: random.range(1..4) as usize,
            skip: match random.range(0..10) {
                0 => 1,
                _ => 0,
            },
        },
        12..15 => Step::End {
            producer,
            is_commit: random.chance(600),
        },
        15 | 16 => Step::Describe { id },
        17 => Step::Fetch {
            partition,
            is_committed: false,
        },
        _ => Step::Fetch {
            partition,
            is_committed: true,
        },
    }
}

fn same<T: PartialEq + Debug>(of: &str, real: &T, model: &T, done: &[String]) {
    assert!(
        real == model,
        "{of}\n  Kafka: {real:?}\n  model: {model:?}\nbefore that:\n  {}",
        done.join("\n  ")
    );
}

/// The model, listening on a port of this machine.
fn model() -> (Brokers, String) {
    let port = millrace_testkit::ports::free().unwrap();
    let address = BrokerAddress {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let brokers = Brokers::new(
        Cluster::new(vec![address]),
        std::sync::Arc::new(|_| Fate::Answered),
    );
    let serving = brokers.clone();
    std::thread::spawn(move || serving.serve(0, port));
    (brokers, format!("127.0.0.1:{port}"))
}

fn compare(version: Version) {
    let kafka = Kafka::shared(version);
    let (brokers, address) = model();
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for sequence in 0..SEQUENCES {
        let topic = kafka.unique_topic("conformance", PARTITIONS);
        brokers.with(|cluster| cluster.create(&topic, PARTITIONS as usize));
        let system = |address: &str| System {
            links: Links::new(address),
            broker: address.to_owned(),
            topic: topic.clone(),
            prefix: topic.clone(),
            producers: Vec::new(),
            known: Vec::new(),
        };
        let (mut real, mut model) = (system(&kafka.bootstrap()), system(&address));
        let mut random = Random::new(sequence);
        let mut done = Vec::new();
        for _ in 0..STEPS {
            let step = choose(&mut random, real.producers.len());
            let outcomes = (real.perform(step), model.perform(step));
            same(
                &format!("sequence {sequence}: {step:?}"),
                &outcomes.0,
                &outcomes.1,
                &done,
            );
            let word = outcomes.0.split(' ').next().unwrap_or_default().to_owned();
            *refusals.entry(word).or_default() += 1;
            done.push(format!("{step:?}: {}", outcomes.0));
        }
        for partition in 0..PARTITIONS {
            for is_committed in [false, true] {
                let step = Step::Fetch {
                    partition,
                    is_committed,
                };
                let outcomes = (real.perform(step), model.perform(step));
                same(
                    &format!("sequence {sequence}, at its end"),
                    &outcomes.0,
                    &outcomes.1,
                    &done,
                );
            }
        }
    }
    // The comparison is worth something: what can be refused was.
    for word in [
        "ProducerFenced",
        "InvalidTxnState",
        "OutOfOrderSequenceNumber",
        "InvalidProducerEpoch",
    ] {
        assert!(
            refusals.contains_key(word),
            "nothing was refused with {word}: {refusals:?}"
        );
    }
}

#[test]
fn the_model_answers_as_kafka_3_9_does() {
    compare(Version::Kafka39);
}

#[test]
fn the_model_answers_as_kafka_4_1_does() {
    compare(Version::Kafka41);
}
