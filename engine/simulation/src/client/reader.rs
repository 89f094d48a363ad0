//! Partitions read by a thread of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};
use kafka_protocol::records::RecordBatchDecoder;
use millrace_connector_api::Waker;
use millrace_connector_kafka::source::partition_reader::{Block, PartitionReader, Start, TimestampType};
use millrace_core::{Error, Result};

use super::link::{Failed, Links, topic_name};

const FETCH: i16 = 11;
const WAIT: i32 = 250;
const MOST_BYTES: i32 = 16 << 10;
/// Records that wait to be taken, at most.
const MOST_WAITING: usize = 500;
/// After a fetch that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// A record that readers are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// What one fetch of a partition gave.
#[derive(Debug, Default)]
pub struct Fetched {
    pub records: Vec<Shown>,
    /// Where the next fetch begins.
    pub next: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
}

/// The records of a fetch that a reader is shown, from an offset on, and where the next one begins. `aborted`: producers
/// with an aborted transaction among them, and its first offset.
pub fn shown(
    mut records: Bytes,
    aborted: impl Iterator<Item = (i64, i64)>,
    from: i64,
) -> std::io::Result<(Vec<Shown>, i64)> {
    let sets =
        RecordBatchDecoder::decode_all(&mut records).map_err(|e| std::io::Error::other(e.to_string()))?;
    // Of each producer from the first record of such a transaction to its marker.
    let mut transactions: BTreeMap<i64, VecDeque<i64>> = BTreeMap::new();
    for (producer, first) in aborted {
        transactions.entry(producer).or_default().push_back(first);
    }
    let (mut all, mut next) = (Vec::new(), from);
    for record in sets.into_iter().flat_map(|set| set.records) {
        next = next.max(record.offset + 1);
        let transaction = transactions
            .get_mut(&record.producer_id)
            .filter(|_| record.transactional);
        let aborted = transaction.filter(|all| all.front().is_some_and(|first| record.offset >= *first));
        match (aborted, record.control) {
            (Some(all), true) => drop(all.pop_front()),
            (Some(_), false) | (None, true) => {}
            (None, false) if record.offset < from => {}
            (None, false) => all.push(Shown {
                offset: record.offset,
                key: record.key,
                value: record.value,
            }),
        }
    }
    Ok((all, next))
}

impl Links {
    /// One partition from an offset on, waiting for so many milliseconds at most.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        is_committed: bool,
        wait: i32,
    ) -> Result<Fetched, Failed> {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(MOST_BYTES);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(wait)
            .with_min_bytes(1)
            .with_max_bytes(MOST_BYTES)
            .with_isolation_level(i8::from(is_committed))
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(vec![asked]),
            ]);
        let leader = self.leader(topic, partition)?;
        let answer = self.ask(&leader, &request, FETCH)?;
        if let Some(error) = answer.error_code.err() {
            return Err(Failed::Refused(error));
        }
        let data = answer
            .responses
            .first()
            .and_then(|topic| topic.partitions.first());
        let data = data.ok_or(Failed::Refused(ResponseError::UnknownServerError))?;
        if let Some(error) = data.error_code.err() {
            return Err(Failed::Refused(error));
        }
        let aborted = data
            .aborted_transactions
            .iter()
            .flatten()
            .filter(|_| is_committed);
        let aborted = aborted.map(|transaction| (transaction.producer_id.0, transaction.first_offset));
        let (records, next) = shown(data.records.clone().unwrap_or_default(), aborted, from)?;
        Ok(Fetched {
            records,
            next,
            high_watermark: data.high_watermark,
            last_stable: data.last_stable_offset,
        })
    }
}

struct Assigned {
    start: Start,
    /// The next offset to fetch.
    next: i64,
}

#[derive(Default)]
struct Shared {
    assigned: BTreeMap<u32, Assigned>,
    fetched: VecDeque<(u32, Fetched)>,
    waiting: usize,
    ends: BTreeMap<u32, i64>,
    failed: Option<String>,
    is_closed: bool,
}

struct Meeting {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|e| e.into_inner())
    }
}

pub struct Reader {
    meeting: Arc<Meeting>,
}

impl Reader {
    pub fn open(bootstrap: &str, is_committed: bool, waker: Waker) -> Result<Reader> {
        let meeting = Arc::new(Meeting {
            shared: Mutex::default(),
            changed: Condvar::new(),
        });
        let (theirs, links) = (meeting.clone(), Links::new(bootstrap));
        std::thread::Builder::new()
            .name("fetcher".to_owned())
            .spawn(move || fetch(&theirs, links, is_committed, &waker))
            .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
        Ok(Reader { meeting })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.meeting.lock().is_closed = true;
        self.meeting.changed.notify_all();
    }
}

/// Partition by partition, as long as somebody reads.
fn fetch(meeting: &Meeting, mut links: Links, is_committed: bool, waker: &Waker) {
    let mut last = None;
    loop {
        let (split, start, from, others) = {
            let is_idle = |shared: &mut Shared| {
                !shared.is_closed && (shared.assigned.is_empty() || shared.waiting >= MOST_WAITING)
            };
            let shared = meeting.changed.wait_while(meeting.lock(), is_idle);
            let shared = shared.unwrap_or_else(|e| e.into_inner());
            if shared.is_closed {
                return;
            }
            let after = last.map_or(0, |split: u32| split + 1);
            let next = shared
                .assigned
                .range(after..)
                .next()
                .or(shared.assigned.iter().next());
            let Some((split, assigned)) = next else { continue };
            (
                *split,
                assigned.start.clone(),
                assigned.next,
                shared.assigned.len() - 1,
            )
        };
        last = Some(split);
        // Who reads several partitions waits for none of them alone.
        let wait = WAIT / (others as i32 + 1);
        match links.fetch(&start.topic, start.partition, from, is_committed, wait) {
            Ok(mut fetched) => {
                fetched
                    .records
                    .retain(|r| start.stop.is_none_or(|stop| r.offset < stop));
                let mut shared = meeting.lock();
                shared.ends.insert(split, fetched.high_watermark);
                let Some(assigned) = shared.assigned.get_mut(&split) else {
                    continue;
                };
                if fetched.next == from {
                    continue;
                }
                assigned.next = fetched.next;
                shared.waiting += fetched.records.len();
                shared.fetched.push_back((split, fetched));
                drop(shared);
                waker.wake();
            }
            Err(Failed::Refused(
                error @ (ResponseError::OffsetOutOfRange | ResponseError::CorruptMessage),
            )) => {
                meeting.lock().failed = Some(format!("{}-{}: {error}", start.topic, start.partition));
                waker.wake();
                return;
            }
            Err(_) => {
                links.forget();
                std::thread::sleep(PAUSE);
            }
        }
    }
}

impl PartitionReader for Reader {
    fn start(&mut self, partitions: &[Start]) -> Result<()> {
        let mut shared = self.meeting.lock();
        for start in partitions {
            let assigned = Assigned {
                start: start.clone(),
                next: start.offset,
            };
            shared.assigned.insert(start.split, assigned);
        }
        drop(shared);
        self.meeting.changed.notify_all();
        Ok(())
    }

    fn stop(&mut self, split: u32) -> Result<()> {
        self.meeting.lock().assigned.remove(&split);
        Ok(())
    }

    fn poll(&mut self, max_records: usize, block: &mut Block) -> Result<()> {
        let mut shared = self.meeting.lock();
        if let Some(why) = &shared.failed {
            return Err(Error::external("records cannot be read from Kafka").with_detail(why.clone()));
        }
        while block.records() < max_records
            && let Some((split, mut fetched)) = shared.fetched.pop_front()
        {
            let room = (max_records - block.records()).min(fetched.records.len());
            let rest = fetched.records.split_off(room);
            shared.waiting -= room;
            for record in &fetched.records {
                block.values.push(record.value.as_deref());
                block.offsets.push(record.offset);
                if block.wanted.keys {
                    block.keys.push(record.key.as_deref());
                }
                if block.wanted.timestamps {
                    block.timestamps.push(-1);
                    block.timestamp_types.push(TimestampType::None);
                }
                if block.wanted.leader_epochs {
                    block.leader_epochs.push(-1);
                }
                if block.wanted.headers {
                    let end = block.headers.names.len() as u32;
                    block.headers.ends.push(end);
                }
            }
            if room > 0 {
                block.runs.push((split, room));
            }
            if rest.is_empty() {
                block.positions.push((split, fetched.next));
                if fetched.next >= fetched.high_watermark {
                    block.at_end.push(split);
                }
                continue;
            }
            if let Some(taken) = fetched.records.last() {
                block.positions.push((split, taken.offset + 1));
            }
            fetched.records = rest;
            shared.fetched.push_front((split, fetched));
        }
        drop(shared);
        self.meeting.changed.notify_all();
        Ok(())
    }

    fn end_offset(&self, split: u32) -> Option<i64> {
        self.meeting.lock().ends.get(&split).copied()
    }
}
