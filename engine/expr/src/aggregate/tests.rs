//! Each function by examples. `random_tests` compares them with plain ones over the rows that are left.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, StringArray, StructArray,
};
use arrow::compute::{cast, concat};
use arrow::util::display::array_value_to_string;

use super::{AggregateCall, AggregateFunction, Calls, Grouped, HeapMaps, Input, Parameters};
use crate::{DataType, Field, TypeKind};

pub(super) fn call(function: AggregateFunction, arg: Option<DataType>) -> AggregateCall {
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

pub(super) fn show(array: &ArrayRef, row: usize) -> String {
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
    if let arrow::datatypes::DataType::Timestamp(_, Some(_)) = array.data_type() {
        let since_1970 = cast(array, &arrow::datatypes::DataType::Int64).unwrap();
        return show(&since_1970, row);
    }
    array_value_to_string(array, row).unwrap()
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
