//! What is read of a record: key, headers, timestamp, place; and records that do not parse.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};
use millrace_core::ErrorKind;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::job::{Job, PATIENCE, json, kafka, refused, send, table, with_metadata, write};

const TO_LATEST: (&str, &str) = ("scan.bounded.mode", "latest-offset");

#[test]
fn metadata_columns() {
    let topic = kafka().unique_topic("metadata", 1);
    let producer: BaseProducer = kafka().client().create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "a",
            value: Some("1"),
        })
        .insert(Header {
            key: "b",
            value: None::<&str>,
        })
        .insert(Header {
            key: "a",
            value: Some("2"),
        });
    let value = json(7);
    let record = BaseRecord::<(), str>::to(&topic)
        .timestamp(1_700_000_000_123)
        .payload(&value)
        .headers(headers);
    producer.send(record).map_err(|(e, _)| e).unwrap();
    producer.flush(PATIENCE).unwrap();
    write(kafka(), &topic, 0, [8]);

    let all = [
        "topic",
        "partition",
        "headers",
        "leader-epoch",
        "offset",
        "timestamp",
        "timestamp-type",
    ];
    let spec = with_metadata(table(kafka(), &topic, &[TO_LATEST]), &all);
    let mut job = Job::open(&spec, 1, None).unwrap();
    job.run_to_end().unwrap();
    let rows = arrow::compute::concat_batches(&job.batches[0].schema(), &job.batches).unwrap();
    assert_eq!(rows.num_rows(), 2);
    let column = |name: &str| rows.column_by_name(&format!("$metadata.{name}")).unwrap().clone();
    assert_eq!(column("topic").as_string::<i32>().value(1), topic);
    assert_eq!(column("partition").as_primitive::<Int32Type>().values(), &[0, 0]);
    assert_eq!(
        column("leader-epoch").as_primitive::<Int32Type>().values(),
        &[0, 0]
    );
    assert_eq!(column("offset").as_primitive::<Int64Type>().values(), &[0, 1]);
    assert_eq!(
        column("timestamp")
            .as_primitive::<TimestampMillisecondType>()
            .value(0),
        1_700_000_000_123
    );
    assert_eq!(column("timestamp-type").as_string::<i32>().value(0), "CreateTime");
    // Of equal names the last counts, as in Flink's map.
    let headers = column("headers");
    let first = headers.as_map().value(0);
    let mut entries: Vec<(String, Option<Vec<u8>>)> = (0..first.len())
        .map(|i| {
            let value = first.column(1).as_binary::<i32>();
            let value = (!value.is_null(i)).then(|| value.value(i).to_vec());
            (first.column(0).as_string::<i32>().value(i).to_owned(), value)
        })
        .collect();
    entries.sort();
    assert_eq!(
        entries,
        [("a".to_owned(), Some(b"2".to_vec())), ("b".to_owned(), None)]
    );
    assert_eq!(headers.as_map().value(1).len(), 0);
}

#[test]
fn keys_are_columns_and_a_record_without_one_gives_no_row() {
    let topic = kafka().unique_topic("keys", 1);
    let producer: BaseProducer = kafka().client().create().unwrap();
    let (with, other) = ("{\"name\":\"first\"}", "{\"name\":\"k2\"}");
    for (key, id) in [(Some(with), 1), (None, 2), (Some(other), 3)] {
        let value = json(id);
        let mut record = BaseRecord::<str, str>::to(&topic).payload(&value);
        record.key = key;
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let base = [
        TO_LATEST,
        ("value.format", "json"),
        ("key.format", "json"),
        ("key.fields", "name"),
    ];
    let names = |extra: &[(&str, &str)]| {
        let options: Vec<_> = base.iter().chain(extra).copied().collect();
        let mut job = Job::open(&table(kafka(), &topic, &options), 1, None).unwrap();
        job.run_to_end().unwrap();
        let names: Vec<String> = job
            .batches
            .iter()
            .flat_map(|b| {
                b.column(1)
                    .as_string::<i32>()
                    .iter()
                    .map(|n| n.unwrap().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        (job.ids(), names)
    };
    // A column in both comes from the value.
    assert_eq!(names(&[]), (vec![1, 3], vec!["n1".to_owned(), "n3".to_owned()]));
    let except = [("value.fields-include", "EXCEPT_KEY")];
    assert_eq!(
        names(&except),
        (vec![1, 3], vec!["first".to_owned(), "k2".to_owned()])
    );
}

#[test]
fn a_record_without_a_value_gives_no_row() {
    let topic = kafka().unique_topic("tombstones", 1);
    write(kafka(), &topic, 0, [1]);
    let producer: BaseProducer = kafka().client().create().unwrap();
    producer
        .send(BaseRecord::<str, str>::to(&topic).key("k"))
        .map_err(|(e, _)| e)
        .unwrap();
    producer.flush(PATIENCE).unwrap();
    write(kafka(), &topic, 0, [2]);
    let spec = with_metadata(table(kafka(), &topic, &[TO_LATEST]), &["offset"]);
    let mut job = Job::open(&spec, 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.ids(), [1, 2]);
    let offsets: Vec<i64> = job
        .batches
        .iter()
        .flat_map(|b| b.column(2).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(offsets, [0, 2]);
}

#[test]
fn a_malformed_record_fails_with_its_place_or_is_skipped() {
    let topic = kafka().unique_topic("malformed", 2);
    write(kafka(), &topic, 0, 0..5);
    write(kafka(), &topic, 1, 0..3);
    let producer: BaseProducer = kafka().client().create().unwrap();
    send(&producer, &topic, 1, "{\"id\": oops");
    producer.flush(PATIENCE).unwrap();
    write(kafka(), &topic, 1, 3..5);

    let mut job = Job::open(&table(kafka(), &topic, &[TO_LATEST]), 1, None).unwrap();
    let e = job.run_to_end().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::User);
    assert!(e.to_string().contains(&format!("{topic}-1-3")), "{e}");

    let skip = [TO_LATEST, ("json.ignore-parse-errors", "true")];
    let mut job = Job::open(&table(kafka(), &topic, &skip), 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.sorted_ids(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    assert_eq!(job.readers[0].skipped_records(), 1);
}

#[test]
fn options_that_nobody_knows_are_refused() {
    let topic = kafka().unique_topic("options", 1);
    for (option, near) in [
        ("scan.startup.mod", "scan.startup.mode"),
        ("json.ignore-parse-error", "json.ignore-parse-errors"),
        ("properties.fetch.min.byte", "properties.fetch.min.bytes"),
    ] {
        let e = refused(&table(kafka(), &topic, &[(option, "1")]));
        assert!(
            e.contains(&format!("'{option}'")) && e.contains(&format!("did you mean '{near}'")),
            "{e}"
        );
    }
    let e = refused(&table(
        kafka(),
        &topic,
        &[("value.json.ignore-parse-errors", "true")],
    ));
    assert!(e.contains("unknown option"), "{e}");
}
