//! Random rows of windows, some of them late, against naive models of the operators that keep rows by
//! window: with little memory, watermarks within batches, and the operators opened again on their stores.

use std::collections::BTreeMap;

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
use super::harness::{Change, Row, State, Table, batch, changes, drain, row_type, state, watermark};
use super::session::SessionWindows;
use super::window_join::WindowJoin;
use super::window_rank::WindowRank;
use crate::element::Batch;
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
    /// Rows near the present, whose columns `row` makes of a time.
    fn rows(&mut self, row: impl Fn(&mut StdRng, i64) -> Row) -> Vec<(i64, Row)> {
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

    fn given(&self, columns: &[&str], rows: &[(i64, Row)]) -> Batch {
        let inserts: Vec<Change> = rows
            .iter()
            .map(|(_, row)| (RowKind::Insert, row.clone()))
            .collect();
        Batch {
            watermarks: Some(rows.iter().map(|(now, _)| *now).collect()),
            ..batch(&row_type(columns), &inserts)
        }
    }
}

fn in_window(random: &mut StdRng, time: i64) -> Row {
    let end = time - time.rem_euclid(SIZE) + SIZE;
    // Windows that end together are one, whenever they began, as sessions do.
    let start = end - random.random_range(1..=SIZE);
    let optional = |value: i64| Some(value).filter(|value| *value >= 0);
    vec![
        optional(random.random_range(-1..3)),
        optional(random.random_range(-1..6)),
        Some(start),
        Some(end),
    ]
}

fn metrics() -> std::sync::Arc<TaskMetrics> {
    TaskMetrics::new(["windows".to_owned()])
}

fn rank(start: u64, end: u64, state: &State, restored: Option<&[Vec<u8>]>) -> Box<dyn Operator> {
    let plan = RankPlan {
        partition: vec![0],
        window: WINDOW,
        order: vec![SortKey {
            column: 1,
            descending: false,
            nulls_first: true,
            time: None,
        }],
        start,
        end,
        with_number: false,
        replaces_equal: false,
    };
    let row = row_type(&COLUMNS);
    let zone = zone::session("UTC").unwrap();
    Box::new(WindowRank::open(&plan, &row, &row, &state.backend, zone, restored, metrics()).unwrap())
}

fn check_rank(start: u64, end: u64, cache_bytes: usize, seed: u64) {
    let state = state(cache_bytes);
    let mut subject = rank(start, end, &state, None);
    let mut feed = Feed {
        random: StdRng::seed_from_u64(seed),
        now: 1000,
    };
    let mut open: BTreeMap<(i64, Option<i64>), Vec<Row>> = BTreeMap::new();
    let (mut expected, mut out) = (Vec::new(), Vec::new());
    for step in 0..120 {
        let rows = feed.rows(in_window);
        let given = feed.given(&COLUMNS, &rows);
        let last = step == 119;
        for (now, row) in rows {
            let window = row[3].unwrap();
            if window - 1 > now {
                open.entry((window, row[0])).or_default().push(row);
            }
        }
        let mut elements = Vec::new();
        subject.batch(0, given, &mut elements).unwrap();
        drain(subject.as_mut(), &mut elements);
        out.extend(changes(elements));
        if step % 3 == 0 || last {
            let to = if last { i64::MAX } else { feed.now };
            out.extend(watermark(subject.as_mut(), to));
            for ((window, key), mut rows) in std::mem::take(&mut open) {
                if window - 1 > to {
                    open.insert((window, key), rows);
                    continue;
                }
                // Of equal values the one that came first, which a stable sort keeps.
                rows.sort_by_key(|row| row[1]);
                expected.extend(
                    rows.into_iter()
                        .skip(start as usize - 1)
                        .take((end + 1 - start) as usize),
                );
            }
        }
        if step % 40 == 39 && !last {
            let entries = subject.snapshot().unwrap();
            subject = rank(start, end, &state, Some(&entries));
        }
    }
    assert_eq!(
        Table::of(out.into_iter().map(|(_, row)| row)),
        Table::of(expected),
        "{start} to {end}, {cache_bytes}"
    );
}

#[test]
fn ranks_within_windows_are_those_of_their_rows() {
    for seed in 0..4 {
        for cache_bytes in [300, 1 << 20] {
            check_rank(1, 1, cache_bytes, seed);
            check_rank(1, 2, cache_bytes, seed);
            check_rank(2, 3, cache_bytes, seed);
        }
    }
}

fn join(kind: JoinKind, bound: bool, state: &State, restored: Option<&[Vec<u8>]>) -> Box<dyn Operator> {
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
    Box::new(
        WindowJoin::open(
            &plan,
            [&row, &row],
            &output,
            &session,
            backend,
            restored,
            metrics(),
        )
        .unwrap(),
    )
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

fn check_join(kind: JoinKind, bound: bool, cache_bytes: usize, seed: u64) {
    let state = state(cache_bytes);
    let mut subject = join(kind, bound, &state, None);
    let mut feed = Feed {
        random: StdRng::seed_from_u64(seed),
        now: 1000,
    };
    let mut open: BTreeMap<i64, [Vec<Row>; 2]> = BTreeMap::new();
    let (mut expected, mut out) = (Vec::new(), Vec::new());
    for step in 0..120 {
        let input = feed.random.random_range(0..2);
        let rows = feed.rows(in_window);
        let given = feed.given(&COLUMNS, &rows);
        for (now, row) in rows {
            let window = row[3].unwrap();
            if window - 1 > now {
                open.entry(window).or_default()[input].push(row);
            }
        }
        let mut elements = Vec::new();
        subject.batch(input, given, &mut elements).unwrap();
        drain(subject.as_mut(), &mut elements);
        out.extend(changes(elements));
        let last = step == 119;
        if step % 3 == 0 || last {
            let to = if last { i64::MAX } else { feed.now };
            out.extend(watermark(subject.as_mut(), to));
            for (window, [left, right]) in std::mem::take(&mut open) {
                match window - 1 > to {
                    true => drop(open.insert(window, [left, right])),
                    false => expected.extend(joined(kind, bound, &left, &right)),
                }
            }
        }
        if step % 40 == 39 && !last {
            let entries = subject.snapshot().unwrap();
            subject = join(kind, bound, &state, Some(&entries));
        }
    }
    assert_eq!(
        Table::of(out.into_iter().map(|(_, row)| row)),
        Table::of(expected),
        "{kind:?} {bound} {cache_bytes}"
    );
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
            check_join(kind, bound, 300, 1);
            check_join(kind, bound, 1 << 20, 2);
        }
    }
}

const GAP: i64 = 4;
const TIMED: [&str; 2] = ["k", "t"];
const WINDOWED: [&str; 5] = ["k", "t", "t_start", "t_end", "t_time"];

fn sessions(state: &State, restored: Option<&[Vec<u8>]>) -> Box<dyn Operator> {
    let plan = TablePlan {
        window: Window::Session { gap: GAP },
        time: Some(1),
        partition: vec![0],
    };
    let zone = zone::session("UTC").unwrap();
    let (input, output, backend) = (row_type(&TIMED), row_type(&WINDOWED), &state.backend);
    Box::new(SessionWindows::table(&plan, &input, &output, backend, zone, restored, metrics()).unwrap())
}

#[test]
fn rows_come_with_the_sessions_that_they_are_in() {
    for (seed, cache_bytes) in [(0, 300), (1, 300), (2, 1 << 20)] {
        let state = state(cache_bytes);
        let mut subject = sessions(&state, None);
        let mut feed = Feed {
            random: StdRng::seed_from_u64(seed),
            now: 1000,
        };
        // Of each key its sessions: start, end, rows.
        let mut open: Vec<(Option<i64>, i64, i64, Vec<Row>)> = Vec::new();
        let (mut expected, mut out) = (Vec::new(), Vec::new());
        let mut close = |open: &mut Vec<(Option<i64>, i64, i64, Vec<Row>)>, to: i64| {
            for (_, start, end, rows) in open.extract_if(.., |(_, _, end, _)| *end - 1 <= to) {
                let bounds = [Some(start), Some(end), Some(end - 1)];
                expected.extend(
                    rows.into_iter()
                        .map(|row: Row| [row.as_slice(), &bounds].concat()),
                );
            }
        };
        for step in 0..120 {
            let rows = feed.rows(|random, time| {
                let key = Some(random.random_range(-1..3)).filter(|key| *key >= 0);
                vec![key, Some(time)]
            });
            let given = feed.given(&TIMED, &rows);
            for (now, row) in rows {
                close(&mut open, now);
                let (mut start, mut end) = (row[1].unwrap(), row[1].unwrap() + GAP);
                let touches =
                    |s: &(Option<i64>, i64, i64, Vec<Row>)| s.0 == row[0] && s.1 <= end && start <= s.2;
                let touched: Vec<_> = open.extract_if(.., |s| touches(s)).collect();
                let mut all = Vec::new();
                for (_, s, e, rows) in touched {
                    (start, end) = (start.min(s), end.max(e));
                    all.extend(rows);
                }
                if end - 1 > now {
                    let key = row[0];
                    all.push(row);
                    open.push((key, start, end, all));
                }
            }
            let mut elements = Vec::new();
            subject.batch(0, given, &mut elements).unwrap();
            drain(subject.as_mut(), &mut elements);
            out.extend(changes(elements));
            if step % 40 == 39 {
                let entries = subject.snapshot().unwrap();
                subject = sessions(&state, Some(&entries));
            }
        }
        out.extend(watermark(subject.as_mut(), i64::MAX));
        close(&mut open, i64::MAX);
        assert_eq!(
            Table::of(out.into_iter().map(|(_, row)| row)),
            Table::of(expected),
            "{cache_bytes}"
        );
    }
}
