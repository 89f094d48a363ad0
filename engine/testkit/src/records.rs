//! Writing and reading a topic's records with librdkafka, independently of the engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wait;

const ANSWER: Duration = Duration::from_secs(30);
// A reader gives up when nothing at all arrives for so long.
const SILENCE: Duration = Duration::from_secs(60);

/// What a reader is shown of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        }
    }
}

/// One record as it lies in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The value as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Everything in the topic up to its end of now, each partition in offset order, partitions one
/// after another.
pub fn read(client: &ClientConfig, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    scan(client, topic, isolation, |record| records.push(record))?;
    records.sort_by_key(|r| (r.partition, r.offset));
    Ok(records)
}

/// As `read`, one record after another, in offset order within a partition.
pub fn scan(
    client: &ClientConfig,
    topic: &str,
    isolation: Isolation,
    mut each: impl FnMut(Record),
) -> Result<()> {
    let consumer = consumer(client, isolation)?;
    let partitions = partitions(&consumer, topic)?;
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open: std::collections::BTreeSet<i32> = partitions.into_iter().collect();
    let mut last = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None if last.elapsed() > SILENCE => {
                bail!("reading {topic}: nothing for {SILENCE:?}, partitions {open:?} have not ended")
            }
            None => continue,
            Some(Ok(message)) => {
                if open.contains(&message.partition()) {
                    each(Record {
                        partition: message.partition(),
                        offset: message.offset(),
                        timestamp: message.timestamp().to_millis(),
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                        headers: message
                            .headers()
                            .into_iter()
                            .flat_map(|h| h.iter())
                            .map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)))
                            .collect(),
                    });
                }
            }
            // The end that the isolation level sees: for read_committed the last stable offset.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(e)) if is_passing(&e) => continue,
            Some(Err(e)) => return Err(e).with_context(|| format!("reading {topic}")),
        }
        last = Instant::now();
    }
    Ok(())
}

/// The offset after the last record that a reader of this isolation level may see, by partition.
pub fn end_offsets(client: &ClientConfig, topic: &str, isolation: Isolation) -> Result<BTreeMap<i32, i64>> {
    let consumer = consumer(client, isolation)?;
    partitions(&consumer, topic)?
        .into_iter()
        .map(|partition| Ok((partition, consumer.fetch_watermarks(topic, partition, ANSWER)?.1)))
        .collect()
}

/// A group's committed offsets, by partition; a partition without one is left out.
pub fn committed_offsets(client: &ClientConfig, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer = client.clone().set("group.id", group).create()?;
    let mut wanted = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        wanted.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(wanted, ANSWER)?;
    Ok(committed
        .elements()
        .iter()
        .filter_map(|e| match e.offset() {
            Offset::Offset(offset) => Some((e.partition(), offset)),
            _ => None,
        })
        .collect())
}

/// Writes records with acks=all, in order, and returns when all are acknowledged.
pub fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    client: &ClientConfig,
    topic: &str,
    records: impl IntoIterator<Item = (K, V)>,
) -> Result<()> {
    let records = records.into_iter().map(|(key, value)| (key, Some(value)));
    write_nullable(client, topic, records)
}

/// As `write`, where values may be null: tombstones.
pub fn write_nullable<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    client: &ClientConfig,
    topic: &str,
    records: impl IntoIterator<Item = (K, Option<V>)>,
) -> Result<()> {
    let producer: BaseProducer = client
        .clone()
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    for (key, value) in records {
        let mut record = BaseRecord::to(topic).key(key.as_ref());
        record.payload = value.as_ref().map(AsRef::as_ref);
        while let Err((e, back)) = producer.send(record) {
            if e.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(e.into());
            }
            producer.poll(Duration::from_millis(20));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

fn consumer(client: &ClientConfig, isolation: Isolation) -> Result<BaseConsumer> {
    Ok(client
        .clone()
        .set("group.id", "testkit")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .set("isolation.level", isolation.name())
        .create()?)
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    // A broker that has just come back may not know its topics yet, and says so.
    wait::until(&format!("the partitions of {topic}"), ANSWER, || {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        let found = metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic)
            .filter(|t| t.error().is_none());
        Ok(Some(
            found.map(|t| t.partitions().iter().map(|p| p.id()).collect()),
        ))
    })?
    .with_context(|| format!("there is no topic {topic}"))
}

// What librdkafka reports and then mends by itself.
fn is_passing(e: &KafkaError) -> bool {
    matches!(
        e.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
        )
    )
}
