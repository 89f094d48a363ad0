//! First and last rows that are forgotten, and first rows that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_dataflow::{Deduplicate as Kept, Rank as RankPlan, RankStrategy};
use millrace_state::keyed::{Clock, KeyedBackend};

use super::Operator;
use super::deduplicate::{self, Deduplicate};
use super::harness::{Change, Storage, feed, insert, row_type, shown, watermark};
use super::paced::Paced;
use super::ttl_tests::{ALL, TTL, Timed};
use crate::metrics::TaskMetrics;

fn first_or_last(keep_last: bool, rowtime: Option<usize>, timed: &Timed) -> Paced<Deduplicate> {
    first_or_last_of(Kept { keep_last, rowtime }, &timed.state.backend)
}

fn first_or_last_of(kept: Kept, backend: &KeyedBackend) -> Paced<Deduplicate> {
    let plan = RankPlan {
        partition: vec![0],
        order: vec![],
        start: 1,
        end: 1,
        with_number: false,
        strategy: RankStrategy::AppendFast,
    };
    let metrics = TaskMetrics::new(["deduplicate".to_owned()]);
    let input = row_type(&["k", "t", "v"]);
    Deduplicate::new(&plan, kept, ALL, &input, backend, metrics).unwrap()
}

#[test]
fn first_and_last_rows_are_forgotten() {
    let columns = row_type(&["k", "t", "v"]);
    let timed = Timed::new(&["rows"], 1 << 20);
    let mut first = first_or_last(false, None, &timed);
    let mut give = |given: &[Change]| shown(&feed(&mut first, 0, &columns, given));
    assert_eq!(give(&[insert(&[1, 0, 5]), insert(&[1, 0, 6])]), ["+I 1 0 5"]);
    timed.pass(TTL - 1);
    // What is only read does not live longer by it.
    assert_eq!(give(&[insert(&[1, 0, 7])]), Vec::<String>::new());
    timed.pass(1);
    assert_eq!(give(&[insert(&[1, 0, 8])]), ["+I 1 0 8"]);

    let timed = Timed::new(&["rows"], 1 << 20);
    let mut last = first_or_last(true, None, &timed);
    let mut give = |given: &[Change]| shown(&feed(&mut last, 0, &columns, given));
    assert_eq!(give(&[insert(&[1, 0, 5])]), ["+I 1 0 5"]);
    assert_eq!(give(&[insert(&[1, 0, 5])]), ["-U 1 0 5", "+U 1 0 5"]);
    timed.pass(TTL);
    assert_eq!(give(&[insert(&[1, 0, 6])]), ["+I 1 0 6"]);

    let timed = Timed::new(&["rows"], 1 << 20);
    let mut first = first_or_last(false, Some(1), &timed);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[1, 10, 5])]), []);
    // A row that waits is there however long.
    timed.pass(10 * TTL);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[1, 11, 6])]), []);
    assert_eq!(shown(&watermark(&mut first, 10)), ["+I 1 10 5"]);
    timed.pass(TTL - 1);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[1, 20, 7])]), []);
    assert_eq!(shown(&watermark(&mut first, 20)), Vec::<String>::new());
    timed.pass(1);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[1, 30, 8])]), []);
    assert_eq!(shown(&watermark(&mut first, 30)), ["+I 1 30 8"]);
}

#[test]
fn a_first_row_that_waits_outlives_a_time_to_live_that_a_restore_gave() {
    let columns = row_type(&["k", "t", "v"]);
    let time = Arc::new(AtomicI64::new(1_000_000));
    let mut storage = Storage::new(1 << 20, &Clock::Set(time.clone()));
    let kept = Kept {
        keep_last: false,
        rowtime: Some(1),
    };
    let ttl = |millis| deduplicate::lifetimes(kept, millis);
    let backend = storage.open(&ttl(0), &[]);
    let mut first = first_or_last_of(kept, &backend);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[1, 5, 4])]), []);
    assert_eq!(shown(&watermark(&mut first, 5)), ["+I 1 5 4"]);
    assert_eq!(feed(&mut first, 0, &columns, &[insert(&[2, 10, 5])]), []);
    first.snapshot().unwrap();
    let files = storage.checkpoint(&backend);
    // The watermark stands for longer than rows live, over one restore and the next.
    let backend = storage.open(&ttl(TTL), &[files]);
    let mut first = first_or_last_of(kept, &backend);
    time.fetch_add(2 * TTL, Ordering::Relaxed);
    first.snapshot().unwrap();
    let files = storage.checkpoint(&backend);
    for millis in [TTL, TTL / 2, 10 * TTL, 0] {
        let backend = storage.open(&ttl(millis), std::slice::from_ref(&files));
        let mut first = first_or_last_of(kept, &backend);
        time.fetch_add(2 * TTL, Ordering::Relaxed);
        assert_eq!(shown(&watermark(&mut first, 10)), ["+I 2 10 5"]);
        // That the other key's row was given is forgotten, as it should be.
        let late = feed(&mut first, 0, &columns, &[insert(&[1, 20, 6])]);
        assert_eq!(late, []);
        assert_eq!(shown(&watermark(&mut first, 20)), ["+I 1 20 6"]);
    }
}
