//! Filling an input topic, and counting what an engine wrote into an output topic.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::{Consumer, Producer};
use crate::message;

/// Partitions of every topic of the benchmarks.
pub const PARTITIONS: i32 = 4;

/// How long a reader waits for more before it gives up.
const SILENCE: Duration = Duration::from_secs(30);
/// Messages written by one call: into one partition, so that the partitions take turns.
const CHUNK: u64 = 5_000;

/// Writes that many messages, spread evenly over the partitions, and waits until all are acknowledged.
pub fn load(bootstrap: &str, topic: &str, messages: u64) -> Result<()> {
    let mut producer = Producer::new(
        bootstrap,
        topic,
        &[
            ("acks", "all"),
            ("delivery.report.only.error", "true"),
            ("linger.ms", "20"),
            ("batch.num.messages", "100000"),
            ("batch.size", "1000000"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "1000000"),
        ],
    )?;
    let mut values = Vec::new();
    let mut written = 0;
    while written < messages {
        let count = CHUNK.min(messages - written);
        values.clear();
        for index in written..written + count {
            message::write(index, &mut values);
        }
        let partition = (written / CHUNK % PARTITIONS as u64) as i32;
        producer.write(partition, values.chunks_exact(message::BYTES))?;
        producer.serve(Duration::ZERO);
        written += count;
    }
    producer.flush()
}

/// Records of the topic that a reader with isolation read_committed gets.
///
/// It ends when `expected` records were read and no more come. The offsets do not tell: a
/// transaction ends with a marker that has an offset and is no record.
pub fn committed(bootstrap: &str, topic: &str, expected: u64) -> Result<u64> {
    let from: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut consumer = Consumer::new(
        bootstrap,
        topic,
        &from,
        4096,
        &[
            ("isolation.level", "read_committed"),
            ("fetch.message.max.bytes", "8388608"),
        ],
    )?;
    let mut count = 0;
    let mut last = Instant::now();
    loop {
        let batch = consumer.poll(Duration::from_millis(500))?;
        count += batch.len() as u64;
        if !batch.is_empty() {
            last = Instant::now();
        } else if count >= expected {
            return Ok(count);
        } else if last.elapsed() > SILENCE {
            bail!(
                "{count} committed records of {topic} were read, {expected} were expected, and no more come"
            );
        }
    }
}
