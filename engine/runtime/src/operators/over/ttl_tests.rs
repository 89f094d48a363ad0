//! Keys that OVER forgets.

use millrace_dataflow::{OverCall, OverFunction};
use millrace_expr::DataType;
use millrace_expr::aggregate::{AggregateFunction, Parameters};

use super::*;
use crate::operators::harness::{feed, insert, row_type, shown, watermark};
use crate::operators::ttl_tests::{TTL, Timed};

const COLUMNS: [&str; 3] = ["k", "t", "v"];

fn sums(kind: TimeKind, frame: Frame, timed: &Timed) -> Box<dyn Operator> {
    let plan = OverAggregate {
        partition: vec![0],
        time: 1,
        kind,
        frame,
        calls: vec![OverCall {
            function: OverFunction::Aggregate(AggregateFunction::Sum),
            arg: Some(2),
            arg_type: Some(DataType::bigint()),
            distinct: false,
            parameters: Parameters::default(),
            default: None,
            data_type: DataType::bigint(),
        }],
    };
    let (input, output) = (row_type(&COLUMNS), row_type(&["k", "t", "v", "s"]));
    let metrics = TaskMetrics::new(["over".to_owned()]);
    operator(&plan, &input, &output, &timed.state.backend, TTL, metrics).unwrap()
}

/// The sum of a row's window.
fn give(over: &mut dyn Operator, time: i64, value: i64) -> Vec<String> {
    shown(&feed(over, 0, &row_type(&COLUMNS), &[insert(&[1, time, value])]))
}

#[test]
fn running_accumulators_expire_when_no_row_comes() {
    let timed = Timed::new(&["accumulators"], 1 << 20);
    let mut over = sums(TimeKind::Processing, Frame::Rows(None), &timed);
    assert_eq!(give(&mut *over, 0, 1), ["+I 1 0 1 1"]);
    timed.pass(TTL - 1);
    assert_eq!(give(&mut *over, 0, 2), ["+I 1 0 2 3"]);
    over.snapshot().unwrap();
    let mut over = sums(TimeKind::Processing, Frame::Rows(None), &timed);
    timed.pass(TTL - 1);
    assert_eq!(give(&mut *over, 0, 3), ["+I 1 0 3 6"]);
    timed.pass(TTL);
    assert_eq!(give(&mut *over, 0, 4), ["+I 1 0 4 4"]);
}

#[test]
fn a_window_of_rows_by_arrival_is_forgotten_by_a_timer() {
    let frame = Frame::Rows(Some(2));
    let timed = Timed::new(&[], 1 << 20);
    let mut over = sums(TimeKind::Processing, frame, &timed);
    assert_eq!(give(&mut *over, 0, 1), ["+I 1 0 1 1"]);
    // Its timer goes off at 1.5 times the time to live; it moves when it would be too early for a row.
    timed.pass(TTL / 2);
    assert_eq!(give(&mut *over, 0, 2), ["+I 1 0 2 3"]);
    timed.pass(TTL - 1);
    assert_eq!(give(&mut *over, 0, 3), ["+I 1 0 3 6"]);
    timed.pass(TTL + TTL / 2 - 1);
    over.snapshot().unwrap();
    let mut over = sums(TimeKind::Processing, frame, &timed);
    assert_eq!(give(&mut *over, 0, 4), ["+I 1 0 4 9"]);
    timed.pass(TTL + TTL / 2);
    assert_eq!(give(&mut *over, 0, 5), ["+I 1 0 5 5"]);
    // It goes off while no row comes, too.
    timed.pass(TTL + TTL / 2);
    let mut out = Vec::new();
    over.tick(timed.now(), &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(give(&mut *over, 0, 6), ["+I 1 0 6 6"]);
}

#[test]
fn rows_that_wait_for_the_watermark_keep_their_key() {
    for frame in [Frame::Rows(None), Frame::Range(None), Frame::Rows(Some(5))] {
        let timed = Timed::new(&[], 1 << 20);
        let mut over = sums(TimeKind::Event, frame, &timed);
        assert_eq!(give(&mut *over, 10, 1), Vec::<String>::new());
        assert_eq!(shown(&watermark(&mut *over, 10)), ["+I 1 10 1 1"]);
        assert_eq!(give(&mut *over, 20, 2), Vec::<String>::new());
        timed.pass(10 * TTL);
        assert_eq!(give(&mut *over, 30, 3), Vec::<String>::new());
        assert_eq!(shown(&watermark(&mut *over, 30)), ["+I 1 20 2 3", "+I 1 30 3 6"]);
        timed.pass(TTL + TTL / 2 - 1);
        over.tick(timed.now(), &mut Vec::new()).unwrap();
        assert_eq!(give(&mut *over, 40, 4), Vec::<String>::new());
        assert_eq!(shown(&watermark(&mut *over, 40)), ["+I 1 40 4 10"]);
        timed.pass(TTL + TTL / 2);
        assert_eq!(give(&mut *over, 50, 5), Vec::<String>::new());
        assert_eq!(shown(&watermark(&mut *over, 50)), ["+I 1 50 5 5"], "{frame:?}");
    }
}

#[test]
fn a_window_of_time_is_not_forgotten() {
    let timed = Timed::new(&[], 1 << 20);
    let mut over = sums(TimeKind::Event, Frame::Range(Some(1_000)), &timed);
    give(&mut *over, 10, 1);
    assert_eq!(shown(&watermark(&mut *over, 10)), ["+I 1 10 1 1"]);
    timed.pass(10 * TTL);
    give(&mut *over, 20, 2);
    assert_eq!(shown(&watermark(&mut *over, 20)), ["+I 1 20 2 3"]);
}
