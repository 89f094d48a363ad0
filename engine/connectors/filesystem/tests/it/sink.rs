//! Writing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
    UInt8Array,
};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::Connector;
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};

use crate::support::*;

pub fn columns() -> Vec<Field> {
    vec![
        Field::new("id", DataType::bigint()),
        Field::new("name", DataType::string()),
    ]
}

/// Rows with these ids and a name of three.
pub fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<_> = ids
        .clone()
        .map(|i| {
            if i % 3 == 0 {
                None
            } else {
                Some(format!("n{}", i % 2))
            }
        })
        .collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(StringArray::from(names)),
    ];
    RecordBatch::try_new(RowType::new(columns()).to_arrow(), arrays).unwrap()
}

/// All visible ids in order.
pub fn ids(table: &TableSpec) -> Vec<i64> {
    let mut ids: Vec<i64> = read_all(table)
        .unwrap()
        .iter()
        .map(|r| r.split('|').next().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

pub fn hidden(path: &Path) -> usize {
    fs::read_dir(path)
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'))
        .count()
}

#[test]
fn rows_show_when_their_checkpoint_is_complete() {
    for format in ["csv", "parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let table = table(folder.path(), format, columns(), &[]);
        let mut writer = writer(&table, 0, 1);
        write(writer.as_mut(), batch(0..10));
        checkpoint(writer.as_mut(), 1);
        write(writer.as_mut(), batch(10..20));
        assert!(ids(&table).is_empty(), "{format}");
        // A checkpoint that never completes: its files ride on with the next one.
        let second = checkpoint(writer.as_mut(), 2);
        assert!(!second.is_empty());
        write(writer.as_mut(), batch(20..30));
        checkpoint(writer.as_mut(), 3);
        complete(writer.as_mut(), 1);
        assert_eq!(ids(&table), (0..10).collect::<Vec<_>>(), "{format}");
        complete(writer.as_mut(), 3);
        assert_eq!(ids(&table), (0..30).collect::<Vec<_>>(), "{format}");
        assert_eq!(hidden(folder.path()), 0);
        assert!(checkpoint(writer.as_mut(), 4).is_empty());
    }
}

#[test]
fn a_recovery_shows_what_the_checkpoint_holds_and_deletes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "csv", columns(), &[]);
    let mut first = writer(&table, 0, 1);
    write(first.as_mut(), batch(0..10));
    let state = checkpoint(first.as_mut(), 1);
    write(first.as_mut(), batch(10..20));
    checkpoint(first.as_mut(), 2);
    write(first.as_mut(), batch(20..30));
    // Another job's file, and another attempt's that may be running.
    fs::write(
        folder.path().join(".part-x-0-0.0123456789abcdef-1.inprogress"),
        "{}",
    )
    .unwrap();
    let mut other = writer(&table, 0, 7);
    write(other.as_mut(), batch(90..91));
    drop(first);
    let restore = |restored: &[Vec<u8>]| Recovery {
        restored: restored.to_vec(),
        newest: None,
        committed: false,
        attempts: vec![1],
    };
    let recovered = recover(&table, restore(std::slice::from_ref(&state))).unwrap();
    assert_eq!((recovered.committed, recovered.fenced), (1, 2));
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
    assert_eq!(hidden(folder.path()), 2);
    // A crash within it: once more.
    let again = recover(&table, restore(std::slice::from_ref(&state))).unwrap();
    assert_eq!((again.committed, again.fenced), (0, 0));
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
    // A file that is nowhere is a loss, unless the job's own record says that it was shown.
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if !file.file_name().unwrap().to_str().unwrap().starts_with('.') {
            fs::remove_file(file).unwrap();
        }
    }
    let e = recover(&table, restore(std::slice::from_ref(&state))).unwrap_err();
    assert_eq!(e.kind(), millrace_core::ErrorKind::DataLoss);
    recover(
        &table,
        Recovery {
            restored: vec![state],
            newest: None,
            committed: true,
            attempts: vec![],
        },
    )
    .unwrap();
}

#[test]
fn an_older_checkpoint_shows_only_what_was_not_shown_before() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "csv", columns(), &[]);
    let mut first = writer(&table, 0, 1);
    write(first.as_mut(), batch(0..10));
    let older = checkpoint(first.as_mut(), 1);
    complete(first.as_mut(), 1);
    write(first.as_mut(), batch(10..20));
    let newest = checkpoint(first.as_mut(), 2);
    drop(first);
    // The first checkpoint's file was shown and then taken away by its reader.
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if !file.file_name().unwrap().to_str().unwrap().starts_with('.') {
            fs::remove_file(file).unwrap();
        }
    }
    let recovery = Recovery {
        restored: vec![older],
        newest: Some(vec![newest]),
        committed: false,
        attempts: vec![1],
    };
    let recovered = recover(&table, recovery).unwrap();
    assert_eq!((recovered.committed, recovered.fenced), (0, 1));
    assert!(ids(&table).is_empty());
}

#[test]
fn partitions_are_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = table(folder.path(), "parquet", columns(), &[]);
    table.partition_keys = vec!["name".to_owned()];
    let mut writer = writer(&table, 3, 1);
    write(writer.as_mut(), batch(0..9));
    checkpoint(writer.as_mut(), 1);
    complete(writer.as_mut(), 1);
    let mut folders: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, ["name=__DEFAULT_PARTITION__", "name=n0", "name=n1"]);
    let part = fs::read_dir(folder.path().join("name=n0"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let part = part.file_name().into_string().unwrap();
    assert!(part.starts_with("part-") && part.contains("-3-"), "{part}");
    let mut rows = read_all(&table).unwrap();
    rows.sort();
    let mut expected: Vec<_> = (0..9)
        .map(|i| {
            if i % 3 == 0 {
                format!("{i}|NULL")
            } else {
                format!("{i}|n{}", i % 2)
            }
        })
        .collect();
    expected.sort();
    assert_eq!(rows, expected);
}

#[test]
fn a_file_of_the_rolling_size_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(
        folder.path(),
        "json",
        columns(),
        &[("sink.rolling-policy.file-size", "100")],
    );
    let mut writer = writer(&table, 0, 1);
    for i in 0..5 {
        write(writer.as_mut(), batch(i * 10..i * 10 + 10));
    }
    end(writer.as_mut(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    assert_eq!(ids(&table), (0..50).collect::<Vec<_>>());
}

#[test]
fn parquet_keeps_every_type_and_resumes_at_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let list = DataType::nullable(TypeKind::Array(Box::new(DataType::int())));
    let columns = vec![
        Field::new("id", DataType::bigint().with_nullable(false)),
        Field::new("price", DataType::decimal(20, 3)),
        Field::new("at", DataType::nullable(TypeKind::Timestamp(6))),
        Field::new("list", list.clone()),
        Field::new("ok", DataType::boolean()),
    ];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..100).map(|i| (i % 4 != 0).then(|| vec![Some(i), None])),
    );
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..100)),
        Arc::new(
            Decimal128Array::from_iter_values((0..100).map(i128::from))
                .with_precision_and_scale(20, 3)
                .unwrap(),
        ),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            (0..100).map(|i| i * 1_000_001),
        )),
        Arc::new(lists),
        Arc::new(BooleanArray::from_iter(
            (0..100).map(|i| (i % 2 == 0).then_some(true)),
        )),
    ];
    let schema = RowType::new(columns.clone()).to_arrow();
    let batch = RecordBatch::try_new(schema, arrays).unwrap();
    let table = table(
        folder.path(),
        "parquet",
        columns,
        &[("parquet.compression", "ZSTD")],
    );
    let mut writer = writer(&table, 0, 1);
    write(writer.as_mut(), batch.clone());
    checkpoint(writer.as_mut(), 1);
    complete(writer.as_mut(), 1);
    assert_eq!(read_all(&table).unwrap(), rows(&batch));
    let mut spec = all_columns(&table);
    spec.projection = vec![4, 0];
    let mut first = reader(&spec, 0, 1, 30, None).unwrap();
    next(first.as_mut()).unwrap();
    let states = first.snapshot(millrace_core::CheckpointId(1)).unwrap();
    let rest = drain(reader(&spec, 0, 1, 64, Some(states)).unwrap().as_mut()).unwrap();
    assert_eq!(rest.len(), 70);
    assert_eq!(rest[0], "true|30");
    let mut wrong = table.clone();
    wrong.columns[1].data_type = DataType::string();
    let connector = connector();
    let e = connector
        .source()
        .unwrap()
        .check(&all_columns(&wrong))
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("column 'price'") && e.contains("Decimal128(20, 3)"),
        "{e}"
    );
    // A column that is not there is NULL, if it may be.
    wrong.columns[1] = Field::new("cost", DataType::decimal(20, 3));
    let rows = read_all(&wrong).unwrap();
    assert!(rows[7].starts_with("7|NULL|"), "{}", rows[7]);
    let mut only = all_columns(&wrong);
    only.projection = vec![1];
    let rows = drain(reader(&only, 0, 1, 64, None).unwrap().as_mut()).unwrap();
    assert_eq!(rows, vec!["NULL"; 100]);
    wrong.columns[1].data_type.nullable = false;
    let e = connector
        .source()
        .unwrap()
        .check(&all_columns(&wrong))
        .unwrap_err()
        .to_string();
    assert!(e.contains("lacks the column 'cost'"), "{e}");
}

#[test]
fn only_new_rows_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), &[]);
    let mut writer = writer(&table, 0, 1);
    let deletion = ChangeBatch {
        rows: batch(0..1),
        kinds: Some(UInt8Array::from(vec![3])),
    };
    let e = writer.write(&deletion).unwrap_err().to_string();
    assert!(e.contains("-D"), "{e}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let mut onto_file = table;
    onto_file
        .options
        .insert("path".to_owned(), file.to_str().unwrap().to_owned());
    let e = connector()
        .sink()
        .unwrap()
        .check(&sink_spec(&onto_file))
        .unwrap_err()
        .to_string();
    assert!(e.contains("names a file"), "{e}");
}
