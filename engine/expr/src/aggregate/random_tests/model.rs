//! Values of many types, rows of them that come and go, and what functions give of those that are left.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, UInt32Array,
};
use arrow::compute::{cast, take};
use proptest::prelude::*;

use super::super::tests::show;
use super::super::{AggregateCall, AggregateFunction, Parameters};
use crate::{DataType, TypeKind};

/// Some values of a type, ascending.
pub(super) struct Pool {
    pub data_type: DataType,
    pub values: ArrayRef,
    pub texts: Vec<String>,
    /// What they are as numbers, where they are: of a decimal the digits.
    pub numbers: Numbers,
}

pub(super) enum Numbers {
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

pub(super) static POOLS: LazyLock<Vec<Pool>> = LazyLock::new(|| {
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
pub(super) type Row = (u32, Option<usize>, bool);

/// What happens: a row comes, or the live row at a place (modulo their number) is taken back.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Insert(Row),
    Retract(usize),
}

/// Over one of the pools.
pub(super) fn steps(retracts: bool) -> impl Strategy<Value = (usize, Vec<Step>)> {
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
pub(super) struct Group {
    pub values: [Vec<Option<usize>>; 2],
    pub once: [Vec<Option<usize>>; 2],
}

impl Group {
    pub fn is_empty(&self) -> bool {
        self.values[0].is_empty()
    }

    pub fn of(&self, call: &AggregateCall) -> &[Option<usize>] {
        let filtered = usize::from(call.filter.is_some());
        match call.distinct {
            true => &self.once[filtered],
            false => &self.values[filtered],
        }
    }

    pub fn change(&mut self, (_, value, pass): Row, back: bool) {
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
pub(super) fn naive(pool: &Pool, call: &AggregateCall, all: &[Option<usize>]) -> String {
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
pub(super) fn all_calls(pool: &Pool) -> Vec<AggregateCall> {
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

/// Rows with their groups, and which of them are taken back.
pub(super) fn played(steps: &[Step]) -> Vec<(Row, bool)> {
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

pub(super) fn columns(pool: &Pool, rows: &[(Row, bool)]) -> Vec<ArrayRef> {
    let pass = rows.iter().map(|((_, _, pass), _)| Some(*pass));
    vec![
        pool.column(rows.iter().map(|((_, value, _), _)| *value)),
        Arc::new(BooleanArray::from_iter(pass)),
    ]
}

pub(super) fn backs(rows: &[(Row, bool)]) -> Vec<bool> {
    rows.iter().map(|(_, back)| *back).collect()
}
