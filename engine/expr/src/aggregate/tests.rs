//! Each function against a plain one over the rows that are left, at random.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, StringArray,
    StructArray,
};
use arrow::compute::concat;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::{AggregateCall, AggregateFunction, Calls, Entries, Grouped, HeapMaps, Input, Parameters};
use crate::{DataType, Field, TypeKind};

fn call(function: AggregateFunction, arg: Option<DataType>) -> AggregateCall {
    AggregateCall {
        function,
        arg: arg.as_ref().map(|_| 0),
        data_type: function.result_type(arg.as_ref(), true).unwrap(),
        arg_type: arg,
        distinct: false,
        filter: None,
        parameters: Parameters::default(),
        ignores_retractions: false,
    }
}

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

/// A row: group, value, whether it passes the FILTER.
type Row = (u32, Option<i32>, bool);

/// What happens: a row comes, or the live row at a place (modulo their number) is taken back.
#[derive(Debug, Clone)]
enum Step {
    Insert(Row),
    Retract(usize),
}

fn steps(retracts: bool) -> impl Strategy<Value = Vec<Step>> {
    let value = prop::option::of(prop::sample::select(vec![i32::MAX, -7, -1, 0, 1, 2, 10]));
    let insert = (0u32..3, value, any::<bool>()).prop_map(Step::Insert);
    let weight = if retracts { 2 } else { 0 };
    let step = prop_oneof![
        3 => insert,
        weight => any::<usize>().prop_map(Step::Retract),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a group has: all values and those that pass the FILTER, in the order in which they came; and
/// each of both once, in the order in which it became one.
#[derive(Debug, Default, Clone)]
struct Group {
    values: [Vec<Option<i32>>; 2],
    once: [Vec<Option<i32>>; 2],
}

impl Group {
    fn is_empty(&self) -> bool {
        self.values[0].is_empty()
    }

    fn of(&self, call: &AggregateCall) -> &[Option<i32>] {
        let filtered = usize::from(call.filter.is_some());
        match call.distinct {
            true => &self.once[filtered],
            false => &self.values[filtered],
        }
    }

    fn change(&mut self, (value, pass): (Option<i32>, bool), back: bool) {
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

/// What a function gives of values, which are texts of the numbers where it takes texts.
fn naive(function: AggregateFunction, all: &[Option<i32>]) -> String {
    use AggregateFunction::*;
    let values: Vec<i32> = all.iter().copied().flatten().collect();
    let wrapped = |sum: i64| (sum as i32).to_string();
    let sum: i64 = values.iter().map(|v| i64::from(*v)).sum();
    let texts = |separator: &str| {
        let texts: Vec<String> = values.iter().map(i32::to_string).collect();
        texts.join(separator)
    };
    match function {
        Count => values.len().to_string(),
        Sum0 => wrapped(sum),
        ArrayAgg if !all.is_empty() => {
            let texts = all.iter().map(|v| v.map_or("NULL".to_owned(), |v| v.to_string()));
            format!("[{}]", texts.collect::<Vec<_>>().join(","))
        }
        JsonArrayAgg => format!("[{}]", texts(",")),
        Collect => {
            let mut counts: std::collections::BTreeMap<i32, i32> = Default::default();
            values.iter().for_each(|v| *counts.entry(*v).or_default() += 1);
            let entries = counts.iter().map(|(v, n)| format!("{v}={n}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        _ if values.is_empty() => "NULL".to_owned(),
        Sum => wrapped(sum),
        Avg => wrapped(sum / values.len() as i64),
        Min => values.iter().min().unwrap().to_string(),
        Max => values.iter().max().unwrap().to_string(),
        FirstValue => values[0].to_string(),
        LastValue => values[values.len() - 1].to_string(),
        ListAgg => texts("; "),
        _ => unreachable!(),
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

/// Every function, with and without DISTINCT and FILTER, over numbers (0) or texts (1).
fn all_calls() -> Vec<AggregateCall> {
    let mut calls = Vec::new();
    for function in TESTED {
        let takes_text = matches!(
            function,
            AggregateFunction::ListAgg | AggregateFunction::JsonArrayAgg
        );
        for (distinct, filtered) in [(false, false), (false, true), (true, false), (true, true)] {
            let arg_type = if takes_text {
                DataType::string()
            } else {
                DataType::int()
            };
            calls.push(AggregateCall {
                function: *function,
                arg: Some(usize::from(takes_text)),
                data_type: function.result_type(Some(&arg_type), false).unwrap(),
                arg_type: Some(arg_type),
                distinct,
                filter: filtered.then_some(2),
                parameters: Parameters {
                    separator: Some("; ".to_owned()),
                    ignore_nulls: *function == AggregateFunction::JsonArrayAgg,
                },
                ignores_retractions: false,
            });
        }
    }
    calls
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

fn check(steps: &[Step], batch: usize, retracts: bool) -> Result<(), TestCaseError> {
    let plan = all_calls();
    let mut calls = Calls::new(&plan, retracts).unwrap();
    calls.resize(3);
    let mut maps = HeapMaps::default();
    maps.resize(3);
    let mut groups = vec![Group::default(); 3];
    for part in played(steps).chunks(batch) {
        let slots: Vec<u32> = part.iter().map(|((group, ..), _)| *group).collect();
        let numbers = part.iter().map(|((_, value, _), _)| *value);
        let texts = numbers.clone().map(|v| v.map(|v| v.to_string()));
        let pass = part.iter().map(|((_, _, pass), _)| Some(*pass));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter(numbers)),
            Arc::new(StringArray::from_iter(texts)),
            Arc::new(BooleanArray::from_iter(pass)),
        ];
        let retract: Vec<bool> = part.iter().map(|(_, back)| *back).collect();
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
        let expected = |group: &Group, call: &AggregateCall| naive(call.function, group.of(call));
        for (row, ((group, value, pass), back)) in part.iter().enumerate() {
            let group = &mut groups[*group as usize];
            for (column, call) in before.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "before: {:?}", call);
            }
            group.change((*value, *pass), *back);
            for (column, call) in after.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "after: {:?}", call);
            }
        }
        // From here on with the state as it was stored.
        let stored = calls.store(&[0, 1, 2]).unwrap();
        let fields: Vec<Field> = calls.fields().collect();
        prop_assert_eq!(fields.len(), stored.len());
        for (field, column) in fields.iter().zip(&stored) {
            prop_assert_eq!(&field.data_type.to_arrow(), column.data_type());
        }
        calls = Calls::new(&plan, retracts).unwrap();
        calls.resize(3);
        calls.load(&[0, 1, 2], &stored).unwrap();
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
    #[test]
    fn every_function_is_what_a_recomputation_gives(steps in steps(false), batch in 1usize..20) {
        check(&steps, batch, false)?;
    }

    #[test]
    fn and_so_it_is_where_rows_are_taken_back(steps in steps(true), batch in 1usize..20) {
        check(&steps, batch, true)?;
    }

    /// A group in parts, each summed up by itself, is the group.
    #[test]
    fn states_that_merge_add_up(steps in steps(true), batch in 1usize..20, takes_back in any::<bool>()) {
        let plan: Vec<AggregateCall> =
            all_calls().into_iter().filter(|call| call.merges(takes_back)).collect();
        prop_assert!(plan.iter().any(|call| call.function == AggregateFunction::Avg));
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut whole = Calls::new(&plan, takes_back).unwrap();
        let mut none = HeapMaps::default();
        whole.resize(1);
        let mut group = Group::default();
        for part in rows.chunks(batch) {
            let mut local = Calls::new(&plan, takes_back).unwrap();
            local.resize(1);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter(part.iter().map(|((_, value, _), _)| *value))),
                Arc::new(StringArray::from_iter(part.iter().map(|((_, value, _), _)| value.map(|v| v.to_string())))),
                Arc::new(BooleanArray::from_iter(part.iter().map(|((_, _, pass), _)| Some(*pass)))),
            ];
            let retract: Vec<bool> = part.iter().map(|(_, back)| *back).collect();
            local.update(&Grouped {
                columns: &columns,
                slots: &vec![0; part.len()],
                retract: Some(&retract),
                first: None,
                pass: None,
            }, &mut none).unwrap();
            whole.merge(&[0], &local.store(&[0]).unwrap()).unwrap();
            for ((_, value, pass), back) in part {
                group.change((*value, *pass), *back);
            }
            for (column, call) in whole.values(&[0], &mut none).unwrap().iter().zip(&plan) {
                let wanted = naive(call.function, group.of(call));
                prop_assert_eq!(show(column, 0), wanted, "{:?}", call);
            }
        }
    }
}

proptest! {
    /// Groups that become one, with their maps, are the group of all their rows.
    #[test]
    fn groups_with_maps_become_one(steps in steps(true), takes_back in any::<bool>()) {
        use AggregateFunction::*;
        // Which of equal values came first nobody knows any more.
        let is_ordered = |call: &AggregateCall| {
            matches!(call.function, ListAgg | ArrayAgg | JsonArrayAgg | FirstValue | LastValue)
        };
        let plan: Vec<AggregateCall> =
            all_calls().into_iter().filter(|call| !call.distinct || !is_ordered(call)).collect();
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut calls = Calls::new(&plan, takes_back).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut groups = vec![Group::default(); 3];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter(rows.iter().map(|((_, value, _), _)| *value))),
            Arc::new(StringArray::from_iter(rows.iter().map(|((_, value, _), _)| value.map(|v| v.to_string())))),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|((_, _, pass), _)| Some(*pass)))),
        ];
        let slots: Vec<u32> = rows.iter().map(|((group, ..), _)| *group).collect();
        let retract: Vec<bool> = rows.iter().map(|(_, back)| *back).collect();
        let grouped = Grouped {
            columns: &columns,
            slots: &slots,
            retract: takes_back.then_some(&retract[..]),
            first: None,
            pass: None,
        };
        calls.update(&grouped, &mut maps).unwrap();
        for ((group, value, pass), back) in &rows {
            groups[*group as usize].change((*value, *pass), *back);
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
            prop_assert_eq!(show(column, 0), naive(call.function, all.of(call)), "{:?}", call);
        }
    }
}

#[test]
fn json_objects_have_each_key_once() {
    let arg_type = DataType::not_null(TypeKind::Row(vec![
        Field::new("key", DataType::string()),
        Field::new("value", DataType::string()),
    ]));
    let call = call(AggregateFunction::JsonObjectAgg, Some(arg_type.clone()));
    let row = |key: Option<&str>, value: Option<&str>| -> ArrayRef {
        let arrow::datatypes::DataType::Struct(fields) = arg_type.to_arrow() else {
            unreachable!()
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![key])),
            Arc::new(StringArray::from(vec![value])),
        ];
        Arc::new(StructArray::new(fields, columns, None))
    };
    let mut object = call.accumulator(true, 7).unwrap();
    let mut maps = HeapMaps::default();
    object.resize(1);
    maps.resize(1);
    let mut take = |row: &ArrayRef, back: bool| {
        let input = Input {
            slots: &[0],
            arg: Some(row),
            retract: Some(&[back]),
            first: None,
            pass: None,
        };
        object.update(&input, &mut maps)?;
        Ok::<String, millrace_core::Error>(show(&object.values(&[0], &mut maps)?, 0))
    };
    assert_eq!(take(&row(Some("b"), Some("1")), false).unwrap(), r#"{"b":1}"#);
    let odd = "\"\0";
    assert_eq!(
        take(&row(Some(odd), Some("[\"x\"]")), false).unwrap(),
        r#"{"\"\u0000":["x"],"b":1}"#
    );
    assert_eq!(
        take(&row(Some("a"), None), false).unwrap(),
        r#"{"\"\u0000":["x"],"a":null,"b":1}"#
    );
    assert!(take(&row(Some("a"), Some("2")), false).is_err(), "a key twice");
    assert!(take(&row(None, Some("2")), false).is_err(), "no key");
    assert_eq!(
        take(&row(Some(odd), Some("[]")), true).unwrap(),
        r#"{"a":null,"b":1}"#
    );
}

#[test]
fn a_single_value_is_one() {
    let call = call(AggregateFunction::SingleValue, Some(DataType::string()));
    let mut single = call.accumulator(true, 0).unwrap();
    single.resize(1);
    let mut take = |text: &str, back: bool| {
        let arg: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let input = Input {
            slots: &[0],
            arg: Some(&arg),
            retract: Some(&[back]),
            first: None,
            pass: None,
        };
        single.update(&input, &mut HeapMaps::default())?;
        Ok::<String, millrace_core::Error>(show(&single.values(&[0], &mut HeapMaps::default())?, 0))
    };
    assert_eq!(take("a", false).unwrap(), "a");
    assert_eq!(take("a", true).unwrap(), "NULL");
    assert_eq!(take("b", false).unwrap(), "b");
    assert!(take("c", false).is_err());
}

fn one_group(function: AggregateFunction, arg_type: DataType, batches: &[ArrayRef]) -> String {
    let call = call(function, Some(arg_type));
    let mut accumulator = call.accumulator(false, 0).unwrap();
    accumulator.resize(1);
    for batch in batches {
        let slots = vec![0; batch.len()];
        accumulator
            .update(
                &Input {
                    slots: &slots,
                    arg: Some(batch),
                    retract: None,
                    first: None,
                    pass: None,
                },
                &mut HeapMaps::default(),
            )
            .unwrap();
    }
    let values = accumulator.values(&[0], &mut HeapMaps::default()).unwrap();
    assert_eq!(values.data_type(), &call.data_type.to_arrow());
    show(&values, 0)
}

#[test]
fn decimals_round_half_up_and_leave_38_digits_for_null() {
    let cents = |values: Vec<i128>| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(10, 2)
                .unwrap(),
        )
    };
    let t = DataType::decimal(10, 2);
    let sum = |v| one_group(AggregateFunction::Sum, t.clone(), &[cents(v)]);
    let avg = |v| one_group(AggregateFunction::Avg, t.clone(), &[cents(v)]);
    assert_eq!(sum(vec![150, -25]), "1.25");
    assert_eq!(avg(vec![100, 0, 0]), "0.333333");
    assert_eq!(avg(vec![200, 0, 0]), "0.666667");
    assert_eq!(avg(vec![-200, 0, 0]), "-0.666667");
    let most = 10i128.pow(38) - 1;
    let large: ArrayRef = Arc::new(
        Decimal128Array::from(vec![most, most])
            .with_precision_and_scale(38, 0)
            .unwrap(),
    );
    assert_eq!(
        one_group(AggregateFunction::Sum, DataType::decimal(38, 0), &[large]),
        "NULL"
    );
}

#[test]
fn texts_and_floats_have_an_order() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("Z"), Some("ä")]));
    assert_eq!(
        one_group(
            AggregateFunction::Min,
            DataType::string(),
            std::slice::from_ref(&texts)
        ),
        "Z"
    );
    assert_eq!(
        one_group(AggregateFunction::Max, DataType::string(), &[texts]),
        "ä"
    );
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.5, -2.0, 0.25]));
    assert_eq!(
        one_group(
            AggregateFunction::Max,
            DataType::double(),
            std::slice::from_ref(&numbers)
        ),
        "1.5"
    );
    assert_eq!(
        one_group(
            AggregateFunction::Sum,
            DataType::double(),
            std::slice::from_ref(&numbers)
        ),
        "-0.25"
    );
    let twice = concat(&[&numbers, &numbers]).unwrap();
    assert_eq!(
        one_group(AggregateFunction::Avg, DataType::double(), &[twice]),
        "-0.08333333333333333"
    );
}

#[test]
fn a_group_that_begins_anew_forgets() {
    let call = call(AggregateFunction::Sum, Some(DataType::int()));
    let mut sum = call.accumulator(false, 0).unwrap();
    sum.resize(1);
    let arg: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let trace = sum
        .trace(
            &Input {
                slots: &[0, 0, 0],
                arg: Some(&arg),
                retract: None,
                first: Some(&[true, false, true]),
                pass: None,
            },
            &mut HeapMaps::default(),
        )
        .unwrap();
    let shown: Vec<String> = (0..3).map(|row| show(&trace.after, row)).collect();
    assert_eq!(shown, ["1", "3", "3"]);
    assert_eq!(show(&trace.before, 2), "NULL");
}

#[test]
fn types_are_flinks() {
    let of =
        |function: AggregateFunction, t: DataType| function.result_type(Some(&t), true).unwrap().to_string();
    use AggregateFunction::*;
    assert_eq!(of(Sum, DataType::not_null(TypeKind::TinyInt)), "TINYINT NOT NULL");
    assert_eq!(of(Sum, DataType::decimal(10, 2)), "DECIMAL(38, 2)");
    assert_eq!(of(Avg, DataType::decimal(10, 2)), "DECIMAL(38, 6)");
    assert_eq!(of(Avg, DataType::int()), "INT");
    assert_eq!(of(Count, DataType::string()), "BIGINT NOT NULL");
    assert!(Sum.result_type(Some(&DataType::string()), true).is_err());
    assert_eq!(of(Min, DataType::boolean()), "BOOLEAN");
    assert!(Min.result_type(Some(&DataType::bytes()), true).is_err());
    assert_eq!(of(LastValue, DataType::string()), "STRING");
    assert!(
        FirstValue
            .result_type(Some(&DataType::nullable(TypeKind::Date)), true)
            .is_err()
    );
    assert_eq!(of(ArrayAgg, DataType::int()), "ARRAY<INT>");
    assert_eq!(of(Collect, DataType::int()), "MULTISET<INT> NOT NULL");
    assert_eq!(of(JsonArrayAgg, DataType::string()), "VARCHAR(2000) NOT NULL");
    assert_eq!(
        Sum.result_type(Some(&DataType::not_null(TypeKind::Int)), false)
            .unwrap()
            .to_string(),
        "INT",
        "of no rows at all it is NULL"
    );
}

/// What values hold is known: it grows with them, and goes with the slots.
#[test]
fn long_values_are_counted() {
    for function in [
        AggregateFunction::LastValue,
        AggregateFunction::Max,
        AggregateFunction::FirstValue,
    ] {
        for retracts in [false, true] {
            let call = call(function, Some(DataType::string()));
            let mut calls = Calls::new(&[call], retracts).unwrap();
            let mut maps = HeapMaps::default();
            calls.resize(10);
            maps.resize(10);
            assert_eq!(calls.held_bytes(), 0, "{function:?}");
            let slots: Vec<u32> = (0..10).collect();
            for (number, length) in [10, 5000, 100].into_iter().enumerate() {
                let texts = (0..10).map(|i| Some(format!("{number}{i}").repeat(length)));
                let texts: ArrayRef = Arc::new(StringArray::from_iter(texts));
                let rows = Grouped {
                    columns: &[texts],
                    slots: &slots,
                    retract: None,
                    first: None,
                    pass: None,
                };
                calls.update(&rows, &mut maps).unwrap();
                let first = matches!(function, AggregateFunction::FirstValue);
                let held = 10 * 2 * if first { 10 } else { length };
                let counted = calls.held_bytes();
                assert!(
                    (held..held + held / 8 + 600).contains(&counted),
                    "{function:?}: {counted} of {held}"
                );
            }
            calls.release(&slots[..5]);
            let half = calls.held_bytes();
            calls.resize(5);
            assert_eq!(calls.held_bytes(), 0, "{function:?}: {half}");
        }
    }
}
