//! What a source asks a cluster.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};
use millrace_connector_kafka::admin::{Questions, TopicPartition};
use millrace_connector_kafka::topics::Topics;
use millrace_core::{Error, Result};

use super::link::{Failed, Links, topic_name};

const LIST_OFFSETS: i16 = 5;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const PAUSE: Duration = Duration::from_millis(50);

impl Links {
    /// An end of a partition, by the protocol's special times.
    pub fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        time: i64,
        is_committed: bool,
    ) -> Result<i64, Failed> {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(time);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(i8::from(is_committed))
            .with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![asked]),
            ]);
        let leader = self.leader(topic, partition)?;
        let answer = self.ask(&leader, &request, LIST_OFFSETS)?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.ok_or(Failed::Refused(ResponseError::UnknownServerError))?;
        match found.error_code.err() {
            None => Ok(found.offset),
            Some(error) => Err(Failed::Refused(error)),
        }
    }
}

pub struct Asker {
    links: Mutex<Links>,
    limit: Duration,
}

impl Asker {
    pub fn new(bootstrap: &str, limit: Duration) -> Asker {
        Asker {
            links: Mutex::new(Links::new(bootstrap)),
            limit,
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Until it is answered, or the limit is over.
    fn ask<T>(&self, what: &str, question: impl Fn(&mut Links) -> Result<T, Failed>) -> Result<T> {
        let began = Instant::now();
        loop {
            let failed = match question(&mut self.links()) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if began.elapsed() >= self.limit {
                return Err(
                    Error::external(format!("Kafka does not tell {what}")).with_detail(failed.to_string())
                );
            }
            self.links().forget();
            std::thread::sleep(PAUSE);
        }
    }

    fn offsets(&self, partitions: &[TopicPartition], time: i64) -> Result<Vec<i64>> {
        let offset = |(topic, partition): &TopicPartition| {
            self.ask("an offset", |links| links.offset(topic, *partition, time, false))
        };
        partitions.iter().map(offset).collect()
    }
}

impl Questions for Asker {
    fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>> {
        let Topics::List(names) = topics else {
            return Err(Error::unsupported("a pattern of topics in the simulation"));
        };
        let mut all = Vec::new();
        for name in names {
            let count = self.ask("a topic's partitions", |links| links.partitions(name))?;
            all.extend((0..count).map(|partition| (name.clone(), partition)));
        }
        all.sort_unstable();
        Ok(all)
    }

    fn earliest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.offsets(partitions, EARLIEST)
    }

    fn latest(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.offsets(partitions, LATEST)
    }

    fn at_time(&self, _: &[TopicPartition], _: i64) -> Result<Vec<i64>> {
        Err(Error::unsupported("a start by time in the simulation"))
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>> {
        Ok(vec![None; partitions.len()])
    }

    /// Nobody asks for them again.
    fn commit(&self, _: &[(TopicPartition, i64)]) -> Result<()> {
        Ok(())
    }

    fn group(&self) -> Option<&str> {
        None
    }

    fn serve(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
