//! Random changes against the ranks of whole tables; ties are in the order of arrival.

use std::collections::BTreeMap;

use millrace_core::RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use millrace_dataflow::TimeKind;
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
    rank_over(plan, &COLUMNS, true, state)
}

/// `before`: what an update takes back goes on too.
fn rank_over(plan: &Plan, columns: &[&str], before: bool, state: &State) -> Rank {
    let input = row_type(columns);
    let mut names = columns.to_vec();
    if plan.with_number {
        names.push("rn");
    }
    let all = Changelog {
        updates: true,
        before,
        deletes: true,
    };
    Rank::new(plan, all, &input, &row_type(&names), &state.backend).unwrap()
}

/// Two operators that see the same, one of which does not say what updates take back.
struct Both<'a> {
    plan: &'a Plan,
    columns: &'a [&'a str],
    states: [State; 2],
    ranks: [Rank; 2],
}

impl<'a> Both<'a> {
    fn new(plan: &'a Plan, columns: &'a [&'a str]) -> Self {
        let states = [state(400), state(400)];
        Both {
            ranks: [true, false]
                .map(|before| rank_over(plan, columns, before, &states[usize::from(!before)])),
            plan,
            columns,
            states,
        }
    }

    fn feed(&mut self, given: &[Change]) -> Vec<Change> {
        let columns = row_type(self.columns);
        let [all, bare] = &mut self.ranks;
        let changes = feed(all, 0, &columns, given);
        let mut expected = changes.clone();
        expected.retain(|(kind, _)| *kind != UpdateBefore);
        assert_eq!(
            feed(bare, 0, &columns, given),
            expected,
            "{:?}: {given:?}",
            self.plan
        );
        changes
    }

    fn restore(&mut self) {
        for (number, before) in [true, false].into_iter().enumerate() {
            self.ranks[number].snapshot().unwrap();
            self.ranks[number] = rank_over(self.plan, self.columns, before, &self.states[number]);
        }
    }
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
                // To the planner the number of the only row is a constant.
                if end == 1 && with_number && strategy != RankStrategy::Retract {
                    continue;
                }
                let plan = plan(strategy.clone(), start, end, with_number);
                let mut random = StdRng::seed_from_u64(end);
                let mut rank = Both::new(&plan, &COLUMNS);
                let (mut rows, mut next) = (Vec::new(), 0);
                let mut result = Table::default();
                for step in 0..150 {
                    let given = random_steps(&mut random, &strategy, &mut rows, &mut next);
                    result.apply(&rank.feed(&given));
                    assert_eq!(
                        result,
                        whole(&plan, &rows),
                        "{plan:?} after step {step}: {given:?}"
                    );
                    if step % 50 == 49 {
                        rank.restore();
                    }
                }
            }
        }
    }
}

/// Updates that leave a row where it is, too: but for a row that is the only one, it follows them.
#[test]
fn updated_rows_have_their_newest_columns() {
    let columns = ["k", "v", "id", "w"];
    for (start, end) in [(1, 1), (1, 3), (2, 4)] {
        for with_number in [false, true] {
            if end == 1 && with_number {
                continue;
            }
            let plan = plan(
                RankStrategy::UpdateFast { keys: vec![2] },
                start,
                end,
                with_number,
            );
            let mut random = StdRng::seed_from_u64(end);
            let mut rank = Both::new(&plan, &columns);
            let (mut rows, mut result): (Vec<Row>, Table) = Default::default();
            // Of each partition the first row that was better than all before it, as it was then.
            let mut best: BTreeMap<Option<i64>, Row> = BTreeMap::new();
            let mut behind = 0;
            for step in 0..300 {
                let mut given = Vec::new();
                for _ in 0..random.random_range(1..4) {
                    let change = match rows.is_empty() || random.random_bool(0.3) {
                        true => {
                            let id = rows.len() as i64;
                            let row = [random.random_range(-1..3), random.random_range(-1..4), id, step];
                            rows.push(change(Insert, &row).1);
                            (Insert, rows[rows.len() - 1].clone())
                        }
                        false => {
                            let at = random.random_range(0..rows.len());
                            let mut row = rows[at].clone();
                            let by = random.random_range(0..2);
                            row[1] = row[1].map(|v| v + by);
                            row[3] = Some(1000 + step);
                            // A row that rises arrives anew; one that stays keeps its place.
                            match by > 0 && row[1].is_some() {
                                true => {
                                    rows.remove(at);
                                    rows.push(row.clone());
                                }
                                false => rows[at] = row.clone(),
                            }
                            (UpdateAfter, row)
                        }
                    };
                    let row = &change.1;
                    if best.get(&row[0]).is_none_or(|best| best[1] < row[1]) {
                        best.insert(row[0], row.clone());
                    }
                    given.push(change);
                }
                result.apply(&rank.feed(&given));
                let current = whole(&plan, &rows);
                let expected = match end {
                    1 => Table::of(best.values().cloned()),
                    _ => whole(&plan, &rows),
                };
                behind += u32::from(current != expected);
                assert_eq!(result, expected, "{plan:?} after step {step}: {given:?}");
                if random.random_bool(0.03) {
                    rank.restore();
                }
            }
            assert_eq!(behind > 0, end == 1);
        }
    }
}

#[test]
fn the_first_rows_by_arrival_are_counted() {
    for (start, end) in [(1, 3), (2, 4), (3, 3)] {
        for with_number in [false, true] {
            let plan = Plan {
                order: vec![SortKey {
                    column: SortKey::UNREAD,
                    descending: false,
                    nulls_first: true,
                    time: Some(TimeKind::Processing),
                }],
                ..plan(RankStrategy::AppendFast, start, end, with_number)
            };
            let mut random = StdRng::seed_from_u64(end);
            let mut rank = Both::new(&plan, &COLUMNS);
            let mut counts: BTreeMap<Option<i64>, u64> = BTreeMap::new();
            for step in 0..200 {
                let (mut given, mut expected) = (Vec::new(), Vec::new());
                for number in 0..random.random_range(1..6) {
                    let row = [random.random_range(-1..60), random.random_range(0..3), number];
                    let (kind, mut row) = change(Insert, &row);
                    given.push((kind, row.clone()));
                    let count = counts.entry(row[0]).or_default();
                    *count += 1;
                    if (start..=end).contains(count) {
                        row.extend(with_number.then_some(Some(*count as i64)));
                        expected.push((kind, row));
                    }
                }
                assert_eq!(rank.feed(&given), expected, "{plan:?} after step {step}");
                if random.random_bool(0.05) {
                    rank.restore();
                }
            }
        }
    }
}
