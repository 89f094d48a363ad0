//! A partition's log at its leader: what producers may append, and what readers are shown.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

use super::batch::{self, Head};

/// Batches of a producer that are known again when they come twice.
const REMEMBERED: usize = 5;

#[derive(Debug, Default)]
pub struct Partition {
    /// The broker that leads it.
    pub leader: usize,
    batches: Vec<Stored>,
    end: i64,
    producers: BTreeMap<i64, Producer>,
    /// Producers with an open transaction here, and its first offset.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

#[derive(Debug)]
struct Stored {
    first: i64,
    last: i64,
    bytes: Bytes,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// First and last sequence, and first offset; the newest last. None since the epoch was raised.
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the marker.
    last_offset: i64,
}

/// What a reader gets.
#[derive(Debug)]
pub struct Read {
    pub records: Bytes,
    pub high_watermark: i64,
    pub last_stable: i64,
    pub aborted: Vec<Aborted>,
}

impl Partition {
    pub fn led_by(leader: usize) -> Partition {
        Partition {
            leader,
            ..Partition::default()
        }
    }

    pub fn end(&self) -> i64 {
        self.end
    }

    /// Before it every transaction is decided.
    pub fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    pub fn has_open(&self, producer_id: i64) -> bool {
        self.open.contains_key(&producer_id)
    }

    /// Appends a batch; gives its first offset. `is_in_transaction` is asked where a transaction begins here: whether
    /// its coordinator knows of it.
    pub fn append(
        &mut self,
        bytes: &[u8],
        is_in_transaction: impl FnOnce(&Head) -> Result<(), ResponseError>,
    ) -> Result<i64, ResponseError> {
        let head = Head::read(bytes).ok_or(ResponseError::CorruptMessage)?;
        if head.is_control {
            return Err(ResponseError::InvalidRecord);
        }
        if head.producer_id >= 0 {
            if let Some(known) = self.producers.get(&head.producer_id) {
                let same = known.batches.iter().find(|(first, last, _)| {
                    known.epoch == head.epoch
                        && (*first, *last) == (head.first_sequence, head.last_sequence())
                });
                if let Some((_, _, offset)) = same {
                    return Ok(*offset);
                }
                if head.epoch < known.epoch {
                    return Err(ResponseError::InvalidProducerEpoch);
                }
            }
            if head.is_transactional && !self.open.contains_key(&head.producer_id) {
                is_in_transaction(&head)?;
            }
            self.check_sequence(&head)?;
        }
        let first = self.end;
        if head.producer_id >= 0 {
            let producer = self.producers.entry(head.producer_id).or_insert(Producer {
                epoch: head.epoch,
                batches: VecDeque::new(),
            });
            if producer.epoch != head.epoch {
                producer.epoch = head.epoch;
                producer.batches.clear();
            }
            producer
                .batches
                .push_back((head.first_sequence, head.last_sequence(), first));
            if producer.batches.len() > REMEMBERED {
                producer.batches.pop_front();
            }
            if head.is_transactional {
                self.open.entry(head.producer_id).or_insert(first);
            }
        }
        self.store(bytes, head.last_offset_delta);
        Ok(first)
    }

    fn check_sequence(&self, head: &Head) -> Result<(), ResponseError> {
        let Some(known) = self.producers.get(&head.producer_id) else {
            return Ok(());
        };
        let expected = match known.batches.back() {
            Some((_, last, _)) if known.epoch == head.epoch => last.wrapping_add(1),
            _ => 0,
        };
        match head.first_sequence == expected {
            true => Ok(()),
            false => Err(ResponseError::OutOfOrderSequenceNumber),
        }
    }

    fn store(&mut self, bytes: &[u8], last_offset_delta: i32) {
        let first = self.end;
        let last = first + i64::from(last_offset_delta);
        let bytes = batch::with_offset(bytes, first);
        self.batches.push(Stored { first, last, bytes });
        self.end = last + 1;
    }

    /// The end of a producer's transaction, as its coordinator tells it.
    pub fn end_transaction(&mut self, producer_id: i64, epoch: i16, is_commit: bool, timestamp: i64) {
        let producer = self.producers.entry(producer_id).or_insert(Producer {
            epoch,
            batches: VecDeque::new(),
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        let marker = batch::marker(producer_id, epoch, is_commit, timestamp);
        let last_offset = self.end;
        if let Some(first_offset) = self.open.remove(&producer_id)
            && !is_commit
        {
            self.aborted.push(Aborted {
                producer_id,
                first_offset,
                last_offset,
            });
        }
        self.store(&marker, 0);
    }

    /// What there is from an offset on: whole batches, about `most` bytes of them.
    pub fn read(&self, from: i64, is_committed: bool, most: usize) -> Result<Read, ResponseError> {
        if from < 0 || from > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let until = match is_committed {
            true => self.last_stable(),
            false => self.end,
        };
        let begin = self.batches.partition_point(|stored| stored.last < from);
        let mut records = BytesMut::new();
        let mut last = from;
        for stored in &self.batches[begin..] {
            if stored.first >= until || (records.len() + stored.bytes.len() > most && !records.is_empty()) {
                break;
            }
            records.extend_from_slice(&stored.bytes);
            last = stored.last;
        }
        let is_met = |aborted: &&Aborted| aborted.last_offset >= from && aborted.first_offset <= last;
        let aborted = match is_committed {
            true => self.aborted.iter().filter(is_met).copied().collect(),
            false => Vec::new(),
        };
        Ok(Read {
            records: records.freeze(),
            high_watermark: self.end,
            last_stable: self.last_stable(),
            aborted,
        })
    }
}
