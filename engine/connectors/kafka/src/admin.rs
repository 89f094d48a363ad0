//! Questions to the cluster: topics, partitions, offsets; and commits to the group.

use std::time::{Duration, Instant};

use millrace_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{self, Context};
use crate::nearest::nearest;
use crate::properties::{Properties, Role};
use crate::topics::Topics;

/// The first try of a question; each next one takes longer, until the caller's limit. Between
/// tries the client is asked whether the brokers refuse us.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// How long a broker may not know of a topic that is there.
const NEWS: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

pub type TopicPartition = (String, i32);

/// What a source asks a cluster, and tells its group. All calls may block.
pub trait Questions: Send {
    /// Partitions of the topics, sorted by topic and number. A topic of a list must exist.
    fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>>;

    /// First offsets that are there.
    fn earliest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>>;

    /// Ends: the offset of the next record that will be written.
    fn latest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>>;

    /// First records not older than this, in milliseconds since the epoch; the end without one.
    fn at_time(&self, partitions: &[TopicPartition], timestamp: i64) -> Result<Vec<i64>>;

    /// The group's committed offsets, where there are any.
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>>;

    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()>;

    fn group(&self) -> Option<&str>;

    /// Serves the client for so long: log lines, errors, tokens.
    fn serve(&self, time: Duration);
}

impl Questions for Cluster {
    fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>> {
        self.partitions(topics)
    }

    fn earliest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.earliest(partitions)
    }

    fn latest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.latest(partitions)
    }

    fn at_time(&self, partitions: &[TopicPartition], timestamp: i64) -> Result<Vec<i64>> {
        self.at_time(partitions, timestamp)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>> {
        self.committed(partitions)
    }

    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        self.commit(offsets)
    }

    fn group(&self) -> Option<&str> {
        self.group()
    }

    fn serve(&self, time: Duration) {
        self.serve(time)
    }
}

/// A client that asks and commits. All calls may block up to the limit that it was made with.
pub struct Cluster {
    consumer: BaseConsumer<Context>,
    table: String,
    bootstrap: String,
    group: Option<String>,
    limit: Duration,
}

impl Cluster {
    /// A client of the table's group, if it has one.
    pub fn connect(properties: &Properties, limit: Duration) -> Result<Self> {
        Self::with_group(properties, properties.group_id(), limit)
    }

    /// A client that knows nothing of groups: closing one that does takes a while.
    pub fn without_group(properties: &Properties, limit: Duration) -> Result<Self> {
        Self::with_group(properties, None, limit)
    }

    fn with_group(properties: &Properties, group: Option<&str>, limit: Duration) -> Result<Self> {
        let mut rd = properties.rdkafka(Role::Admin)?;
        if let Some(group) = group {
            rd.set("group.id", group);
        }
        // Offsets mean the whole log, whatever the reader will show of it: as Flink asks.
        rd.set("isolation.level", "read_uncommitted");
        let context = Context::new(properties.table(), rd.tokens.clone());
        let consumer: BaseConsumer<Context> = rd
            .config()
            .create_with_context(context)
            .map_err(|e| client::error("cannot make a Kafka client", &e))?;
        client::set_first_token(consumer.client().native_ptr(), rd.tokens.as_ref())?;
        Ok(Cluster {
            consumer,
            table: properties.table().to_owned(),
            bootstrap: properties.bootstrap().to_owned(),
            group: group.map(str::to_owned),
            limit,
        })
    }

    /// Names of all topics, sorted.
    pub fn topics(&self) -> Result<Vec<String>> {
        let metadata = self.ask("list topics", |timeout| {
            self.consumer.fetch_metadata(None, timeout)
        })?;
        let mut names: Vec<String> = metadata.topics().iter().map(|t| t.name().to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Partitions of the topics, sorted by topic and number. A topic of a list must exist.
    pub fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>> {
        let mut all = Vec::new();
        match topics {
            Topics::List(names) => {
                for name in names {
                    for partition in 0..self.partition_count(name)? {
                        all.push((name.clone(), partition));
                    }
                }
            }
            Topics::Pattern(_) => {
                let metadata = self.ask("list topics", |timeout| {
                    self.consumer.fetch_metadata(None, timeout)
                })?;
                for topic in metadata.topics().iter().filter(|t| topics.contain(t.name())) {
                    all.extend(
                        topic
                            .partitions()
                            .iter()
                            .map(|p| (topic.name().to_owned(), p.id())),
                    );
                }
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    fn partition_count(&self, topic: &str) -> Result<i32> {
        let started = Instant::now();
        loop {
            let metadata = self.ask("ask for a topic", |timeout| {
                self.consumer.fetch_metadata(Some(topic), timeout)
            })?;
            let found = metadata.topics().iter().find(|t| t.name() == topic);
            let error = found.and_then(|t| t.error()).map(RDKafkaErrorCode::from);
            match (found, error) {
                (Some(t), None) if !t.partitions().is_empty() => return Ok(t.partitions().len() as i32),
                // A broker may not have heard yet of a topic that was made a moment ago.
                (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))
                    if started.elapsed() > NEWS.min(self.limit) =>
                {
                    return Err(self.unknown_topic(topic));
                }
                (_, Some(code)) if client::is_refusal(code) || code == RDKafkaErrorCode::InvalidTopic => {
                    return Err(self.failed(&format!("topic '{topic}' cannot be used"), code.to_string()));
                }
                // Its leaders are being chosen.
                (_, error) if started.elapsed() > self.limit => {
                    let reason = error.map_or("it has no partitions".to_owned(), |c| c.to_string());
                    return Err(self.failed(&format!("topic '{topic}' is not ready"), reason));
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    fn unknown_topic(&self, topic: &str) -> Error {
        let e = Error::user(format!(
            "topic '{topic}' of table '{}' does not exist",
            self.table
        ))
        .with_detail(format!("brokers: {}", self.bootstrap));
        match self.topics() {
            Ok(names) => match nearest(topic, names.iter().map(String::as_str)) {
                Some(near) => e.with_hint(format!("did you mean '{near}'?")),
                None => e.with_hint("create it first, or correct 'topic'"),
            },
            Err(_) => e,
        }
    }

    /// First offsets that are there.
    pub fn earliest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.list_offsets(partitions, Offset::Beginning)?
            .into_iter()
            .zip(partitions)
            .map(|(offset, p)| offset.ok_or_else(|| self.no_offset(p)))
            .collect()
    }

    /// Ends: the offset of the next record that will be written.
    pub fn latest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.list_offsets(partitions, Offset::End)?
            .into_iter()
            .zip(partitions)
            .map(|(offset, p)| offset.ok_or_else(|| self.no_offset(p)))
            .collect()
    }

    /// First records not older than this, in milliseconds since the epoch; the end without one.
    pub fn at_time(&self, partitions: &[TopicPartition], timestamp: i64) -> Result<Vec<i64>> {
        // Ends first: a record that comes between the two questions is then found or not passed.
        let ends = self.latest(partitions)?;
        // A negative time would be one of the protocol's special requests.
        let found = self.list_offsets(partitions, Offset::Offset(timestamp.max(0)))?;
        Ok(found
            .into_iter()
            .zip(ends)
            .map(|(offset, end)| offset.unwrap_or(end))
            .collect())
    }

    /// The group's committed offsets, where there are any.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let list = self.list(partitions, Offset::Invalid)?;
        let answer = self.ask("ask for committed offsets", |timeout| {
            self.consumer.committed_offsets(list.clone(), timeout)
        })?;
        self.in_order(partitions, &answer)
    }

    /// Commits offsets to the group. librdkafka's own call that waits for the answer waits for ever where the
    /// coordinator went away under it, and its call that does not wait tells nobody of the answer.
    pub fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|e| client::error("cannot list offsets to commit", &e))?;
        }
        let failed = |e: KafkaError| client::error("cannot commit offsets to the group", &e);
        let answers = client::Answers::new(self.consumer.client());
        answers.commit(&list).map_err(failed)?;
        let until = Instant::now() + self.limit;
        loop {
            if let Some(answer) = answers.next(PAUSE) {
                return answer.map_err(failed);
            }
            self.serve(Duration::ZERO);
            if Instant::now() >= until {
                return Err(Error::external(
                    "a commit of offsets to the group was not answered in time",
                ));
            }
        }
    }

    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Serves the client for so long: log lines, errors, tokens.
    pub fn serve(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Without time to wait it takes one event, a log line perhaps, and does not say whether
            // there are more.
            if let Some(Err(error)) = self.consumer.poll(left) {
                tracing::debug!(table = %self.table, %error, "the Kafka client reports an error");
            }
            if left.is_zero() {
                return;
            }
        }
    }

    fn list(&self, partitions: &[TopicPartition], offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, offset)
                .map_err(|e| client::error("cannot list partitions", &e))?;
        }
        Ok(list)
    }

    fn list_offsets(&self, partitions: &[TopicPartition], which: Offset) -> Result<Vec<Option<i64>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let list = self.list(partitions, which)?;
        let answer = self.ask("ask for offsets", |timeout| {
            let answer = self.consumer.offsets_for_times(list.clone(), timeout)?;
            // A partition without a leader is asked again, as a whole: offsets belong together.
            match answer.elements().iter().find_map(|e| e.error().err()) {
                Some(error) => Err(error),
                None => Ok(answer),
            }
        })?;
        self.in_order(partitions, &answer)
    }

    fn in_order(
        &self,
        partitions: &[TopicPartition],
        answer: &TopicPartitionList,
    ) -> Result<Vec<Option<i64>>> {
        partitions
            .iter()
            .map(|(topic, partition)| {
                let element = answer.find_partition(topic, *partition);
                let element = element.ok_or_else(|| self.no_offset(&(topic.clone(), *partition)))?;
                element
                    .error()
                    .map_err(|e| client::error("the broker gives no offset", &e))?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                })
            })
            .collect()
    }

    fn no_offset(&self, (topic, partition): &TopicPartition) -> Error {
        Error::external(format!("the broker gives no offset for table '{}'", self.table))
            .with_detail(format!("{topic}-{partition}"))
    }

    /// Repeats a question until it is answered, refused, or the limit is over.
    fn ask<T>(
        &self,
        what: &str,
        question: impl Fn(Duration) -> std::result::Result<T, KafkaError>,
    ) -> Result<T> {
        let started = Instant::now();
        let mut reason = None;
        let mut patience = FIRST_TRY;
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            let error = match question(left.min(patience).max(PAUSE)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            patience *= 2;
            self.serve(PAUSE);
            if let Some((code, text)) = self.consumer.context().take_error() {
                if client::is_refusal(code) {
                    return Err(self.failed("the Kafka brokers refuse the connection", text));
                }
                reason = Some(text);
            }
            let code = error.rdkafka_error_code();
            if code.is_some_and(client::is_refusal) {
                return Err(self.failed(&format!("cannot {what}"), error.to_string()));
            }
            if started.elapsed() >= self.limit {
                let reason = reason.unwrap_or_else(|| error.to_string());
                return Err(self
                    .failed(
                        &format!("cannot {what}: no answer from Kafka within {:?}", self.limit),
                        reason,
                    )
                    .with_hint("are the brokers up, and is 'properties.bootstrap.servers' right?"));
            }
        }
    }

    fn failed(&self, message: &str, reason: String) -> Error {
        Error::external(message.to_owned()).with_detail(format!(
            "table '{}', brokers {}: {reason}",
            self.table, self.bootstrap
        ))
    }
}
