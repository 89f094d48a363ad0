//! Random rows, some of them late, against windows that a naive model lays: with little memory, watermarks
//! within batches, rows that are taken back, and the operator opened again on its store.

use std::collections::BTreeMap;

use millrace_core::RowKind;
use millrace_dataflow::{Window, WindowAggregate as Plan, Windowing};
use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
use millrace_expr::text::zone;
use millrace_expr::{DataType, TypeKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::harness::{Change, Row, State, Table, batch, changes, drain, row_type, state, watermark};
use super::session::SessionWindows;
use super::window_aggregate::WindowAggregate;
use crate::element::Batch;
use crate::metrics::TaskMetrics;

const COLUMNS: [&str; 3] = ["k", "t", "v"];
const OUTPUT: [&str; 6] = ["k", "n", "x", "t_start", "t_end", "t_time"];

/// What is computed of the values of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Sum,
    Max,
    /// Of each value once.
    Distinct,
}

fn call(function: AggregateFunction, arg: Option<usize>) -> AggregateCall {
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

fn operator(
    window: Window,
    of: Of,
    retracts: bool,
    in_parts: bool,
    state: &State,
    restored: Option<&[Vec<u8>]>,
) -> Box<dyn Operator> {
    let plan = Plan {
        windowing: Windowing::Laid {
            window,
            time: Some(1),
        },
        keys: vec![0],
        calls: vec![
            call(AggregateFunction::Count, None),
            match of {
                Of::Sum => call(AggregateFunction::Sum, Some(2)),
                Of::Max => call(AggregateFunction::Max, Some(2)),
                Of::Distinct => AggregateCall {
                    distinct: true,
                    ..call(AggregateFunction::Sum, Some(2))
                },
            },
        ],
        retracts,
        in_parts,
    };
    let metrics = TaskMetrics::new(["window".to_owned()]);
    let zone = zone::session("UTC").unwrap();
    let (input, output, backend) = (row_type(&COLUMNS), row_type(&OUTPUT), &state.backend);
    match window {
        Window::Session { .. } => Box::new(
            SessionWindows::aggregate(&plan, &input, &output, backend, zone, restored, metrics).unwrap(),
        ),
        _ => {
            Box::new(WindowAggregate::new(&plan, &input, &output, backend, zone, restored, metrics).unwrap())
        }
    }
}

/// Key, start and end of a window.
type Key = (Option<i64>, i64, i64);

/// Windows one by one, with the rows in each, put in or taken out.
struct Model {
    window: Window,
    watermark: i64,
    open: BTreeMap<Key, Vec<(bool, Option<i64>)>>,
    out: Vec<Row>,
}

impl Model {
    fn row(&mut self, kind: RowKind, row: &Row) {
        let (key, time) = (row[0], row[1].unwrap());
        let value = (kind == RowKind::Insert, row[2]);
        if let Window::Session { gap } = self.window {
            let (mut start, mut end, mut rows) = (time, time + gap, Vec::new());
            let touches = |k: &Key| k.0 == key && k.1 <= time + gap && time <= k.2;
            let touched: Vec<_> = self.open.keys().filter(|k| touches(k)).copied().collect();
            for k in &touched {
                (start, end) = (start.min(k.1), end.max(k.2));
            }
            if end - 1 <= self.watermark {
                return;
            }
            for k in touched {
                rows.extend(self.open.remove(&k).unwrap());
            }
            rows.push(value);
            self.open.insert((key, start, end), rows);
            return;
        }
        // Looked for, not computed.
        for start in time - 100..=time {
            let holds = |begin: i64, length: i64, every: i64, offset: i64| {
                (begin - offset).rem_euclid(every) == 0 && time < begin + length
            };
            let ends: Vec<i64> = match self.window {
                Window::Tumble { size, offset } if holds(start, size, size, offset) => vec![start + size],
                Window::Hop { slide, size, offset } if holds(start, size, slide, offset) => {
                    vec![start + size]
                }
                Window::Cumulate { step, size, offset } if holds(start, size, size, offset) => (1..=size
                    / step)
                    .map(|n| start + n * step)
                    .filter(|end| time < *end)
                    .collect(),
                _ => Vec::new(),
            };
            for end in ends.into_iter().filter(|end| *end - 1 > self.watermark) {
                self.open.entry((key, start, end)).or_default().push(value);
            }
        }
    }

    fn advance(&mut self, watermark: i64, of: Of) {
        self.watermark = self.watermark.max(watermark);
        let over: Vec<_> = self
            .open
            .keys()
            .filter(|k| k.2 - 1 <= watermark)
            .copied()
            .collect();
        for window in over {
            let rows = self.open.remove(&window).unwrap();
            let count: i64 = rows.iter().map(|(there, _)| if *there { 1 } else { -1 }).sum();
            if count == 0 {
                continue;
            }
            let mut left: Vec<i64> = Vec::new();
            for (there, value) in rows {
                match (there, value) {
                    (true, Some(value)) => left.push(value),
                    (false, Some(value)) => {
                        let at = left.iter().position(|v| *v == value);
                        left.remove(at.unwrap());
                    }
                    (_, None) => {}
                }
            }
            if of == Of::Distinct {
                left.sort_unstable();
                left.dedup();
            }
            let result = match of {
                Of::Max => left.iter().max().copied(),
                _ => (!left.is_empty()).then(|| left.iter().sum()),
            };
            let (key, start, end) = window;
            self.out.push(vec![
                key,
                Some(count),
                result,
                Some(start),
                Some(end),
                Some(end - 1),
            ]);
        }
    }
}

/// Rows, some of which take earlier ones back within the same window, and a watermark before each.
fn run(window: Window, of: Of, retracts: bool, cache_bytes: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let state = state(cache_bytes);
    let mut in_parts = false;
    let mut subject = operator(window, of, retracts, in_parts, &state, None);
    let mut model = Model {
        window,
        watermark: i64::MIN,
        open: BTreeMap::new(),
        out: Vec::new(),
    };
    let (mut now, mut out) = (1000, Vec::new());
    for step in 0..90 {
        let (mut given, mut watermarks): (Vec<Change>, Vec<i64>) = (Vec::new(), Vec::new());
        for _ in 0..random.random_range(1..6) {
            if random.random_bool(0.3) {
                now += random.random_range(0..5);
            }
            model.advance(now, of);
            let mut optional = |range| Some(random.random_range(range)).filter(|value| *value >= 0);
            let row = vec![optional(-1..3), optional(now - 12..now + 12), optional(-1..9)];
            let mut kinds = vec![RowKind::Insert];
            if retracts && random.random_bool(0.4) {
                kinds.push(RowKind::Delete);
            }
            for kind in kinds {
                model.row(kind, &row);
                given.push((kind, row.clone()));
                watermarks.push(now);
            }
        }
        let given = Batch {
            watermarks: Some(watermarks.into()),
            ..batch(&row_type(&COLUMNS), &given)
        };
        let mut elements = Vec::new();
        subject.batch(0, given, &mut elements).unwrap();
        drain(subject.as_mut(), &mut elements);
        out.extend(changes(elements));
        if random.random_bool(0.5) {
            now += random.random_range(0..20);
            out.extend(watermark(subject.as_mut(), now));
            model.advance(now, of);
        }
        if step % 40 == 39 {
            let entries = subject.snapshot().unwrap();
            // As after another table.optimizer.agg-phase-strategy.
            in_parts = !in_parts;
            subject = operator(window, of, retracts, in_parts, &state, Some(&entries));
        }
    }
    out.extend(watermark(subject.as_mut(), i64::MAX));
    model.advance(i64::MAX, of);
    assert_eq!(
        Table::of(out.into_iter().map(|(_, row)| row)),
        Table::of(model.out),
        "{window:?} {of:?} {retracts} {cache_bytes}"
    );
}

#[test]
fn results_are_those_of_the_windows() {
    let windows = [
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
    for (number, window) in windows.into_iter().enumerate() {
        for cache_bytes in [300, 1 << 20] {
            for of in [Of::Sum, Of::Max, Of::Distinct] {
                for retracts in [false, true] {
                    run(window, of, retracts, cache_bytes, number as u64);
                }
            }
        }
    }
}
