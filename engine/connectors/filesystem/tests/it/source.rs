//! Reading.

use std::fs;

use millrace_connector_api::{Connector, source::SourceFactory};
use millrace_core::CheckpointId;
use millrace_dataflow::SourceSpec;
use millrace_expr::{DataType, Field, TypeKind};

use crate::support::*;

fn id_and_name() -> Vec<Field> {
    vec![
        Field::new("id", DataType::bigint()),
        Field::new("name", DataType::string()),
    ]
}

fn source() -> millrace_connector_filesystem::FilesystemConnector {
    connector()
}

#[test]
fn folders_are_read_recursively_without_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::create_dir_all(folder.path().join("_temporary")).unwrap();
    fs::write(
        folder.path().join("1.json"),
        "{\"id\":1}\n\n{\"id\":2,\"name\":\"x\"}",
    )
    .unwrap();
    fs::write(folder.path().join("a/b/2.json"), "{\"id\":3}\r\n").unwrap();
    fs::write(folder.path().join("a/.part.inprogress"), "{\"id\":4}").unwrap();
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    fs::write(folder.path().join("_temporary/x"), "{\"id\":5}").unwrap();
    let table = table(folder.path(), "json", id_and_name(), &[]);
    assert_eq!(read_all(&table).unwrap(), ["1|NULL", "2|x", "3|NULL"]);
    let uri = format!("file://{}", folder.path().display());
    let mut by_uri = table.clone();
    by_uri.options.insert("path".to_owned(), uri);
    assert_eq!(read_all(&by_uri).unwrap().len(), 3);
    let mut matching = table;
    matching
        .options
        .insert("source.path.regex-pattern".to_owned(), ".*/b/.*".to_owned());
    assert_eq!(read_all(&matching).unwrap(), ["3|NULL"]);
}

#[test]
fn csv_records_may_hold_line_feeds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "1,\"a\nb\"\n2,c\r\n3,\"d\"\"\"\n").unwrap();
    let table = table(folder.path(), "csv", id_and_name(), &[]);
    assert_eq!(read_all(&table).unwrap(), ["1|a\nb", "2|c", "3|d\""]);
    let name_only = SourceSpec {
        projection: vec![1],
        metadata: Vec::new(),
        table,
    };
    assert_eq!(
        drain(reader(&name_only, 0, 1, 2, None).unwrap().as_mut()).unwrap(),
        ["a\nb", "c", "d\""]
    );
}

#[test]
fn a_restore_goes_on_behind_the_last_row_at_another_parallelism() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for file in 0..7 {
        let lines: Vec<_> = (0..100)
            .map(|i| format!("{{\"id\":{},\"name\":\"n{i}\"}}", file * 100 + i))
            .collect();
        expected.extend((0..100).map(|i| format!("{}|n{i}", file * 100 + i)));
        fs::write(folder.path().join(format!("{file}.json")), lines.join("\n")).unwrap();
    }
    let table = table(folder.path(), "json", id_and_name(), &[]);
    let spec = all_columns(&table);
    for (before, after) in [(1, 1), (2, 3), (3, 1)] {
        let mut got = Vec::new();
        let mut states = Vec::new();
        for subtask in 0..before {
            let mut reader = reader(&spec, subtask, before, 33, None).unwrap();
            for _ in 0..4 {
                got.extend(next(reader.as_mut()).unwrap().unwrap_or_default());
            }
            states.extend(reader.snapshot(CheckpointId(1)).unwrap());
        }
        // What comes later is not part of a bounded read.
        fs::write(folder.path().join("later.json"), "{\"id\":-1}").unwrap();
        for subtask in 0..after {
            let mut reader = reader(&spec, subtask, after, 50, Some(states.clone())).unwrap();
            got.extend(drain(reader.as_mut()).unwrap());
        }
        fs::remove_file(folder.path().join("later.json")).unwrap();
        got.sort_by_key(|row| row.split('|').next().unwrap().parse::<i64>().unwrap());
        assert_eq!(got, expected, "{before} to {after}");
    }
}

#[test]
fn a_file_larger_than_a_chunk_is_cut_at_records() {
    let folder = tempfile::tempdir().unwrap();
    let long = "y".repeat(3 << 20);
    let mut text = String::new();
    for i in 0..60_000 {
        text.push_str(&format!("{{\"id\":{i},\"name\":\"{}\"}}\n", "x".repeat(i % 50)));
    }
    text.push_str(&format!("{{\"id\":60000,\"name\":\"{long}\"}}\n{{\"id\":60001}}"));
    fs::write(folder.path().join("big.json"), text).unwrap();
    let rows = read_all(&table(folder.path(), "json", id_and_name(), &[])).unwrap();
    assert_eq!(rows.len(), 60_002);
    assert_eq!(rows[49], format!("49|{}", "x".repeat(49)));
    assert_eq!(rows[60_000].len(), long.len() + 6);
    assert_eq!(rows[60_001], "60001|NULL");
}

#[test]
fn metadata_and_partitions_come_from_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let day = folder.path().join("day=2024-01-02/kind=a%2Fb");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join("p"), "1\n").unwrap();
    let none = folder.path().join("day=__DEFAULT_PARTITION__/kind=c");
    fs::create_dir_all(&none).unwrap();
    fs::write(none.join("q"), "2\n").unwrap();
    let columns = vec![
        Field::new("day", DataType::nullable(TypeKind::Date)),
        Field::new("id", DataType::bigint()),
        Field::new("kind", DataType::string()),
    ];
    let mut table = table(folder.path(), "csv", columns, &[]);
    table.partition_keys = vec!["day".to_owned(), "kind".to_owned()];
    let rows = read_all(&table).unwrap();
    assert_eq!(rows, ["2024-01-02|1|a/b", "NULL|2|c"]);
    let connector = source();
    let factory: &dyn SourceFactory = connector.source().unwrap();
    let metadata = factory.metadata(&table).unwrap();
    let spec = SourceSpec {
        projection: vec![1],
        metadata: metadata[..3].to_vec(),
        table,
    };
    let rows = drain(reader(&spec, 0, 1, 10, None).unwrap().as_mut()).unwrap();
    assert_eq!(rows[0], format!("1|{}|p|2", day.join("p").display()));
}

#[test]
fn broken_records_name_file_and_place_or_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    fs::write(&file, "{\"id\":1}\n{\"id\":\n{\"id\":3}\n").unwrap();
    let mut table = table(folder.path(), "json", id_and_name(), &[]);
    let e = read_all(&table).unwrap_err().to_string();
    assert!(e.contains(&format!("{}, byte 9", file.display())), "{e}");
    table
        .options
        .insert("json.ignore-parse-errors".to_owned(), "true".to_owned());
    let mut reader = reader(&all_columns(&table), 0, 1, 10, None).unwrap();
    assert_eq!(drain(reader.as_mut()).unwrap(), ["1|NULL", "3|NULL"]);
    assert_eq!(reader.skipped_records(), 1);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |table: &millrace_dataflow::TableSpec, part: &str| {
        let connector = source();
        let factory = connector.source().unwrap();
        let e = factory
            .validate(table)
            .and_then(|_| factory.check(&all_columns(table)))
            .unwrap_err()
            .to_string();
        assert!(e.contains(part), "{part}: {e}");
    };
    let with = |more: &[(&str, &str)]| table(folder.path(), "json", id_and_name(), more);
    refused(
        &with(&[("source.monitor-interval", "1 s")]),
        "'source.monitor-interval'",
    );
    refused(&with(&[("auto-compaction", "true")]), "not supported");
    refused(&with(&[("source.path.regex-pattern", ".*(?!x)")]), "look");
    refused(
        &with(&[("source.path.regex-pattern", "(")]),
        "'source.path.regex-pattern' = '('",
    );
    refused(
        &with(&[("json.ignore-errors", "true")]),
        "unknown option 'json.ignore-errors'",
    );
    refused(
        &with(&[("csv.field-delimiter", ";")]),
        "unknown option 'csv.field-delimiter'",
    );
    refused(&with(&[("path", "s3://bucket/x")]), "s3://");
    refused(&with(&[("path", "/nowhere/at/all")]), "no such file");
    refused(&with(&[("format", "avro")]), "the format 'avro' of table");
    let mut no_path = with(&[]);
    no_path.options.remove("path");
    refused(&no_path, "'path'");
    let interval = vec![Field::new("i", DataType::nullable(TypeKind::IntervalYearMonth))];
    refused(&table(folder.path(), "parquet", interval, &[]), "cannot carry");
}
