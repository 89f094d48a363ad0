//! Each function, over values of each type that it takes, against a plain one over the rows that are left, at
//! random: as rows come and go, with its state stored and loaded, and put together of parts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, StructArray, UInt32Array,
};
use arrow::compute::{cast, take};
use proptest::prelude::*;

use super::tests::{call, show};
use super::{AggregateCall, AggregateFunction, Calls, Entries, Grouped, HeapMaps, Parameters};
use crate::{DataType, Field, TypeKind};

/// Some values of a type, ascending.
struct Pool {
    data_type: DataType,
    values: ArrayRef,
    texts: Vec<String>,
    /// What they are as numbers, where they are: of a decimal the digits.
    numbers: Numbers,
}

enum Numbers {
    None,
    Whole(Vec<i128>),
    /// Sums of them are exact in any order.
    Float(Vec<f64>),
}

impl Pool {
    fn of(data_type: DataType, values: ArrayRef, numbers: Numbers) -> Pool {
        let values = cast(&values, &data_type.to_arrow()).unwrap();
        assert_eq!(values.null_count(), 0, "{data_type}");
        Pool {
            texts: (0..values.len()).map(|row| show(&values, row)).collect(),
            data_type,
            values,
            numbers,
        }
    }

    fn column(&self, rows: impl Iterator<Item = Option<usize>>) -> ArrayRef {
        let places = UInt32Array::from_iter(rows.map(|row| row.map(|at| at as u32)));
        take(&self.values, &places, None).unwrap()
    }
}

static POOLS: LazyLock<Vec<Pool>> = LazyLock::new(|| {
    let whole = |kind: TypeKind, values: &[i64]| {
        let array = Arc::new(Int64Array::from(values.to_vec()));
        let numbers = values.iter().map(|v| i128::from(*v)).collect();
        Pool::of(DataType::nullable(kind), array, Numbers::Whole(numbers))
    };
    let decimal = |precision: u8, scale: u8, digits: &[i128]| {
        let array = Decimal128Array::from(digits.to_vec());
        let array = array.with_precision_and_scale(precision, scale as i8).unwrap();
        let numbers = Numbers::Whole(digits.to_vec());
        Pool::of(DataType::decimal(precision, scale), Arc::new(array), numbers)
    };
    let float = |kind: TypeKind, values: &[f64]| {
        let array = Arc::new(Float64Array::from(values.to_vec()));
        Pool::of(DataType::nullable(kind), array, Numbers::Float(values.to_vec()))
    };
    let days = |kind: TypeKind, values: &[i32]| {
        let array = Arc::new(Int32Array::from(values.to_vec()));
        Pool::of(DataType::nullable(kind), array, Numbers::None)
    };
    let time = |kind: TypeKind, values: &[i64]| {
        let array = Arc::new(Int64Array::from(values.to_vec()));
        Pool::of(DataType::nullable(kind), array, Numbers::None)
    };
    let text = |kind: TypeKind, values: &[&str]| {
        let array = Arc::new(StringArray::from(values.to_vec()));
        Pool::of(DataType::nullable(kind), array, Numbers::None)
    };
    let large = 10i128.pow(29);
    let instants = [-62_135_596_800_000, -1, 0, 999, 1_000, 253_402_300_799_999];
    vec![
        whole(TypeKind::TinyInt, &[-128, -7, 0, 1, 100, 127]),
        whole(TypeKind::SmallInt, &[-32_768, -7, 0, 1, 30_000, 32_767]),
        whole(
            TypeKind::Int,
            &[i32::MIN.into(), -7, -1, 0, 2, 10, i32::MAX.into()],
        ),
        whole(TypeKind::BigInt, &[i64::MIN, -7, -1, 0, 2, 1 << 40, i64::MAX]),
        decimal(5, 2, &[-99_999, -150, -1, 0, 25, 99_999]),
        decimal(
            18,
            9,
            &[-(10i128.pow(18) - 1), -5, 0, 1, 500_000_000, 10i128.pow(17)],
        ),
        decimal(38, 0, &[-large, -3, 0, 1, 7, large + 1]),
        decimal(38, 10, &[-large, -3, 0, 1, 7, large + 1]),
        float(TypeKind::Float, &[-1024.5, -2.25, -0.125, 0.0, 1.0, 3.75, 4096.0]),
        float(TypeKind::Double, &[-1e9, -2.25, -0.125, 0.0, 1.0, 3.75, 1e12]),
        text(
            TypeKind::Varchar(10),
            &["", "a", "a\u{e9}", "b\0c", "b\0d", "z", "\u{65e5}"],
        ),
        text(TypeKind::Char(3), &["  a", "a  ", "abc", "abd"]),
        days(TypeKind::Date, &[-719_162, -1, 0, 1, 2_932_896]),
        days(TypeKind::Time(0), &[0, 1_000, 86_399_000]),
        days(TypeKind::Time(3), &[0, 1, 999, 86_399_999]),
        time(TypeKind::Timestamp(0), &[-62_135_596_800_000, -1_000, 0, 1_000]),
        time(TypeKind::Timestamp(3), &instants),
        time(TypeKind::Timestamp(6), &[-1_000_001, -1, 0, 1, 1_000_000]),
        time(TypeKind::Timestamp(9), &[-1_000_000_001, -1, 0, 1, i64::MAX - 1]),
        time(TypeKind::TimestampLtz(3), &instants),
        time(
            TypeKind::TimestampLtz(9),
            &[-1_000_000_001, -1, 0, 1, i64::MAX - 1],
        ),
        Pool::of(
            DataType::boolean(),
            Arc::new(BooleanArray::from(vec![false, true])),
            Numbers::None,
        ),
        Pool::of(
            DataType::bytes(),
            Arc::new(BinaryArray::from(vec![
                &b""[..],
                b"\0",
                b"\0\xff",
                b"\x01",
                b"\xff",
            ])),
            Numbers::None,
        ),
    ]
});

/// A row: group, value by its place in the pool, whether it passes the FILTER.
type Row = (u32, Option<usize>, bool);

/// What happens: a row comes, or the live row at a place (modulo their number) is taken back.
#[derive(Debug, Clone)]
enum Step {
    Insert(Row),
    Retract(usize),
}

/// Over one of the pools.
fn steps(retracts: bool) -> impl Strategy<Value = (usize, Vec<Step>)> {
    let insert = |values: usize| {
        let value = prop::option::of(0..values);
        (0u32..3, value, any::<bool>()).prop_map(Step::Insert)
    };
    let weight = if retracts { 2 } else { 0 };
    (0..POOLS.len()).prop_flat_map(move |pool| {
        let step = prop_oneof![
            3 => insert(POOLS[pool].values.len()),
            weight => any::<usize>().prop_map(Step::Retract),
        ];
        (Just(pool), prop::collection::vec(step, 1..60))
    })
}

/// What a group has: all values and those that pass the FILTER, in the order in which they came; and
/// each of both once, in the order in which it became one.
#[derive(Debug, Default, Clone)]
struct Group {
    values: [Vec<Option<usize>>; 2],
    once: [Vec<Option<usize>>; 2],
}

impl Group {
    fn is_empty(&self) -> bool {
        self.values[0].is_empty()
    }

    fn of(&self, call: &AggregateCall) -> &[Option<usize>] {
        let filtered = usize::from(call.filter.is_some());
        match call.distinct {
            true => &self.once[filtered],
            false => &self.values[filtered],
        }
    }

    fn change(&mut self, (_, value, pass): Row, back: bool) {
        for (filtered, counts) in [true, pass].into_iter().enumerate() {
            if !counts {
                continue;
            }
            let (values, once) = (&mut self.values[filtered], &mut self.once[filtered]);
            match back {
                false => values.push(value),
                true => {
                    // The first of equal values goes.
                    let at = values.iter().position(|known| *known == value).unwrap();
                    values.remove(at);
                }
            }
            match (
                values.contains(&value),
                once.iter().position(|known| *known == value),
            ) {
                (true, None) => once.push(value),
                (false, Some(at)) => {
                    once.remove(at);
                }
                _ => {}
            }
        }
    }
}

/// The digits of a decimal with a point before the last `scale` of them.
fn decimal(digits: i128, scale: u8) -> String {
    let sign = if digits < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", digits.unsigned_abs(), usize::from(scale) + 1);
    match digits.split_at(digits.len() - usize::from(scale)) {
        (whole, "") => format!("{sign}{whole}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    }
}

/// Of a half the one that is away from 0.
fn divided(dividend: i128, divisor: i128) -> i128 {
    let half = divisor / 2 + divisor % 2;
    let up = dividend.unsigned_abs() % divisor.unsigned_abs() >= half.unsigned_abs();
    dividend / divisor + i128::from(up) * dividend.signum()
}

fn sum(pool: &Pool, values: &[usize]) -> String {
    match &pool.numbers {
        Numbers::Whole(numbers) => {
            let sum: i128 = values.iter().map(|at| numbers[*at]).sum();
            match pool.data_type.kind {
                TypeKind::TinyInt => (sum as i8).to_string(),
                TypeKind::SmallInt => (sum as i16).to_string(),
                TypeKind::Int => (sum as i32).to_string(),
                TypeKind::BigInt => (sum as i64).to_string(),
                TypeKind::Decimal { scale, .. } => decimal(sum, scale),
                _ => unreachable!(),
            }
        }
        Numbers::Float(numbers) => {
            let sum = values.iter().fold(0.0, |sum, at| sum + numbers[*at]);
            float(pool, sum)
        }
        Numbers::None => unreachable!(),
    }
}

fn average(pool: &Pool, values: &[usize]) -> String {
    let count = values.len() as i128;
    match &pool.numbers {
        Numbers::Whole(numbers) => {
            let sum: i128 = values.iter().map(|at| numbers[*at]).sum();
            match pool.data_type.kind {
                TypeKind::Decimal { scale, .. } => {
                    let digits = scale.max(6);
                    let sum = sum * 10i128.pow(u32::from(digits - scale));
                    decimal(divided(sum, count), digits)
                }
                // The sum of any of them is a BIGINT.
                _ => (i128::from(sum as i64) / count).to_string(),
            }
        }
        Numbers::Float(numbers) => {
            let sum = values.iter().fold(0.0, |sum, at| sum + numbers[*at]);
            float(pool, sum / values.len() as f64)
        }
        Numbers::None => unreachable!(),
    }
}

fn float(pool: &Pool, value: f64) -> String {
    // No sum of these begins with -0.
    let array: ArrayRef = match pool.data_type.kind {
        TypeKind::Float => Arc::new(Float32Array::from(vec![value as f32])),
        _ => Arc::new(Float64Array::from(vec![value])),
    };
    show(&array, 0)
}

/// What a call gives of values.
fn naive(pool: &Pool, call: &AggregateCall, all: &[Option<usize>]) -> String {
    use AggregateFunction::*;
    let values: Vec<usize> = all.iter().copied().flatten().collect();
    let text = |at: &usize| pool.texts[*at].clone();
    let texts = |null: &str| -> Vec<String> {
        let taken = all
            .iter()
            .filter(|v| v.is_some() || !call.parameters.ignore_nulls);
        taken.map(|v| v.as_ref().map_or(null.to_owned(), text)).collect()
    };
    match call.function {
        Count => values.len().to_string(),
        Sum0 if values.is_empty() => sum(pool, &[]),
        ArrayAgg if !texts("NULL").is_empty() => format!("[{}]", texts("NULL").join(",")),
        JsonArrayAgg => format!("[{}]", texts("null").join(",")),
        Collect => {
            let mut counts: BTreeMap<usize, i32> = BTreeMap::new();
            values.iter().for_each(|v| *counts.entry(*v).or_default() += 1);
            let entries = counts.iter().map(|(v, n)| format!("{}={n}", text(v)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        _ if values.is_empty() => "NULL".to_owned(),
        Sum | Sum0 => sum(pool, &values),
        Avg => average(pool, &values),
        Min => text(values.iter().min().unwrap()),
        Max => text(values.iter().max().unwrap()),
        FirstValue => text(&values[0]),
        LastValue => text(&values[values.len() - 1]),
        ListAgg => values.iter().map(text).collect::<Vec<_>>().join("; "),
        SingleValue | ArrayAgg | JsonObjectAgg => unreachable!(),
    }
}

const TESTED: &[AggregateFunction] = {
    use AggregateFunction::*;
    &[
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
    ]
};

/// Every function that takes the type, with and without DISTINCT, FILTER and nulls.
fn all_calls(pool: &Pool) -> Vec<AggregateCall> {
    use AggregateFunction::*;
    let mut calls = Vec::new();
    for function in TESTED {
        let arg_type = &pool.data_type;
        let Ok(data_type) = function.result_type(Some(arg_type), false) else {
            continue;
        };
        // It takes JSON as a text.
        if *function == JsonArrayAgg && !arg_type.is_string() {
            continue;
        }
        for (distinct, filtered) in [(false, false), (false, true), (true, false), (true, true)] {
            for ignore_nulls in [false, true] {
                if ignore_nulls && !matches!(function, ArrayAgg | JsonArrayAgg) {
                    continue;
                }
                calls.push(AggregateCall {
                    function: *function,
                    arg: Some(0),
                    data_type: data_type.clone(),
                    arg_type: Some(arg_type.clone()),
                    distinct,
                    filter: filtered.then_some(1),
                    parameters: Parameters {
                        separator: Some("; ".to_owned()),
                        ignore_nulls,
                    },
                    ignores_retractions: false,
                });
            }
        }
    }
    calls
}

#[test]
fn functions_take_many_types() {
    use AggregateFunction::*;
    let takers = |function: AggregateFunction| {
        let takes = |pool: &&Pool| all_calls(pool).iter().any(|call| call.function == function);
        POOLS.iter().filter(takes).count()
    };
    assert_eq!(takers(Count), POOLS.len());
    assert_eq!((takers(Sum), takers(Sum0), takers(Avg)), (10, 10, 10));
    assert_eq!((takers(Min), takers(Max)), (22, 22));
    assert_eq!((takers(FirstValue), takers(LastValue)), (12, 12));
    assert_eq!((takers(ArrayAgg), takers(Collect)), (POOLS.len(), POOLS.len()));
    assert_eq!((takers(ListAgg), takers(JsonArrayAgg)), (2, 2));
}

/// Rows with their groups, and which of them are taken back.
fn played(steps: &[Step]) -> Vec<(Row, bool)> {
    let mut live: Vec<Row> = Vec::new();
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Insert(row) => {
                live.push(*row);
                out.push((*row, false));
            }
            Step::Retract(_) if live.is_empty() => {}
            Step::Retract(at) => out.push((live.remove(at % live.len()), true)),
        }
    }
    out
}

fn columns(pool: &Pool, rows: &[(Row, bool)]) -> Vec<ArrayRef> {
    let pass = rows.iter().map(|((_, _, pass), _)| Some(*pass));
    vec![
        pool.column(rows.iter().map(|((_, value, _), _)| *value)),
        Arc::new(BooleanArray::from_iter(pass)),
    ]
}

fn backs(rows: &[(Row, bool)]) -> Vec<bool> {
    rows.iter().map(|(_, back)| *back).collect()
}

/// The calls with a state that was stored and is loaded.
fn reloaded(plan: &[AggregateCall], retracts: bool, calls: &Calls) -> Result<Calls, TestCaseError> {
    let stored = calls.store(&[0, 1, 2]).unwrap();
    let fields: Vec<Field> = calls.fields().collect();
    prop_assert_eq!(fields.len(), stored.len());
    for (field, column) in fields.iter().zip(&stored) {
        prop_assert_eq!(&field.data_type.to_arrow(), column.data_type());
    }
    let mut calls = Calls::new(plan, retracts).unwrap();
    calls.resize(3);
    calls.load(&[0, 1, 2], &stored).unwrap();
    Ok(calls)
}

fn check(pool: &Pool, steps: &[Step], batch: usize, retracts: bool) -> Result<(), TestCaseError> {
    let plan = all_calls(pool);
    let mut calls = Calls::new(&plan, retracts).unwrap();
    calls.resize(3);
    let mut maps = HeapMaps::default();
    maps.resize(3);
    let mut groups = vec![Group::default(); 3];
    let expected = |group: &Group, call: &AggregateCall| naive(pool, call, group.of(call));
    for part in played(steps).chunks(batch) {
        let slots: Vec<u32> = part.iter().map(|((group, ..), _)| *group).collect();
        let columns = columns(pool, part);
        let retract = backs(part);
        let mut counts: Vec<usize> = groups.iter().map(|group| group.values[0].len()).collect();
        let first: Vec<bool> = part
            .iter()
            .map(|((group, ..), back)| {
                let count = &mut counts[*group as usize];
                let first = *count == 0;
                if *back {
                    *count -= 1;
                } else {
                    *count += 1;
                }
                first
            })
            .collect();
        let grouped = Grouped {
            columns: &columns,
            slots: &slots,
            retract: retracts.then_some(&retract[..]),
            first: Some(&first),
            pass: None,
        };
        let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
        for (row, (values, back)) in part.iter().enumerate() {
            let group = &mut groups[values.0 as usize];
            for (column, call) in before.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "before: {:?}", call);
            }
            group.change(*values, *back);
            for (column, call) in after.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "after: {:?}", call);
            }
        }
        // From here on with the state as it was stored.
        calls = reloaded(&plan, retracts, &calls)?;
        let values = calls.values(&[0, 1, 2], &mut maps).unwrap();
        for (column, call) in values.iter().zip(&plan) {
            prop_assert_eq!(column.data_type(), &call.data_type.to_arrow());
            for (slot, group) in groups.iter().enumerate().filter(|(_, group)| !group.is_empty()) {
                prop_assert_eq!(show(column, slot), expected(group, call), "stored: {:?}", call);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_function_is_what_a_recomputation_gives((pool, steps) in steps(false), batch in 1usize..20) {
        check(&POOLS[pool], &steps, batch, false)?;
    }

    #[test]
    fn and_so_it_is_where_rows_are_taken_back((pool, steps) in steps(true), batch in 1usize..20) {
        check(&POOLS[pool], &steps, batch, true)?;
    }

    /// A group in parts, each summed up by itself, is the group.
    #[test]
    fn states_that_merge_add_up((pool, steps) in steps(true), batch in 1usize..20, takes_back in any::<bool>()) {
        let pool = &POOLS[pool];
        let plan: Vec<AggregateCall> =
            all_calls(pool).into_iter().filter(|call| call.merges(takes_back)).collect();
        let is_number = !matches!(pool.numbers, Numbers::None);
        prop_assert_eq!(plan.iter().any(|call| call.function == AggregateFunction::Avg), is_number);
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut whole = Calls::new(&plan, takes_back).unwrap();
        let mut none = HeapMaps::default();
        whole.resize(1);
        let mut group = Group::default();
        for part in rows.chunks(batch) {
            let mut local = Calls::new(&plan, takes_back).unwrap();
            local.resize(1);
            local.update(&Grouped {
                columns: &columns(pool, part),
                slots: &vec![0; part.len()],
                retract: Some(&backs(part)),
                first: None,
                pass: None,
            }, &mut none).unwrap();
            whole.merge(&[0], &local.store(&[0]).unwrap()).unwrap();
            for (row, back) in part {
                group.change(*row, *back);
            }
            for (column, call) in whole.values(&[0], &mut none).unwrap().iter().zip(&plan) {
                prop_assert_eq!(show(column, 0), naive(pool, call, group.of(call)), "{:?}", call);
            }
        }
    }

    /// Groups that become one, with their maps, are the group of all their rows.
    #[test]
    fn groups_with_maps_become_one((pool, steps) in steps(true), takes_back in any::<bool>()) {
        use AggregateFunction::*;
        let pool = &POOLS[pool];
        // Which of equal values came first nobody knows any more.
        let is_ordered = |call: &AggregateCall| {
            matches!(call.function, ListAgg | ArrayAgg | JsonArrayAgg | FirstValue | LastValue)
        };
        let plan: Vec<AggregateCall> =
            all_calls(pool).into_iter().filter(|call| !call.distinct || !is_ordered(call)).collect();
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut calls = Calls::new(&plan, takes_back).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut groups = vec![Group::default(); 3];
        let slots: Vec<u32> = rows.iter().map(|((group, ..), _)| *group).collect();
        let retract = backs(&rows);
        let grouped = Grouped {
            columns: &columns(pool, &rows),
            slots: &slots,
            retract: takes_back.then_some(&retract[..]),
            first: None,
            pass: None,
        };
        calls.update(&grouped, &mut maps).unwrap();
        for (row, back) in &rows {
            groups[row.0 as usize].change(*row, *back);
        }
        let states = calls.store(&[1, 2]).unwrap();
        let entries = [1, 2].map(|slot| Entries::of(slot, &mut maps).unwrap());
        calls.absorb(&[0, 0], &states, &entries, &mut maps).unwrap();
        let mut all = Group::default();
        for group in &groups {
            for filtered in 0..2 {
                all.values[filtered].extend(&group.values[filtered]);
                for value in &group.once[filtered] {
                    if !all.once[filtered].contains(value) {
                        all.once[filtered].push(*value);
                    }
                }
            }
        }
        for (column, call) in calls.values(&[0], &mut maps).unwrap().iter().zip(&plan) {
            prop_assert_eq!(show(column, 0), naive(pool, call, all.of(call)), "{:?}", call);
        }
    }

    /// Any doubles are added and taken away in the order in which rows come and go, and are then about the sum of
    /// those that are left.
    #[test]
    fn doubles_are_added_in_the_order_of_their_rows(
        rows in prop::collection::vec((-1e9f64..1e9, prop::option::of(any::<usize>())), 1..60),
        batch in 1usize..20,
    ) {
        let plan = [AggregateFunction::Sum, AggregateFunction::Avg].map(|f| call(f, Some(DataType::double())));
        let (mut live, mut played, mut in_order, mut most) = (Vec::new(), Vec::new(), 0.0, 0.0);
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        for (value, back) in rows {
            live.push(value);
            played.push((value, false));
            if let Some(at) = back {
                played.push((live.swap_remove(at % live.len()), true));
            }
        }
        live.clear();
        for part in played.chunks(batch) {
            let values: ArrayRef = Arc::new(Float64Array::from_iter_values(part.iter().map(|(value, _)| *value)));
            let retract: Vec<bool> = part.iter().map(|(_, back)| *back).collect();
            calls.update(&Grouped {
                columns: &[values],
                slots: &vec![1; part.len()],
                retract: Some(&retract),
                first: None,
                pass: None,
            }, &mut maps).unwrap();
            for (value, back) in part {
                match back {
                    false => live.push(*value),
                    true => drop(live.swap_remove(live.iter().position(|v| v == value).unwrap())),
                }
                in_order += if *back { -value } else { *value };
                most = f64::max(most, live.iter().map(|v: &f64| v.abs()).sum());
            }
            calls = reloaded(&plan, true, &calls)?;
            let found = calls.values(&[1], &mut maps).unwrap();
            let shown = |value: f64| match live.is_empty() {
                true => "NULL".to_owned(),
                false => show(&(Arc::new(Float64Array::from(vec![value])) as ArrayRef), 0),
            };
            prop_assert_eq!(show(&found[0], 0), shown(in_order));
            prop_assert_eq!(show(&found[1], 0), shown(in_order / live.len() as f64));
            let left: f64 = live.iter().sum();
            prop_assert!((in_order - left).abs() <= 1e-12 * most, "{in_order} is not {left}");
        }
    }

    /// Of a group that has one row at most it is the value of that.
    #[test]
    fn single_values_come_and_go((pool, steps) in steps(true), batch in 1usize..20) {
        let pool = &POOLS[pool];
        let plan = [call(AggregateFunction::SingleValue, Some(pool.data_type.clone()))];
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut live: [Option<Row>; 3] = [None; 3];
        let mut rows = Vec::new();
        let mut second = None;
        for step in steps {
            let (row, back) = match step {
                Step::Insert(row) => (row, false),
                Step::Retract(at) => match live[at % 3] {
                    Some(row) => (row, true),
                    None => continue,
                },
            };
            let known = &mut live[row.0 as usize];
            if known.is_some() && !back {
                second = second.or(Some(row));
                continue;
            }
            *known = (!back).then_some(row);
            rows.push((row, back));
        }
        let mut live: [Option<Row>; 3] = [None; 3];
        for part in rows.chunks(batch) {
            let slots: Vec<u32> = part.iter().map(|((group, ..), _)| *group).collect();
            let grouped = Grouped {
                columns: &columns(pool, part),
                slots: &slots,
                retract: Some(&backs(part)),
                first: None,
                pass: None,
            };
            let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
            let shown = |row: &Option<Row>| {
                let value = row.and_then(|(_, value, _)| value);
                value.map_or("NULL".to_owned(), |at| pool.texts[at].clone())
            };
            for (at, (row, back)) in part.iter().enumerate() {
                let known = &mut live[row.0 as usize];
                prop_assert_eq!(show(&before[0], at), shown(known));
                *known = (!back).then_some(*row);
                prop_assert_eq!(show(&after[0], at), shown(known));
            }
            calls = reloaded(&plan, true, &calls)?;
            let values = calls.values(&[0, 1, 2], &mut maps).unwrap();
            for (slot, row) in live.iter().enumerate() {
                prop_assert_eq!(show(&values[0], slot), shown(row));
            }
        }
        // A second one is refused, null or not.
        if let Some(row) = second && live[row.0 as usize].is_some() {
            let grouped = Grouped {
                columns: &columns(pool, &[(row, false)]),
                slots: &[row.0],
                retract: None,
                first: None,
                pass: None,
            };
            prop_assert!(calls.update(&grouped, &mut maps).is_err());
        }
    }
}

/// Keys as they are, and as JSON; in the order of their bytes.
const KEYS: [(&str, &str); 6] = [
    ("", r#""""#),
    ("\"\0", r#""\"\u0000""#),
    ("a", r#""a""#),
    ("a\0", r#""a\u0000""#),
    ("b\\", r#""b\\""#),
    ("\u{e9}", "\"\u{e9}\""),
];
const VALUES: [&str; 4] = ["1", "[\"x\"]", "{}", "\"\u{e9}\""];

proptest! {
    /// Rows of keys that are once in a group; of two groups in one they are of different groups.
    #[test]
    fn json_objects_have_the_rows_that_are_left(
        steps in prop::collection::vec((0..3u32, 0..KEYS.len(), prop::option::of(0..VALUES.len())), 1..60),
        batch in 1usize..20,
        ignore_nulls in any::<bool>(),
    ) {
        let arg_type = DataType::not_null(TypeKind::Row(vec![
            Field::new("key", DataType::string()),
            Field::new("value", DataType::string()),
        ]));
        let mut object = call(AggregateFunction::JsonObjectAgg, Some(arg_type.clone()));
        object.parameters.ignore_nulls = ignore_nulls;
        let plan = [object];
        let columns = |rows: &[(u32, usize, Option<usize>, bool)]| -> Vec<ArrayRef> {
            let arrow::datatypes::DataType::Struct(fields) = arg_type.to_arrow() else {
                unreachable!()
            };
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| KEYS[row.1].0))),
                Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.map(|value| VALUES[value])))),
            ];
            vec![Arc::new(StructArray::new(fields, columns, None))]
        };
        type Object = BTreeMap<usize, Option<usize>>;
        let shown = |object: &Object| {
            let entries = object.iter().filter(|(_, value)| value.is_some() || !ignore_nulls);
            let entries = entries.map(|(key, value)| format!("{}:{}", KEYS[*key].1, value.map_or("null", |v| VALUES[v])));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        };
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut live: [Object; 3] = Default::default();
        // A key that is there goes, with its value.
        let mut rows = Vec::new();
        for (group, key, value) in steps {
            let key = if group == 0 { key } else { key - key % 2 + group as usize % 2 };
            let object = &mut live[group as usize];
            match object.remove(&key) {
                Some(value) => rows.push((group, key, value, true)),
                None => {
                    object.insert(key, value);
                    rows.push((group, key, value, false));
                }
            }
        }
        let mut live: [Object; 3] = Default::default();
        for part in rows.chunks(batch) {
            let slots: Vec<u32> = part.iter().map(|row| row.0).collect();
            let retract: Vec<bool> = part.iter().map(|row| row.3).collect();
            let grouped = Grouped {
                columns: &columns(part),
                slots: &slots,
                retract: Some(&retract),
                first: None,
                pass: None,
            };
            let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
            for (at, (group, key, value, back)) in part.iter().enumerate() {
                let object = &mut live[*group as usize];
                prop_assert_eq!(show(&before[0], at), shown(object));
                match back {
                    true => drop(object.remove(key)),
                    false => drop(object.insert(*key, *value)),
                }
                prop_assert_eq!(show(&after[0], at), shown(object));
            }
            calls = reloaded(&plan, true, &calls)?;
        }
        // A key that is there is refused.
        if let Some((key, _)) = live[0].iter().find(|(_, value)| value.is_some()) {
            let grouped = Grouped {
                columns: &columns(&[(0, *key, Some(0), false)]),
                slots: &[0],
                retract: None,
                first: None,
                pass: None,
            };
            prop_assert!(calls.update(&grouped, &mut maps).is_err());
        }
        let states = calls.store(&[2]).unwrap();
        let entries = [Entries::of(2, &mut maps).unwrap()];
        calls.absorb(&[1], &states, &entries, &mut maps).unwrap();
        let [_, mut one, other] = live;
        one.extend(other);
        prop_assert_eq!(show(&calls.values(&[1], &mut maps).unwrap()[0], 0), shown(&one));
    }
}
