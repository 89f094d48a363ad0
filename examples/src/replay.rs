//! Sends the flights at a set rate, and goes on where an earlier replay was stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millrace_testkit::records::{self, Isolation};
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::dataset::Flights;

pub const TOPIC: &str = "flights";
pub const PARTITIONS: i32 = 4;

/// Sends what the topic does not hold yet, `rate` records a second, until the end of the year or
/// until `stop`. Returns whether the end was reached; all that was sent is acknowledged then.
pub fn run(client: &ClientConfig, flights: &Flights, rate: u64, stop: &AtomicBool) -> Result<bool> {
    // Each partition holds the first flights of those that belong to it: idempotent sends keep
    // their order, so nothing after a lost record was ever appended.
    let mut held: BTreeMap<i32, i64> = records::end_offsets(client, TOPIC, Isolation::ReadUncommitted)?;
    let producer: BaseProducer = client
        .clone()
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("delivery.timeout.ms", "60000")
        .create()?;
    let start = Instant::now();
    let mut sent = 0u64;
    for event in flights.events() {
        let partition = partition(&event.key);
        let already = held
            .get_mut(&partition)
            .with_context(|| format!("no partition {partition}"))?;
        if *already > 0 {
            *already -= 1;
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            producer.flush(Duration::from_secs(60))?;
            return Ok(false);
        }
        let mut record = BaseRecord::to(TOPIC)
            .partition(partition)
            .key(&event.key)
            .payload(&event.json)
            .timestamp(event.timestamp);
        while let Err((e, back)) = producer.send(record) {
            if e.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(e).context("sending a flight");
            }
            producer.poll(Duration::from_millis(20));
            record = back;
        }
        sent += 1;
        if sent.is_multiple_of(64) {
            producer.poll(Duration::ZERO);
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
    producer
        .flush(Duration::from_secs(60))
        .context("waiting for the broker's acknowledgements")?;
    Ok(true)
}

/// Every flight number always goes to the same partition.
fn partition(key: &str) -> i32 {
    let hash = key.bytes().fold(2_166_136_261u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    (hash % PARTITIONS as u32) as i32
}
