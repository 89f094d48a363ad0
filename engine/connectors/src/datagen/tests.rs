//! The source as a whole.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};
use millrace_connector_api::source::{SourceContext, SourceFactory, SourcePoll, SourceReader};
use millrace_connector_api::{ChangeBatch, Waker};
use millrace_core::{CheckpointId, Configuration};
use millrace_dataflow::{SourceSpec, TableSpec};
use millrace_expr::{DataType, Field, TypeKind};

use super::Datagen;

fn table(columns: Vec<Field>, options: &[(&str, &str)]) -> TableSpec {
    let mut all = vec![("connector", "datagen")];
    all.extend_from_slice(options);
    TableSpec {
        name: "t".to_owned(),
        options: all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        columns,
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

struct Source {
    reader: Box<dyn SourceReader>,
    waker: Waker,
    _runtime: tokio::runtime::Runtime,
}

fn open(table: &TableSpec, subtask: usize, parallelism: usize, restored: Option<Vec<Vec<u8>>>) -> Source {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let waker = Waker::default();
    let spec = SourceSpec {
        projection: (0..table.columns.len()).collect(),
        metadata: Vec::new(),
        table: table.clone(),
    };
    let context = SourceContext {
        config: Configuration::default(),
        job_name: "job".to_owned(),
        uid: "source".to_owned(),
        subtask,
        parallelism,
        max_rows: 64,
        waker: waker.clone(),
        restored,
        runtime: runtime.handle().clone(),
    };
    let reader = Datagen.open(&spec, context).unwrap();
    Source {
        reader,
        waker,
        _runtime: runtime,
    }
}

impl Source {
    /// The next batch, waited for; `None` at the end.
    fn next(&mut self) -> Option<ChangeBatch> {
        loop {
            match self.reader.poll().unwrap() {
                SourcePoll::Batch(batch) => {
                    assert_eq!(
                        batch.splits.iter().map(|(_, rows)| rows).sum::<usize>(),
                        batch.batch.len()
                    );
                    return Some(batch.batch);
                }
                SourcePoll::Pending => self.waker.wait(Duration::from_secs(60)),
                SourcePoll::End => return None,
            }
        }
    }

    fn ids(&mut self) -> Vec<i64> {
        let mut ids = Vec::new();
        while let Some(batch) = self.next() {
            ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values());
        }
        ids
    }
}

fn sequence(rate: &str) -> TableSpec {
    table(
        vec![
            Field::new("id", DataType::bigint()),
            Field::new("x", DataType::int()),
        ],
        &[
            ("rows-per-second", rate),
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "1"),
            ("fields.id.end", "1000"),
        ],
    )
}

#[test]
fn a_sequence_is_shared_by_the_subtasks_and_ends() {
    let table = sequence("1000000");
    assert!(Datagen.validate(&table).unwrap().bounded);
    let mut ids: Vec<i64> = (0..3)
        .flat_map(|subtask| open(&table, subtask, 3, None).ids())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn a_restore_makes_the_same_rows_that_were_not_kept() {
    let table = sequence("1000000");
    let rows = |batch: &ChangeBatch| -> Vec<(i64, i32)> {
        let ids = batch.rows.column(0).as_primitive::<Int64Type>().values();
        let xs = batch.rows.column(1).as_primitive::<Int32Type>().values();
        ids.iter().copied().zip(xs.iter().copied()).collect()
    };
    let mut first = open(&table, 0, 1, None);
    let kept = rows(&first.next().unwrap());
    let states = first.reader.snapshot(CheckpointId(1)).unwrap();
    let mut lost: Vec<_> = std::iter::from_fn(|| first.next())
        .flat_map(|b| rows(&b))
        .collect();
    let mut again: Vec<_> = (0..2)
        .flat_map(|subtask| {
            let mut source = open(&table, subtask, 2, Some(states.clone()));
            std::iter::from_fn(move || source.next()).collect::<Vec<_>>()
        })
        .flat_map(|b| rows(&b))
        .collect();
    lost.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, lost);
    assert_eq!(kept.len() + lost.len(), 1000);
}

#[test]
fn a_slow_rate_pends_and_wakes() {
    let table = sequence("200");
    let mut source = open(&table, 0, 1, None);
    let (mut pended, mut rows) = (0, 0);
    while rows < 10 {
        match source.reader.poll().unwrap() {
            SourcePoll::Batch(batch) => rows += batch.batch.len(),
            SourcePoll::Pending => {
                pended += 1;
                source.waker.wait(Duration::from_secs(60));
            }
            SourcePoll::End => panic!("ended after {rows} rows"),
        }
    }
    assert!(pended > 0);
}

#[test]
fn every_type_and_its_options() {
    let list = DataType::nullable(TypeKind::Array(Box::new(DataType::int())));
    let map = DataType::nullable(TypeKind::Map(
        Box::new(DataType::string().with_nullable(false)),
        Box::new(DataType::double()),
    ));
    let row = DataType::nullable(TypeKind::Row(vec![
        Field::new("a", DataType::nullable(TypeKind::TinyInt)),
        Field::new("b", DataType::nullable(TypeKind::Timestamp(6))),
    ]));
    let columns = vec![
        Field::new("s", DataType::string()),
        Field::new("c", DataType::nullable(TypeKind::Char(4))),
        Field::new("b", DataType::bytes()),
        Field::new("d", DataType::decimal(6, 2)),
        Field::new("i", DataType::int()),
        Field::new("list", list),
        Field::new("map", map),
        Field::new("row", row),
        Field::new("t", DataType::nullable(TypeKind::TimestampLtz(3))),
        Field::new("day", DataType::nullable(TypeKind::Date)),
        Field::new("clock", DataType::nullable(TypeKind::Time(0))),
        Field::new("ok", DataType::boolean()),
        Field::new("f", DataType::nullable(TypeKind::Float)),
        Field::new("m", DataType::nullable(TypeKind::IntervalYearMonth)),
        Field::new(
            "n",
            DataType::nullable(TypeKind::Multiset(Box::new(DataType::int().with_nullable(false)))),
        ),
    ];
    let table = table(
        columns,
        &[
            ("number-of-rows", "500"),
            ("rows-per-second", "1000000"),
            ("fields.s.length", "7"),
            ("fields.b.var-len", "true"),
            ("fields.i.min", "-2"),
            ("fields.i.max", "2"),
            ("fields.i.null-rate", "0.5"),
            ("fields.d.min", "-10"),
            ("fields.d.max", "10"),
            ("fields.list.element.max", "9"),
            ("fields.list.element.min", "0"),
            ("fields.list.length", "2"),
            ("fields.row.a.min", "5"),
            ("fields.t.max-past", "1 h"),
        ],
    );
    let mut source = open(&table, 0, 1, None);
    let (mut rows, mut nulls, mut seen) = (0, 0, BTreeSet::new());
    while let Some(batch) = source.next() {
        rows += batch.len();
        let columns = batch.rows.columns();
        assert!(
            columns[0]
                .as_string::<i32>()
                .iter()
                .flatten()
                .all(|s| s.len() == 7)
        );
        assert!(
            columns[1]
                .as_string::<i32>()
                .iter()
                .flatten()
                .all(|s| s.len() == 4)
        );
        assert!(
            columns[2]
                .as_binary::<i32>()
                .iter()
                .flatten()
                .all(|b| (1..=100).contains(&b.len()))
        );
        assert!(
            columns[3]
                .as_primitive::<Decimal128Type>()
                .values()
                .iter()
                .all(|d| d.abs() <= 1000)
        );
        nulls += columns[4].null_count();
        seen.extend(columns[4].as_primitive::<Int32Type>().iter().flatten());
        let items = columns[5].as_list::<i32>().values().clone();
        assert_eq!(items.len(), batch.len() * 2);
        assert!(
            items
                .as_primitive::<Int32Type>()
                .values()
                .iter()
                .all(|v| (0..=9).contains(v))
        );
        assert_eq!(columns[6].as_map().keys().len(), batch.len() * 3);
    }
    assert_eq!(rows, 500);
    assert!((100..400).contains(&nulls), "{nulls}");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
}

#[test]
fn wrong_options_are_refused() {
    let column = || vec![Field::new("a", DataType::int())];
    for (options, part) in [
        (&[("fields.b.min", "1")][..], "unknown option 'fields.b.min'"),
        (&[("fields.a.length", "1")], "unknown option 'fields.a.length'"),
        (&[("fields.a.kind", "sequence")], "fields.a.start"),
        (&[("fields.a.kind", "counter")], "'random', 'sequence'"),
        (&[("fields.a.min", "5"), ("fields.a.max", "1")], "fields.a.min"),
        (&[("fields.a.max", "3000000000")], "fields.a.max"),
        (&[("rows-per-second", "0")], "rows-per-second"),
        (&[("fields.a.null-rate", "2")], "null-rate"),
        (&[("rows", "2")], "unknown option 'rows'"),
    ] {
        let e = Datagen
            .validate(&table(column(), options))
            .unwrap_err()
            .to_string();
        assert!(e.contains(part), "{part}: {e}");
    }
}
