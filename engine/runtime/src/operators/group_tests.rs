//! GROUP BY with every function that there is: however little memory there is, wherever batches end and
//! wherever it is restored, the changelog is the one that a recomputation of each group gives row by row; and
//! mini-batches leave the same table whenever they have gone out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray, UInt8Array};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use millrace_connector_api::ChangeBatch;
use millrace_core::RowKind;
use millrace_dataflow::{Changelog, GroupAggregate as Plan, MiniBatch};
use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Calls, Parameters};
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_state::keyed::{Clock, KeyedBackend, Lifetimes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::bundle::Bundle;
use super::bundled_group_aggregate::{BundledGroupAggregate, Form};
use super::group_aggregate::GroupAggregate;
use super::harness::{Storage, drain};
use super::local_group_aggregate::LocalGroupAggregate;
use super::rows_of;
use crate::element::Element;

/// A row: group, value, whether it passes the FILTER; and whether it is taken back.
type Row = (i32, Option<i32>, bool, bool);

fn input() -> RowType {
    RowType::new(vec![
        Field::new("g", DataType::int()),
        Field::new("number", DataType::int()),
        Field::new("text", DataType::string()),
        Field::new("pass", DataType::boolean()),
    ])
}

fn calls() -> Vec<AggregateCall> {
    use AggregateFunction::*;
    let functions = [
        Count,
        Sum,
        Sum0,
        Avg,
        Min,
        Max,
        FirstValue,
        LastValue,
        ListAgg,
        ArrayAgg,
        Collect,
        JsonArrayAgg,
    ];
    let mut calls = Vec::new();
    for function in functions {
        let text = matches!(function, ListAgg | JsonArrayAgg);
        let arg_type = if text { DataType::string() } else { DataType::int() };
        for (distinct, filtered) in [(false, false), (true, false), (false, true), (true, true)] {
            calls.push(AggregateCall {
                function,
                arg: Some(1 + usize::from(text)),
                data_type: function.result_type(Some(&arg_type), false).unwrap(),
                arg_type: Some(arg_type.clone()),
                distinct,
                filter: filtered.then_some(3),
                parameters: Parameters::default(),
                ignores_retractions: false,
            });
        }
    }
    calls
}

fn output(calls: &[AggregateCall]) -> RowType {
    let results = calls.iter().enumerate();
    let results = results.map(|(i, call)| Field::new(format!("r{i}"), call.data_type.clone()));
    RowType::new(
        [Field::new("g", DataType::int())]
            .into_iter()
            .chain(results)
            .collect(),
    )
}

/// `strays`: rows of groups without any are taken back too.
fn rows(random: &mut StdRng, retracts: bool, strays: bool) -> Vec<Row> {
    let mut live: Vec<Row> = Vec::new();
    let mut all = Vec::new();
    for _ in 0..random.random_range(1..400) {
        let group = random.random_range(0..6);
        if strays && random.random_bool(0.1) && !live.iter().any(|row| row.0 == group) {
            all.push((group, Some(1), true, true));
        }
        // Now and then everything goes, so that groups begin anew.
        let back =
            retracts && !live.is_empty() && random.random_bool(if live.len() > 30 { 0.9 } else { 0.4 });
        let mut row = match back {
            true => live.swap_remove(random.random_range(0..live.len())),
            false => {
                let value = random.random_bool(0.85).then(|| random.random_range(-3..6));
                (group, value, random.random_bool(0.6), false)
            }
        };
        if !back {
            live.push(row);
        }
        row.3 = back;
        all.push(row);
    }
    all
}

fn batch(rows: &[Row], retracts: bool) -> ChangeBatch {
    let numbers = rows.iter().map(|row| row.1);
    let texts = numbers.clone().map(|number| number.map(|n| format!("{n}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int32Array::from_iter(numbers)),
        Arc::new(StringArray::from_iter(texts)),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.2)))),
    ];
    let kind = |row: &Row| if row.3 { RowKind::Delete } else { RowKind::Insert } as u8;
    ChangeBatch {
        rows: RecordBatch::try_new(input().to_arrow(), columns).unwrap(),
        kinds: retracts.then(|| UInt8Array::from_iter_values(rows.iter().map(kind))),
    }
}

fn plan(calls: &[AggregateCall], retracts: bool, mini_batch: Option<MiniBatch>) -> Plan {
    Plan {
        keys: vec![0],
        calls: calls.to_vec(),
        retracts,
        mini_batch,
    }
}

fn changelog(retracts: bool) -> Changelog {
    Changelog {
        updates: true,
        before: true,
        deletes: retracts,
    }
}

type Shown = (RowKind, String, String);

/// A group's values in the order in which they came: all of them, and those that pass the FILTER; and each of both
/// once, in the order in which there came to be one.
#[derive(Default)]
struct Group {
    rows: usize,
    values: [Vec<Option<i32>>; 2],
    once: [Vec<Option<i32>>; 2],
}

impl Group {
    fn change(&mut self, (_, value, pass, back): Row) {
        for (values, once) in self
            .values
            .iter_mut()
            .zip(&mut self.once)
            .take(1 + usize::from(pass))
        {
            match back {
                false => values.push(value),
                // The first of equal values goes.
                true => drop(values.remove(values.iter().position(|v| *v == value).unwrap())),
            }
            once.retain(|v| *v != value || values.contains(v));
            if !back && !once.contains(&value) {
                once.push(value);
            }
        }
        match back {
            false => self.rows += 1,
            true => self.rows -= 1,
        }
    }

    fn shown(&self, calls: &[AggregateCall]) -> String {
        let of = |call: &AggregateCall| {
            let lists = if call.distinct { &self.once } else { &self.values };
            computed(call.function, &lists[usize::from(call.filter.is_some())])
        };
        calls.iter().map(of).collect::<Vec<_>>().join(" | ")
    }
}

fn computed(function: AggregateFunction, all: &[Option<i32>]) -> String {
    use AggregateFunction::*;
    let values: Vec<i32> = all.iter().copied().flatten().collect();
    let sum: i32 = values.iter().sum();
    let texts = |null: &str| {
        let texts = all.iter().map(|v| v.map_or(null.to_owned(), |v| v.to_string()));
        texts.collect::<Vec<_>>().join(",")
    };
    match function {
        Count => values.len().to_string(),
        Sum0 => sum.to_string(),
        Collect => {
            let mut counts: BTreeMap<i32, i32> = BTreeMap::new();
            values.iter().for_each(|v| *counts.entry(*v).or_default() += 1);
            let entries = counts.iter().map(|(v, n)| format!("{v}={n}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        JsonArrayAgg => format!("[{}]", texts("null")),
        ArrayAgg if !all.is_empty() => format!("[{}]", texts("NULL")),
        _ if values.is_empty() => "NULL".to_owned(),
        Sum => sum.to_string(),
        Avg => (sum / values.len() as i32).to_string(),
        Min => values.iter().min().unwrap().to_string(),
        Max => values.iter().max().unwrap().to_string(),
        FirstValue => values[0].to_string(),
        LastValue => values[values.len() - 1].to_string(),
        ListAgg => {
            let texts: Vec<String> = values.iter().map(i32::to_string).collect();
            texts.join(",")
        }
        other => unreachable!("{other:?} is not among the calls"),
    }
}

/// What each row changes, by a recomputation of its group.
fn recomputed(calls: &[AggregateCall], all: &[Row]) -> Vec<Vec<Shown>> {
    let mut groups: BTreeMap<i32, Group> = BTreeMap::new();
    let mut changes = Vec::new();
    for row in all {
        let group = groups.entry(row.0).or_default();
        let name = row.0.to_string();
        let change = |kind, values: &str| (kind, name.clone(), values.to_owned());
        if row.3 && group.rows == 0 {
            changes.push(Vec::new());
            continue;
        }
        let (was_there, before) = (group.rows > 0, group.shown(calls));
        group.change(*row);
        let after = group.shown(calls);
        changes.push(match (was_there, group.rows > 0) {
            (false, _) => vec![change(RowKind::Insert, &after)],
            (true, false) => vec![change(RowKind::Delete, &before)],
            (true, true) if before == after => Vec::new(),
            (true, true) => vec![
                change(RowKind::UpdateBefore, &before),
                change(RowKind::UpdateAfter, &after),
            ],
        });
        if group.rows == 0 {
            groups.remove(&row.0);
        }
    }
    changes
}

/// What a value is, maps and arrays too.
fn show(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let all = |part: &ArrayRef| -> Vec<String> { (0..part.len()).map(|i| show(part, i)).collect() };
    if let Some(list) = array.as_list_opt::<i32>() {
        return format!("[{}]", all(&list.value(row)).join(","));
    }
    if let Some(map) = array.as_map_opt() {
        let entries = map.value(row);
        let pairs = all(entries.column(0)).into_iter().zip(all(entries.column(1)));
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        return format!("{{{}}}", pairs.join(","));
    }
    array_value_to_string(array, row).unwrap()
}

/// The rows of batches: kind, group, results.
fn shown(elements: &[Element]) -> Vec<Shown> {
    let mut rows = Vec::new();
    for element in elements {
        let Element::Batch(batch) = element else { continue };
        let columns = batch.change.rows.columns();
        for row in 0..batch.change.len() {
            let kind = batch.change.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            let kind = [
                RowKind::Insert,
                RowKind::UpdateBefore,
                RowKind::UpdateAfter,
                RowKind::Delete,
            ]
            .into_iter()
            .find(|known| *known as u8 == kind)
            .unwrap();
            let values: Vec<String> = columns[1..].iter().map(|c| show(c, row)).collect();
            rows.push((kind, show(&columns[0], row), values.join(" | ")));
        }
    }
    rows
}

/// What has come out, and how many changes that was before each barrier, behind so many rows.
struct Run {
    changes: Vec<Shown>,
    barriers: Vec<(usize, usize)>,
}

/// Runs an operator over the rows in batches of random sizes; `restore` lets it go on from a checkpoint
/// of its own now and then.
fn run(
    make: &dyn Fn(&KeyedBackend) -> Box<dyn Operator>,
    all: &[Row],
    retracts: bool,
    cache_bytes: usize,
    largest: usize,
    restore: bool,
    random: &mut StdRng,
) -> Run {
    let mut storage = Storage::new(cache_bytes, &Clock::System);
    let forever = Lifetimes::default();
    let mut backend = storage.open(&forever, &[]);
    let mut operator = make(&backend);
    let mut out = Vec::new();
    let mut rest = all;
    let mut barriers = Vec::new();
    while !rest.is_empty() {
        let (part, others) = rest.split_at(random.random_range(1..=largest).min(rest.len()));
        rest = others;
        operator.batch(0, batch(part, retracts).into(), &mut out).unwrap();
        drain(operator.as_mut(), &mut out);
        if restore && random.random_bool(0.2) {
            operator.before_barrier(&mut out).unwrap();
            barriers.push((all.len() - rest.len(), rows_of(&out)));
            operator.snapshot().unwrap();
            let files = storage.checkpoint(&backend);
            drop(operator);
            backend = storage.open(&forever, &[files]);
            operator = make(&backend);
        }
    }
    operator.other(Element::EndOfInput, &mut out).unwrap();
    let changes = shown(&out);
    barriers.push((all.len(), changes.len()));
    Run { changes, barriers }
}

/// The table that a changelog leaves; what it takes back has to be there.
fn table<'a>(changes: impl IntoIterator<Item = &'a Shown>) -> BTreeMap<String, String> {
    let mut table: BTreeMap<String, String> = BTreeMap::new();
    for (kind, group, values) in changes {
        match kind {
            RowKind::Insert => assert_eq!(table.insert(group.clone(), values.clone()), None),
            RowKind::UpdateBefore => assert_eq!(table.get(group), Some(values)),
            RowKind::UpdateAfter => assert!(table.insert(group.clone(), values.clone()).is_some()),
            RowKind::Delete => assert_eq!(table.remove(group).as_ref(), Some(values)),
        }
    }
    table
}

#[test]
fn the_changelog_is_the_same_whatever_memory_batches_and_restores() {
    let calls = calls();
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let retracts = seed % 2 == 0;
        let all = rows(&mut random, retracts, retracts);
        let plan = plan(&calls, retracts, None);
        let recomputed = recomputed(&calls, &all).concat();
        table(&recomputed);
        for before in [true, false] {
            let changelog = Changelog {
                before,
                ..changelog(retracts)
            };
            let make = |backend: &KeyedBackend| -> Box<dyn Operator> {
                let output = output(&calls);
                Box::new(GroupAggregate::new(&plan, changelog, &input(), &output, backend).unwrap())
            };
            let mut expected = recomputed.clone();
            expected.retain(|(kind, ..)| before || *kind != RowKind::UpdateBefore);
            let ways = [(20_000, 3, true), (0, 7, false), (64 << 20, 40, true)];
            let ways = if before { &ways[..] } else { &ways[..1] };
            for (cache, largest, restore) in ways.iter().copied() {
                let found = run(&make, &all, retracts, cache, largest, restore, &mut random).changes;
                let at = found.iter().zip(&expected).position(|(f, e)| f != e);
                let at = at.unwrap_or(found.len().min(expected.len()));
                assert!(
                    found == expected,
                    "seed {seed}, cache {cache}, change {at}: {:?}\n{:?}",
                    found.get(at),
                    expected.get(at)
                );
            }
        }
    }
}

#[test]
fn mini_batches_leave_the_same_table() {
    let limits = MiniBatch {
        rows: 10,
        latency_millis: 3_600_000,
    };
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let retracts = seed % 2 == 0;
        let all = rows(&mut random, retracts, false);
        let changelog = Changelog {
            before: seed % 3 > 0,
            ..changelog(retracts)
        };
        let all_calls = calls();
        let merging: Vec<AggregateCall> = all_calls
            .iter()
            .filter(|call| call.merges(retracts))
            .cloned()
            .collect();
        assert!(merging.len() >= 8);
        for (calls, two_phases) in [(&all_calls, false), (&merging, true)] {
            let plan = plan(calls, retracts, Some(limits));
            let bundled = |backend: &KeyedBackend| -> Box<dyn Operator> {
                let output = output(calls);
                match two_phases {
                    false => Box::new(Bundle::new(
                        BundledGroupAggregate::new(&plan, Form::Rows, changelog, &input(), &output, backend)
                            .unwrap(),
                        limits,
                    )),
                    true => Box::new(TwoPhases::new(&plan, limits, changelog, &output, backend)),
                }
            };
            let recomputed = recomputed(calls, &all);
            let row_by_row: usize = recomputed.iter().map(Vec::len).sum();
            for (cache, largest, restore) in [(0, 7, false), (20_000, 3, true)] {
                let found = run(&bundled, &all, retracts, cache, largest, restore, &mut random);
                assert!(found.changes.len() <= row_by_row);
                let says_before = |change: &Shown| change.0 == RowKind::UpdateBefore;
                assert!(changelog.before || !found.changes.iter().any(says_before));
                for (rows, changes) in found.barriers {
                    assert_eq!(
                        table(&found.changes[..changes]),
                        table(recomputed[..rows].iter().flatten()),
                        "seed {seed}, cache {cache}, two phases {two_phases}, behind {rows} rows"
                    );
                }
            }
        }
    }
}

/// Both phases behind one another, as two subtasks have them.
struct TwoPhases {
    local: Bundle<LocalGroupAggregate>,
    global: Bundle<BundledGroupAggregate>,
}

impl TwoPhases {
    fn new(
        plan: &Plan,
        limits: MiniBatch,
        changelog: Changelog,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Self {
        let count = Field::new("count1", DataType::not_null(TypeKind::BigInt));
        let calls = Calls::new(&plan.calls, plan.retracts).unwrap();
        let fields = [input().fields[0].clone()]
            .into_iter()
            .chain(plan.retracts.then_some(count))
            .chain(calls.fields());
        let between = RowType::new(fields.collect());
        TwoPhases {
            local: Bundle::new(
                LocalGroupAggregate::new(plan, &input(), &between).unwrap(),
                limits,
            ),
            global: Bundle::new(
                BundledGroupAggregate::new(plan, Form::States, changelog, &between, output, backend).unwrap(),
                limits,
            ),
        }
    }

    fn pass(&mut self, between: Vec<Element>, out: &mut Vec<Element>) {
        for element in between {
            match element {
                Element::Batch(batch) => self.global.batch(0, batch, out).unwrap(),
                other => self.global.other(other, out).unwrap(),
            }
        }
    }
}

impl Operator for TwoPhases {
    fn batch(
        &mut self,
        input: usize,
        batch: crate::element::Batch,
        out: &mut Vec<Element>,
    ) -> millrace_core::Result<()> {
        let mut between = Vec::new();
        self.local.batch(input, batch, &mut between)?;
        self.pass(between, out);
        Ok(())
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> millrace_core::Result<()> {
        let mut between = Vec::new();
        self.local.other(element, &mut between)?;
        self.pass(between, out);
        Ok(())
    }

    fn before_barrier(&mut self, out: &mut Vec<Element>) -> millrace_core::Result<()> {
        let mut between = Vec::new();
        self.local.before_barrier(&mut between)?;
        self.pass(between, out);
        self.global.before_barrier(out)
    }

    fn snapshot(&mut self) -> millrace_core::Result<Vec<Vec<u8>>> {
        self.global.snapshot()
    }
}

#[test]
fn a_bundle_waits_for_rows_or_for_time_and_what_is_behind_it_waits_too() {
    let limits = MiniBatch {
        rows: 3,
        latency_millis: 1000,
    };
    let calls = &calls()[..1];
    let local_calls = Calls::new(calls, false).unwrap();
    let between = [input().fields[0].clone()]
        .into_iter()
        .chain(local_calls.fields());
    let between = RowType::new(between.collect());
    let local = LocalGroupAggregate::new(&plan(calls, false, Some(limits)), &input(), &between).unwrap();
    let mut bundle = Bundle::new(local, limits);
    let mut out = Vec::new();
    let row = |group: i32| (group, Some(1), true, false);
    bundle.other(Element::Watermark(1), &mut out).unwrap();
    assert!(matches!(out[..], [Element::Watermark(1)]), "nothing waits");
    out.clear();
    bundle
        .batch(0, batch(&[row(1), row(2)], false).into(), &mut out)
        .unwrap();
    bundle.other(Element::Watermark(2), &mut out).unwrap();
    bundle.other(Element::Watermark(3), &mut out).unwrap();
    bundle.tick(super::now_millis(), &mut out).unwrap();
    assert!(out.is_empty());
    bundle.batch(0, batch(&[row(1)], false).into(), &mut out).unwrap();
    assert!(matches!(out[..], [Element::Batch(_), Element::Watermark(3)]));
    assert_eq!(shown(&out).len(), 2, "two groups");
    out.clear();
    bundle.batch(0, batch(&[row(5)], false).into(), &mut out).unwrap();
    bundle.tick(super::now_millis() + 1000, &mut out).unwrap();
    assert_eq!(shown(&out).len(), 1);
    out.clear();
    bundle.batch(0, batch(&[row(5)], false).into(), &mut out).unwrap();
    bundle.before_barrier(&mut out).unwrap();
    assert_eq!(shown(&out).len(), 1);
    out.clear();
    bundle.batch(0, batch(&[row(5)], false).into(), &mut out).unwrap();
    bundle.other(Element::EndOfInput, &mut out).unwrap();
    assert!(matches!(out[..], [Element::Batch(_), Element::EndOfInput]));
}
