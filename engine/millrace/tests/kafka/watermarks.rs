//! Watermarks of a topic whose partitions do not all have rows: those without hold them back, until they
//! have some or are idle.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;

use millrace_testkit::records::{self, Isolation};
use millrace_testkit::wait;

use super::{PATIENCE, committed, kafka, refused, start, write};

const PARTITIONS: i32 = 3;

/// A key for each partition of a topic.
fn keys() -> Vec<String> {
    let topic = kafka().unique_topic("keys", PARTITIONS);
    let all: Vec<(String, Option<String>)> = (0..40)
        .map(|n| (format!("k{n}"), Some("{}".to_owned())))
        .collect();
    write(&topic, &all);
    let found: BTreeMap<i32, String> = records::read(&kafka().client(), &topic, Isolation::ReadUncommitted)
        .unwrap()
        .iter()
        .map(|record| (record.partition, record.key_text()))
        .collect();
    assert_eq!(found.len(), PARTITIONS as usize);
    found.into_values().collect()
}

/// A row of a second, in the partition of a key.
fn row(key: &str, second: u32) -> (String, Option<String>) {
    let (minute, second) = (second / 60, second % 60);
    let value = format!(r#"{{"ts":"2026-01-01 00:{minute:02}:{second:02}"}}"#);
    (key.to_owned(), Some(value))
}

fn table(topic: &str, options: &str) -> String {
    format!(
        "CREATE TABLE events (ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
           'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}',
           'properties.group.id' = '{topic}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'{options});\n",
        kafka().bootstrap()
    )
}

/// Rows of each window of ten seconds, counted.
fn counting(folder: &Path, topic: &str, output: &str, options: &str, settings: &[&str]) -> Child {
    let script = table(topic, options)
        + &format!(
            "CREATE TABLE counts (at TIMESTAMP(3), c BIGINT) WITH (
               'connector' = 'kafka', 'topic' = '{output}', 'properties.bootstrap.servers' = '{}', 'format' = 'json');
             INSERT INTO counts SELECT window_start, COUNT(*)
             FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;\n",
            kafka().bootstrap()
        )
        .replace("(at ", "(`at` ");
    start(folder, &script, settings)
}

/// The first window's row, while `meanwhile` goes on.
fn first_count(output: &str, meanwhile: impl Fn()) -> String {
    wait::until("the first window", PATIENCE, || {
        meanwhile();
        let found = committed(output).into_iter().map(|record| record.text());
        Ok(found.into_iter().find(|text| text.contains("00:00:00")))
    })
    .unwrap()
}

#[test]
fn a_partition_without_rows_holds_the_watermark_back() {
    let keys = keys();
    let topic = kafka().unique_topic("events", PARTITIONS);
    let output = kafka().unique_topic("counts", 1);
    let folder = tempfile::tempdir().unwrap();
    let rows = |second: u32, keys: &[String]| keys.iter().map(|key| row(key, second)).collect::<Vec<_>>();
    write(&topic, &rows(1, &keys[..2]));
    write(&topic, &rows(100, &keys[..2]));
    let mut job = counting(folder.path(), &topic, &output, "", &["parallelism.default=1"]);
    // It has read all of both, and a checkpoint says so.
    wait::until("offsets of what was read", PATIENCE, || {
        let offsets = records::committed_offsets(&kafka().client(), &topic, &topic)?;
        Ok((offsets.values().filter(|offset| **offset == 2).count() == 2).then_some(()))
    })
    .unwrap();
    // The third partition comes to it late, but not too late.
    write(&topic, &rows(5, &keys[2..]));
    write(&topic, &rows(200, &keys));
    assert_eq!(
        first_count(&output, || {}),
        r#"{"at":"2026-01-01 00:00:00","c":3}"#
    );
    job.kill().unwrap();
    job.wait().unwrap();
}

/// Two of three partitions go on; the first window has the two rows of theirs once the third one is idle.
fn the_idle_partition_lets_the_watermark_go(options: &str, settings: &[&str]) {
    let keys = keys();
    let topic = kafka().unique_topic("events", PARTITIONS);
    let output = kafka().unique_topic("counts", 1);
    let folder = tempfile::tempdir().unwrap();
    let both = |second: u32| write(&topic, &[row(&keys[0], second), row(&keys[1], second)]);
    both(1);
    let mut job = counting(folder.path(), &topic, &output, options, settings);
    // The others go on: where all are idle nothing moves.
    assert_eq!(
        first_count(&output, || both(100)),
        r#"{"at":"2026-01-01 00:00:00","c":2}"#
    );
    job.kill().unwrap();
    job.wait().unwrap();
}

#[test]
fn an_idle_partition_lets_the_watermark_go() {
    // The table's own timeout counts, whatever the job's is.
    let options = ", 'scan.watermark.idle-timeout' = '1 s', 'scan.watermark.emit.strategy' = 'on-event'";
    let settings = ["parallelism.default=1", "table.exec.source.idle-timeout=1 h"];
    the_idle_partition_lets_the_watermark_go(options, &settings);
}

#[test]
fn the_jobs_timeout_is_that_of_tables_without_one() {
    // An idle partition among others of a subtask, and as all that a subtask has.
    for parallelism in ["parallelism.default=1", "parallelism.default=3"] {
        let settings = [parallelism, "table.exec.source.idle-timeout=1 s"];
        the_idle_partition_lets_the_watermark_go("", &settings);
    }
}

#[test]
fn watermarks_are_not_aligned() {
    let print = "CREATE TABLE seen (ts TIMESTAMP(3)) WITH ('connector' = 'print');\nINSERT INTO seen SELECT ts FROM events;\n";
    let said = refused(&(table("events", ", 'scan.watermark.alignment.group' = 'g'") + print));
    assert!(said.contains("'scan.watermark.alignment.group'"), "{said}");
    let said = refused(&(table("events", ", 'scan.watermark.emit.on-event.gap' = '3'") + print));
    assert!(said.contains("on-event.gap"), "{said}");
}
