//! The parts of the benchmarks that need a broker, on a small scale.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_bench::client::{Consumer, Offsets, Producer};
use millrace_bench::topic::{self, PARTITIONS};
use millrace_bench::{copy, message};
use millrace_testkit::kafka::{Kafka, Version};
use millrace_testkit::records::{self, Isolation};
use millrace_testkit::wait;

const LIMIT: Duration = Duration::from_secs(60);

fn broker() -> &'static Kafka {
    Kafka::shared(Version::Kafka39)
}

fn values(topic: &str) -> Result<Vec<(i32, Vec<u8>)>> {
    let records = records::read(&broker().client(), topic, Isolation::ReadCommitted)?;
    records
        .into_iter()
        .map(|record| {
            Ok((
                record.partition,
                record.value.context("a record without a value")?,
            ))
        })
        .collect()
}

#[test]
fn the_copy_loop_copies_every_record_in_order() -> Result<()> {
    let (input, output) = (
        broker().unique_topic("input", PARTITIONS),
        broker().unique_topic("output", PARTITIONS),
    );
    topic::load(&broker().bootstrap(), &input, 50_001)?;
    let given = values(&input)?;
    assert_eq!(given.len(), 50_001);
    assert!(given.iter().all(|(_, value)| value.len() == message::BYTES));
    copy::run(&copy::Options {
        bootstrap: broker().bootstrap(),
        input,
        output: output.clone(),
        partitions: PARTITIONS,
        loops: 2,
    })?;
    assert_eq!(topic::committed(&broker().bootstrap(), &output, 50_001)?, 50_001);
    assert!(
        values(&output)? == given,
        "the copy is another one than the input"
    );
    Ok(())
}

#[test]
fn an_empty_topic_is_copied_at_once() -> Result<()> {
    let (input, output) = (
        broker().unique_topic("input", PARTITIONS),
        broker().unique_topic("output", PARTITIONS),
    );
    copy::run(&copy::Options {
        bootstrap: broker().bootstrap(),
        input,
        output: output.clone(),
        partitions: PARTITIONS,
        loops: 2,
    })?;
    assert!(values(&output)?.is_empty());
    Ok(())
}

/// The rate is taken from the output's ends: they must move before a transaction is committed.
#[test]
fn progress_is_seen_before_a_commit_and_counted_after_it() -> Result<()> {
    let output = broker().unique_topic("output", PARTITIONS);
    let bootstrap = broker().bootstrap();
    let ends = Offsets::new(&bootstrap, &output, PARTITIONS)?;
    let mut producer = Producer::new(&bootstrap, &output, &[("transactional.id", &output)])?;
    producer.init_transactions()?;
    producer.begin()?;
    producer.write(1, [b"one".as_slice(), b"two"].into_iter())?;
    producer.flush()?;
    assert_eq!(producer.reported(), 2);
    wait::until("the end of partition 1", LIMIT, || {
        Ok((ends.ends()? == [0, 2, 0, 0]).then_some(()))
    })?;
    assert!(values(&output)?.is_empty());

    producer.commit()?;
    assert_eq!(topic::committed(&bootstrap, &output, 2)?, 2);
    let mut consumer = Consumer::new(&bootstrap, &output, &[(1, 1)], 10, &[])?;
    let batch = consumer.poll_first(LIMIT)?;
    let got: Vec<_> = batch
        .iter()
        .map(|m| (m.partition(), m.offset(), m.value().to_vec()))
        .collect();
    assert_eq!(got, [(1, 1, b"two".to_vec())]);
    Ok(())
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_refused() {
    let bootstrap = broker().bootstrap();
    let error = Producer::new(&bootstrap, "topic", &[("no.such.setting", "1")]).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("no.such.setting=1"), "{error}");
}
