//! Files of lines, which are written on over checkpoints, and what ends them.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::Connector;
use millrace_expr::{DataType, Field, RowType};

use crate::sink::{batch, columns, hidden, ids};
use crate::support::*;

#[test]
fn files_of_lines_are_written_on_over_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), &[]);
    let mut writer = writer(&table, 0, 1);
    for id in 1..5 {
        write(writer.as_mut(), batch(id * 10 - 10..id * 10));
        assert!(!checkpoint(writer.as_mut(), id as u64).is_empty());
        complete(writer.as_mut(), id as u64);
        assert!(ids(&table).is_empty());
        assert_eq!(hidden(folder.path()), 1);
    }
    end(writer.as_mut(), 5);
    assert_eq!(ids(&table), (0..40).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(checkpoint(writer.as_mut(), 6).is_empty());
}

#[test]
fn a_restore_cuts_a_growing_file_to_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), &[]);
    let mut first = writer(&table, 0, 1);
    write(first.as_mut(), batch(0..10));
    let state = checkpoint(first.as_mut(), 1);
    write(first.as_mut(), batch(10..20));
    checkpoint(first.as_mut(), 2);
    let restore = |attempts| Recovery {
        restored: vec![state.clone()],
        newest: None,
        committed: false,
        attempts,
    };
    // A crash has left half of a copy.
    let part = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    let name = part.file_name().into_string().unwrap();
    let copy = folder.path().join(name.replacen(".part-", ".part-sealed-", 1));
    fs::write(&copy, "{").unwrap();
    let recovered = recover(&table, restore(vec![1])).unwrap();
    assert_eq!((recovered.committed, recovered.fenced), (1, 0));
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
    // The first attempt does not know yet that it is over: what it writes is nowhere to be seen.
    write(first.as_mut(), batch(20..30));
    checkpoint(first.as_mut(), 3);
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
    // The same checkpoint once more, after a second attempt that came to none.
    let mut second = writer(&table, 0, 2);
    write(second.as_mut(), batch(10..20));
    let recovered = recover(&table, restore(vec![1, 2])).unwrap();
    assert_eq!((recovered.committed, recovered.fenced), (0, 1));
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn a_growing_file_that_is_too_short_or_gone_is_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), &[]);
    let mut first = writer(&table, 0, 1);
    write(first.as_mut(), batch(0..10));
    let state = checkpoint(first.as_mut(), 1);
    drop(first);
    let recovery = |committed| Recovery {
        restored: vec![state.clone()],
        newest: None,
        committed,
        attempts: vec![],
    };
    let part = fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&part).unwrap();
    fs::write(&part, &whole[..whole.len() - 1]).unwrap();
    let e = recover(&table, recovery(false)).unwrap_err();
    assert_eq!(e.kind(), millrace_core::ErrorKind::DataLoss);
    assert!(e.to_string().contains("shorter"), "{e}");
    fs::remove_file(&part).unwrap();
    let e = recover(&table, recovery(false)).unwrap_err();
    assert_eq!(e.kind(), millrace_core::ErrorKind::DataLoss);
    recover(&table, recovery(true)).unwrap();
}

#[test]
fn an_older_checkpoint_shows_less_of_a_file_that_still_grows() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), &[]);
    let mut first = writer(&table, 0, 1);
    write(first.as_mut(), batch(0..10));
    let older = checkpoint(first.as_mut(), 1);
    complete(first.as_mut(), 1);
    write(first.as_mut(), batch(10..20));
    let newest = checkpoint(first.as_mut(), 2);
    drop(first);
    let recovery = Recovery {
        restored: vec![older],
        newest: Some(vec![newest]),
        committed: false,
        attempts: vec![1],
    };
    recover(&table, recovery).unwrap();
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
}

/// Takes checkpoints until the rows are visible.
fn until_visible(options: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "json", columns(), options);
    let mut writer = writer(&table, 0, 1);
    write(writer.as_mut(), batch(0..10));
    let mut id = 0;
    while ids(&table).is_empty() {
        id += 1;
        checkpoint(writer.as_mut(), id);
        complete(writer.as_mut(), id);
    }
    assert_eq!(ids(&table), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_file_of_the_rollover_age_is_finished() {
    until_visible(&[
        ("sink.rolling-policy.rollover-interval", "1 ms"),
        ("sink.rolling-policy.check-interval", "1 ms"),
    ]);
}

#[test]
fn a_file_without_rows_for_long_is_finished() {
    until_visible(&[
        ("sink.rolling-policy.inactivity-interval", "1 ms"),
        ("sink.rolling-policy.check-interval", "1 ms"),
    ]);
}

#[test]
fn age_ends_files_between_checkpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("sink.rolling-policy.rollover-interval", "1 ms"),
        ("sink.rolling-policy.check-interval", "1 ms"),
    ];
    let table = table(folder.path(), "json", columns(), &options);
    let mut writer = writer(&table, 0, 1);
    // A second file is there as soon as the first is too old.
    let mut written = 0;
    while hidden(folder.path()) < 2 {
        write(writer.as_mut(), batch(written..written + 1));
        written += 1;
    }
    end(writer.as_mut(), 1);
    assert_eq!(ids(&table), (0..written).collect::<Vec<_>>());
}

#[test]
fn intervals_and_sizes_of_zero_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (key, value) in [
        ("sink.rolling-policy.file-size", "0"),
        ("sink.rolling-policy.rollover-interval", "0 ms"),
        ("sink.rolling-policy.inactivity-interval", "0 s"),
    ] {
        let table = table(folder.path(), "json", columns(), &[(key, value)]);
        let connector = connector();
        let e = connector
            .sink()
            .unwrap()
            .validate(&table)
            .unwrap_err()
            .to_string();
        assert!(e.contains(key), "{e}");
    }
}

/// More partitions than files are open at once.
#[test]
fn partitions_without_number_lose_no_row() {
    const PARTITIONS: i64 = 260;
    for format in ["json", "parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![
            Field::new("id", DataType::bigint()),
            Field::new("part", DataType::bigint()),
        ];
        let schema = RowType::new(columns.clone()).to_arrow();
        let mut table = table(folder.path(), format, columns, &[]);
        table.partition_keys = vec!["part".to_owned()];
        let mut writer = writer(&table, 0, 1);
        // The last rows are of partitions whose files had to give way.
        let rows = PARTITIONS + 6;
        for rows in [0..100, 100..PARTITIONS, PARTITIONS..rows] {
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(rows.clone())),
                Arc::new(Int64Array::from_iter_values(rows.map(|i| i % PARTITIONS))),
            ];
            write(
                writer.as_mut(),
                RecordBatch::try_new(schema.clone(), arrays).unwrap(),
            );
        }
        end(writer.as_mut(), 1);
        assert_eq!(ids(&table), (0..rows).collect::<Vec<_>>(), "{format}");
        let folders = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(folders as i64, PARTITIONS);
    }
}
