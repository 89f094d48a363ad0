//! Random changes against what Flink's operators do with them, written down row by row: with all state in
//! memory and with almost none, in batches of any size, and going on from what was written.

use std::collections::BTreeMap;

use millrace_core::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
use millrace_dataflow::{
    Changelog, ChangelogNormalize as NormalizePlan, SinkMaterializer as MaterializerPlan,
};
use millrace_expr::compile::Session;
use millrace_expr::text::zone;
use millrace_expr::{DataType, Expr, Scalar, TypeKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::changelog_normalize::ChangelogNormalize;
use super::harness::{Change, Row, State, change, feed, insert, row_type, shown, state};
use super::sink_materializer::SinkMaterializer;

/// The key, the upsert key of the materializer, a value.
const COLUMNS: [&str; 3] = ["k", "u", "v"];

fn random_changes(random: &mut StdRng, count: usize) -> Vec<Change> {
    (0..count)
        .map(|_| {
            let kind = [Insert, UpdateAfter, UpdateAfter, UpdateBefore, Delete][random.random_range(0..5)];
            let row = [
                random.random_range(-1..30),
                random.random_range(0..3),
                random.random_range(-1..4),
            ];
            change(kind, &row)
        })
        .collect()
}

/// Feeds changes in batches of random sizes, to operators that take over from one another.
fn run(
    make: &dyn Fn(&State) -> Box<dyn Operator>,
    state: &State,
    changes: &[Change],
    random: &mut StdRng,
) -> Vec<Change> {
    let mut out = Vec::new();
    let mut operator = make(state);
    let mut rest = changes;
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(random.random_range(1..=rest.len().min(40)));
        rest = behind;
        out.extend(feed(&mut *operator, 0, &row_type(&COLUMNS), batch));
        if random.random_bool(0.1) {
            operator.snapshot().unwrap();
            if random.random_bool(0.5) {
                operator = make(state);
            }
        }
    }
    out
}

fn is_there(kind: RowKind) -> bool {
    matches!(kind, Insert | UpdateAfter)
}

fn normalized(changes: &[Change], before: bool, passes: &dyn Fn(&Row) -> bool) -> Vec<Change> {
    let mut newest: BTreeMap<Option<i64>, Row> = BTreeMap::new();
    let mut out = Vec::new();
    for (kind, row) in changes {
        let old = newest.get(&row[0]).cloned();
        match (old, is_there(*kind)) {
            (None, false) => {}
            (None, true) => {
                if passes(row) {
                    out.push((Insert, row.clone()));
                    newest.insert(row[0], row.clone());
                }
            }
            (Some(old), true) => {
                if old == *row && *kind == Insert {
                    continue;
                }
                if passes(row) {
                    if before {
                        out.push((UpdateBefore, old));
                    }
                    out.push((UpdateAfter, row.clone()));
                    newest.insert(row[0], row.clone());
                } else {
                    out.push((Delete, old));
                    newest.remove(&row[0]);
                }
            }
            (Some(old), false) => {
                out.push((Delete, old));
                newest.remove(&row[0]);
            }
        }
    }
    out
}

fn normalize(state: &State, before: bool, condition: Option<Expr>) -> Box<dyn Operator> {
    let plan = NormalizePlan {
        keys: vec![0],
        condition,
    };
    let changelog = Changelog {
        updates: true,
        before,
        deletes: true,
    };
    let session = Session {
        time_zone: zone::machine(),
    };
    let row = row_type(&COLUMNS);
    Box::new(ChangelogNormalize::new(&plan, changelog, &row, &session, &state.backend).unwrap())
}

#[test]
fn any_changes_are_normalized() {
    let zero = Expr::literal(Scalar::Integer(0), DataType::not_null(TypeKind::BigInt));
    let condition = Expr::Call {
        function: ">".to_owned(),
        args: vec![Expr::column(2, DataType::bigint()), zero],
        data_type: DataType::boolean(),
    };
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let changes = random_changes(&mut random, 600);
        for (cache, before) in [(1 << 20, true), (1 << 20, false), (600, true)] {
            let make = |state: &State| normalize(state, before, None);
            let found = run(&make, &state(cache), &changes, &mut random);
            assert_eq!(
                shown(&found),
                shown(&normalized(&changes, before, &|_| true)),
                "seed {seed}"
            );
            let make = |state: &State| normalize(state, before, Some(condition.clone()));
            let found = run(&make, &state(cache), &changes, &mut random);
            let passes = |row: &Row| row[2].is_some_and(|v| v > 0);
            assert_eq!(
                shown(&found),
                shown(&normalized(&changes, before, &passes)),
                "seed {seed}"
            );
        }
    }
}

fn materialized(changes: &[Change], upsert_key: bool) -> Vec<Change> {
    let mut held: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    let mut out = Vec::new();
    for (kind, row) in changes {
        let rows = held.entry(row[0]).or_default();
        let same = |other: &Row| {
            if upsert_key {
                other[1] == row[1]
            } else {
                other == row
            }
        };
        let found = rows.iter().position(same);
        if is_there(*kind) {
            out.push((if rows.is_empty() { Insert } else { UpdateAfter }, row.clone()));
            match found {
                Some(at) if upsert_key => rows[at] = row.clone(),
                _ => rows.push(row.clone()),
            }
            continue;
        }
        let Some(at) = found else { continue };
        let was_last = at + 1 == rows.len();
        rows.remove(at);
        match rows.last() {
            None => out.push((Delete, row.clone())),
            Some(last) if was_last => out.push((UpdateAfter, last.clone())),
            Some(_) => {}
        }
    }
    out
}

fn materializer(state: &State, upsert_key: Vec<usize>) -> Box<dyn Operator> {
    let plan = MaterializerPlan {
        keys: vec![0],
        upsert_key,
    };
    Box::new(SinkMaterializer::new(&plan, &row_type(&COLUMNS), &state.backend).unwrap())
}

#[test]
fn any_changes_are_held_for_a_sink() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let changes = random_changes(&mut random, 600);
        for (cache, upsert_key) in [(1 << 20, false), (1 << 20, true), (600, false), (600, true)] {
            let key = if upsert_key { vec![1] } else { vec![] };
            let make = |state: &State| materializer(state, key.clone());
            let found = run(&make, &state(cache), &changes, &mut random);
            assert_eq!(
                shown(&found),
                shown(&materialized(&changes, upsert_key)),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn the_row_before_comes_out_again() {
    let state = state(1 << 20);
    let mut operator = materializer(&state, vec![]);
    let changes = [
        insert(&[1, 1, 1]),
        insert(&[1, 2, 2]),
        change(Delete, &[1, 2, 2]),
        change(UpdateBefore, &[1, 9, 9]),
        change(Delete, &[1, 1, 1]),
    ];
    let found = feed(&mut *operator, 0, &row_type(&COLUMNS), &changes);
    assert_eq!(shown(&found), ["+I 1 1 1", "+U 1 2 2", "+U 1 1 1", "-D 1 1 1"]);
}
