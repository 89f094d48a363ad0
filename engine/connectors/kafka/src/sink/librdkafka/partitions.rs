//! Which partition a record goes to, as the Java client chooses: murmur2 of the key; without a key
//! one partition for a while, then the next (KIP-480, KIP-794).
//!
//! librdkafka's own way asks for each record, with a lock, a clock and a look at the partition each
//! time, which is a good part of what a record costs. So it is asked for a block's first record
//! only: it then calls `on_partition`, which hears how many partitions there are (new ones with the
//! next metadata) and which of them have a leader. The block's other records follow by that.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::native::{self, Failure, Native, Record};
use crate::writer::Block;

/// librdkafka's "any partition": it asks `on_partition`.
const ANY: i32 = -1;
/// Records that are handed to librdkafka in one call.
const BATCH: usize = 1024;
/// Records without keys stay with a partition for so long, or for so many bytes: about as much as
/// librdkafka puts into one request.
const STAY: Duration = Duration::from_millis(10);
const STAY_BYTES: i64 = 1_000_000;
/// What a record counts for whose size is not known where it is asked for.
const A_RECORD: i64 = 1024;

/// What is known of a topic's partitions, from librdkafka's last question.
pub struct Partitions {
    /// 0 before there is metadata.
    count: AtomicI32,
    /// Where records without keys go; -1 before the first.
    sticky: AtomicI32,
    /// Bytes that still go there.
    left: AtomicI64,
}

impl Partitions {
    pub fn new() -> Self {
        Partitions {
            count: AtomicI32::new(0),
            sticky: AtomicI32::new(-1),
            left: AtomicI64::new(0),
        }
    }

    fn count(&self) -> i32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Where records without keys go at present; nothing if it is time for another partition.
    fn sticky(&self) -> Option<i32> {
        (self.left.load(Ordering::Relaxed) > 0).then(|| self.sticky.load(Ordering::Relaxed))
    }

    fn spend(&self, bytes: i64) {
        self.left.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn move_on(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// The partition of a record without a key. One that cannot be written now is left out as long
    /// as another can.
    fn of_no_key(&self, count: i32, is_available: impl Fn(i32) -> bool) -> i32 {
        let at = self.sticky.load(Ordering::Relaxed);
        let stays = self.left.fetch_sub(A_RECORD, Ordering::Relaxed) > 0;
        if stays && (0..count).contains(&at) && is_available(at) {
            return at;
        }
        // Writers begin anywhere, and then each goes round: all partitions get the same.
        let first = if at < 0 {
            rand::random_range(0..count)
        } else {
            (at + 1) % count
        };
        let mut round = (first..count).chain(0..first);
        let next = round.find(|p| is_available(*p)).unwrap_or(first);
        self.sticky.store(next, Ordering::Relaxed);
        self.left.store(STAY_BYTES, Ordering::Relaxed);
        next
    }
}

/// An empty key is a key, as in Java.
fn of_key(key: &[u8], count: i32) -> i32 {
    // SAFETY: a pure function of the key's bytes and the count; the other pointers are not looked at.
    unsafe {
        sys::rd_kafka_msg_partitioner_murmur2(
            std::ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            count,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

/// librdkafka's question, on our thread or, for records that came before the topic's metadata, on its
/// own. `opaque` is the `Partitions` of a live `Native`.
pub unsafe extern "C" fn on_partition(
    topic: *const sys::rd_kafka_topic_t,
    key: *const c_void,
    key_len: usize,
    count: i32,
    opaque: *mut c_void,
    _message_opaque: *mut c_void,
) -> i32 {
    let partitions = unsafe { &*opaque.cast::<Partitions>() };
    partitions.count.store(count, Ordering::Relaxed);
    if key.is_null() {
        // SAFETY: this is the one place from where it may be called.
        let is_available = |p| unsafe { sys::rd_kafka_topic_partition_available(topic, p) != 0 };
        return partitions.of_no_key(count, is_available);
    }
    of_key(
        unsafe { std::slice::from_raw_parts(key.cast::<u8>(), key_len) },
        count,
    )
}

/// Spreads a producer's blocks over partitions.
pub struct Spread {
    /// The one partition of this producer (`sink.partitioner` = 'fixed').
    fixed: Option<i32>,
    moved_on: Instant,
    keyed: Keyed,
}

/// Records of a block, grouped by partition, in their order within each.
#[derive(Default)]
struct Keyed {
    groups: Vec<Vec<u32>>,
    /// The first group that is not handed over whole, and how many of it are.
    group: usize,
    taken: usize,
}

impl Keyed {
    fn clear(&mut self) {
        self.groups.clear();
        (self.group, self.taken) = (0, 0);
    }

    fn group(&mut self, block: &Block, from: usize, partitions: &Partitions) {
        self.clear();
        let count = partitions.count();
        self.groups.resize_with(count as usize, Vec::new);
        for i in from..block.len() {
            let partition = match key(block, i) {
                Some(key) => of_key(key, count),
                None => partitions.of_no_key(count, |_| true),
            };
            self.groups[partition as usize].push(i as u32);
        }
    }

    /// The next partition and its records.
    fn next(&self) -> Option<(i32, &[u32])> {
        let group = self.groups.get(self.group)?;
        Some((self.group as i32, &group[self.taken..]))
    }

    fn take(&mut self, records: usize) {
        self.taken += records;
        if self.groups.get(self.group).is_some_and(|g| g.len() == self.taken) {
            (self.group, self.taken) = (self.group + 1, 0);
        }
    }
}

impl Spread {
    pub fn new(fixed: Option<i32>) -> Self {
        Spread {
            fixed,
            moved_on: Instant::now(),
            keyed: Keyed::default(),
        }
    }

    /// Hands over what there is room for, of a block of which `from` records were taken before;
    /// gives how many. Records of different partitions may overtake one another.
    pub fn produce(&mut self, native: &Native, block: &Block, from: usize) -> Result<usize, Failure> {
        if from == 0 {
            self.keyed.clear();
            if self.moved_on.elapsed() >= STAY {
                native.partitions().move_on();
                self.moved_on = Instant::now();
            }
        }
        if block.timestamps.is_some() || block.headers.is_some() {
            return self.produce_singly(native, block, from);
        }
        match (self.fixed, &block.keys) {
            (Some(partition), _) => batch(native, partition, block, from..block.len()),
            (None, None) => without_keys(native, block, from),
            (None, Some(_)) => self.by_key(native, block, from),
        }
    }

    fn produce_singly(&self, native: &Native, block: &Block, from: usize) -> Result<usize, Failure> {
        let partition = self.fixed.unwrap_or(ANY);
        for i in from..block.len() {
            let record = Record {
                key: key(block, i),
                value: block.values.get(i),
                timestamp: block.timestamps.as_ref().map_or(0, |t| t[i]),
                headers: block.headers.as_ref().map_or(&[][..], |h| h.of(i)),
            };
            if !native.produce(partition, &record)? {
                return Ok(i - from);
            }
        }
        Ok(block.len() - from)
    }

    fn by_key(&mut self, native: &Native, block: &Block, from: usize) -> Result<usize, Failure> {
        let mut next = from;
        if self.keyed.next().is_none() {
            next += ask(native, block, from)?;
            let is_known = native.partitions().count() > 0;
            if next == from || next == block.len() || !is_known {
                return Ok(next - from);
            }
            self.keyed.group(block, next, native.partitions());
        }
        while let Some((partition, records)) = self.keyed.next() {
            let wanted = records.len();
            let taken = batch(native, partition, block, records.iter().map(|&i| i as usize))?;
            self.keyed.take(taken);
            next += taken;
            if taken < wanted {
                break;
            }
        }
        Ok(next - from)
    }
}

fn without_keys(native: &Native, block: &Block, from: usize) -> Result<usize, Failure> {
    let mut next = from;
    if from == 0 {
        next += ask(native, block, from)?;
    }
    while next < block.len() {
        let taken = match native.partitions().sticky() {
            Some(partition) => {
                let end = block.len().min(next + BATCH);
                let taken = batch(native, partition, block, next..end)?;
                let bytes = block.values.offsets[next + taken] - block.values.offsets[next];
                native.partitions().spend(i64::from(bytes));
                taken
            }
            None => ask(native, block, next)?,
        };
        if taken == 0 {
            break;
        }
        next += taken;
    }
    Ok(next - from)
}

/// Hands over one record, for which librdkafka asks us; all of them if it does not know the topic yet
/// and so asks later.
fn ask(native: &Native, block: &Block, at: usize) -> Result<usize, Failure> {
    let taken = batch(native, ANY, block, at..at + 1)?;
    if taken == 0 || native.partitions().count() > 0 {
        return Ok(taken);
    }
    Ok(taken + batch(native, ANY, block, at + 1..block.len())?)
}

/// Hands records over to a partition until the queue is full.
fn batch(
    native: &Native,
    partition: i32,
    block: &Block,
    records: impl ExactSizeIterator<Item = usize>,
) -> Result<usize, Failure> {
    let mut messages = Vec::with_capacity(BATCH.min(records.len()));
    let mut records = records.map(|i| native::message(key(block, i), block.values.get(i)));
    let mut total = 0;
    loop {
        messages.clear();
        messages.extend(records.by_ref().take(BATCH));
        if messages.is_empty() {
            return Ok(total);
        }
        let taken = native.produce_batch(partition, &mut messages)?;
        total += taken;
        if taken < messages.len() {
            return Ok(total);
        }
    }
}

fn key(block: &Block, i: usize) -> Option<&[u8]> {
    block.keys.as_ref().and_then(|keys| keys.get(i))
}

#[cfg(test)]
mod tests {
    use millrace_connector_api::format::Payloads;

    use super::*;

    #[test]
    fn records_without_keys_stay_and_then_go_round() {
        let partitions = Partitions::new();
        let mut counts = [0u32; 3];
        for _ in 0..300 {
            partitions.move_on();
            let there = partitions.of_no_key(3, |_| true);
            counts[there as usize] += 1;
            assert_eq!(partitions.sticky(), Some(there));
            assert_eq!(partitions.of_no_key(3, |_| true), there, "it stays for a while");
            partitions.spend(STAY_BYTES);
            assert_eq!(partitions.sticky(), None);
        }
        assert_eq!(counts, [100; 3]);
    }

    #[test]
    fn a_partition_without_a_leader_is_left_out_while_another_has_one() {
        let partitions = Partitions::new();
        for _ in 0..10 {
            partitions.move_on();
            assert_ne!(partitions.of_no_key(3, |p| p != 1), 1);
        }
        let there = partitions.of_no_key(3, |_| true);
        assert_ne!(partitions.of_no_key(3, |p| p != there), there, "left at once");
        assert!((0..3).contains(&partitions.of_no_key(3, |_| false)));
    }

    #[test]
    fn fewer_partitions_than_before_are_kept_to() {
        let partitions = Partitions::new();
        for _ in 0..5 {
            partitions.move_on();
            partitions.of_no_key(8, |_| true);
        }
        assert_eq!(partitions.of_no_key(1, |_| true), 0);
    }

    /// Values of the Java client's own test of murmur2.
    #[test]
    fn keys_are_hashed_as_in_java() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
            ("", 275646681),
        ] {
            assert_eq!(of_key(key.as_bytes(), 1000), (hash & i32::MAX) % 1000, "{key}");
        }
    }

    #[test]
    fn a_group_keeps_the_order_of_its_records() {
        let mut keys = Payloads::new();
        let mut values = Payloads::new();
        for i in 0..100u32 {
            let key = (i % 7).to_string();
            keys.push((i % 10 != 0).then_some(key.as_bytes()));
            values.push(Some(b"v"));
        }
        let block = Block {
            values,
            keys: Some(keys),
            ..Block::default()
        };
        let partitions = Partitions::new();
        partitions.count.store(4, Ordering::Relaxed);
        let mut keyed = Keyed::default();
        keyed.group(&block, 5, &partitions);
        let mut seen = Vec::new();
        // Three at a time, as a client that is often full takes them.
        while let Some((partition, records)) = keyed.next() {
            let taken = records.len().min(3);
            for &i in &records[..taken] {
                if let Some(key) = key(&block, i as usize) {
                    assert_eq!(of_key(key, 4), partition);
                }
                seen.push((partition, i));
            }
            keyed.take(taken);
        }
        assert!(seen.is_sorted(), "by partition, then as in the block");
        let mut all: Vec<u32> = seen.iter().map(|(_, i)| *i).collect();
        all.sort_unstable();
        assert_eq!(all, (5..100).collect::<Vec<_>>());
    }
}
