//! Each function against a plain one over the rows that are left, at random.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, StringArray};
use arrow::compute::concat;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::{AggregateCall, AggregateFunction, Input};
use crate::{DataType, TypeKind};

fn call(function: AggregateFunction, arg: Option<DataType>) -> AggregateCall {
    AggregateCall {
        function,
        arg: arg.as_ref().map(|_| 0),
        data_type: function.result_type(arg.as_ref(), true).unwrap(),
        arg_type: arg,
        filter: None,
    }
}

fn show(array: &ArrayRef, row: usize) -> String {
    match array.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(array, row).unwrap(),
    }
}

/// A row: group, value, whether it passes the FILTER; and whether it is taken back later.
type Row = (u32, Option<i32>, bool, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop::option::of(prop::sample::select(vec![i32::MAX, -7, -1, 0, 1, 2, 10]));
    prop::collection::vec((0u32..3, value, any::<bool>(), any::<bool>()), 1..40)
}

/// Result by result what a group's rows give.
fn naive(function: AggregateFunction, values: &[i32]) -> String {
    let wrapped = |sum: i64| (sum as i32).to_string();
    let sum: i64 = values.iter().map(|v| i64::from(*v)).sum();
    match function {
        AggregateFunction::Count => values.len().to_string(),
        AggregateFunction::Sum0 => wrapped(sum),
        _ if values.is_empty() => "NULL".to_owned(),
        AggregateFunction::Sum => wrapped(sum),
        AggregateFunction::Avg => wrapped(sum / values.len() as i64),
        AggregateFunction::Min => values.iter().min().unwrap().to_string(),
        AggregateFunction::Max => values.iter().max().unwrap().to_string(),
    }
}

proptest! {
    #[test]
    fn every_function_is_what_a_recomputation_gives(rows in rows()) {
        use AggregateFunction::*;
        for function in [Count, Sum, Sum0, Avg, Min, Max] {
            let takes_back = function.retracts();
            let mut all: Vec<(u32, Option<i32>, bool, bool)> =
                rows.iter().map(|(g, v, pass, _)| (*g, *v, *pass, false)).collect();
            if takes_back {
                all.extend(rows.iter().filter(|r| r.3).map(|(g, v, pass, _)| (*g, *v, *pass, true)));
            }
            let call = call(function, Some(DataType::int()));
            let mut whole = call.accumulator().unwrap();
            whole.resize(3);
            let mut groups: HashMap<u32, Vec<i32>> = HashMap::new();
            // In two batches, with the state stored and loaded in between.
            let (head, tail) = all.split_at(all.len() / 2);
            for part in [head, tail] {
                let slots: Vec<u32> = part.iter().map(|r| r.0).collect();
                let arg: ArrayRef = Arc::new(Int32Array::from_iter(part.iter().map(|r| r.1)));
                let pass: Vec<bool> = part.iter().map(|r| r.2).collect();
                let retract: Vec<bool> = part.iter().map(|r| r.3).collect();
                let trace = whole.trace(&Input {
                    slots: &slots,
                    arg: Some(&arg),
                    retract: takes_back.then_some(&retract[..]),
                    first: None,
                    pass: Some(&pass),
                }).unwrap();
                for (row, (group, value, pass, back)) in part.iter().enumerate() {
                    let values = groups.entry(*group).or_default();
                    prop_assert_eq!(show(&trace.before, row), naive(function, values));
                    if let Some(value) = value.filter(|_| *pass) {
                        match back {
                            false => values.push(value),
                            true => {
                                let at = values.iter().position(|v| *v == value).unwrap();
                                values.remove(at);
                            }
                        }
                    }
                    prop_assert_eq!(show(&trace.after, row), naive(function, values));
                }
                let stored = whole.store(&[0, 1, 2]).unwrap();
                let fields = whole.fields();
                prop_assert_eq!(fields.len(), stored.len());
                for (field, column) in fields.iter().zip(&stored) {
                    prop_assert_eq!(&field.data_type.to_arrow(), column.data_type());
                }
                let mut other = call.accumulator().unwrap();
                other.resize(5);
                other.load(&[4, 3, 2], &stored).unwrap();
                let (a, b) = (whole.values(&[0, 1, 2]).unwrap(), other.values(&[4, 3, 2]).unwrap());
                prop_assert_eq!(a.to_data(), b.to_data());
            }
        }
    }
}

fn one_group(function: AggregateFunction, arg_type: DataType, batches: &[ArrayRef]) -> String {
    let call = call(function, Some(arg_type));
    let mut accumulator = call.accumulator().unwrap();
    accumulator.resize(1);
    for batch in batches {
        let slots = vec![0; batch.len()];
        accumulator
            .update(&Input {
                slots: &slots,
                arg: Some(batch),
                retract: None,
                first: None,
                pass: None,
            })
            .unwrap();
    }
    let values = accumulator.values(&[0]).unwrap();
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
    let mut sum = call.accumulator().unwrap();
    sum.resize(1);
    let arg: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let trace = sum
        .trace(&Input {
            slots: &[0, 0, 0],
            arg: Some(&arg),
            retract: None,
            first: Some(&[true, false, true]),
            pass: None,
        })
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
    assert!(Min.result_type(Some(&DataType::boolean()), true).is_err());
    assert_eq!(
        Sum.result_type(Some(&DataType::not_null(TypeKind::Int)), false)
            .unwrap()
            .to_string(),
        "INT",
        "of no rows at all it is NULL"
    );
}
