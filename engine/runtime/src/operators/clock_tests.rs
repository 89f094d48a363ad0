//! Windows by the clock, against the same windows of event time: of rows that carry what the clock shows as they
//! come, with a watermark behind each millisecond that is over.

use std::collections::BTreeMap;

use millrace_core::RowKind;
use millrace_dataflow::{Window, WindowAggregate as Plan, WindowTable, Windowing};
use millrace_expr::aggregate::AggregateFunction;
use millrace_expr::text::zone;
use millrace_state::keyed::{KeyedBackend, Lifetimes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::harness::{
    Change, Row, Storage, Table, Wandering, batch, change, end, feed, insert, row_type, shown, state_with,
    tick, watermark,
};
use super::session::SessionWindows;
use super::window_aggregate::WindowAggregate;
use super::window_tests::call;
use crate::keys::Keys;
use crate::metrics::TaskMetrics;

const COLUMNS: [&str; 3] = ["k", "t", "v"];
const AGGREGATED: [&str; 6] = ["k", "n", "x", "t_start", "t_end", "t_time"];
const WITH_WINDOWS: [&str; 6] = ["k", "t", "v", "t_start", "t_end", "t_time"];

#[derive(Debug, Clone, Copy)]
enum What {
    Aggregate {
        retracts: bool,
    },
    /// Rows with their sessions.
    Rows,
}

/// `time` is the column of the event time; none goes by the clock.
fn operator(
    what: What,
    window: Window,
    time: Option<usize>,
    backend: &KeyedBackend,
    restored: Option<&[Vec<u8>]>,
) -> Box<dyn Operator> {
    let metrics = TaskMetrics::new(["window".to_owned()]);
    let zone = zone::session("UTC").unwrap();
    let input = row_type(&COLUMNS);
    let What::Aggregate { retracts } = what else {
        let plan = WindowTable {
            window,
            time,
            partition: vec![0],
        };
        let output = row_type(&WITH_WINDOWS);
        let opened = SessionWindows::table(&plan, &input, &output, backend, zone, restored, metrics);
        return Box::new(opened.unwrap());
    };
    let plan = Plan {
        windowing: Windowing::Laid { window, time },
        keys: vec![0],
        calls: vec![
            call(AggregateFunction::Count, None),
            call(AggregateFunction::Max, Some(2)),
        ],
        retracts,
        in_parts: false,
    };
    let output = row_type(&AGGREGATED);
    match window {
        Window::Session { .. } => Box::new(
            SessionWindows::aggregate(&plan, &input, &output, backend, zone, restored, metrics).unwrap(),
        ),
        _ => {
            Box::new(WindowAggregate::new(&plan, &input, &output, backend, zone, restored, metrics).unwrap())
        }
    }
}

fn of_table(changes: Vec<Change>) -> Table {
    Table::of(changes.into_iter().map(|(_, row)| row))
}

fn run(what: What, window: Window, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut time = Wandering::new(1000);
    let state = || state_with(400, &Lifetimes::default(), &time.clock);
    let states = [state(), state()];
    let mut by_clock = operator(what, window, None, &states[0].backend, None);
    let mut by_time = operator(what, window, Some(1), &states[1].backend, None);
    let input = row_type(&COLUMNS);
    let mut results = 0;
    // It cannot know of what the clock has shown to nobody.
    tick(by_clock.as_mut(), time.latest);
    for step in 0..300 {
        let now = time.go(&mut random);
        let mut expected = watermark(by_time.as_mut(), time.latest - 1);
        let mut out = Vec::new();
        if random.random_bool(0.3) {
            out.extend(tick(by_clock.as_mut(), now));
        } else {
            let mut given = Vec::new();
            for _ in 0..random.random_range(1..5) {
                let row = [
                    random.random_range(-1..3),
                    time.latest,
                    random.random_range(-1..9),
                ];
                given.push(change(RowKind::Insert, &row));
                if matches!(what, What::Aggregate { retracts: true }) && random.random_bool(0.4) {
                    given.push(change(RowKind::Delete, &row));
                }
            }
            out.extend(feed(by_clock.as_mut(), 0, &input, &given));
            expected.extend(feed(by_time.as_mut(), 0, &input, &given));
        }
        results += out.len();
        assert_eq!(
            of_table(out),
            of_table(expected),
            "{what:?} {window:?} step {step}"
        );
        if step % 70 == 69 {
            time.catch_up();
            let entries = by_clock.snapshot().unwrap();
            by_clock = operator(what, window, None, &states[0].backend, Some(&entries));
            let entries = by_time.snapshot().unwrap();
            by_time = operator(what, window, Some(1), &states[1].backend, Some(&entries));
            let (out, expected) = (
                tick(by_clock.as_mut(), time.latest),
                watermark(by_time.as_mut(), time.latest - 1),
            );
            assert_eq!(of_table(out), of_table(expected), "{what:?} {window:?} restored");
        }
    }
    assert!(results > 20, "{what:?} {window:?}: {results} results");
}

#[test]
fn windows_by_the_clock_are_those_of_the_time_it_shows() {
    let windows = [
        Window::Tumble { size: 1, offset: 0 },
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
        Window::Cumulate {
            step: 5,
            size: 20,
            offset: 0,
        },
        Window::Session { gap: 3 },
    ];
    for (number, window) in windows.into_iter().enumerate() {
        for retracts in [false, true] {
            run(What::Aggregate { retracts }, window, number as u64);
        }
    }
    run(What::Rows, Window::Session { gap: 3 }, 9);
}

#[test]
fn a_row_of_the_last_millisecond_is_in_its_window() {
    let time = Wandering::new(1009);
    let state = state_with(1 << 20, &Lifetimes::default(), &time.clock);
    let window = Window::Tumble { size: 10, offset: 0 };
    let mut windows = operator(
        What::Aggregate { retracts: false },
        window,
        None,
        &state.backend,
        None,
    );
    let row = [change(RowKind::Insert, &[1, -1, 5])];
    for _ in 0..2 {
        assert!(tick(windows.as_mut(), 1009).is_empty());
        assert!(feed(windows.as_mut(), 0, &row_type(&COLUMNS), &row).is_empty());
    }
    let over = tick(windows.as_mut(), 1010);
    assert_eq!(shown(&over), ["+I 1 2 5 1000 1010 1009"]);
}

#[test]
fn rows_that_bring_along_windows_of_the_clock_are_never_late_and_go_out_with_the_next_look() {
    let time = Wandering::new(1000);
    let state = state_with(1 << 20, &Lifetimes::default(), &time.clock);
    let plan = Plan {
        windowing: Windowing::Given {
            window: Window::Tumble { size: 10, offset: 0 },
            start: 1,
            end: 2,
            is_proctime: true,
        },
        keys: vec![0],
        calls: vec![call(AggregateFunction::Count, None)],
        retracts: false,
        in_parts: false,
    };
    let input = row_type(&["k", "t_start", "t_end"]);
    let output = row_type(&["k", "n", "t_start", "t_end", "t_time"]);
    let open = |restored: Option<&[Vec<u8>]>| {
        let metrics = TaskMetrics::new(["window".to_owned()]);
        let zone = zone::session("UTC").unwrap();
        WindowAggregate::new(&plan, &input, &output, &state.backend, zone, restored, metrics).unwrap()
    };
    let mut windows = open(None);
    let row = [insert(&[1, 990, 1000]), insert(&[1, 990, 1000])];
    for _ in 0..2 {
        assert!(feed(&mut windows, 0, &input, &row).is_empty());
        assert_eq!(shown(&tick(&mut windows, 1000)), ["+I 1 2 990 1000 999"]);
        assert!(tick(&mut windows, 1005).is_empty());
    }
    assert!(feed(&mut windows, 0, &input, &row).is_empty());
    let entries = windows.snapshot().unwrap();
    let mut windows = open(Some(&entries));
    // What was there before comes first.
    assert_eq!(
        shown(&feed(&mut windows, 0, &input, &row[..1])),
        ["+I 1 2 990 1000 999"]
    );
    assert_eq!(shown(&end(&mut windows)), ["+I 1 1 990 1000 999"]);
}

/// The key groups of keys from 0 on.
fn groups(keys: i64) -> Vec<u16> {
    let rows: Vec<Change> = (0..keys).map(|key| insert(&[key, 0, 0])).collect();
    let input = row_type(&COLUMNS);
    let mut keys = Keys::new(&[0], &input.to_arrow()).unwrap();
    keys.encode(&batch(&input, &rows).change.rows).unwrap();
    keys.groups(Storage::MAX_PARALLELISM)
}

#[test]
fn subtasks_that_looked_at_the_clock_at_different_times_give_each_window_once_when_they_become_one() {
    let windows = [
        Window::Hop {
            slide: 5,
            size: 20,
            offset: 0,
        },
        Window::Cumulate {
            step: 5,
            size: 20,
            offset: 0,
        },
    ];
    let what = What::Aggregate { retracts: false };
    let (keys, most) = (30, Storage::MAX_PARALLELISM);
    let groups = groups(keys);
    for window in windows {
        for cache_bytes in [300, 1 << 20] {
            let time = Wandering::new(1000);
            let mut storage = Storage::new(cache_bytes, &time.clock);
            let (mut out, mut entries, mut files) = (Vec::new(), Vec::new(), Vec::new());
            // One of them has given a window that the other has not.
            for (part, latest) in [(0..most / 2, 1011), (most / 2..most, 1017)] {
                let backend = storage.open_part(part.clone(), &Lifetimes::default(), &[]);
                let mut subject = operator(what, window, None, &backend, None);
                tick(subject.as_mut(), 1000);
                let of_part = (0..keys).filter(|key| part.contains(&groups[*key as usize]));
                for step in 0..3 {
                    // The clock stands; the time goes on with each look.
                    out.extend(tick(subject.as_mut(), 1000 + 4 * step));
                    let rows: Vec<Change> = of_part.clone().map(|key| insert(&[key, -1, 1])).collect();
                    out.extend(feed(subject.as_mut(), 0, &row_type(&COLUMNS), &rows));
                }
                out.extend(tick(subject.as_mut(), latest));
                entries.extend(subject.snapshot().unwrap());
                files.push(storage.checkpoint(&backend));
            }
            let backend = storage.open(&Lifetimes::default(), &files);
            let mut subject = operator(what, window, None, &backend, Some(&entries));
            // A row that comes now is in no window that is given, though the clock shows an earlier time.
            let late: Vec<Change> = (0..keys).map(|key| insert(&[key, -1, 1])).collect();
            out.extend(feed(subject.as_mut(), 0, &row_type(&COLUMNS), &late));
            out.extend(tick(subject.as_mut(), 1100));

            let mut expected: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
            for key in 0..keys {
                for time in [1000, 1004, 1008, 1017] {
                    for (start, end) in window.of_slice(window.slice_end(time)) {
                        *expected.entry((key, start, end)).or_default() += 1;
                    }
                }
            }
            let expected = expected
                .into_iter()
                .map(|((key, start, end), n)| -> Row { [key, n, 1, start, end, end - 1].map(Some).to_vec() });
            assert_eq!(of_table(out), Table::of(expected), "{window:?} {cache_bytes}");
        }
    }
}
