//! Random changes against the ranks of whole tables; ties are in the order of arrival.

use millrace_core::RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::operators::harness::{Change, Row, State, Table, change, feed, row_type, state};

pub(super) const COLUMNS: [&str; 3] = ["k", "v", "id"];

pub(super) fn plan(strategy: RankStrategy, start: u64, end: u64, with_number: bool) -> Plan {
    Plan {
        partition: vec![0],
        order: vec![SortKey {
            column: 1,
            descending: true,
            nulls_first: false,
            time: None,
        }],
        start,
        end,
        with_number,
        strategy,
    }
}

pub(super) fn rank(plan: &Plan, state: &State) -> Rank {
    let input = row_type(&COLUMNS);
    let mut names = COLUMNS.to_vec();
    if plan.with_number {
        names.push("rn");
    }
    let all = Changelog {
        updates: true,
        before: true,
        deletes: true,
    };
    Rank::new(plan, all, &input, &row_type(&names), &state.backend).unwrap()
}

/// The ranks of rows in the order of their arrival.
pub(super) fn whole(plan: &Plan, rows: &[Row]) -> Table {
    let mut result = Vec::new();
    let mut keys: Vec<Option<i64>> = rows.iter().map(|row| row[0]).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let mut of_key: Vec<&Row> = rows.iter().filter(|row| row[0] == key).collect();
        of_key.sort_by_key(|row| std::cmp::Reverse(row[1]));
        let numbered = (1..)
            .zip(of_key)
            .filter(|(n, _)| (plan.start..=plan.end).contains(n));
        for (number, row) in numbered {
            let mut row = row.clone();
            if plan.with_number {
                row.push(Some(number as i64));
            }
            result.push(row);
        }
    }
    Table::of(result)
}

/// Steps of each strategy: `rows` is what there is after them, in the order of arrival.
pub(super) fn random_steps(
    random: &mut StdRng,
    strategy: &RankStrategy,
    rows: &mut Vec<Row>,
    next: &mut i64,
) -> Vec<Change> {
    let mut steps = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let key = random.random_range(-1..3);
        let old = match rows.is_empty() {
            true => None,
            false => Some(random.random_range(0..rows.len())),
        };
        match (strategy, old) {
            (RankStrategy::UpdateFast { .. }, Some(old)) if random.random_bool(0.6) => {
                let mut row = rows[old].clone();
                row[1] = Some(row[1].unwrap_or(-1) + random.random_range(0..3));
                // A row that rises arrives anew; one that stays keeps its place.
                if row[1] != rows[old][1] {
                    rows.remove(old);
                    rows.push(row.clone());
                }
                steps.push((UpdateAfter, row));
            }
            (RankStrategy::Retract, Some(old)) if random.random_bool(0.5) => {
                let gone = rows.remove(old);
                match random.random_bool(0.5) {
                    true => steps.push((Delete, gone)),
                    false => {
                        let row = change(Insert, &[key, random.random_range(-1..4), *next]).1;
                        *next += 1;
                        steps.push((UpdateBefore, gone));
                        steps.push((UpdateAfter, row.clone()));
                        rows.push(row);
                    }
                }
            }
            _ => {
                let row = change(Insert, &[key, random.random_range(-1..4), *next]);
                *next += 1;
                rows.push(row.1.clone());
                steps.push(row);
            }
        }
    }
    steps
}

#[test]
fn a_changelog_adds_up_to_the_ranks_of_the_table() {
    let strategies = [
        RankStrategy::AppendFast,
        RankStrategy::UpdateFast { keys: vec![2] },
        RankStrategy::Retract,
    ];
    for strategy in strategies {
        for (start, end) in [(1, 1), (1, 3), (2, 4), (3, 3)] {
            for with_number in [false, true] {
                // The best of updated rows alone: as in Flink, its row does not follow.
                if end == 1 && (with_number || matches!(strategy, RankStrategy::UpdateFast { .. })) {
                    continue;
                }
                let plan = plan(strategy.clone(), start, end, with_number);
                let mut random = StdRng::seed_from_u64(end);
                let state = state(400);
                let mut rank = rank(&plan, &state);
                let (mut rows, mut next) = (Vec::new(), 0);
                let mut result = Table::default();
                for step in 0..150 {
                    let given = random_steps(&mut random, &strategy, &mut rows, &mut next);
                    result.apply(&feed(&mut rank, 0, &row_type(&COLUMNS), &given));
                    assert_eq!(
                        result,
                        whole(&plan, &rows),
                        "{plan:?} after step {step}: {given:?}"
                    );
                    if step % 50 == 49 {
                        rank.snapshot().unwrap();
                        rank = self::rank(&plan, &state);
                    }
                }
            }
        }
    }
}
