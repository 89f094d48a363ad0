//! Operators whose state expires, against what Flink's do with a time to live, written down row by row: under
//! steps of the clock by chance, with all state in memory and with almost none, and going on from what was
//! written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_core::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
use millrace_dataflow::{
    Changelog, ChangelogNormalize as NormalizePlan, GroupAggregate as GroupPlan, Join as JoinPlan, JoinInput,
    JoinKey, JoinKind, MiniBatch, SinkMaterializer as MaterializerPlan,
};
use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
use millrace_expr::compile::Session;
use millrace_expr::{DataType, RowType};
use millrace_state::keyed::{Clock, Lifetimes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::bundle::Bundle;
use super::bundled_group_aggregate::{BundledGroupAggregate, Form};
use super::changelog_normalize::ChangelogNormalize;
use super::group_aggregate::GroupAggregate;
use super::harness::{Change, Row, State, change, feed, insert, row_type, shown, state_with};
use super::join::Join;
use super::sink_materializer::SinkMaterializer;

pub(super) const TTL: i64 = 100;

/// State whose tables expire, and its clock.
pub(super) struct Timed {
    pub state: State,
    time: Arc<AtomicI64>,
}

impl Timed {
    pub fn new(tables: &[&str], cache_bytes: usize) -> Timed {
        Timed::with(
            tables
                .iter()
                .fold(Lifetimes::default(), |l, table| l.with(table, TTL)),
            cache_bytes,
        )
    }

    pub fn with(lifetimes: Lifetimes, cache_bytes: usize) -> Timed {
        let time = Arc::new(AtomicI64::new(1_000_000));
        Timed {
            state: state_with(cache_bytes, &lifetimes, &Clock::Set(time.clone())),
            time,
        }
    }

    pub fn now(&self) -> i64 {
        self.time.load(Ordering::Relaxed)
    }

    pub fn pass(&self, millis: i64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }
}

pub(super) const ALL: Changelog = Changelog {
    updates: true,
    before: true,
    deletes: true,
};

/// A value with the time of its last write.
#[derive(Debug, Clone, Default)]
struct Written<T> {
    value: T,
    at: i64,
}

/// What is there of a value at a time.
fn living<T: Clone>(value: Option<&Written<T>>, now: i64) -> Option<T> {
    value.filter(|w| w.at + TTL > now).map(|w| w.value.clone())
}

fn is_there(kind: RowKind) -> bool {
    matches!(kind, Insert | UpdateAfter)
}

/// Feeds random changes to operators that take over from one another, while time passes, and compares what
/// comes out of each batch with a model, which is told the time.
fn compare(
    timed: &Timed,
    columns: &RowType,
    make: &dyn Fn(&State) -> Box<dyn Operator>,
    changes: &mut dyn FnMut(&mut StdRng) -> Vec<Change>,
    model: &mut dyn FnMut(&[Change], i64) -> Vec<Change>,
    seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut operator = make(&timed.state);
    for round in 0..300 {
        timed.pass(random.random_range(0..40));
        let given = changes(&mut random);
        let expected = model(&given, timed.now());
        let out = feed(&mut *operator, 0, columns, &given);
        assert_eq!(shown(&out), shown(&expected), "round {round} of {given:?}");
        if random.random_bool(0.1) {
            operator.snapshot().unwrap();
            if random.random_bool(0.5) {
                operator = make(&timed.state);
            }
        }
    }
}

const SIZES: [usize; 3] = [1 << 20, 6_000, 400];

fn call(function: AggregateFunction, distinct: bool) -> AggregateCall {
    AggregateCall {
        function,
        arg: Some(1),
        arg_type: Some(DataType::bigint()),
        distinct,
        filter: None,
        parameters: Parameters::default(),
        ignores_retractions: false,
        data_type: function.result_type(Some(&DataType::bigint()), false).unwrap(),
    }
}

fn group(calls: Vec<AggregateCall>, retracts: bool, bundled: bool, state: &State) -> Box<dyn Operator> {
    let mini_batch = bundled.then_some(MiniBatch {
        rows: 1,
        latency_millis: 1,
    });
    let plan = GroupPlan {
        keys: vec![0],
        calls,
        retracts,
        mini_batch,
    };
    let input = row_type(&["k", "v"]);
    let names = ["k", "a", "b"];
    let output = row_type(&names[..1 + plan.calls.len()]);
    match mini_batch {
        None => Box::new(GroupAggregate::new(&plan, ALL, &input, &output, &state.backend).unwrap()),
        Some(limits) => {
            let form = Form::Rows;
            let aggregate = BundledGroupAggregate::new(&plan, form, ALL, &input, &output, &state.backend);
            Box::new(Bundle::new(aggregate.unwrap(), limits))
        }
    }
}

/// Rows, the values among them, and their sum.
type Group = (i64, i64, i64);

fn result(key: Option<i64>, group: Group) -> Row {
    vec![key, Some(group.1), (group.1 != 0).then_some(group.2)]
}

#[test]
fn groups_begin_anew_and_updates_that_change_nothing_go_out() {
    for (seed, bytes) in (1..).zip(SIZES) {
        let timed = Timed::new(&["groups"], bytes);
        let mut groups: BTreeMap<Option<i64>, Written<Group>> = BTreeMap::new();
        let calls = || {
            vec![
                call(AggregateFunction::Count, false),
                call(AggregateFunction::Sum, false),
            ]
        };
        let mut model = |given: &[Change], now: i64| {
            let mut out = Vec::new();
            for (kind, row) in given {
                let before = living(groups.get(&row[0]), now);
                if before.is_none() && !is_there(*kind) {
                    continue;
                }
                let sign = if is_there(*kind) { 1 } else { -1 };
                let mut group = before.unwrap_or_default();
                group.0 += sign;
                group.1 += sign * i64::from(row[1].is_some());
                group.2 += sign * row[1].unwrap_or(0);
                match (before, group.0) {
                    (Some(before), 0) => {
                        groups.remove(&row[0]);
                        out.push((Delete, result(row[0], before)));
                        continue;
                    }
                    (None, _) => out.push((Insert, result(row[0], group))),
                    (Some(before), _) => {
                        out.push((UpdateBefore, result(row[0], before)));
                        out.push((UpdateAfter, result(row[0], group)));
                    }
                }
                groups.insert(
                    row[0],
                    Written {
                        value: group,
                        at: now,
                    },
                );
            }
            out
        };
        let mut changes = |random: &mut StdRng| {
            let change = |random: &mut StdRng| {
                let kind = [Insert, Insert, UpdateAfter, Delete][random.random_range(0..4)];
                change(kind, &[random.random_range(0..30), random.random_range(-1..4)])
            };
            (0..random.random_range(1..12)).map(|_| change(random)).collect()
        };
        let make = |state: &State| group(calls(), true, false, state);
        compare(
            &timed,
            &row_type(&["k", "v"]),
            &make,
            &mut changes,
            &mut model,
            seed,
        );
    }
}

#[test]
fn groups_of_bundles_do_the_same() {
    let timed = Timed::new(&["groups"], 1 << 20);
    let mut sums = group(
        vec![call(AggregateFunction::Sum, false)],
        true,
        true,
        &timed.state,
    );
    let columns = row_type(&["k", "v"]);
    let mut give = |given: &[Change]| shown(&feed(&mut *sums, 0, &columns, given));
    assert_eq!(give(&[insert(&[1, 5])]), ["+I 1 5"]);
    assert_eq!(give(&[insert(&[1, 0])]), ["-U 1 5", "+U 1 5"]);
    timed.pass(TTL - 1);
    assert_eq!(
        give(&[insert(&[1, 1]), change(Delete, &[1, 1])]),
        ["-U 1 5", "+U 1 5"]
    );
    timed.pass(TTL);
    assert_eq!(give(&[change(Delete, &[1, 5])]), Vec::<String>::new());
    assert_eq!(give(&[insert(&[1, 7])]), ["+I 1 7"]);
}

#[test]
fn values_of_a_distinct_expire_each_by_itself() {
    for (seed, bytes) in (1..).zip(SIZES) {
        let timed = Timed::new(&["groups", "groups-maps"], bytes);
        let mut counts: BTreeMap<Option<i64>, Written<i64>> = BTreeMap::new();
        // Without retractions a value is written when it is new, and never again while it is known.
        let mut known: BTreeMap<(Option<i64>, i64), Written<()>> = BTreeMap::new();
        let mut model = |given: &[Change], now: i64| {
            let mut out = Vec::new();
            for (_, row) in given {
                let before = living(counts.get(&row[0]), now);
                let mut count = before.unwrap_or(0);
                if let Some(value) = row[1]
                    && living(known.get(&(row[0], value)), now).is_none()
                {
                    known.insert((row[0], value), Written { value: (), at: now });
                    count += 1;
                }
                let shown = |count: i64| vec![row[0], Some(count)];
                match before {
                    None => out.push((Insert, shown(count))),
                    Some(before) => {
                        out.push((UpdateBefore, shown(before)));
                        out.push((UpdateAfter, shown(count)));
                    }
                }
                counts.insert(
                    row[0],
                    Written {
                        value: count,
                        at: now,
                    },
                );
            }
            out
        };
        let mut changes = |random: &mut StdRng| {
            let row = |random: &mut StdRng| insert(&[random.random_range(0..12), random.random_range(-1..5)]);
            (0..random.random_range(1..8)).map(|_| row(random)).collect()
        };
        let make = |state: &State| group(vec![call(AggregateFunction::Count, true)], false, false, state);
        compare(
            &timed,
            &row_type(&["k", "v"]),
            &make,
            &mut changes,
            &mut model,
            seed,
        );
    }
}

#[test]
fn the_best_of_what_is_taken_back_may_have_expired() {
    let timed = Timed::new(&["groups", "groups-maps"], 1 << 20);
    let mut best = group(
        vec![call(AggregateFunction::Max, false)],
        true,
        false,
        &timed.state,
    );
    let columns = row_type(&["k", "v"]);
    let mut give = |given: &[Change]| shown(&feed(&mut *best, 0, &columns, given));
    assert_eq!(
        give(&[insert(&[1, 5]), insert(&[1, 9])]),
        ["+I 1 5", "-U 1 5", "+U 1 9"]
    );
    timed.pass(TTL / 2);
    assert_eq!(give(&[insert(&[1, 3])]), ["-U 1 9", "+U 1 9"]);
    timed.pass(TTL / 2);
    // Of 5 and 9 nothing is known, but that 9 was the best: taken back it is missing, and stays.
    assert_eq!(give(&[change(Delete, &[1, 9])]), ["-U 1 9", "+U 1 9"]);
    assert_eq!(give(&[insert(&[1, 9])]), ["-U 1 9", "+U 1 9"]);
}

fn newest(timed: &Timed) -> Box<dyn Operator> {
    let plan = NormalizePlan {
        keys: vec![0],
        condition: None,
    };
    let row = row_type(&["k", "v"]);
    let backend = &timed.state.backend;
    Box::new(ChangelogNormalize::new(&plan, ALL, &row, &Session::default(), backend).unwrap())
}

#[test]
fn newest_rows_expire_and_rows_that_repeat_themselves_go_out() {
    for (seed, bytes) in (1..).zip(SIZES) {
        let timed = Timed::new(&["rows"], bytes);
        let mut rows: BTreeMap<Option<i64>, Written<Row>> = BTreeMap::new();
        let mut model = |given: &[Change], now: i64| {
            let mut out = Vec::new();
            for (kind, row) in given {
                match (living(rows.get(&row[0]), now), is_there(*kind)) {
                    (None, false) => continue,
                    (None, true) => out.push((Insert, row.clone())),
                    (Some(before), true) => {
                        out.extend([(UpdateBefore, before), (UpdateAfter, row.clone())]);
                    }
                    (Some(before), false) => {
                        out.push((Delete, before));
                        rows.remove(&row[0]);
                        continue;
                    }
                }
                let value = row.clone();
                rows.insert(row[0], Written { value, at: now });
            }
            out
        };
        let mut changes = |random: &mut StdRng| {
            let change = |random: &mut StdRng| {
                let kind = [Insert, UpdateAfter, UpdateAfter, Delete][random.random_range(0..4)];
                change(kind, &[random.random_range(0..30), random.random_range(-1..3)])
            };
            (0..random.random_range(1..12)).map(|_| change(random)).collect()
        };
        let make = |_: &State| newest(&timed);
        compare(
            &timed,
            &row_type(&["k", "v"]),
            &make,
            &mut changes,
            &mut model,
            seed,
        );
    }
}

#[test]
fn rows_of_a_sinks_key_expire_together() {
    for (seed, bytes) in (1..).zip(SIZES) {
        let timed = Timed::new(&["rows"], bytes);
        let mut lists: BTreeMap<Option<i64>, Written<Vec<Row>>> = BTreeMap::new();
        let mut model = |given: &[Change], now: i64| {
            let mut out = Vec::new();
            for (kind, row) in given {
                let mut list = living(lists.get(&row[0]), now).unwrap_or_default();
                let found = list.iter().position(|known| known == row);
                if is_there(*kind) {
                    let kind = if list.is_empty() { Insert } else { UpdateAfter };
                    out.push((kind, row.clone()));
                    list.push(row.clone());
                } else if let Some(found) = found {
                    let was_last = found + 1 == list.len();
                    list.remove(found);
                    match list.last() {
                        None => out.push((Delete, row.clone())),
                        Some(last) if was_last => out.push((UpdateAfter, last.clone())),
                        Some(_) => {}
                    }
                } else {
                    continue;
                }
                lists.insert(row[0], Written { value: list, at: now });
            }
            out
        };
        let mut changes = |random: &mut StdRng| {
            let change = |random: &mut StdRng| {
                let kind = [Insert, UpdateAfter, UpdateBefore, Delete][random.random_range(0..4)];
                change(kind, &[random.random_range(0..12), random.random_range(0..4)])
            };
            (0..random.random_range(1..8)).map(|_| change(random)).collect()
        };
        let plan = MaterializerPlan {
            keys: vec![0],
            upsert_key: vec![],
        };
        let row = row_type(&["k", "v"]);
        let make = |state: &State| -> Box<dyn Operator> {
            Box::new(SinkMaterializer::new(&plan, &row, &state.backend).unwrap())
        };
        compare(&timed, &row, &make, &mut changes, &mut model, seed);
    }
}

/// Rows of a side with how often they are there and how many partners they have, by row.
type Side = BTreeMap<Row, Written<(i64, i64)>>;

/// Flink's join of rows without unique keys, the left side of which is kept.
fn left_join(sides: &mut [Side; 2], ttl: [i64; 2], input: usize, given: &[Change], now: i64) -> Vec<Change> {
    let mut out = Vec::new();
    for (kind, row) in given {
        let other = 1 - input;
        for (side, ttl) in sides.iter_mut().zip(ttl) {
            side.retain(|_, written| written.at + ttl > now);
        }
        let met: Vec<(Row, (i64, i64))> = sides[other]
            .iter()
            .filter(|(partner, _)| partner[0] == row[0] && row[0].is_some())
            .map(|(partner, written)| (partner.clone(), written.value))
            .collect();
        let pair = |partner: Option<&Row>| -> Row {
            let none = vec![None; 2];
            let partner = partner.unwrap_or(&none);
            match input {
                0 => [row.clone(), partner.clone()].concat(),
                _ => [partner.clone(), row.clone()].concat(),
            }
        };
        let alone = |left: &Row| -> Row { [left.clone(), vec![None; 2]].concat() };
        let partners: i64 = met.iter().map(|(_, (times, _))| times).sum();
        if is_there(*kind) {
            if input == 0 && met.is_empty() {
                out.push((Insert, alone(row)));
            }
            if input == 1 {
                for (left, (times, known)) in &met {
                    if *known == 0 {
                        out.extend((0..*times).map(|_| (Delete, alone(left))));
                    }
                    let value = (*times, known + 1);
                    sides[0].insert(left.clone(), Written { value, at: now });
                }
            }
            for (partner, (times, _)) in &met {
                out.extend((0..*times).map(|_| (Insert, pair(Some(partner)))));
            }
            let times = sides[input].get(row).map_or(0, |written| written.value.0);
            let value = (times + 1, partners);
            sides[input].insert(row.clone(), Written { value, at: now });
            continue;
        }
        match sides[input].get_mut(row) {
            Some(written) if written.value.0 > 1 => {
                written.value.0 -= 1;
                written.at = now;
            }
            _ => {
                sides[input].remove(row);
            }
        }
        if input == 0 && met.is_empty() {
            out.push((Delete, alone(row)));
        }
        let kind = if input == 0 { Delete } else { *kind };
        for (partner, (times, _)) in &met {
            out.extend((0..*times).map(|_| (kind, pair(Some(partner)))));
        }
        if input == 1 {
            for (left, (times, known)) in &met {
                if *known == 1 {
                    out.extend((0..*times).map(|_| (Insert, alone(left))));
                }
                let value = (*times, known - 1);
                sides[0].insert(left.clone(), Written { value, at: now });
            }
        }
    }
    out
}

#[test]
fn rows_of_each_side_of_a_join_expire_by_themselves() {
    let plan = JoinPlan {
        kind: JoinKind::Left,
        keys: vec![JoinKey {
            left: 0,
            right: 0,
            null_safe: false,
        }],
        condition: None,
        left: JoinInput::NoUniqueKey,
        right: JoinInput::NoUniqueKey,
    };
    for (seed, bytes) in (1..).zip(SIZES) {
        let ttl = [TTL, 2 * TTL];
        let lifetimes = Lifetimes::default().with("left", ttl[0]).with("right", ttl[1]);
        let timed = Timed::with(lifetimes, bytes);
        let of = [row_type(&["k", "a"]), row_type(&["k", "b"])];
        let output = row_type(&["k", "a", "k0", "b"]);
        let make = || {
            let (inputs, session) = ([&of[0], &of[1]], Session::default());
            Join::new(&plan, inputs, &output, &session, &timed.state.backend).unwrap()
        };
        let mut random = StdRng::seed_from_u64(seed);
        let (mut join, mut sides) = (make(), [Side::new(), Side::new()]);
        for round in 0..400 {
            timed.pass(random.random_range(0..50));
            let input = random.random_range(0..2);
            // One row: which of several rows counts a partner depends on where a batch ends.
            let kind = [Insert, Insert, Delete][random.random_range(0..3)];
            let given = [change(
                kind,
                &[random.random_range(-1..5), random.random_range(0..3)],
            )];
            let expected = left_join(&mut sides, ttl, input, &given, timed.now());
            let out = feed(&mut join, input, &of[input], &given);
            assert_eq!(
                shown(&out),
                shown(&expected),
                "round {round}: {given:?} from {input}"
            );
            if random.random_bool(0.1) {
                join.snapshot().unwrap();
                join = make();
            }
        }
    }
}
