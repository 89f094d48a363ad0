//! Top-Ns that forget, as Flink's functions do, step by step; and where nothing expires, as others.

use millrace_core::RowKind::{Delete, UpdateAfter};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::tests::{COLUMNS, plan, random_steps, rank, whole};
use super::*;
use crate::operators::harness::{Change, Table, change, feed, insert, row_type, shown};
use crate::operators::ttl_tests::{TTL, Timed};

fn timed() -> Timed {
    Timed::new(&[CANDIDATES, COUNTS], 1 << 20)
}

fn give(rank: &mut Rank, given: &[Change]) -> Vec<String> {
    shown(&feed(rank, 0, &row_type(&COLUMNS), given))
}

const NONE: [&str; 0] = [];

#[test]
fn while_nothing_expires_changes_add_up_to_the_ranks_of_the_table() {
    for (start, end) in [(1, 1), (1, 3), (2, 4), (3, 3)] {
        for with_number in [false, true] {
            if end == 1 && with_number {
                continue;
            }
            let plan = plan(RankStrategy::Retract, start, end, with_number);
            let mut random = StdRng::seed_from_u64(end);
            let timed = Timed::new(&[CANDIDATES, COUNTS], 400);
            let mut rank = rank(&plan, &timed.state);
            let (mut rows, mut next) = (Vec::new(), 0);
            let mut result = Table::default();
            for step in 0..150 {
                let given = random_steps(&mut random, &plan.strategy, &mut rows, &mut next);
                result.apply(&feed(&mut rank, 0, &row_type(&COLUMNS), &given));
                assert_eq!(
                    result,
                    whole(&plan, &rows),
                    "{plan:?} after step {step}: {given:?}"
                );
                if random.random_bool(0.02) {
                    rank.snapshot().unwrap();
                    rank = super::tests::rank(&plan, &timed.state);
                }
            }
        }
    }
}

#[test]
fn a_partition_that_nobody_touches_is_forgotten() {
    for strategy in [
        RankStrategy::AppendFast,
        RankStrategy::UpdateFast { keys: vec![2] },
        RankStrategy::Retract,
    ] {
        let timed = timed();
        let plan = plan(strategy, 1, 2, true);
        let mut rank = rank(&plan, &timed.state);
        assert_eq!(give(&mut rank, &[insert(&[1, 5, 1])]), ["+I 1 5 1 1"]);
        timed.pass(TTL - 1);
        let second = give(&mut rank, &[insert(&[1, 6, 2])]);
        assert_eq!(second, ["-U 1 5 1 1", "+U 1 6 2 1", "+I 1 5 1 2"], "{plan:?}");
        timed.pass(2 * TTL);
        assert_eq!(give(&mut rank, &[insert(&[1, 3, 3])]), ["+I 1 3 3 1"], "{plan:?}");
    }
}

#[test]
fn the_best_row_alone_lives_from_when_it_became_the_best() {
    let timed = timed();
    let plan = plan(RankStrategy::AppendFast, 1, 1, false);
    let mut rank = rank(&plan, &timed.state);
    assert_eq!(give(&mut rank, &[insert(&[1, 5, 1])]), ["+I 1 5 1"]);
    timed.pass(TTL - 1);
    assert_eq!(give(&mut rank, &[insert(&[1, 4, 2])]), NONE);
    timed.pass(1);
    assert_eq!(give(&mut rank, &[insert(&[1, 4, 3])]), ["+I 1 4 3"]);
}

#[test]
fn candidates_are_looked_at_when_their_partition_was_in_memory_for_long() {
    let timed = timed();
    let plan = plan(RankStrategy::AppendFast, 1, 3, false);
    let mut rank = rank(&plan, &timed.state);
    give(&mut rank, &[insert(&[1, 5, 1])]);
    timed.pass(TTL / 2);
    give(&mut rank, &[insert(&[1, 6, 2])]);
    timed.pass(TTL / 2);
    // 5 has expired, 6 has not; the partition is looked at, and next time after another lifetime.
    give(&mut rank, &[insert(&[1, 7, 3])]);
    timed.pass(TTL - 1);
    // 6 is still seen: one of four is pushed out only if it is.
    assert_eq!(
        give(&mut rank, &[insert(&[1, 8, 4]), insert(&[1, 9, 5])]),
        ["+I 1 8 4", "-D 1 6 2", "+I 1 9 5"]
    );
}

#[test]
fn sort_keys_whose_rows_have_expired_are_passed_over() {
    let timed = timed();
    let mut numbered = rank(&plan(RankStrategy::Retract, 1, 3, true), &timed.state);
    give(&mut numbered, &[insert(&[1, 5, 1])]);
    timed.pass(TTL - 1);
    give(&mut numbered, &[insert(&[1, 7, 2])]);
    timed.pass(1);
    // The row of 5 has expired, but not that there is one: it keeps its number until it is met.
    let out = give(&mut numbered, &[insert(&[1, 4, 3])]);
    assert_eq!(out, ["+I 1 4 3 3"]);
    // Met as what comes behind a new row it goes, and 4 moves up.
    let out = give(&mut numbered, &[insert(&[1, 6, 4])]);
    assert_eq!(out, ["-U 1 4 3 2", "+U 1 6 4 2", "+I 1 4 3 3"]);
    // What has expired is not missed.
    assert_eq!(give(&mut numbered, &[change(Delete, &[1, 5, 1])]), NONE);

    let timed = self::timed();
    let mut plain = rank(&plan(RankStrategy::Retract, 1, 1, false), &timed.state);
    give(&mut plain, &[insert(&[1, 5, 1])]);
    timed.pass(TTL - 1);
    assert_eq!(give(&mut plain, &[insert(&[1, 7, 2])]), ["-D 1 5 1", "+I 1 7 2"]);
    timed.pass(1);
    // Behind 7 there is nobody any more who could come in.
    assert_eq!(give(&mut plain, &[change(Delete, &[1, 7, 2])]), ["-D 1 7 2"]);
    assert_eq!(give(&mut plain, &[change(UpdateAfter, &[1, 2, 9])]), ["+I 1 2 9"]);
}
