//! Changelogs as `StreamingJoinOperator` gives them, and random ones against joins of whole tables.

use millrace_core::RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use millrace_dataflow::{JoinInput, JoinKey};
use millrace_expr::{DataType, Expr};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::operators::Operator;
use crate::operators::harness::{
    Change, Row, State, Table, assert_paced, batch, change, feed, insert, pieces, row_type, shown, state,
};

/// Left rows are (k, a), right rows are (k, b).
fn plan(kind: JoinKind, input: &JoinInput, condition: bool) -> Plan {
    let column = |i: usize| Expr::column(i, DataType::bigint());
    let less = || millrace_expr::function::call("<", vec![column(1), column(3)]).unwrap();
    Plan {
        kind,
        keys: vec![JoinKey {
            left: 0,
            right: 0,
            null_safe: false,
        }],
        condition: condition.then(less),
        left: input.clone(),
        right: input.clone(),
    }
}

fn join(plan: &Plan, state: &State) -> Paced<Join> {
    let (left, right) = (row_type(&["k", "a"]), row_type(&["k", "b"]));
    let output = match plan.kind.is_left_only() {
        true => left.clone(),
        false => row_type(&["k", "a", "k0", "b"]),
    };
    Join::new(
        plan,
        [&left, &right],
        &output,
        &Session::default(),
        &state.backend,
    )
    .unwrap()
}

fn run(kind: JoinKind, input: &JoinInput, steps: &[(usize, Change)]) -> Vec<Vec<String>> {
    let state = state(1 << 20);
    let mut join = join(&plan(kind, input, false), &state);
    let of = [row_type(&["k", "a"]), row_type(&["k", "b"])];
    steps
        .iter()
        .map(|(input, change)| {
            let given = std::slice::from_ref(change);
            shown(&feed(&mut join, *input, &of[*input], given))
        })
        .collect()
}

const NONE: [&str; 0] = [];

#[test]
fn an_inner_join_keeps_the_kinds_of_its_input() {
    let out = run(
        JoinKind::Inner,
        &JoinInput::NoUniqueKey,
        &[
            (0, insert(&[1, 10])),
            (1, insert(&[1, 20])),
            (1, change(UpdateBefore, &[1, 20])),
            (1, change(UpdateAfter, &[1, 21])),
            (0, change(Delete, &[1, 10])),
        ],
    );
    assert_eq!(out[0], NONE);
    assert_eq!(out[1], ["+I 1 10 1 20"]);
    assert_eq!(out[2], ["-U 1 10 1 20"]);
    assert_eq!(out[3], ["+U 1 10 1 21"]);
    assert_eq!(out[4], ["-D 1 10 1 21"]);
}

#[test]
fn a_left_join_gives_nulls_until_there_is_a_partner() {
    let out = run(
        JoinKind::Left,
        &JoinInput::NoUniqueKey,
        &[
            (0, insert(&[1, 10])),
            (0, insert(&[1, 10])),
            (1, insert(&[1, 20])),
            (1, insert(&[1, 21])),
            (1, change(UpdateBefore, &[1, 20])),
            (1, change(Delete, &[1, 21])),
            (0, change(UpdateBefore, &[1, 10])),
            // A null equals nothing.
            (0, insert(&[-1, 11])),
            (1, insert(&[-1, 22])),
        ],
    );
    assert_eq!(out[0], ["+I 1 10 - -"]);
    assert_eq!(out[1], ["+I 1 10 - -"]);
    assert_eq!(
        out[2],
        ["-D 1 10 - -", "-D 1 10 - -", "+I 1 10 1 20", "+I 1 10 1 20"]
    );
    assert_eq!(out[3], ["+I 1 10 1 21", "+I 1 10 1 21"]);
    assert_eq!(out[4], ["-U 1 10 1 20", "-U 1 10 1 20"]);
    assert_eq!(
        out[5],
        ["-D 1 10 1 21", "-D 1 10 1 21", "+I 1 10 - -", "+I 1 10 - -"]
    );
    assert_eq!(out[6], ["-D 1 10 - -"]);
    assert_eq!(out[7], ["+I - 11 - -"]);
    assert_eq!(out[8], NONE);
}

#[test]
fn a_full_join_pads_both_sides() {
    let out = run(
        JoinKind::Full,
        &JoinInput::JoinKeyContainsUniqueKey,
        &[
            (1, insert(&[1, 20])),
            (0, insert(&[1, 10])),
            (0, change(Delete, &[1, 10])),
            (1, change(Delete, &[1, 20])),
        ],
    );
    assert_eq!(out[0], ["+I - - 1 20"]);
    assert_eq!(out[1], ["-D - - 1 20", "+I 1 10 1 20"]);
    assert_eq!(out[2], ["-D 1 10 1 20", "+I - - 1 20"]);
    assert_eq!(out[3], ["-D - - 1 20"]);
}

#[test]
fn updates_by_key_replace_a_row() {
    let out = run(
        JoinKind::Inner,
        &JoinInput::HasUniqueKey(vec![0]),
        &[
            (0, insert(&[1, 10])),
            (1, insert(&[1, 20])),
            (0, change(UpdateAfter, &[1, 11])),
            (1, change(UpdateAfter, &[1, 21])),
        ],
    );
    assert_eq!(out[2], ["+U 1 11 1 20"]);
    assert_eq!(out[3], ["+U 1 11 1 21"]);
}

#[test]
fn semi_and_anti_joins_give_rows_of_the_left() {
    let steps = [
        (0, insert(&[1, 10])),
        (1, insert(&[1, 20])),
        (1, insert(&[1, 21])),
        (0, insert(&[1, 11])),
        (1, change(UpdateBefore, &[1, 20])),
        (1, change(UpdateBefore, &[1, 21])),
        (0, change(UpdateBefore, &[1, 11])),
        (0, insert(&[-1, 12])),
    ];
    let semi = run(JoinKind::Semi, &JoinInput::NoUniqueKey, &steps);
    assert_eq!(
        semi,
        [
            vec![],
            vec!["+I 1 10"],
            vec![],
            vec!["+I 1 11"],
            vec![],
            vec!["-U 1 10", "-U 1 11"],
            vec![],
            vec![],
        ]
    );
    let anti = run(JoinKind::Anti, &JoinInput::NoUniqueKey, &steps);
    assert_eq!(
        anti,
        [
            vec!["+I 1 10"],
            vec!["-D 1 10"],
            vec![],
            vec![],
            vec![],
            vec!["+I 1 10", "+I 1 11"],
            vec!["-U 1 11"],
            vec!["+I - 12"],
        ]
    );
}

/// The join of two whole tables.
fn whole(kind: JoinKind, condition: bool, left: &Table, right: &Table) -> Table {
    let matches = |l: &Row, r: &Row| {
        let less = matches!((l[1], r[1]), (Some(a), Some(b)) if a < b);
        l[0].is_some() && l[0] == r[0] && (!condition || less)
    };
    let nulls = || vec![None, None];
    let mut rows: Vec<Row> = Vec::new();
    for l in left.rows() {
        let met: Vec<&Row> = right.rows().into_iter().filter(|r| matches(l, r)).collect();
        match kind {
            JoinKind::Semi | JoinKind::Anti => {
                if met.is_empty() == (kind == JoinKind::Anti) {
                    rows.push(l.clone());
                }
                continue;
            }
            _ => {}
        }
        if met.is_empty() && kind.keeps_left() {
            rows.push([l.clone(), nulls()].concat());
        }
        rows.extend(met.into_iter().map(|r| [l.clone(), r.clone()].concat()));
    }
    if kind.keeps_right() {
        for r in right.rows() {
            if !left.rows().into_iter().any(|l| matches(l, r)) {
                rows.push([nulls(), r.clone()].concat());
            }
        }
    }
    Table::of(rows)
}

/// Random changes that a table can take; `unique`: by its first column there is one row at most.
fn random_changes(random: &mut StdRng, table: &mut Table, unique: bool) -> Vec<Change> {
    let mut given = Vec::new();
    for _ in 0..random.random_range(1..6) {
        let there: Vec<Row> = table.rows().into_iter().cloned().collect();
        let key = random.random_range(-1..4);
        let row = change(Insert, &[key, random.random_range(-1..3)]);
        let known = there.iter().find(|r| r[0] == row.1[0]);
        let step = match known {
            Some(known) if unique || random.random_bool(0.5) => match random.random_bool(0.5) {
                true => vec![(Delete, known.clone())],
                false => vec![(UpdateBefore, known.clone()), (UpdateAfter, row.1)],
            },
            _ => vec![row],
        };
        table.apply(&step);
        given.extend(step);
    }
    given
}

#[test]
fn a_changelog_adds_up_to_the_join_of_the_tables() {
    let kinds = [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Right,
        JoinKind::Full,
        JoinKind::Semi,
        JoinKind::Anti,
    ];
    let inputs = [
        JoinInput::NoUniqueKey,
        JoinInput::HasUniqueKey(vec![0]),
        JoinInput::JoinKeyContainsUniqueKey,
    ];
    for (seed, kind) in kinds.into_iter().enumerate() {
        for input in &inputs {
            for condition in [false, true] {
                // One more condition makes no difference to how rows are known.
                if condition && *input != JoinInput::NoUniqueKey {
                    continue;
                }
                let mut random = StdRng::seed_from_u64(seed as u64);
                let plan = plan(kind, input, condition);
                // Memory for few keys only.
                let state = state(400);
                let mut join = join(&plan, &state);
                let of = [row_type(&["k", "a"]), row_type(&["k", "b"])];
                let mut tables = [Table::default(), Table::default()];
                let mut result = Table::default();
                for step in 0..60 {
                    let side = random.random_range(0..2);
                    let unique = *input != JoinInput::NoUniqueKey;
                    let given = random_changes(&mut random, &mut tables[side], unique);
                    result.apply(&feed(&mut join, side, &of[side], &given));
                    assert_eq!(
                        result,
                        whole(kind, condition, &tables[0], &tables[1]),
                        "{kind:?} {input:?} {condition} after step {step}"
                    );
                    if step % 25 == 24 {
                        // What is in the store is all that there is.
                        join.snapshot().unwrap();
                        join = self::join(&plan, &state);
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_that_meets_many_rows_goes_out_in_pieces_as_its_rows_alone_do() {
    for kind in [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Full,
        JoinKind::Semi,
        JoinKind::Anti,
    ] {
        for condition in [false, true] {
            let (at_once, one_by_one) = (state(1 << 22), state(1 << 22));
            let plan = plan(kind, &JoinInput::NoUniqueKey, condition);
            let (mut at_once, mut one_by_one) = (join(&plan, &at_once), join(&plan, &one_by_one));
            let of = [row_type(&["k", "a"]), row_type(&["k", "b"])];
            // Of key 1 many rows, and of key 2 one that is there many times.
            let mut left: Vec<Change> = (0..600).map(|a| insert(&[1, a])).collect();
            left.extend((0..9_000).map(|_| insert(&[2, 5])));
            for operator in [&mut at_once, &mut one_by_one] {
                feed(operator, 0, &of[0], &left);
            }
            let mut right: Vec<Change> = (0..10).map(|b| insert(&[1 + b % 2, 20 * b])).collect();
            right.extend((0..10).map(|b| change(Delete, &[1 + b % 2, 20 * b])));
            let given = Element::Batch(batch(&of[1], &right));
            let found = pieces(&mut at_once, 1, given, |_| {});
            assert_paced(&found);
            let each = right.iter().map(std::slice::from_ref);
            let expected: Vec<Change> = each
                .flat_map(|change| feed(&mut one_by_one, 1, &of[1], change))
                .collect();
            assert!(kind.is_left_only() || found.len() > 9);
            assert!(found.concat() == expected, "{kind:?} {condition}");
        }
    }
}

#[test]
fn a_batch_of_many_keys_needs_no_more_memory_than_there_is() {
    const LIMIT: usize = 60_000;
    let state = state(LIMIT);
    let mut join = join(&plan(JoinKind::Inner, &JoinInput::NoUniqueKey, false), &state);
    let of = [row_type(&["k", "a"]), row_type(&["k", "b"])];
    for key in 0..1_500 {
        let rows: Vec<Change> = (0..20).map(|a| insert(&[key, a])).collect();
        feed(&mut join, 0, &of[0], &rows);
    }
    let rows: Vec<Change> = (0..1_500).map(|key| insert(&[key, 1])).collect();
    let given = Element::Batch(batch(&of[1], &rows));
    let found = pieces(&mut join, 1, given, |join| {
        for side in [&join.work.left, &join.work.right] {
            let bytes = side.table.bytes();
            assert!(bytes < 2 * LIMIT, "{bytes} bytes are in memory");
        }
    });
    assert_paced(&found);
    assert_eq!(found.concat().len(), 1_500 * 20);
}
