//! Jobs that write files.

use millrace_testkit::engine;
use serde_json::json;

use crate::{files, lines, workspace};

#[test]
fn csv_to_json_keeps_the_orders_that_make_sense() {
    let workspace = workspace("csv-to-json");
    engine::run_to_end(workspace.path(), &["run", "examples/csv-to-json.sql"]).unwrap();
    let mut rows: Vec<serde_json::Value> = lines(&workspace.join(".run/orders-json"))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    rows.sort_by_key(|row| row["id"].as_i64());
    let row = |id: i64, customer: &str, product: &str, total: f64, day: &str| json!({"id": id, "customer": customer, "product": product, "total": total, "ordered_on": day});
    let expected = [
        row(1, "ADA", "tea", 13.5, "2026-03-01"),
        row(2, "GRACE", "kettle", 129.0, "2026-03-01"),
        row(4, "LINUS", "milk, oat", 25.2, "2026-03-02"),
        row(5, "BARBARA", "table", 420.0, "2026-03-02"),
        row(6, "GRACE", "spoon", 120.0, "2026-03-02"),
    ];
    for (found, expected) in rows.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap() {
            match value.as_f64() {
                Some(number) => assert_eq!(found[name].as_f64(), Some(number), "{name} of {found}"),
                None => assert_eq!(&found[name], value, "{name} of {found}"),
            }
        }
    }
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn to_parquet_writes_whole_files() {
    let workspace = workspace("to-parquet");
    engine::run_to_end(workspace.path(), &["run", "examples/to-parquet.sql"]).unwrap();
    // Read back by the engine's own reader, into a count that a shell could make.
    let readback = "
        CREATE TABLE readings (sensor INT, fahrenheit DOUBLE, frost BOOLEAN, sequence_number BIGINT)
        WITH ('connector' = 'filesystem', 'path' = '.run/readings', 'format' = 'parquet');
        CREATE TABLE rows_csv (sensor INT, fahrenheit DOUBLE, frost BOOLEAN, sequence_number BIGINT)
        WITH ('connector' = 'filesystem', 'path' = '.run/rows', 'format' = 'csv');
        INSERT INTO rows_csv SELECT * FROM readings;";
    std::fs::write(workspace.join("readback.sql"), readback).unwrap();
    engine::run_to_end(workspace.path(), &["run", "readback.sql"]).unwrap();
    for file in files(&workspace.join(".run/readings")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"),
            "{}",
            file.display()
        );
    }
    let rows = lines(&workspace.join(".run/rows"));
    let mut numbers: Vec<i64> = Vec::new();
    for row in &rows {
        let fields: Vec<&str> = row.split(',').collect();
        let sensor: i32 = fields[0].parse().unwrap();
        let fahrenheit: f64 = fields[1].parse().unwrap();
        assert!((1..=20).contains(&sensor), "{row}");
        assert!((-4.0..=113.0).contains(&fahrenheit), "{row}");
        assert_eq!(fields[2], (fahrenheit < 32.0).to_string(), "{row}");
        numbers.push(fields[3].parse().unwrap());
    }
    numbers.sort();
    assert_eq!(numbers, (1..=5000).collect::<Vec<_>>());
}
