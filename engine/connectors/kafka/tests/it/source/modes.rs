//! Where reading begins and where it ends.

use millrace_testkit::records;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::job::{Job, PATIENCE, json, kafka, refused, table, write};
use millrace_testkit::wait;

const TO_LATEST: (&str, &str) = ("scan.bounded.mode", "latest-offset");

fn commit(group: &str, topic: &str, partition: i32, offset: i64) {
    let consumer: BaseConsumer = kafka().client().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn earliest_to_latest_is_everything_in_order() {
    let topic = kafka().unique_topic("modes", 3);
    for partition in 0..3 {
        write(
            kafka(),
            &topic,
            partition,
            (0..5000).map(|i| i * 3 + i64::from(partition)),
        );
    }
    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST]), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.sorted_ids(), (0..15_000).collect::<Vec<_>>());
    for partition in 0..3 {
        let of_one: Vec<i64> = job.ids().into_iter().filter(|id| id % 3 == partition).collect();
        assert!(of_one.is_sorted(), "partition {partition} keeps its order");
    }
    assert!(job.batches.iter().all(|b| b.num_rows() <= 1000));
}

#[test]
fn an_empty_bounded_topic_ends() {
    let topic = kafka().unique_topic("modes", 2);
    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST]), 3, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.rows(), 0);
}

#[test]
fn latest_begins_with_what_comes_after_the_start() {
    let topic = kafka().unique_topic("modes", 2);
    write(kafka(), &topic, 0, 0..10);
    let mut job = Job::open(
        &table(kafka(), &topic, &[("scan.startup.mode", "latest-offset")]),
        1,
        None,
    )
    .unwrap();
    write(kafka(), &topic, 0, 10..20);
    write(kafka(), &topic, 1, 20..30);
    job.read(20).unwrap();
    assert_eq!(job.sorted_ids(), (10..30).collect::<Vec<_>>());
    job.until("no lag", |job| job.readers[0].pending_records() == Some(0))
        .unwrap();
}

#[test]
fn timestamps_begin_and_end_reading() {
    let topic = kafka().unique_topic("modes", 2);
    let producer: BaseProducer = kafka().client().create().unwrap();
    for id in 0..100i64 {
        let value = json(id);
        let record = BaseRecord::<(), str>::to(&topic)
            .partition(0)
            .timestamp(1_000_000 + id * 1000)
            .payload(&value);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let options = [
        ("scan.startup.mode", "timestamp"),
        ("scan.startup.timestamp-millis", "1019500"),
        ("scan.bounded.mode", "timestamp"),
        ("scan.bounded.timestamp-millis", "1030000"),
    ];
    let mut job = Job::open(&table(kafka(), &topic, &options), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), (20..30).collect::<Vec<_>>());

    // Later than everything: the end.
    let late = [
        ("scan.startup.mode", "timestamp"),
        ("scan.startup.timestamp-millis", "9999999"),
        TO_LATEST,
    ];
    let mut job = Job::open(&table(kafka(), &topic, &late), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.rows(), 0);
}

#[test]
fn specific_offsets_begin_and_end_reading() {
    let topic = kafka().unique_topic("modes", 2);
    write(kafka(), &topic, 0, 0..10);
    write(kafka(), &topic, 1, 10..20);
    let options = [
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:4"),
        ("scan.bounded.mode", "specific-offsets"),
        (
            "scan.bounded.specific-offsets",
            "partition:0,offset:6;partition:1,offset:3",
        ),
    ];
    let mut job = Job::open(&table(kafka(), &topic, &options), 1, None).unwrap();
    job.run_to_end().unwrap();
    // Partition 1 is not named at the start: from its first record.
    assert_eq!(job.sorted_ids(), [4, 5, 10, 11, 12]);
}

#[test]
fn group_offsets_begin_and_end_reading() {
    let topic = kafka().unique_topic("modes", 2);
    write(kafka(), &topic, 0, 0..10);
    write(kafka(), &topic, 1, 10..20);
    let group = format!("group-{topic}");
    let with_group = [
        ("properties.group.id", group.as_str()),
        ("scan.startup.mode", "group-offsets"),
        TO_LATEST,
    ];

    let e = refused(&table(kafka(), &topic, &with_group));
    assert!(
        e.contains("no committed offset") && e.contains(&topic) && e.contains("auto.offset.reset"),
        "{e}"
    );

    commit(&group, &topic, 0, 7);
    let reset = [
        with_group[0],
        with_group[1],
        TO_LATEST,
        ("properties.auto.offset.reset", "earliest"),
    ];
    let mut job = Job::open(&table(kafka(), &topic, &reset), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.sorted_ids(), [vec![7, 8, 9], (10..20).collect()].concat());

    let latest = [
        with_group[0],
        with_group[1],
        TO_LATEST,
        ("properties.auto.offset.reset", "latest"),
    ];
    let mut job = Job::open(&table(kafka(), &topic, &latest), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.sorted_ids(), [7, 8, 9]);

    let ends = [with_group[0], ("scan.bounded.mode", "group-offsets")];
    let e = refused(&table(kafka(), &topic, &ends));
    assert!(e.contains("no committed offset to end at"), "{e}");
    commit(&group, &topic, 1, 2);
    let mut job = Job::open(&table(kafka(), &topic, &ends), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(
        job.sorted_ids(),
        [vec![0, 1, 2, 3, 4, 5, 6], vec![10, 11]].concat()
    );

    let e = refused(&table(kafka(), &topic, &[("scan.startup.mode", "group-offsets")]));
    assert!(e.contains("properties.group.id"), "{e}");
}

#[test]
fn a_completed_checkpoint_commits_its_offsets() {
    let topic = kafka().unique_topic("modes", 1);
    let group = format!("group-{topic}");
    write(kafka(), &topic, 0, 0..10);
    let spec = table(kafka(), &topic, &[("properties.group.id", &group)]);
    let mut job = Job::open(&spec, 1, None).unwrap();
    job.read(10).unwrap();
    job.snapshot(1);
    write(kafka(), &topic, 0, 10..15);
    job.read(15).unwrap();
    job.snapshot(2);
    job.complete(1);
    let committed = |want: i64| {
        // An answer that was not heard would hold the next commit up for a minute.
        wait::until("the commit", PATIENCE / 3, || {
            let offsets = records::committed_offsets(&kafka().client(), &group, &topic)?;
            Ok((offsets.get(&0) == Some(&want)).then_some(()))
        })
        .unwrap();
    };
    committed(10);
    job.complete(2);
    committed(15);

    let quiet = table(
        kafka(),
        &topic,
        &[
            ("properties.group.id", "quiet"),
            ("properties.commit.offsets.on.checkpoint", "false"),
        ],
    );
    let mut job = Job::open(&quiet, 1, None).unwrap();
    job.read(15).unwrap();
    job.snapshot(1);
    job.complete(1);
    drop(job);
    assert!(
        records::committed_offsets(&kafka().client(), "quiet", &topic)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn new_partitions_and_topics_are_found() {
    let topic = kafka().unique_topic("found", 1);
    write(kafka(), &topic, 0, 0..5);
    let soon = ("scan.topic-partition-discovery.interval", "100 ms");
    let mut job = Job::open(
        &table(kafka(), &topic, &[soon, ("scan.startup.mode", "latest-offset")]),
        2,
        None,
    )
    .unwrap();
    let admin: AdminClient<DefaultClientContext> = kafka().client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let more = NewPartitions::new(&topic, 3);
    runtime
        .block_on(admin.create_partitions([&more], &AdminOptions::new()))
        .unwrap();
    wait::until("the new partitions", PATIENCE, || {
        Ok(
            (records::end_offsets(&kafka().client(), &topic, records::Isolation::ReadUncommitted)?.len()
                == 3)
                .then_some(()),
        )
    })
    .unwrap();
    // Written maybe before they are seen: from their first record nevertheless.
    write(kafka(), &topic, 1, 10..20);
    write(kafka(), &topic, 2, 20..30);
    job.read(20).unwrap();
    assert_eq!(job.sorted_ids(), (10..30).collect::<Vec<_>>());

    let first = kafka().unique_topic("pattern-x", 1);
    let pattern = format!("{}.*", first.trim_end_matches(|c: char| c.is_ascii_digit()));
    write(kafka(), &first, 0, 0..5);
    let mut job = Job::open(&table(kafka(), "", &[soon, ("topic-pattern", &pattern)]), 1, None).unwrap();
    job.read(5).unwrap();
    let second = kafka().unique_topic("pattern-x", 1);
    write(kafka(), &second, 0, 5..10);
    job.read(10).unwrap();
    assert_eq!(job.sorted_ids(), (0..10).collect::<Vec<_>>());
}

#[test]
fn several_topics_are_one_table() {
    let (a, b) = (
        kafka().unique_topic("several", 1),
        kafka().unique_topic("several", 2),
    );
    write(kafka(), &a, 0, 0..5);
    write(kafka(), &b, 1, 5..10);
    let mut job = Job::open(&table(kafka(), &format!("{a}; {b}"), &[TO_LATEST]), 2, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.sorted_ids(), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_is_not_there_is_named() {
    let topic = kafka().unique_topic("present", 1);
    let wrong = topic.replace("present", "presemt");
    let e = refused(&table(kafka(), &wrong, &[]));
    assert!(
        e.contains(&format!("topic '{wrong}'")) && e.contains("does not exist"),
        "{e}"
    );
    assert!(e.contains("did you mean"), "{e}");

    let none = [("topic-pattern", "no-such-.*"), TO_LATEST];
    let e = refused(&table(kafka(), "", &none));
    assert!(e.contains("no topic of table 't' exists"), "{e}");

    // An open port that no broker answers on.
    let port = millrace_testkit::ports::free().unwrap();
    let mut spec = table(kafka(), &topic, &[]);
    spec.table.options.insert(
        "properties.bootstrap.servers".to_owned(),
        format!("127.0.0.1:{port}"),
    );
    let e = refused(&spec);
    assert!(
        e.contains("no answer from Kafka") && e.contains(&port.to_string()),
        "{e}"
    );
}
