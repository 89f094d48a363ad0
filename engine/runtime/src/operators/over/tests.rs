//! Random rows and watermarks against windows that are computed from the whole table.

use std::collections::BTreeMap;

use millrace_dataflow::{OverCall, OverFunction};
use millrace_expr::aggregate::{AggregateFunction, Parameters};
use millrace_expr::{DataType, TypeKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::element::Element;
use crate::operators::harness::{
    Change, Row, State, assert_paced, batch, feed, insert, pieces, row_type, shown, state, watermark,
};

const COLUMNS: [&str; 3] = ["k", "t", "v"];

fn call(function: AggregateFunction) -> OverCall {
    let data_type = match function {
        AggregateFunction::Count => DataType::not_null(TypeKind::BigInt),
        _ => DataType::bigint(),
    };
    OverCall {
        function: OverFunction::Aggregate(function),
        arg: Some(2),
        arg_type: Some(DataType::bigint()),
        distinct: false,
        parameters: Parameters::default(),
        default: None,
        data_type,
    }
}

fn distinct(function: AggregateFunction) -> OverCall {
    OverCall {
        distinct: true,
        ..call(function)
    }
}

fn over(kind: TimeKind, frame: Frame, calls: &[OverCall], state: &State) -> Box<dyn Operator> {
    let plan = OverAggregate {
        partition: vec![0],
        time: 1,
        kind,
        frame,
        calls: calls.to_vec(),
    };
    let names = ["k", "t", "v", "x", "y"];
    let output = row_type(&names[..3 + calls.len()]);
    let metrics = TaskMetrics::new(["over".to_owned()]);
    operator(&plan, &row_type(&COLUMNS), &output, &state.backend, 0, metrics).unwrap()
}

/// What is computed of a window.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// Count and sum.
    All,
    /// The same of each value once.
    Distinct,
    /// Least and greatest.
    Extremes,
}

impl Of {
    fn calls(self) -> [OverCall; 2] {
        match self {
            Of::All => [call(AggregateFunction::Count), call(AggregateFunction::Sum)],
            Of::Distinct => [
                distinct(AggregateFunction::Count),
                distinct(AggregateFunction::Sum),
            ],
            Of::Extremes => [call(AggregateFunction::Min), call(AggregateFunction::Max)],
        }
    }
}

/// The results of each row's window, by key in the order of the rows.
fn whole(kind: TimeKind, frame: Frame, of: Of, rows: &[Row]) -> BTreeMap<Option<i64>, Vec<Row>> {
    let mut keys: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        keys.entry(row[0]).or_default().push(row.clone());
    }
    for rows in keys.values_mut() {
        if kind == TimeKind::Event {
            rows.sort_by_key(|row| row[1]);
        }
        let sorted = rows.clone();
        for (i, row) in rows.iter_mut().enumerate() {
            let window: Vec<&Row> = match frame {
                Frame::Rows(None) => sorted[..=i].iter().collect(),
                Frame::Rows(Some(n)) => sorted[i.saturating_sub(n as usize)..=i].iter().collect(),
                Frame::Range(length) => {
                    let from = length.map_or(i64::MIN, |length| row[1].unwrap() - length);
                    let within = sorted.iter().filter(|r| r[1] <= row[1] && r[1] >= Some(from));
                    within.collect()
                }
            };
            let mut values: Vec<i64> = window.iter().filter_map(|row| row[2]).collect();
            values.sort();
            if let Of::Distinct = of {
                values.dedup();
            }
            match of {
                Of::Extremes => row.extend([values.first().copied(), values.last().copied()]),
                Of::All | Of::Distinct => {
                    let sum = (!values.is_empty()).then(|| values.iter().sum());
                    row.extend([Some(values.len() as i64), sum]);
                }
            }
        }
    }
    keys
}

#[test]
fn results_are_those_of_the_windows() {
    let frames = [
        Frame::Rows(None),
        Frame::Range(None),
        Frame::Rows(Some(0)),
        Frame::Rows(Some(2)),
        Frame::Range(Some(0)),
        Frame::Range(Some(7)),
    ];
    for kind in [TimeKind::Event, TimeKind::Processing] {
        for frame in frames {
            for of in [Of::All, Of::Distinct, Of::Extremes] {
                // By arrival RANGE goes by the clock, which no test has in its hand.
                if kind == TimeKind::Processing && matches!(frame, Frame::Range(_)) {
                    continue;
                }
                let calls = of.calls();
                let mut random = StdRng::seed_from_u64(3);
                let state = state(400);
                let mut operator = over(kind, frame, &calls, &state);
                let (mut rows, mut out, mut now): (Vec<Row>, Vec<Change>, i64) =
                    (Vec::new(), Vec::new(), 1000);
                // By event time a row goes out with the watermark that comes to it, by arrival at once.
                let count = |rows: &[Row], to: i64| {
                    let mut counts: BTreeMap<Option<i64>, usize> = BTreeMap::new();
                    for row in rows {
                        if kind == TimeKind::Processing || row[1] <= Some(to) {
                            *counts.entry(row[0]).or_default() += 1;
                        }
                    }
                    counts
                };
                for step in 0..200 {
                    let given: Vec<Change> = (0..random.random_range(1..5))
                        .map(|_| {
                            let key = random.random_range(-1..3);
                            insert(&[key, now + random.random_range(1..9), random.random_range(-1..9)])
                        })
                        .collect();
                    rows.extend(given.iter().map(|(_, row)| row.clone()));
                    out.extend(feed(operator.as_mut(), 0, &row_type(&COLUMNS), &given));
                    if random.random_bool(0.4) {
                        now += random.random_range(0..6);
                        out.extend(watermark(operator.as_mut(), now));
                    }
                    let given: Vec<Row> = out.iter().map(|(_, row)| row.clone()).collect();
                    assert_eq!(
                        count(&given, i64::MAX),
                        count(&rows, now),
                        "{kind:?} {frame:?} {of:?}, step {step}"
                    );
                    if step % 70 == 69 {
                        operator.snapshot().unwrap();
                        operator = over(kind, frame, &calls, &state);
                        assert!(watermark(operator.as_mut(), now).is_empty());
                    }
                }
                out.extend(watermark(operator.as_mut(), i64::MAX));
                let mut by_key: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
                for (_, row) in out {
                    by_key.entry(row[0]).or_default().push(row);
                }
                assert_eq!(by_key, whole(kind, frame, of, &rows), "{kind:?} {frame:?} {of:?}");
            }
        }
    }
}

#[test]
fn late_rows_are_dropped_and_counted() {
    let state = state(1 << 20);
    let mut operator = over(
        TimeKind::Event,
        Frame::Range(None),
        &[call(AggregateFunction::Count)],
        &state,
    );
    let input = row_type(&COLUMNS);
    assert!(feed(operator.as_mut(), 0, &input, &[insert(&[1, 10, 5])]).is_empty());
    assert_eq!(shown(&watermark(operator.as_mut(), 10)), ["+I 1 10 5 1"]);
    // At the watermark is late; so is a key that was never there.
    let late = [insert(&[1, 10, 6]), insert(&[2, 9, 6]), insert(&[1, 11, 7])];
    assert!(feed(operator.as_mut(), 0, &input, &late).is_empty());
    assert_eq!(shown(&watermark(operator.as_mut(), 20)), ["+I 1 11 7 2"]);
}

#[test]
fn a_bounded_window_forgets_what_no_row_can_reach() {
    let state = state(1 << 20);
    let frame = Frame::Range(Some(10));
    let mut operator = over(TimeKind::Event, frame, &[call(AggregateFunction::Sum)], &state);
    let input = row_type(&COLUMNS);
    feed(operator.as_mut(), 0, &input, &[insert(&[1, 100, 5])]);
    assert_eq!(shown(&watermark(operator.as_mut(), 100)), ["+I 1 100 5 5"]);
    // A row of a key that went out already, and not behind it, is late.
    assert!(feed(operator.as_mut(), 0, &input, &[insert(&[1, 99, 5])]).is_empty());
    assert!(watermark(operator.as_mut(), 200).is_empty());
    // As in Flink, the key is new after its rows are forgotten.
    feed(operator.as_mut(), 0, &input, &[insert(&[1, 99, 6])]);
    assert_eq!(shown(&watermark(operator.as_mut(), 201)), ["+I 1 99 6 6"]);
}

#[test]
fn values_before_a_row_outlive_the_operator() {
    let state = state(1 << 20);
    let plan = OverAggregate {
        partition: vec![0],
        time: 1,
        kind: TimeKind::Processing,
        frame: Frame::Range(None),
        calls: vec![
            OverCall {
                function: OverFunction::Lag { offset: 2 },
                ..call(AggregateFunction::Sum)
            },
            call(AggregateFunction::Sum),
            OverCall {
                function: OverFunction::Lag { offset: 1 },
                default: Some(0),
                ..call(AggregateFunction::Sum)
            },
        ],
    };
    let (input, output) = (row_type(&COLUMNS), row_type(&["k", "t", "v", "x", "y", "z"]));
    let open = || {
        let metrics = TaskMetrics::new(["over".to_owned()]);
        operator(&plan, &input, &output, &state.backend, 0, metrics).unwrap()
    };
    let mut operator = open();
    let first = [
        insert(&[1, 0, 5]),
        insert(&[2, 0, 9]),
        insert(&[1, 0, -1]),
        insert(&[1, 0, 7]),
    ];
    assert_eq!(
        shown(&feed(operator.as_mut(), 0, &input, &first)),
        [
            "+I 1 0 5 - 5 1",
            "+I 2 0 9 - 9 2",
            "+I 1 0 - - 5 5",
            "+I 1 0 7 5 12 -"
        ]
    );
    operator.snapshot().unwrap();
    let mut operator = open();
    let then = [insert(&[1, 0, 8]), insert(&[1, 0, 2]), insert(&[2, 0, 1])];
    assert_eq!(
        shown(&feed(operator.as_mut(), 0, &input, &then)),
        ["+I 1 0 8 - 20 7", "+I 1 0 2 7 22 8", "+I 2 0 1 - 10 9"]
    );
}

#[test]
fn a_watermark_that_jumps_gives_rows_in_pieces() {
    const LIMIT: usize = 2_000_000;
    const KEYS: i64 = 30_000;
    let frames = [
        Frame::Rows(None),
        Frame::Range(None),
        Frame::Rows(Some(1)),
        Frame::Range(Some(7)),
    ];
    for frame in frames {
        let state = state(LIMIT);
        let plan = OverAggregate {
            partition: vec![0],
            time: 1,
            kind: TimeKind::Event,
            frame,
            calls: vec![call(AggregateFunction::Sum)],
        };
        let metrics = TaskMetrics::new(["over".to_owned()]);
        let (input, output) = (row_type(&COLUMNS), row_type(&["k", "t", "v", "x"]));
        let mut over = Windowed::new(&plan, &input, &output, &state.backend, 0, metrics).unwrap();
        // Of each key one row at two times each.
        let rows: Vec<Change> = (0..2 * KEYS)
            .map(|n| insert(&[n % KEYS, 100 + n / KEYS, n / KEYS + 1]))
            .collect();
        for some in rows.chunks(4_000) {
            assert!(feed(&mut over, 0, &input, some).is_empty());
        }
        let found = pieces(&mut over, 0, Element::Watermark(i64::MAX), |over| {
            for bytes in over.work.bytes() {
                assert!(bytes < LIMIT * 3 / 2, "{bytes} bytes are in memory");
            }
        });
        assert_paced(&found);
        let mut found = found.concat();
        assert_eq!(found.len(), rows.len());
        // In the order of time, with the sums of both rows.
        assert!(found.is_sorted_by_key(|(_, row)| row[1]));
        found.sort_by(|(_, a), (_, b)| (a[1], a[0]).cmp(&(b[1], b[0])));
        for ((_, row), (_, given)) in found.iter().zip(&rows) {
            let sum = if given[2] == Some(1) { 1 } else { 3 };
            assert_eq!((&row[..3], row[3]), (given.as_slice(), Some(sum)));
        }
    }
}

#[test]
fn a_row_behind_the_watermark_that_its_key_waits_for_goes_out_with_the_next_watermark() {
    let state = state(1 << 20);
    let frame = Frame::Rows(Some(1));
    let mut operator = over(TimeKind::Event, frame, &[call(AggregateFunction::Sum)], &state);
    assert!(watermark(operator.as_mut(), 10).is_empty());
    let mut given = batch(&row_type(&COLUMNS), &[insert(&[1, 5, 1]), insert(&[1, 4, 2])]);
    given.watermarks = Some([10, 10].into());
    let mut out = Vec::new();
    operator.batch(0, given, &mut out).unwrap();
    assert!(out.is_empty() && !operator.has_more());
    let found = watermark(operator.as_mut(), 11);
    assert_eq!(shown(&found), ["+I 1 4 2 2", "+I 1 5 1 3"]);
}
