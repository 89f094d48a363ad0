//! Jobs with changelogs in Kafka, by the binary and on a real broker: what comes in as changes, and what
//! goes out exactly once behind a query that updates.

mod added;
mod changes;
mod metrics;
mod watermarks;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_testkit::engine;
use millrace_testkit::kafka::{Kafka, Version};
use millrace_testkit::records::{self, Isolation, Record};
use millrace_testkit::wait;

use changes::Changes;

const PATIENCE: Duration = Duration::from_secs(120);

fn kafka() -> &'static Kafka {
    Kafka::shared(Version::Kafka39)
}

fn command(folder: &Path, script: &str, settings: &[&str]) -> Command {
    let file = folder.join("job.sql");
    std::fs::write(&file, script).unwrap();
    let mut command = engine::command().unwrap();
    let checkpoints = format!(
        "execution.checkpointing.dir={}",
        folder.join("checkpoints").display()
    );
    command
        .arg("run")
        .arg(&file)
        .args([
            "-D",
            "execution.checkpointing.interval=100 ms",
            "-D",
            &checkpoints,
        ])
        .args(["-D", "table.local-time-zone=UTC"]);
    for setting in settings {
        command.arg("-D").arg(setting);
    }
    command
}

/// Runs a job to its end; what it printed.
fn run(script: &str, settings: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), script, settings).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), script, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn start(folder: &Path, script: &str, settings: &[&str]) -> Child {
    command(folder, script, settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn committed(topic: &str) -> Vec<Record> {
    records::read(&kafka().client(), topic, Isolation::ReadCommitted).unwrap()
}

fn write(topic: &str, all: &[(String, Option<String>)]) {
    let all = all.iter().map(|(key, value)| (key, value.as_ref()));
    records::write_nullable(&kafka().client(), topic, all).unwrap();
}

/// The last value of each key, without those whose last is a deletion.
fn table(records: &[Record]) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for record in records {
        match &record.value {
            Some(_) => rows.insert(record.key_text(), record.text()),
            None => rows.remove(&record.key_text()),
        };
    }
    rows
}

fn source(topic: &str, bounded: &str) -> String {
    format!(
        "CREATE TABLE changes (id INT, customer STRING, amount INT) WITH (
           'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}',
           'scan.startup.mode' = 'earliest-offset', 'format' = 'debezium-json'{bounded});\n",
        kafka().bootstrap()
    )
}

fn upsert(name: &str, columns: &str, topic: &str, options: &str) -> String {
    format!(
        "CREATE TABLE {name} ({columns}) WITH (
           'connector' = 'upsert-kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}',
           'key.format' = 'json', 'value.format' = 'json'{options});\n",
        kafka().bootstrap()
    )
}

const BOUNDED: &str = ", 'scan.bounded.mode' = 'latest-offset'";
const TOTALS: &str = "customer STRING, orders BIGINT, total INT, PRIMARY KEY (customer) NOT ENFORCED";
const QUERY: &str = "SELECT customer, COUNT(*), SUM(amount) FROM changes GROUP BY customer;\n";

#[test]
fn an_updating_query_into_upsert_kafka_leaves_the_newest_row_of_each_key() {
    let (input, output) = (
        kafka().unique_topic("changes", 1),
        kafka().unique_topic("totals", 3),
    );
    let changes = Changes::new(400);
    write(&input, &changes.records);
    let script =
        source(&input, BOUNDED) + &upsert("totals", TOTALS, &output, "") + "INSERT INTO totals " + QUERY;
    run(&script, &["parallelism.default=2"]);
    let records = committed(&output);
    assert_eq!(table(&records), changes.totals());
    assert!(
        records.iter().any(|r| r.value.is_none()),
        "deletions are tombstones"
    );
    let first = &records[0];
    assert_eq!(
        first.key_text(),
        format!(r#"{{"customer":"{}"}}"#, customer(&first.text()))
    );
}

fn customer(value: &str) -> String {
    value.split('"').nth(3).unwrap().to_owned()
}

/// Kills a job twice on its way; its output must be that of a job that nobody killed.
fn killed_twice(source: &dyn Fn(&str, &str) -> String, sink: &dyn Fn(&str) -> String, insert: &str) {
    let input = kafka().unique_topic("changes", 1);
    let changes = Changes::new(3000);
    let (undisturbed, disturbed) = (kafka().unique_topic("calm", 1), kafka().unique_topic("killed", 1));
    let third = changes.records.len() / 3;
    let folder = tempfile::tempdir().unwrap();
    let settings = ["parallelism.default=1", "pipeline.name=killed"];
    for part in 0..2 {
        let script = source(&input, "") + &sink(&disturbed) + insert;
        let before = committed(&disturbed).len();
        let mut job = start(folder.path(), &script, &settings);
        for piece in changes.records[third * part..third * (part + 1)].chunks(50) {
            write(&input, piece);
        }
        // It dies with the first output that is there, while the rest is on its way.
        wait::until("output that is committed", PATIENCE, || {
            Ok((committed(&disturbed).len() > before).then_some(()))
        })
        .unwrap();
        job.kill().unwrap();
        job.wait().unwrap();
    }
    write(&input, &changes.records[third * 2..]);
    let script = source(&input, BOUNDED) + &sink(&disturbed) + insert;
    let output = command(folder.path(), &script, &settings).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    run(
        &(source(&input, BOUNDED) + &sink(&undisturbed) + insert),
        &settings[..1],
    );
    let texts = |topic: &str| {
        let of = |r: &Record| (r.key.clone(), r.value.clone());
        committed(topic).iter().map(of).collect::<Vec<_>>()
    };
    let (expected, found) = (texts(&undisturbed), texts(&disturbed));
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
}

#[test]
fn upsert_kafka_behind_an_updating_query_is_exactly_once() {
    let sink = |topic: &str| {
        let options = format!(
            ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{topic}', \
             'properties.transaction.timeout.ms' = '60000'"
        );
        upsert("totals", TOTALS, topic, &options)
    };
    killed_twice(&source, &sink, &format!("INSERT INTO totals {QUERY}"));
}

#[test]
fn what_is_normalized_and_held_for_a_sink_is_exactly_once() {
    // Changes that may be repeated, by their key; of several orders of a customer the last one counts.
    let keyed = |topic: &str, bounded: &str| {
        let duplicates = "SET 'table.exec.source.cdc-events-duplicate' = 'true';\n";
        duplicates.to_owned()
            + &source(topic, bounded).replace("amount INT)", "amount INT, PRIMARY KEY (id) NOT ENFORCED)")
    };
    let sink = |topic: &str| {
        let options = format!(
            ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{topic}', \
             'properties.transaction.timeout.ms' = '60000'"
        );
        let columns = "customer STRING, id INT, amount INT, PRIMARY KEY (customer) NOT ENFORCED";
        upsert("last_orders", columns, topic, &options)
    };
    let insert = "INSERT INTO last_orders SELECT customer, id, amount FROM changes WHERE amount > 20;\n";
    killed_twice(&keyed, &sink, insert);
}

#[test]
fn kafka_with_debezium_json_behind_an_updating_query_is_exactly_once() {
    let sink = |topic: &str| {
        format!(
            "CREATE TABLE totals (customer STRING, orders BIGINT, total INT) WITH (
               'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}',
               'format' = 'debezium-json', 'sink.delivery-guarantee' = 'exactly-once',
               'sink.transactional-id-prefix' = '{topic}', 'properties.transaction.timeout.ms' = '60000');\n",
            kafka().bootstrap()
        )
    };
    killed_twice(&source, &sink, &format!("INSERT INTO totals {QUERY}"));
}

fn printed(text: &str) -> Vec<String> {
    let is_row = |line: &&str| {
        ["+I[", "-U[", "+U[", "-D["]
            .iter()
            .any(|kind| line.starts_with(kind))
    };
    text.lines().filter(is_row).map(str::to_owned).collect()
}

#[test]
fn an_upsert_topic_is_read_as_a_changelog() {
    let topic = kafka().unique_topic("rows", 1);
    let record = |id: i32, value: Option<&str>| {
        (
            format!(r#"{{"id":{id}}}"#),
            value.map(|v| format!(r#"{{"id":{id},"name":"{v}"}}"#)),
        )
    };
    write(
        &topic,
        &[
            record(1, Some("a")),
            record(2, Some("b")),
            record(1, Some("c")),
            // The same once more, and keys that are not there.
            record(1, Some("c")),
            record(3, None),
            record(2, None),
            record(2, Some("d")),
            record(2, None),
            record(2, None),
        ],
    );
    let rows = "id INT, name STRING NOT NULL, PRIMARY KEY (id) NOT ENFORCED";
    let script = upsert("rows", rows, &topic, BOUNDED)
        + "CREATE TABLE seen (id INT, name STRING) WITH ('connector' = 'print');\n\
           INSERT INTO seen SELECT id, name FROM rows;\n";
    assert_eq!(
        printed(&run(&script, &["parallelism.default=1"])),
        [
            "+I[1, a]", "+I[2, b]", "-U[1, a]", "+U[1, c]", "-D[2, b]", "+I[2, d]", "-D[2, d]"
        ]
    );
    // Where the sink wants the newest row of each key only, tombstones pass.
    let copy = kafka().unique_topic("copy", 2);
    let script = upsert("rows", rows, &topic, BOUNDED)
        + &upsert("copies", rows, &copy, "")
        + "INSERT INTO copies SELECT id, name FROM rows;\n";
    run(&script, &["parallelism.default=1"]);
    let copied = committed(&copy);
    assert_eq!(copied.len(), 9);
    assert_eq!(
        table(&copied).into_iter().collect::<Vec<_>>(),
        [(r#"{"id":1}"#.to_owned(), r#"{"id":1,"name":"c"}"#.to_owned())]
    );
}

#[test]
fn key_columns_can_be_left_out_of_the_value() {
    let topic = kafka().unique_topic("rows", 1);
    let rows = "k_id INT, name STRING, PRIMARY KEY (k_id) NOT ENFORCED";
    let options = ", 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY'";
    let script =
        upsert("rows", rows, &topic, options) + "INSERT INTO rows VALUES (1, 'a'), (2, 'b'), (1, 'c');\n";
    run(&script, &["parallelism.default=1"]);
    let texts: Vec<(String, String)> = committed(&topic)
        .iter()
        .map(|r| (r.key_text(), r.text()))
        .collect();
    let expected = [(1, "a"), (2, "b"), (1, "c")]
        .map(|(id, name)| (format!(r#"{{"id":{id}}}"#), format!(r#"{{"name":"{name}"}}"#)));
    assert_eq!(texts, expected);
    let script = upsert("rows", rows, &topic, &format!("{options}{BOUNDED}"))
        + "CREATE TABLE seen (id INT, name STRING) WITH ('connector' = 'print');\n\
           INSERT INTO seen SELECT k_id, name FROM rows;\n";
    assert_eq!(
        printed(&run(&script, &["parallelism.default=1"])),
        ["+I[1, a]", "+I[2, b]", "-U[1, a]", "+U[1, c]"]
    );
}

#[test]
fn changes_that_are_held_back_are_written_once_a_key() {
    let (input, output) = (
        kafka().unique_topic("changes", 1),
        kafka().unique_topic("totals", 1),
    );
    let changes = Changes::new(400);
    write(&input, &changes.records);
    let buffered = ", 'sink.buffer-flush.max-rows' = '1000', 'sink.buffer-flush.interval' = '1 h'";
    let script = source(&input, BOUNDED)
        + &upsert("totals", TOTALS, &output, buffered)
        + "INSERT INTO totals "
        + QUERY;
    // One checkpoint, the last: each key is written once.
    run(
        &script,
        &["parallelism.default=1", "execution.checkpointing.interval=1 h"],
    );
    let records = committed(&output);
    assert_eq!(table(&records), changes.totals());
    let mut keys: Vec<String> = records.iter().map(Record::key_text).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), records.len());
    let error = refused(&script.replace("'1000'", "'0'"));
    assert!(error.contains("greater than zero together"), "{error}");
}

#[test]
fn rows_of_one_key_from_several_groups_are_held_for_the_sink() {
    let (input, output) = (
        kafka().unique_topic("changes", 1),
        kafka().unique_topic("by-customer", 2),
    );
    let changes = Changes::new(400);
    write(&input, &changes.records);
    // Orders by customer: of several orders of a customer the last one that is there counts.
    let columns = "customer STRING, id INT, PRIMARY KEY (customer) NOT ENFORCED";
    let insert = "INSERT INTO last_orders SELECT customer, id FROM changes;\n";
    let script = source(&input, BOUNDED) + &upsert("last_orders", columns, &output, "") + insert;
    run(&script, &["parallelism.default=2"]);
    let left = table(&committed(&output));
    let customers = changes.totals().len();
    assert_eq!(left.len(), customers);
    for row in left.values() {
        let id: i32 = row
            .split(|c: char| !c.is_ascii_digit())
            .find(|n| !n.is_empty())
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(changes.rows[&id].0, customer(row), "{row}");
    }
}

#[test]
fn metadata_of_debezium_is_read() {
    let topic = kafka().unique_topic("changes", 1);
    let value = r#"{"before":{"id":1},"after":{"id":2},"source":{"ts_ms":1700000000123,"db":"shop","table":"orders"},"op":"u","ts_ms":1700000000456}"#;
    write(
        &topic,
        &[("k".to_owned(), Some(value.to_owned())), ("k".to_owned(), None)],
    );
    let script = format!(
        "CREATE TABLE changes (id INT,
           written TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL,
           changed TIMESTAMP_LTZ(3) METADATA FROM 'value.source.timestamp' VIRTUAL,
           origin STRING METADATA FROM 'value.source.table' VIRTUAL,
           part INT METADATA FROM 'partition' VIRTUAL
         ) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}',
           'scan.startup.mode' = 'earliest-offset', 'value.format' = 'debezium-json'{BOUNDED});
         CREATE TABLE seen (id INT, written STRING, changed STRING, origin STRING, part INT) WITH ('connector' = 'print');
         INSERT INTO seen SELECT id, CAST(written AS STRING), CAST(changed AS STRING), origin, part FROM changes;\n",
        kafka().bootstrap()
    );
    let rest = "2023-11-14 22:13:20.456, 2023-11-14 22:13:20.123, orders, 0]";
    assert_eq!(
        printed(&run(&script, &["parallelism.default=1"])),
        [format!("-U[1, {rest}"), format!("+U[2, {rest}")]
    );
}

#[test]
fn what_flink_refuses_of_upsert_kafka_is_refused() {
    let error = refused(&(upsert("rows", "id INT", "t", "") + "INSERT INTO rows VALUES (1);\n"));
    assert!(error.contains("require to define a PRIMARY KEY"), "{error}");
    let key = "id INT, PRIMARY KEY (id) NOT ENFORCED";
    let format =
        |script: String| script.replace("'value.format' = 'json'", "'value.format' = 'debezium-json'");
    let error = refused(&(format(upsert("rows", key, "t", "")) + "INSERT INTO rows VALUES (1);\n"));
    assert!(
        error.contains("doesn't support 'debezium-json' as value format"),
        "{error}"
    );
    let startup = ", 'scan.startup.mode' = 'latest-offset'";
    let error = refused(&(upsert("rows", key, "t", startup) + "INSERT INTO rows VALUES (1);\n"));
    assert!(error.contains("unknown option 'scan.startup.mode'"), "{error}");
}
