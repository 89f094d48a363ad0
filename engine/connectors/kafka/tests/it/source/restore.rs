//! State: restored exactly, on any parallelism.

use millrace_connector_kafka::source::split::Split;
use millrace_core::ErrorKind;
use millrace_testkit::kafka::{Kafka, Options, Version};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use super::job::{Job, kafka, table, write};

const TO_LATEST: (&str, &str) = ("scan.bounded.mode", "latest-offset");

fn splits(states: &[Vec<u8>]) -> Vec<Split> {
    let mut splits: Vec<Split> = states.iter().map(|s| Split::decode(s).unwrap()).collect();
    splits.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    splits
}

#[test]
fn one_three_two_subtasks_read_every_record_once() {
    let topic = kafka().unique_topic("rescale", 5);
    for partition in 0..5 {
        write(
            kafka(),
            &topic,
            partition,
            (0..2000).map(|i| i * 5 + i64::from(partition)),
        );
    }
    let spec = table(kafka(), &topic, &[TO_LATEST]);
    let mut ids = Vec::new();
    let mut state: Option<Vec<Vec<u8>>> = None;
    for (parallelism, rows) in [(1, 3000), (3, 6000)] {
        let mut job = Job::open_with(&spec, parallelism, state.as_deref(), 100).unwrap();
        job.until("some rows", |job| job.rows() >= rows - ids.len())
            .unwrap();
        state = Some(job.snapshot(1));
        ids.extend(job.ids());
        // What comes after the snapshot is read again.
        job.step().unwrap();
    }
    let mut job = Job::open(&spec, 2, state.as_deref()).unwrap();
    job.run_to_end().unwrap();
    ids.extend(job.ids());
    ids.sort_unstable();
    assert_eq!(ids, (0..10_000).collect::<Vec<_>>());
    let done = splits(&job.snapshot(9));
    assert_eq!(done.len(), 5);
    assert!(
        done.iter().all(|s| s.next == 2000 && s.stop == Some(2000)),
        "{done:?}"
    );

    // A finished read stays finished.
    write(kafka(), &topic, 0, [77]);
    let state = job.snapshot(10);
    let mut job = Job::open(&spec, 3, Some(&state)).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.rows(), 0);
}

#[test]
fn a_restart_without_records_does_not_move() {
    let topic = kafka().unique_topic("still", 1);
    write(kafka(), &topic, 0, 0..3);
    let spec = table(kafka(), &topic, &[("scan.startup.mode", "latest-offset")]);
    let mut job = Job::open(&spec, 1, None).unwrap();
    let state = job.snapshot(1);
    assert_eq!(splits(&state)[0].next, 3);
    drop(job);
    write(kafka(), &topic, 0, 3..6);
    let mut job = Job::open(&spec, 1, Some(&state)).unwrap();
    job.read(3).unwrap();
    assert_eq!(job.ids(), [3, 4, 5]);
}

#[test]
fn the_state_is_that_of_the_last_batch() {
    let topic = kafka().unique_topic("exact", 1);
    write(kafka(), &topic, 0, 0..1000);
    let spec = table(kafka(), &topic, &[]);
    let mut job = Job::open_with(&spec, 1, None, 64).unwrap();
    for n in 1..=10 {
        job.until("a batch", |job| job.batches.len() >= n).unwrap();
        assert_eq!(splits(&job.snapshot(n as u64))[0].next, job.rows() as i64);
    }
}

/// What is behind the stop may have been fetched; the next read, without one, begins there.
#[test]
fn a_bounded_read_ends_at_its_stop_though_more_was_fetched() {
    let topic = kafka().unique_topic("stop", 1);
    write(kafka(), &topic, 0, 0..1000);
    let options = [
        ("scan.bounded.mode", "specific-offsets"),
        ("scan.bounded.specific-offsets", "partition:0,offset:7"),
    ];
    let mut job = Job::open(&table(kafka(), &topic, &options), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), (0..7).collect::<Vec<_>>());
    let state = job.snapshot(1);
    assert_eq!(splits(&state)[0].next, 7);
    let mut job = Job::open(&table(kafka(), &topic, &[]), 1, Some(&state)).unwrap();
    job.read(993).unwrap();
    assert_eq!(job.ids(), (7..1000).collect::<Vec<_>>());
}

#[test]
fn partitions_that_the_state_does_not_know_begin_at_their_first_record() {
    let topic = kafka().unique_topic("unknown", 2);
    write(kafka(), &topic, 0, 0..5);
    write(kafka(), &topic, 1, 5..10);
    let known = Split {
        topic: topic.clone(),
        partition: 0,
        next: 2,
        stop: None,
    }
    .encode();
    let spec = table(kafka(), &topic, &[("scan.startup.mode", "latest-offset")]);
    let mut job = Job::open(&spec, 2, Some(&[known])).unwrap();
    job.read(8).unwrap();
    assert_eq!(job.sorted_ids(), [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_topic_that_the_table_no_longer_reads_is_left_out() {
    let (old, new) = (kafka().unique_topic("left", 1), kafka().unique_topic("left", 1));
    write(kafka(), &old, 0, 0..5);
    write(kafka(), &new, 0, 5..10);
    let state = Split {
        topic: old,
        partition: 0,
        next: 0,
        stop: None,
    }
    .encode();
    let mut job = Job::open(&table(kafka(), &new, &[TO_LATEST]), 1, Some(&[state])).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), (5..10).collect::<Vec<_>>());
}

#[test]
fn records_that_are_gone_are_a_loss_unless_the_user_said_otherwise() {
    let topic = kafka().unique_topic("gone", 1);
    write(kafka(), &topic, 0, 0..100);
    let admin: AdminClient<DefaultClientContext> = kafka().client().create().unwrap();
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&topic, 0, Offset::Offset(50)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(admin.delete_records(&until, &AdminOptions::new()))
        .unwrap();

    let state = [Split {
        topic: topic.clone(),
        partition: 0,
        next: 10,
        stop: None,
    }
    .encode()];
    let mut job = Job::open(&table(kafka(), &topic, &[]), 1, Some(&state)).unwrap();
    let e = job.read(50).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataLoss);
    assert!(e.to_string().contains(&format!("{topic}-0-10")), "{e}");

    let wish = [("properties.auto.offset.reset", "earliest")];
    let mut job = Job::open(&table(kafka(), &topic, &wish), 1, Some(&state)).unwrap();
    job.read(50).unwrap();
    assert_eq!(job.ids(), (50..100).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let mut kafka = Kafka::start(Version::Kafka39, Options::default()).unwrap();
    kafka.create_topic("away", 2).unwrap();
    write(&kafka, "away", 0, 0..10);
    let mut job = Job::open(&table(&kafka, "away", &[]), 1, None).unwrap();
    job.read(10).unwrap();
    kafka.kill(0).unwrap();
    for _ in 0..100 {
        assert!(!job.step().unwrap());
        std::thread::yield_now();
    }
    kafka.restart(0).unwrap();
    write(&kafka, "away", 1, 10..20);
    job.read(20).unwrap();
    assert_eq!(job.sorted_ids(), (0..20).collect::<Vec<_>>());
}
