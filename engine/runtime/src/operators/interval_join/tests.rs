//! Random rows and watermarks against the join of whole tables; what is late; what is kept.

use millrace_dataflow::{IntervalBounds, JoinKey, JoinKind};
use millrace_expr::{DataType, Expr};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::operators::Operator;
use crate::operators::harness::{
    Change, Row, State, Table, assert_paced, batch, changes, drain, feed, insert, pieces, row_type, shown,
    state, watermark,
};

const LEFT: [&str; 3] = ["k", "t", "a"];
const RIGHT: [&str; 3] = ["k", "t", "b"];

/// left time - right time in [-5, 3].
fn plan(kind: JoinKind) -> Plan {
    Plan {
        kind,
        keys: vec![JoinKey {
            left: 0,
            right: 0,
            null_safe: false,
        }],
        condition: None,
        bounds: IntervalBounds {
            lower: -5,
            upper: 3,
            is_rowtime: true,
            left_time: 1,
            right_time: 1,
        },
    }
}

fn join(kind: JoinKind, state: &State) -> Paced<IntervalJoin> {
    of_plan(&plan(kind), state)
}

fn of_plan(plan: &Plan, state: &State) -> Paced<IntervalJoin> {
    let output = row_type(&["k", "t", "a", "k0", "t0", "b"]);
    let inputs = [&row_type(&LEFT), &row_type(&RIGHT)];
    IntervalJoin::new(plan, inputs, &output, &Session::default(), &state.backend).unwrap()
}

fn whole(kind: JoinKind, left: &[Row], right: &[Row]) -> Table {
    let near = |l: &Row, r: &Row| {
        let apart = l[1].unwrap() - r[1].unwrap();
        l[0].is_some() && l[0] == r[0] && (-5..=3).contains(&apart)
    };
    let nulls = || vec![None, None, None];
    let mut rows = Vec::new();
    for l in left {
        let met: Vec<&Row> = right.iter().filter(|r| near(l, r)).collect();
        if met.is_empty() && kind.keeps_left() {
            rows.push([l.clone(), nulls()].concat());
        }
        rows.extend(met.into_iter().map(|r| [l.clone(), r.clone()].concat()));
    }
    if kind.keeps_right() {
        let alone = right.iter().filter(|r| !left.iter().any(|l| near(l, r)));
        rows.extend(alone.map(|r| [nulls(), r.clone()].concat()));
    }
    Table::of(rows)
}

/// What has come out when rows have come and a watermark: all pairs, and of rows without a partner those that can
/// have none any more, once their key was looked through: half of what rows of both sides wait after the row that the
/// key began with, which may be 10 behind another.
fn assert_timely(kind: JoinKind, tables: &[Vec<Row>; 2], result: &Table, watermark: i64) {
    let is_pair = |row: &&Row| row[2].is_some() && row[5].is_some();
    let pairs = result.rows().into_iter().filter(is_pair).cloned();
    let [left, right] = tables;
    assert_eq!(Table::of(pairs), whole(JoinKind::Inner, left, right), "{kind:?}");
    let nulls = [None, None, None];
    let alone = |own: &Vec<Row>, row: Row, waits: i64| {
        let is_given = result.0.contains_key(&row);
        let can_have_none = own[0][1].unwrap() + waits < watermark;
        let is_due = own[0][1].unwrap() + waits + (5 + 3) / 2 + 10 < watermark;
        assert!(
            is_given || !is_due,
            "{kind:?}: {row:?} is not there at {watermark}"
        );
        assert!(
            can_have_none || !is_given,
            "{kind:?}: {row:?} is there at {watermark}"
        );
    };
    for row in left.iter().filter(|_| kind.keeps_left()) {
        let mine = vec![row.clone()];
        if whole(JoinKind::Inner, &mine, right).0.is_empty() {
            alone(&mine, [row.as_slice(), &nulls].concat(), 5);
        }
    }
    for row in right.iter().filter(|_| kind.keeps_right()) {
        let mine = vec![row.clone()];
        if whole(JoinKind::Inner, left, &mine).0.is_empty() {
            alone(&mine, [&nulls, row.as_slice()].concat(), 3);
        }
    }
}

#[test]
fn rows_add_up_to_the_join_of_the_tables_and_none_is_kept() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full] {
        let mut random = StdRng::seed_from_u64(7);
        let state = state(400);
        let mut join = join(kind, &state);
        let of = [row_type(&LEFT), row_type(&RIGHT)];
        let mut tables: [Vec<Row>; 2] = Default::default();
        let (mut result, mut now, mut announced) = (Table::default(), 100, i64::MIN);
        for step in 0..300 {
            let side = random.random_range(0..2);
            let given: Vec<_> = (0..random.random_range(1..4))
                // None is before the watermark.
                .map(|_| insert(&[random.random_range(-1..3), now + random.random_range(1..12), step]))
                .collect();
            tables[side].extend(given.iter().map(|(_, row)| row.clone()));
            result.apply(&feed(&mut join, side, &of[side], &given));
            if random.random_bool(0.3) {
                now += random.random_range(0..6);
                announced = now;
                result.apply(&watermark(&mut join, now));
            }
            assert_timely(kind, &tables, &result, announced);
            if step % 100 == 99 {
                join.snapshot().unwrap();
                join = self::join(kind, &state);
                join.work.watermark = now;
            }
        }
        result.apply(&watermark(&mut join, i64::MAX));
        assert_eq!(result, whole(kind, &tables[0], &tables[1]), "{kind:?}");
        join.snapshot().unwrap();
        for (side, name) in [(&join.work.left, "left"), (&join.work.right, "right")] {
            let kept = side.table.bytes();
            assert!(kept < 1000, "{name} still keeps {kept} bytes");
        }
    }
}

#[test]
fn a_late_row_meets_what_is_kept_and_is_not_kept_itself() {
    let state = state(1 << 20);
    let mut join = join(JoinKind::Left, &state);
    let (left, right) = (row_type(&LEFT), row_type(&RIGHT));
    assert!(feed(&mut join, 1, &right, &[insert(&[1, 100, 7])]).is_empty());
    assert!(watermark(&mut join, 102).is_empty());
    // Its bound reaches to 95 + 5: a right row may still be there, none will come.
    let late = feed(&mut join, 0, &left, &[insert(&[1, 97, 1]), insert(&[1, 90, 2])]);
    assert_eq!(shown(&late), ["+I 1 97 1 1 100 7", "+I 1 90 2 - - -"]);
}

#[test]
fn the_watermark_waits_for_what_may_still_be_given() {
    let state = state(1 << 20);
    let mut join = join(JoinKind::Inner, &state);
    let mut out = Vec::new();
    join.other(Element::Watermark(100), &mut out).unwrap();
    join.other(Element::Watermark(i64::MAX), &mut out).unwrap();
    let times: Vec<i64> = out
        .iter()
        .filter_map(|element| match element {
            Element::Watermark(time) => Some(*time),
            _ => None,
        })
        .collect();
    assert_eq!(times, [95, i64::MAX]);
}

const LIMIT: usize = 100_000;

fn assert_small(join: &Paced<IntervalJoin>) {
    for side in [&join.work.left, &join.work.right] {
        let bytes = side.table.bytes();
        assert!(bytes < 2 * LIMIT, "{bytes} bytes are in memory");
    }
}

#[test]
fn a_watermark_that_jumps_gives_rows_without_partner_in_pieces() {
    let state = state(LIMIT);
    let mut join = join(JoinKind::Left, &state);
    let left = row_type(&LEFT);
    let rows: Vec<Change> = (0..20_000)
        .map(|key| insert(&[key, 100 + key % 7, key]))
        .collect();
    for some in rows.chunks(1_000) {
        let given = Element::Batch(batch(&left, some));
        let found = pieces(&mut join, 0, given, assert_small);
        assert!(found.concat().is_empty());
    }
    // Half of them by a row that comes behind the watermark, then all others.
    let mut late = batch(&left, &[insert(&[1, 90, 1])]);
    late.watermarks = Some([113].into());
    let mut found = pieces(&mut join, 0, Element::Batch(late), assert_small);
    assert!(found.len() > 1);
    found.extend(pieces(&mut join, 0, Element::Watermark(i64::MAX), assert_small));
    assert_paced(&found);
    let mut keys: Vec<Row> = found.concat().into_iter().map(|(_, row)| row).collect();
    assert_eq!(keys.len(), 20_001);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20_001);
}

#[test]
fn a_batch_that_meets_many_rows_goes_out_in_pieces_as_its_rows_alone_do() {
    for kind in [JoinKind::Inner, JoinKind::Full] {
        for has_condition in [false, true] {
            let column = |i: usize| Expr::column(i, DataType::bigint());
            let less = || millrace_expr::function::call("<", vec![column(2), column(5)]).unwrap();
            let plan = Plan {
                condition: has_condition.then(less),
                ..plan(kind)
            };
            let states = [state(1 << 22), state(1 << 22)];
            let mut joins = states.each_ref().map(|state| of_plan(&plan, state));
            let of = [row_type(&LEFT), row_type(&RIGHT)];
            for join in &mut joins {
                for from in 0..2 {
                    let right = (0..6_000).map(|b| insert(&[1, 100 + b % 5, 6_000 * from + b]));
                    feed(join, 1, &of[1], &right.collect::<Vec<_>>());
                }
            }
            let left: Vec<Change> = (0..8)
                .map(|a| insert(&[1 + a / 7, 100 + a % 3, 1_500 * a]))
                .collect();
            let watermarks: Vec<i64> = (0..8).map(|a| 95 + a).collect();
            let [at_once, one_by_one] = &mut joins;
            let mut given = batch(&of[0], &left);
            given.watermarks = Some(watermarks.clone().into());
            let mut found = pieces(at_once, 0, Element::Batch(given), |_| {});
            assert!(found.len() > 3);
            let mut expected = Vec::new();
            for (row, watermark) in left.iter().zip(watermarks) {
                expected.extend(self::watermark(one_by_one, watermark));
                expected.extend(feed(one_by_one, 0, &of[0], std::slice::from_ref(row)));
            }
            for time in [103, 104, 107, 115, i64::MAX] {
                found.extend(pieces(at_once, 0, Element::Watermark(time), |_| {}));
                expected.extend(watermark(one_by_one, time));
            }
            assert_paced(&found);
            assert!(found.concat() == expected, "{kind:?} {has_condition}");
        }
    }
}

/// Rows with the watermarks that they carry.
fn given(join: &mut Paced<IntervalJoin>, input: usize, batch: Batch) -> Vec<(Change, i64)> {
    let mut out = Vec::new();
    join.batch(input, batch, &mut out).unwrap();
    drain(join, &mut out);
    let mut rows = Vec::new();
    for element in out {
        let Element::Batch(batch) = &element else { continue };
        let watermarks = match &batch.watermarks {
            Some(watermarks) => watermarks.to_vec(),
            None => vec![i64::MIN; batch.change.len()],
        };
        rows.extend(changes(vec![element]).into_iter().zip(watermarks));
    }
    rows
}

#[test]
fn rows_carry_the_watermark_under_which_they_were_set_free_wherever_batches_end() {
    let mut random = StdRng::seed_from_u64(11);
    // Room for all, and for hardly a key.
    let states = [state(1 << 20), state(400)];
    let [mut at_once, mut one_by_one] = states.each_ref().map(|state| join(JoinKind::Full, state));
    let of = [row_type(&LEFT), row_type(&RIGHT)];
    let (mut now, mut rows) = (0, 0);
    for round in 0..200 {
        let side = random.random_range(0..2);
        let (mut some, mut watermarks) = (Vec::new(), Vec::new());
        for _ in 0..random.random_range(1..20) {
            now += random.random_range(0..3);
            let time = now + random.random_range(-8..8);
            some.push(insert(&[random.random_range(0..6), time, rows]));
            watermarks.push(now - 3);
            rows += 1;
        }
        let mut whole = batch(&of[side], &some);
        whole.watermarks = Some(watermarks.clone().into());
        let found = given(&mut at_once, side, whole);
        let mut expected = Vec::new();
        for (row, watermark) in some.iter().zip(watermarks) {
            let mut alone = batch(&of[side], std::slice::from_ref(row));
            alone.watermarks = Some([watermark].into());
            expected.extend(given(&mut one_by_one, side, alone));
        }
        assert!(found == expected, "round {round}: {found:?} {expected:?}");
    }
}
