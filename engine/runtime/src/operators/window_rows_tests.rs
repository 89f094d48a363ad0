//! Random rows of windows, some of them late, against naive models of the operators that keep rows by
//! window: with little memory, watermarks within batches, and the operators opened again on their stores. Behind
//! each watermark exactly the windows are given that are over with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_core::RowKind;
use millrace_dataflow::{
    JoinKey, JoinKind, SortKey, Window, WindowColumns, WindowJoin as JoinPlan, WindowRank as RankPlan,
    WindowTable as TablePlan,
};
use millrace_expr::compile::Session;
use millrace_expr::text::zone;
use millrace_expr::{DataType, Expr};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::harness::{Change, Fired, Row, State, batch, row_type, state};
use super::session::SessionWindows;
use super::window_join::WindowJoin;
use super::window_rank::WindowRank;
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

const SIZE: i64 = 10;
/// Key, value, the window's start and end.
const COLUMNS: [&str; 4] = ["k", "v", "t_start", "t_end"];
const WINDOW: WindowColumns = WindowColumns {
    window: Window::Tumble {
        size: SIZE,
        offset: 0,
    },
    start: 2,
    end: 3,
    is_instant: false,
};

/// Rows for an operator and a watermark before each, as they come; a model sees them one by one.
struct Feed {
    random: StdRng,
    now: i64,
}

impl Feed {
    /// Rows near the present, which `row` makes of a time.
    fn rows(&mut self, mut row: impl FnMut(&mut StdRng, i64) -> Change) -> Vec<(i64, Change)> {
        let count = self.random.random_range(1..6);
        let mut rows = Vec::new();
        for _ in 0..count {
            if self.random.random_bool(0.3) {
                self.now += self.random.random_range(0..6);
            }
            let time = self.random.random_range(self.now - 12..self.now + 25);
            rows.push((self.now, row(&mut self.random, time)));
        }
        rows
    }

    fn given(&self, columns: &[&str], rows: &[(i64, Change)]) -> Element {
        let changes: Vec<Change> = rows.iter().map(|(_, change)| change.clone()).collect();
        Element::Batch(Batch {
            watermarks: Some(rows.iter().map(|(now, _)| *now).collect()),
            ..batch(&row_type(columns), &changes)
        })
    }

    /// A watermark, now and then.
    fn watermark(&mut self) -> Option<i64> {
        self.random.random_bool(0.4).then(|| {
            self.now += self.random.random_range(0..8);
            self.now
        })
    }

    /// What follows a batch: nothing, a checkpoint, or one with which the operator is opened again.
    fn checkpoint(&mut self, subject: &mut Box<dyn Operator>, open: &Open<'_>, state: &State, late: &Late) {
        if self.random.random_bool(0.1) {
            let entries = subject.snapshot().unwrap();
            if self.random.random_bool(0.6) {
                *subject = open(state, Some(&entries), late.clone());
            }
        }
    }
}

/// An operator opened, on what one before it has left; late rows are counted.
type Open<'a> = dyn Fn(&State, Option<&[Vec<u8>]>, Late) -> Box<dyn Operator> + 'a;
type Late = Arc<TaskMetrics>;

fn in_window(random: &mut StdRng, time: i64) -> Change {
    let end = time - time.rem_euclid(SIZE) + SIZE;
    // Windows that end together are one, whenever they began, as sessions do.
    let start = end - random.random_range(1..=SIZE);
    let optional = |value: i64| Some(value).filter(|value| *value >= 0);
    let row = vec![
        optional(random.random_range(-1..3)),
        optional(random.random_range(-1..6)),
        Some(start),
        Some(end),
    ];
    (RowKind::Insert, row)
}

/// Rows of an operator's inputs into their windows, which give `results` of them when they are over.
fn check(
    context: &str,
    open: &Open<'_>,
    inputs: usize,
    results: &dyn Fn(&[Vec<Row>; 2]) -> Vec<Row>,
    seed: u64,
) {
    for cache_bytes in [300, 1 << 20] {
        let context = format!("{context}, seed {seed}, {cache_bytes} bytes");
        let state = state(cache_bytes);
        let late = TaskMetrics::new(["windows".to_owned()]);
        let mut subject = open(&state, None, late.clone());
        let mut feed = Feed {
            random: StdRng::seed_from_u64(seed),
            now: 1000,
        };
        // Of a row that a join makes up, one side may be null.
        let mut fired = Fired::new(|row| row[3].or_else(|| row[7]).unwrap());
        let mut windows: BTreeMap<i64, [Vec<Row>; 2]> = BTreeMap::new();
        let (mut expected, mut dropped) = (Vec::new(), 0);
        let close = |windows: &mut BTreeMap<i64, [Vec<Row>; 2]>, to: i64, expected: &mut Vec<Change>| {
            for (_, rows) in windows.extract_if(.., |end, _| *end - 1 <= to) {
                expected.extend(results(&rows).into_iter().map(|row| (RowKind::Insert, row)));
            }
        };
        for step in 0..150 {
            let context = format!("{context}, step {step}");
            let input = feed.random.random_range(0..inputs);
            let rows = feed.rows(in_window);
            let given = feed.given(&COLUMNS, &rows);
            for (now, (_, row)) in rows {
                close(&mut windows, now, &mut expected);
                let end = row[3].unwrap();
                match end - 1 > now {
                    true => windows.entry(end).or_default()[input].push(row),
                    false => dropped += 1,
                }
            }
            fired.feed(subject.as_mut(), input, given);
            fired.assert_within(&expected, &context);
            if let Some(to) = feed.watermark() {
                close(&mut windows, to, &mut expected);
                fired.feed(subject.as_mut(), input, Element::Watermark(to));
                fired.assert_is(&mut expected, &context);
            }
            assert_eq!(late.late_records.get(), dropped, "{context}");
            feed.checkpoint(&mut subject, open, &state, &late);
        }
        assert!(dropped > 10);
        close(&mut windows, i64::MAX, &mut expected);
        fired.feed(subject.as_mut(), 0, Element::Watermark(i64::MAX));
        fired.assert_is(&mut expected, &context);
    }
}

fn check_rank(plan: &RankPlan, seed: u64) {
    let mut names = COLUMNS.to_vec();
    names.extend(plan.with_number.then_some("rn"));
    let (row, output) = (row_type(&COLUMNS), row_type(&names));
    let open = |state: &State, restored: Option<&[Vec<u8>]>, late: Late| -> Box<dyn Operator> {
        let zone = zone::session("UTC").unwrap();
        Box::new(WindowRank::open(plan, &row, &output, &state.backend, zone, restored, late).unwrap())
    };
    let ranked = |rows: &[Vec<Row>; 2]| {
        let mut of_key: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
        for row in &rows[0] {
            of_key.entry(row[0]).or_default().push(row.clone());
        }
        let mut results = Vec::new();
        for mut rows in of_key.into_values() {
            if plan.replaces_equal {
                rows.reverse();
            }
            // Of equal values the one that is in front, which a stable sort keeps.
            match plan.order[0].descending {
                false => rows.sort_by_key(|row| row[1]),
                true => rows.sort_by_key(|row| std::cmp::Reverse(row[1])),
            }
            for (number, mut row) in (1..=plan.end).zip(rows).skip(plan.start as usize - 1) {
                row.extend(plan.with_number.then_some(Some(number as i64)));
                results.push(row);
            }
        }
        results
    };
    check(&format!("{plan:?}"), &open, 1, &ranked, seed);
}

#[test]
fn ranks_within_windows_are_those_of_their_rows() {
    let plan = |(start, end), descending, with_number, replaces_equal| RankPlan {
        partition: vec![0],
        window: WINDOW,
        order: vec![SortKey {
            column: 1,
            descending,
            nulls_first: !descending,
            time: None,
        }],
        start,
        end,
        with_number,
        replaces_equal,
    };
    for seed in 0..3 {
        for range in [(1, 1), (1, 2), (2, 3)] {
            check_rank(&plan(range, false, false, false), seed);
            check_rank(&plan(range, true, true, false), seed);
        }
        // The first and the last row by time.
        check_rank(&plan((1, 1), false, false, false), seed);
        check_rank(&plan((1, 1), true, false, true), seed);
    }
}

fn join(
    kind: JoinKind,
    bound: bool,
    state: &State,
    restored: Option<&[Vec<u8>]>,
    late: Late,
) -> Box<dyn Operator> {
    let condition = bound.then(|| Expr::Call {
        function: "<".to_owned(),
        args: vec![
            Expr::column(1, DataType::bigint()),
            Expr::column(5, DataType::bigint()),
        ],
        data_type: DataType::boolean(),
    });
    let plan = JoinPlan {
        kind,
        keys: vec![JoinKey {
            left: 0,
            right: 0,
            null_safe: false,
        }],
        condition,
        left: WINDOW,
        right: WINDOW,
    };
    let row = row_type(&COLUMNS);
    let both = ["k", "v", "t_start", "t_end", "k2", "v2", "t_start2", "t_end2"];
    let output = match kind.is_left_only() {
        true => row_type(&COLUMNS),
        false => row_type(&both),
    };
    let session = Session {
        time_zone: zone::session("UTC").unwrap(),
    };
    let backend = &state.backend;
    Box::new(WindowJoin::open(&plan, [&row, &row], &output, &session, backend, restored, late).unwrap())
}

/// What rows of one window give.
fn joined(kind: JoinKind, bound: bool, left: &[Row], right: &[Row]) -> Vec<Row> {
    let meets = |l: &Row, r: &Row| {
        l[0].is_some() && l[0] == r[0] && (!bound || matches!((l[1], r[1]), (Some(a), Some(b)) if a < b))
    };
    let none = vec![None; COLUMNS.len()];
    let mut out = Vec::new();
    for l in left {
        let partners: Vec<&Row> = right.iter().filter(|r| meets(l, r)).collect();
        match kind {
            JoinKind::Semi if !partners.is_empty() => out.push(l.clone()),
            JoinKind::Anti if partners.is_empty() => out.push(l.clone()),
            JoinKind::Semi | JoinKind::Anti => {}
            _ => out.extend(partners.iter().map(|r| [l.as_slice(), r].concat())),
        }
        if kind.keeps_left() && partners.is_empty() {
            out.push([l.as_slice(), &none].concat());
        }
    }
    if kind.keeps_right() {
        let alone = right.iter().filter(|r| !left.iter().any(|l| meets(l, r)));
        out.extend(alone.map(|r| [none.as_slice(), r].concat()));
    }
    out
}

#[test]
fn joins_within_windows_are_those_of_their_rows() {
    let kinds = [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Right,
        JoinKind::Full,
        JoinKind::Semi,
        JoinKind::Anti,
    ];
    for kind in kinds {
        for bound in [false, true] {
            let open = |state: &State, restored: Option<&[Vec<u8>]>, late: Late| {
                join(kind, bound, state, restored, late)
            };
            let results = |[left, right]: &[Vec<Row>; 2]| joined(kind, bound, left, right);
            check(&format!("{kind:?} {bound}"), &open, 2, &results, 1);
        }
    }
}

const GAP: i64 = 4;
/// Key, time, and a number that rows have by their arrival.
const TIMED: [&str; 3] = ["k", "t", "n"];
const WINDOWED: [&str; 6] = ["k", "t", "n", "t_start", "t_end", "t_time"];

fn sessions(state: &State, restored: Option<&[Vec<u8>]>, late: Late) -> Box<dyn Operator> {
    let plan = TablePlan {
        window: Window::Session { gap: GAP },
        time: Some(1),
        partition: vec![0],
    };
    let zone = zone::session("UTC").unwrap();
    let (input, output, backend) = (row_type(&TIMED), row_type(&WINDOWED), &state.backend);
    Box::new(SessionWindows::table(&plan, &input, &output, backend, zone, restored, late).unwrap())
}

/// A session of a key: its bounds, and its rows in the order of their arrival.
struct Known {
    key: Option<i64>,
    start: i64,
    end: i64,
    rows: Vec<Change>,
}

/// Takes a row in; whether its session is not over with the watermark `now`.
fn arrive(open: &mut Vec<Known>, now: i64, change: Change) -> bool {
    let (key, time) = (change.1[0], change.1[1].unwrap());
    let mut session = Known {
        key,
        start: time,
        end: time + GAP,
        rows: Vec::new(),
    };
    let touches = |s: &Known| s.key == key && s.start <= time + GAP && time <= s.end;
    for touched in open.extract_if(.., |known| touches(known)) {
        session.start = session.start.min(touched.start);
        session.end = session.end.max(touched.end);
        session.rows.extend(touched.rows);
    }
    let is_in_time = session.end - 1 > now;
    if is_in_time {
        session.rows.push(change);
        open.push(session);
    }
    is_in_time
}

/// Rows with the sessions that are over.
fn close(open: &mut Vec<Known>, to: i64, expected: &mut Vec<Change>) {
    for session in open.extract_if(.., |session| session.end - 1 <= to) {
        let bounds = [session.start, session.end, session.end - 1].map(Some);
        let rows = session.rows.into_iter();
        expected.extend(rows.map(|(kind, row)| (kind, [row.as_slice(), &bounds].concat())));
    }
}

/// Within a session rows are in the order in which they came, whatever sessions it was made of.
fn assert_in_order(changes: &[Change], context: &str) {
    let mut last: BTreeMap<(Option<i64>, Option<i64>), Option<i64>> = BTreeMap::new();
    for (_, row) in changes {
        let before = last.insert((row[0], row[4]), row[2]);
        assert!(before < Some(row[2]), "{context}: {row:?} follows {before:?}");
    }
}

#[test]
fn rows_come_with_the_sessions_that_they_are_in() {
    for (seed, cache_bytes) in [(0, 300), (1, 300), (2, 1 << 20), (3, 300), (4, 1 << 20)] {
        let state = state(cache_bytes);
        let late = TaskMetrics::new(["windows".to_owned()]);
        let mut subject = sessions(&state, None, late.clone());
        let mut feed = Feed {
            random: StdRng::seed_from_u64(seed),
            now: 1000,
        };
        let mut fired = Fired::new(|row| row[4].unwrap());
        let (mut open, mut expected) = (Vec::new(), Vec::new());
        let (mut number, mut dropped) = (0, 0);
        for step in 0..200 {
            let context = format!("seed {seed}, {cache_bytes} bytes, step {step}");
            let rows = feed.rows(|random, time| {
                let key = Some(random.random_range(-1..3)).filter(|key| *key >= 0);
                number += 1;
                let kind = match random.random_bool(0.7) {
                    true => RowKind::Insert,
                    false => RowKind::Delete,
                };
                (kind, vec![key, Some(time), Some(number)])
            });
            let given = feed.given(&TIMED, &rows);
            for (now, change) in rows {
                close(&mut open, now, &mut expected);
                dropped += u64::from(!arrive(&mut open, now, change));
            }
            fired.feed(subject.as_mut(), 0, given);
            fired.assert_within(&expected, &context);
            assert_in_order(fired.changes(), &context);
            if let Some(to) = feed.watermark() {
                close(&mut open, to, &mut expected);
                fired.feed(subject.as_mut(), 0, Element::Watermark(to));
                assert_in_order(fired.changes(), &context);
                fired.assert_is(&mut expected, &context);
            }
            assert_eq!(late.late_records.get(), dropped, "{context}");
            feed.checkpoint(&mut subject, &sessions, &state, &late);
        }
        assert!(dropped > 10);
        close(&mut open, i64::MAX, &mut expected);
        fired.feed(subject.as_mut(), 0, Element::Watermark(i64::MAX));
        assert_in_order(fired.changes(), "at the end");
        fired.assert_is(&mut expected, "at the end");
    }
}
