//! Random rows, some of them late, against windows that a naive model lays: with little memory, watermarks
//! within batches, rows that are taken back while their windows are open or when they are over, and the operator
//! opened again on its store. Behind each watermark exactly the windows are given that are over with it.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use millrace_core::RowKind::{self, Delete, Insert};
use millrace_dataflow::{Window, WindowAggregate as Plan, Windowing};
use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
use millrace_expr::text::zone;
use millrace_expr::{DataType, TypeKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::harness::{Change, Fired, Row, State, batch, feed, row_type, state};
use super::session::SessionWindows;
use super::window_aggregate::WindowAggregate;
use super::window_table::WindowTable;
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

/// Key, time, value, and the bounds of a window where rows say what they are in.
const COLUMNS: [&str; 5] = ["k", "t", "v", "t_from", "t_to"];
const OUTPUT: [&str; 6] = ["k", "n", "x", "t_start", "t_end", "t_time"];

/// What is computed of the values of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Sum,
    Max,
    /// Of each value once.
    Distinct,
}

pub(super) fn call(function: AggregateFunction, arg: Option<usize>) -> AggregateCall {
    AggregateCall {
        function,
        arg,
        arg_type: arg.map(|_| DataType::bigint()),
        distinct: false,
        ignores_retractions: false,
        parameters: Parameters::default(),
        filter: None,
        data_type: match function {
            AggregateFunction::Count => DataType::not_null(TypeKind::BigInt),
            _ => DataType::bigint(),
        },
    }
}

/// An aggregation, as it is tested.
#[derive(Debug, Clone, Copy)]
struct Case {
    window: Window,
    /// Rows have their windows, of another operator.
    given: bool,
    of: Of,
    retracts: bool,
    cache_bytes: usize,
    seed: u64,
}

impl Case {
    fn open(
        &self,
        in_parts: bool,
        state: &State,
        restored: Option<&[Vec<u8>]>,
        metrics: &std::sync::Arc<TaskMetrics>,
    ) -> Box<dyn Operator> {
        let window = self.window;
        let plan = Plan {
            windowing: match self.given {
                false => Windowing::Laid {
                    window,
                    time: Some(1),
                },
                true => Windowing::Given {
                    window,
                    start: 3,
                    end: 4,
                    is_proctime: false,
                },
            },
            keys: vec![0],
            calls: vec![
                call(AggregateFunction::Count, None),
                match self.of {
                    Of::Sum => call(AggregateFunction::Sum, Some(2)),
                    Of::Max => call(AggregateFunction::Max, Some(2)),
                    Of::Distinct => AggregateCall {
                        distinct: true,
                        ..call(AggregateFunction::Sum, Some(2))
                    },
                },
            ],
            retracts: self.retracts,
            in_parts,
        };
        let (zone, metrics) = (zone::session("UTC").unwrap(), metrics.clone());
        let (input, output, backend) = (row_type(&COLUMNS), row_type(&OUTPUT), &state.backend);
        match (window, self.given) {
            (Window::Session { .. }, false) => Box::new(
                SessionWindows::aggregate(&plan, &input, &output, backend, zone, restored, metrics).unwrap(),
            ),
            _ => Box::new(
                WindowAggregate::new(&plan, &input, &output, backend, zone, restored, metrics).unwrap(),
            ),
        }
    }
}

/// The windows that hold a time, as (start, end): looked for, not computed.
fn laid(window: Window, time: i64) -> Vec<(i64, i64)> {
    let mut windows = Vec::new();
    for start in time - 100..=time {
        let begins = |every: i64, offset: i64| (start - offset).rem_euclid(every) == 0;
        match window {
            Window::Tumble { size, offset } if begins(size, offset) => windows.push((start, start + size)),
            Window::Hop { slide, size, offset } if begins(slide, offset) => {
                windows.push((start, start + size));
            }
            Window::Cumulate { step, size, offset } if begins(size, offset) => {
                windows.extend((1..=size / step).map(|n| (start, start + n * step)));
            }
            _ => {}
        }
    }
    windows.retain(|(_, end)| time < *end);
    windows
}

/// Key, start and end of a window.
type Key = (Option<i64>, i64, i64);

/// How often each value is there: less than never, where it was taken back from another window than its own.
#[derive(Debug, Clone, Default)]
struct Values {
    rows: i64,
    values: BTreeMap<i64, i64>,
}

impl Values {
    fn add(&mut self, value: Option<i64>, count: i64) {
        self.rows += count;
        if let Some(value) = value {
            *self.values.entry(value).or_default() += count;
        }
    }

    fn result(&self, of: Of) -> Option<i64> {
        let there = self.values.iter().filter(|(_, count)| **count > 0);
        match of {
            Of::Sum => {
                let is_any = self.values.values().sum::<i64>() != 0;
                is_any.then(|| self.values.iter().map(|(value, count)| value * count).sum())
            }
            Of::Max => there.map(|(value, _)| *value).max(),
            Of::Distinct => there.map(|(value, _)| *value).reduce(i64::wrapping_add),
        }
    }
}

/// Windows one by one, with the values in each.
struct Model {
    case: Case,
    watermark: i64,
    open: BTreeMap<Key, Values>,
    late: u64,
    out: Vec<Change>,
}

impl Model {
    /// The sessions that a row meets, and the one that they are with it.
    fn touched(&self, key: Option<i64>, gap: i64, time: i64) -> (Vec<Key>, Key) {
        let touches = |k: &&Key| k.0 == key && k.1 <= time + gap && time <= k.2;
        let touched: Vec<Key> = self.open.keys().filter(touches).copied().collect();
        let start = touched.iter().map(|k| k.1).chain([time]).min().unwrap();
        let end = touched.iter().map(|k| k.2).chain([time + gap]).max().unwrap();
        (touched, (key, start, end))
    }

    /// Whether a row would be taken out of a session that it is not in: its own is over, and another one has
    /// begun that it touches.
    fn is_astray(&self, row: &Row) -> bool {
        let Window::Session { gap } = self.case.window else {
            return false;
        };
        if self.case.given {
            return false;
        }
        let (touched, (.., end)) = self.touched(row[0], gap, row[1].unwrap());
        let there = |key: &Key| {
            let values = &self.open[key];
            row[2].map_or(values.rows > 0, |v| values.values.get(&v).is_some_and(|n| *n > 0))
        };
        end - 1 > self.watermark && !touched.iter().any(there)
    }

    /// The windows that the row is in, which are open.
    fn row(&mut self, kind: RowKind, row: &Row) -> Vec<Key> {
        let (key, time, value) = (row[0], row[1].unwrap(), row[2]);
        let count = if kind == Insert { 1 } else { -1 };
        if let (Window::Session { gap }, false) = (self.case.window, self.case.given) {
            let (touched, session) = self.touched(key, gap, time);
            if session.2 - 1 <= self.watermark {
                self.late += 1;
                return Vec::new();
            }
            let mut all = Values::default();
            for other in touched {
                let other = self.open.remove(&other).unwrap();
                all.rows += other.rows;
                let values = other.values.into_iter();
                values.for_each(|(value, count)| all.values.entry(value).or_default().add_assign(count));
            }
            all.add(value, count);
            self.open.insert(session, all);
            return vec![session];
        }
        let windows = match self.case.given {
            true => vec![(row[3].unwrap(), row[4].unwrap())],
            false => laid(self.case.window, time),
        };
        let is_any = !windows.is_empty();
        let open = windows.into_iter().filter(|(_, end)| *end - 1 > self.watermark);
        let open: Vec<Key> = open.map(|(start, end)| (key, start, end)).collect();
        self.late += u64::from(is_any && open.is_empty());
        for window in &open {
            self.open.entry(*window).or_default().add(value, count);
        }
        open
    }

    fn advance(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
        let is_over = |k: &Key| k.2 - 1 <= watermark;
        for ((key, start, end), values) in self.open.extract_if(.., |k, _| is_over(k)) {
            if values.rows != 0 {
                let result = values.result(self.case.of);
                let bounds = [Some(start), Some(end), Some(end - 1)];
                let row = [&[key, Some(values.rows), result], &bounds[..]].concat();
                self.out.push((Insert, row));
            }
        }
    }
}

/// A row that was put in and not taken back yet.
struct Live {
    row: Row,
    watermark: i64,
    restores: u32,
    windows: Vec<Key>,
}

/// What rows have been taken back.
#[derive(Debug, Default)]
struct TakenBack {
    late: u32,
    /// Out of windows that are open, and of those:
    open: u32,
    across_watermarks: u32,
    across_restores: u32,
    /// Out of other windows than they were put into: of a hopping one that is over, of a session that has grown.
    elsewhere: u32,
    astray: u32,
}

impl TakenBack {
    fn count(&mut self, live: &Live, watermark: i64, restores: u32, windows: &[Key], astray: bool) {
        self.late += u32::from(windows.is_empty());
        if windows.is_empty() {
            return;
        }
        self.open += 1;
        self.across_watermarks += u32::from(live.watermark < watermark);
        self.across_restores += u32::from(live.restores < restores);
        self.elsewhere += u32::from(live.windows != windows);
        self.astray += u32::from(astray);
    }
}

/// Rows, some of which take earlier ones back, and a watermark before each.
fn run(case: Case, taken_back: &mut TakenBack) {
    let mut random = StdRng::seed_from_u64(case.seed);
    let state = state(case.cache_bytes);
    let metrics = TaskMetrics::new(["window".to_owned()]);
    let mut in_parts = false;
    let mut subject = case.open(in_parts, &state, None, &metrics);
    let mut model = Model {
        case,
        watermark: i64::MIN,
        open: BTreeMap::new(),
        late: 0,
        out: Vec::new(),
    };
    let mut fired = Fired::new(|row| row[4].unwrap());
    let (mut live, mut restores): (Vec<Live>, u32) = (Vec::new(), 0);
    let (mut now, mut announced) = (1000, i64::MIN);
    for step in 0..200 {
        let context = format!("{case:?}, step {step}");
        let (mut given, mut watermarks): (Vec<Change>, Vec<i64>) = (Vec::new(), Vec::new());
        for _ in 0..random.random_range(1..6) {
            if random.random_bool(0.3) {
                now += random.random_range(0..5);
            }
            model.advance(now);
            watermarks.push(now);
            live.retain(|live| live.row[1].unwrap() > now - 25);
            if case.retracts && !live.is_empty() && random.random_bool(0.4) {
                let at = random.random_range(0..live.len());
                let astray = model.is_astray(&live[at].row);
                // Which value is the largest then, only Flink knows.
                if !astray || case.of == Of::Sum {
                    let gone = live.swap_remove(at);
                    let windows = model.row(Delete, &gone.row);
                    taken_back.count(&gone, now, restores, &windows, astray);
                    given.push((Delete, gone.row));
                    continue;
                }
            }
            let mut optional = |range| Some(random.random_range(range)).filter(|value| *value >= 0);
            let mut row = vec![optional(-1..3), optional(now - 12..now + 12), optional(-1..9)];
            let (start, end) = match case.given {
                true => {
                    let windows = laid(case.window, row[1].unwrap());
                    windows[random.random_range(0..windows.len())]
                }
                false => (0, 0),
            };
            row.extend([Some(start), Some(end)]);
            let windows = model.row(Insert, &row);
            given.push((Insert, row.clone()));
            // Of rows that came too late only some are taken back.
            if !windows.is_empty() || random.random_bool(0.2) {
                live.push(Live {
                    row,
                    watermark: now,
                    restores,
                    windows,
                });
            }
        }
        // Where it does not rise within a batch, nobody repeats what the watermark is.
        let says = watermarks.iter().any(|w| *w > announced) || random.random_bool(0.5);
        let given = Batch {
            watermarks: says.then(|| watermarks.into()),
            ..batch(&row_type(&COLUMNS), &given)
        };
        fired.feed(subject.as_mut(), 0, Element::Batch(given));
        fired.assert_within(&model.out, &context);
        if random.random_bool(0.5) {
            now += random.random_range(0..8);
            announced = now;
            model.advance(now);
            fired.feed(subject.as_mut(), 0, Element::Watermark(now));
            fired.assert_is(&mut model.out, &context);
        }
        assert_eq!(metrics.late_records.get(), model.late, "{context}");
        if random.random_bool(0.15) {
            let entries = subject.snapshot().unwrap();
            if random.random_bool(0.6) {
                // As after another table.optimizer.agg-phase-strategy.
                in_parts ^= random.random_bool(0.5);
                subject = case.open(in_parts, &state, Some(&entries), &metrics);
                restores += 1;
            }
        }
    }
    model.advance(i64::MAX);
    fired.feed(subject.as_mut(), 0, Element::Watermark(i64::MAX));
    fired.assert_is(&mut model.out, &format!("{case:?}, at the end"));
}

const WINDOWS: [Window; 8] = [
    Window::Tumble { size: 10, offset: 0 },
    Window::Tumble { size: 10, offset: 3 },
    Window::Hop {
        slide: 5,
        size: 20,
        offset: 0,
    },
    Window::Hop {
        slide: 4,
        size: 10,
        offset: 1,
    },
    Window::Hop {
        slide: 15,
        size: 10,
        offset: 0,
    },
    Window::Cumulate {
        step: 5,
        size: 20,
        offset: 0,
    },
    Window::Session { gap: 3 },
    Window::Session { gap: 8 },
];

/// Runs a window with all that is computed of its values, with little memory and with enough.
fn run_all(window: Window, given: bool, seed: u64) {
    let mut taken_back = TakenBack::default();
    for cache_bytes in [300, 1 << 20] {
        for of in [Of::Sum, Of::Max, Of::Distinct] {
            for retracts in [false, true] {
                let case = Case {
                    window,
                    given,
                    of,
                    retracts,
                    cache_bytes,
                    seed: 10 * seed + of as u64,
                };
                run(case, &mut taken_back);
            }
        }
    }
    let TakenBack {
        late,
        open,
        across_watermarks,
        across_restores,
        elsewhere,
        astray,
    } = taken_back;
    let all = [late, open, across_watermarks, across_restores];
    assert!(all.iter().all(|count| *count > 10), "{window:?}: {taken_back:?}");
    // Windows that overlap are over one after the other, and sessions grow.
    let changes = matches!(window, Window::Hop { slide, size, .. } if slide < size)
        || matches!(window, Window::Cumulate { .. } | Window::Session { .. });
    assert_eq!(elsewhere > 10, changes && !given, "{window:?}: {taken_back:?}");
    if window == (Window::Session { gap: 8 }) {
        assert!(astray > 0, "{window:?}: {taken_back:?}");
    }
}

#[test]
fn results_are_those_of_the_windows() {
    for (seed, window) in (0..).zip(WINDOWS) {
        run_all(window, false, seed);
    }
}

#[test]
fn results_are_those_of_the_windows_that_rows_say() {
    for seed in [0, 2, 3, 5] {
        run_all(WINDOWS[seed], true, seed as u64);
    }
}

/// Rows with each of their windows.
#[test]
fn rows_come_once_with_each_of_their_windows() {
    let input = ["k", "t"];
    for window in WINDOWS.into_iter().take(6) {
        let mut random = StdRng::seed_from_u64(1);
        let plan = millrace_dataflow::WindowTable {
            window,
            time: Some(1),
            partition: Vec::new(),
        };
        let output = row_type(&["k", "t", "t_start", "t_end", "t_time"]);
        let mut table = WindowTable::new(&plan, &output, zone::session("UTC").unwrap()).unwrap();
        for _ in 0..40 {
            let rows: Vec<Change> = (0..random.random_range(1..20))
                .map(|_| {
                    let kind = [Insert, Delete, RowKind::UpdateBefore, RowKind::UpdateAfter];
                    let row = vec![
                        Some(random.random_range(0..9)),
                        Some(random.random_range(1000..1100)),
                    ];
                    (kind[random.random_range(0..4)], row)
                })
                .collect();
            let mut expected = Vec::new();
            for (kind, row) in &rows {
                let mut windows = laid(window, row[1].unwrap());
                // Flink's order: of hopping ones the latest first.
                windows.sort_by_key(|(_, end)| match window {
                    Window::Hop { .. } => -end,
                    _ => *end,
                });
                for (start, end) in windows {
                    let bounds = [Some(start), Some(end), Some(end - 1)];
                    expected.push((*kind, [row.as_slice(), &bounds].concat()));
                }
            }
            assert_eq!(
                feed(&mut table, 0, &row_type(&input), &rows),
                expected,
                "{window:?}"
            );
        }
    }
}
