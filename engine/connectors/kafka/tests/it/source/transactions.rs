//! Isolation: what a reader is shown of transactions, and that it ends all the same.

use rdkafka::producer::{BaseProducer, Producer};

use super::job::{Job, PATIENCE, json, kafka, send, table, write};

const TO_LATEST: (&str, &str) = ("scan.bounded.mode", "latest-offset");
const COMMITTED: (&str, &str) = ("properties.isolation.level", "read_committed");

fn transactional(id: &str) -> BaseProducer {
    let producer: BaseProducer = kafka().client().set("transactional.id", id).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// 0..5 plain, 5..10 committed, 10..20 aborted: an abort marker is the last thing in the log.
fn mixed(topic: &str) {
    write(kafka(), topic, 0, 0..5);
    let producer = transactional(&format!("tx-{topic}"));
    for (ids, commit) in [(5..10, true), (10..20, false)] {
        producer.begin_transaction().unwrap();
        for id in ids {
            send(&producer, topic, 0, &json(id));
        }
        producer.flush(PATIENCE).unwrap();
        match commit {
            true => producer.commit_transaction(PATIENCE).unwrap(),
            false => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
}

#[test]
fn read_uncommitted_is_the_default_and_shows_aborted_records() {
    let topic = kafka().unique_topic("isolation", 1);
    mixed(&topic);
    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST]), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), (0..20).collect::<Vec<_>>());
}

#[test]
fn read_committed_shows_none_and_ends_behind_the_markers() {
    let topic = kafka().unique_topic("isolation", 2);
    mixed(&topic);
    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST, COMMITTED]), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), (0..10).collect::<Vec<_>>());

    // Unbounded: no lag is left, though 12 offsets hold nothing that is shown.
    let mut job = Job::open(&table(kafka(), &topic, &[COMMITTED]), 1, None).unwrap();
    job.read(10).unwrap();
    job.until("no lag", |job| job.readers[0].pending_records() == Some(0))
        .unwrap();
}

#[test]
fn an_open_transaction_is_waited_for() {
    let topic = kafka().unique_topic("isolation", 1);
    let producer = transactional(&format!("tx-{topic}"));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, &json(1));
    producer.flush(PATIENCE).unwrap();
    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST, COMMITTED]), 1, None).unwrap();
    for _ in 0..50 {
        assert!(!job.step().unwrap(), "nothing is shown of an open transaction");
        std::thread::yield_now();
    }
    producer.commit_transaction(PATIENCE).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), [1]);
}
