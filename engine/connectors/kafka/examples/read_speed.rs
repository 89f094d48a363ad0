//! How fast the Kafka client alone reads: no decoding, no engine.
//!
//! ```text
//! cargo run --release -p millrace-connector-kafka --example read_speed -- 127.0.0.1:9092 topic 4 2000000
//! ```
//! Arguments: bootstrap servers, topic, partitions, records to read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_connector_api::{Options, Waker};
use millrace_connector_kafka::options::Startup;
use millrace_connector_kafka::properties::Properties;
use millrace_connector_kafka::source::librdkafka::LibrdkafkaReader;
use millrace_connector_kafka::source::partition_reader::{Block, PartitionReader, Start, Wanted};
use millrace_core::{Error, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, partitions, records] = arguments.as_slice() else {
        return Err(Error::user(
            "usage: read_speed <bootstrap servers> <topic> <partitions> <records>",
        ));
    };
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| Error::user(format!("'{text}' is no number")))
    };
    let (partitions, records) = (number(partitions)?, number(records)?);
    let options = BTreeMap::from([("properties.bootstrap.servers".to_owned(), bootstrap.clone())]);
    let properties = Properties::parse(&Options::new("read_speed", &options))?;
    let waker = Waker::default();
    let mut reader = LibrdkafkaReader::open(&properties, &Startup::Earliest, waker.clone())?;
    let starts: Vec<Start> = (0..partitions)
        .map(|p| Start {
            split: p as u32,
            topic: topic.clone(),
            partition: p as i32,
            offset: 0,
            stop: None,
        })
        .collect();
    let started = Instant::now();
    reader.start(&starts)?;
    let mut block = Block::new(Wanted::default());
    let (mut read, mut bytes, mut polls, mut waits) = (0u64, 0u64, 0u64, 0u64);
    let mut first = None;
    while read < records {
        block.clear();
        reader.poll(8192, &mut block)?;
        polls += 1;
        if block.records() == 0 {
            waits += 1;
            waker.wait(Duration::from_secs(5));
            continue;
        }
        first.get_or_insert_with(Instant::now);
        read += block.records() as u64;
        bytes += block.values.data.len() as u64;
    }
    let first = first.unwrap_or(started);
    let seconds = first.elapsed().as_secs_f64();
    println!(
        "{read} records, {:.1} MB in {seconds:.3} s: {:.0} records/s, first after {:.0} ms, {polls} polls, {waits} waits, {:.2} us CPU a record",
        bytes as f64 / 1e6,
        read as f64 / seconds,
        (first - started).as_secs_f64() * 1e3,
        cpu_seconds() * 1e6 / read as f64,
    );
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` has room for what getrusage writes; all-zero bytes are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
