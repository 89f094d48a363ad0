//! Comparisons, BETWEEN and IN.
//!
//! Floating-point numbers compare as in Java (NaN equals nothing, 0.0 equals -0.0), decimals by
//! value whatever their scales, strings by their bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar as ArrowScalar};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp;
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::equality::equal;
use super::support::{any_nullable, booleans, is_null_type, kind, to_kind};
use crate::cast::rules::as_decimal;
use crate::cast::{coerce, common_type};
use crate::function::{self, Call, Function, Resolution};
use crate::text::decimal::power_of_ten;
use crate::value::{Value, arrow_error};
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("=", FORMS, equality, |call| compare(call, Operator::Equal)),
    Function::eager("<>", FORMS, equality, |call| compare(call, Operator::NotEqual)),
    Function::eager("<", FORMS, order, |call| compare(call, Operator::Less)),
    Function::eager("<=", FORMS, order, |call| compare(call, Operator::LessEqual)),
    Function::eager(">", FORMS, order, |call| compare(call, Operator::Greater)),
    Function::eager(">=", FORMS, order, |call| compare(call, Operator::GreaterEqual)),
    Function::eager("IS DISTINCT FROM", FORMS, distinctness, |call| {
        distinct(call, true)
    }),
    Function::eager("IS NOT DISTINCT FROM", FORMS, distinctness, |call| {
        distinct(call, false)
    }),
    Function::eager(
        "BETWEEN",
        "comparable BETWEEN comparable AND comparable",
        between,
        unreachable,
    ),
    Function::eager(
        "NOT BETWEEN",
        "comparable NOT BETWEEN comparable AND comparable",
        not_between,
        unreachable,
    ),
    Function::eager("IN", "comparable IN (comparable, ...)", membership, |call| {
        contained(call, true)
    }),
    Function::eager(
        "NOT IN",
        "comparable NOT IN (comparable, ...)",
        membership,
        |call| contained(call, false),
    ),
];

const FORMS: &str = "two numbers, two strings, two of the same date, time or interval type, \
                     a string and a date or time, two of the same nested type (equality only)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    #[inline]
    fn holds(self, ordering: Option<Ordering>) -> bool {
        match self {
            Operator::Equal => ordering == Some(Ordering::Equal),
            Operator::NotEqual => ordering != Some(Ordering::Equal),
            Operator::Less => ordering == Some(Ordering::Less),
            Operator::LessEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => ordering == Some(Ordering::Greater),
            Operator::GreaterEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn nested(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)
    )
}

/// Makes two arguments comparable by implicit casts. Decimals keep their scales.
pub(super) fn align(left: &mut Expr, right: &mut Expr) -> bool {
    use TypeKind as T;
    if is_null_type(left) && is_null_type(right) {
        return to_kind(left, &T::Boolean) && to_kind(right, &T::Boolean);
    }
    if is_null_type(left) {
        return to_kind(left, &kind(right).clone());
    }
    if is_null_type(right) {
        return to_kind(right, &kind(left).clone());
    }
    let (l, r) = (left.data_type().clone(), right.data_type().clone());
    let temporal = |k: &T| matches!(k, T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_));
    if l.is_numeric() && r.is_numeric() {
        let common = numeric(&l.kind, &r.kind);
        return match common {
            Some(common) => to_kind(left, &common) && to_kind(right, &common),
            None => to_decimal(left) && to_decimal(right),
        };
    }
    if l.is_string() && r.is_string() || l.is_binary() && r.is_binary() || l.kind == r.kind {
        return true;
    }
    if l.is_string() && temporal(&r.kind) {
        return to_kind(left, &r.kind);
    }
    if temporal(&l.kind) && r.is_string() {
        return to_kind(right, &l.kind);
    }
    let common = match (&l.kind, &r.kind) {
        (T::Timestamp(p), T::TimestampLtz(q)) | (T::TimestampLtz(p), T::Timestamp(q)) => {
            Some(T::TimestampLtz(*p.max(q)))
        }
        _ => common_type(&[l, r]).map(|t| t.kind),
    };
    match common {
        Some(common) => to_kind(left, &common) && to_kind(right, &common),
        None => false,
    }
}

/// The type that two numbers are compared in, as Java promotes them; none for decimals.
fn numeric(left: &TypeKind, right: &TypeKind) -> Option<TypeKind> {
    use TypeKind as T;
    let decimal = |k: &T| matches!(k, T::Decimal { .. });
    match (left, right) {
        (T::Double, _) | (_, T::Double) => Some(T::Double),
        (T::Float, other) | (other, T::Float) => Some(if decimal(other) { T::Double } else { T::Float }),
        _ if decimal(left) || decimal(right) => None,
        _ => {
            let wider = as_decimal(left).map(|d| d.0) >= as_decimal(right).map(|d| d.0);
            Some(if wider { left.clone() } else { right.clone() })
        }
    }
}

fn to_decimal(arg: &mut Expr) -> bool {
    match as_decimal(kind(arg)) {
        Some((precision, scale)) => to_kind(arg, &TypeKind::Decimal { precision, scale }),
        None => false,
    }
}

fn equality(args: &mut Vec<Expr>) -> Resolution {
    let [left, right] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !align(left, right) {
        return Resolution::Mismatch;
    }
    Resolution::Type(DataType {
        kind: TypeKind::Boolean,
        nullable: any_nullable(args),
    })
}

fn order(args: &mut Vec<Expr>) -> Resolution {
    if args.iter().any(|a| nested(kind(a))) {
        return Resolution::Mismatch;
    }
    equality(args)
}

fn distinctness(args: &mut Vec<Expr>) -> Resolution {
    match equality(args) {
        Resolution::Type(t) => Resolution::Type(t.with_nullable(false)),
        other => other,
    }
}

fn between(args: &mut Vec<Expr>) -> Resolution {
    range(args, ["AND", ">=", "<="])
}

fn not_between(args: &mut Vec<Expr>) -> Resolution {
    range(args, ["OR", "<", ">"])
}

fn range(args: &mut Vec<Expr>, [connective, low, high]: [&str; 3]) -> Resolution {
    let [value, from, to] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let both = function::call(low, vec![value.clone(), from.clone()])
        .and_then(|low| Ok(vec![low, function::call(high, vec![value.clone(), to.clone()])?]))
        .and_then(|both| function::call(connective, both));
    match both {
        Ok(expr) => Resolution::Rewritten(expr),
        Err(error) => Resolution::Refused(error),
    }
}

fn unreachable(call: &Call<'_>) -> Result<ArrayRef> {
    Err(Error::internal(format!(
        "a call that is always rewritten, with {} arguments",
        call.args.len()
    )))
}

fn membership(args: &mut Vec<Expr>) -> Resolution {
    if args.len() < 2 || args.iter().any(|a| nested(kind(a))) {
        return Resolution::Mismatch;
    }
    // A string against dates or numbers takes their type, as a comparison does.
    let list = args[1..]
        .iter()
        .map(|a| a.data_type().clone())
        .collect::<Vec<_>>();
    let Some(list) = common_type(&list) else {
        return Resolution::Mismatch;
    };
    let mut other = Expr::literal(crate::Scalar::Null, list.clone());
    let mut value = args[0].clone();
    if !align(&mut value, &mut other) {
        return Resolution::Mismatch;
    }
    let common = match common_type(&[value.data_type().clone(), other.data_type().clone()]) {
        Some(common) => common.kind,
        None => return Resolution::Mismatch,
    };
    for arg in args.iter_mut() {
        let taken = std::mem::replace(arg, Expr::literal(crate::Scalar::Null, list.clone()));
        *arg = coerce(taken, &common);
    }
    Resolution::Type(DataType {
        kind: TypeKind::Boolean,
        nullable: any_nullable(args),
    })
}

fn unite(left: &Value, right: &Value, rows: usize) -> Option<NullBuffer> {
    let nulls = |value: &Value| {
        let nulls = value.inner().logical_nulls()?;
        Some(match value {
            Value::Array(_) => nulls,
            Value::Scalar(_) if nulls.is_null(0) => NullBuffer::new_null(rows),
            Value::Scalar(_) => return None,
        })
    };
    NullBuffer::union(nulls(left).as_ref(), nulls(right).as_ref())
}

/// The bits of a comparison where neither side is null.
fn bits(
    left: &Value,
    right: &Value,
    data_types: [&DataType; 2],
    rows: usize,
    operator: Operator,
) -> Result<BooleanBuffer> {
    match (&data_types[0].kind, &data_types[1].kind) {
        (TypeKind::Double, _) => {
            let (l, r) = (
                left.primitives::<a::Float64Type>(),
                right.primitives::<a::Float64Type>(),
            );
            let (lv, rv) = (l.array.values(), r.array.values());
            Ok(BooleanBuffer::collect_bool(rows, |i| {
                operator.holds(lv[left.index(i)].partial_cmp(&rv[right.index(i)]))
            }))
        }
        (TypeKind::Float, _) => {
            let (l, r) = (
                left.primitives::<a::Float32Type>(),
                right.primitives::<a::Float32Type>(),
            );
            let (lv, rv) = (l.array.values(), r.array.values());
            Ok(BooleanBuffer::collect_bool(rows, |i| {
                operator.holds(lv[left.index(i)].partial_cmp(&rv[right.index(i)]))
            }))
        }
        (TypeKind::Decimal { scale: s1, .. }, TypeKind::Decimal { scale: s2, .. }) => {
            let (l, r) = (
                left.primitives::<a::Decimal128Type>(),
                right.primitives::<a::Decimal128Type>(),
            );
            let (lv, rv) = (l.array.values(), r.array.values());
            Ok(BooleanBuffer::collect_bool(rows, |i| {
                operator.holds(Some(compare_decimals(
                    lv[left.index(i)],
                    *s1,
                    rv[right.index(i)],
                    *s2,
                )))
            }))
        }
        (k, _) if nested(k) => {
            let (l, r) = (left.inner(), right.inner());
            let wanted = operator == Operator::Equal;
            Ok(BooleanBuffer::collect_bool(rows, |i| {
                let (i, j) = (left.index(i), right.index(i));
                l.is_valid(i) && r.is_valid(j) && equal(l, i, r, j) == wanted
            }))
        }
        _ => {
            let kernel = match operator {
                Operator::Equal => cmp::eq,
                Operator::NotEqual => cmp::neq,
                Operator::Less => cmp::lt,
                Operator::LessEqual => cmp::lt_eq,
                Operator::Greater => cmp::gt,
                Operator::GreaterEqual => cmp::gt_eq,
            };
            let result = kernel(datum(left).as_ref(), datum(right).as_ref()).map_err(arrow_error)?;
            if result.len() == rows {
                return Ok(result.values().clone());
            }
            // Two scalars.
            Ok(BooleanBuffer::collect_bool(rows, |_| result.value(0)))
        }
    }
}

fn datum(value: &Value) -> Box<dyn Datum> {
    match value {
        Value::Array(array) => Box::new(array.clone()),
        Value::Scalar(array) => Box::new(ArrowScalar::new(array.clone())),
    }
}

pub(super) fn compare_decimals(left: i128, left_scale: u8, right: i128, right_scale: u8) -> Ordering {
    if left_scale == right_scale {
        return left.cmp(&right);
    }
    if left_scale < right_scale {
        match left.checked_mul(power_of_ten(right_scale - left_scale)) {
            Some(left) => left.cmp(&right),
            // Beyond any value of the other side.
            None => left.cmp(&0),
        }
    } else {
        compare_decimals(right, right_scale, left, left_scale).reverse()
    }
}

fn compare(call: &Call<'_>, operator: Operator) -> Result<ArrayRef> {
    let [left, right] = call.args else {
        return Err(Error::internal("a comparison of two"));
    };
    let types = [&call.arg_types[0], &call.arg_types[1]];
    let bits = bits(left, right, types, call.rows, operator)?;
    Ok(Arc::new(BooleanArray::new(bits, unite(left, right, call.rows))))
}

fn distinct(call: &Call<'_>, distinct: bool) -> Result<ArrayRef> {
    let [left, right] = call.args else {
        return Err(Error::internal("a comparison of two"));
    };
    let types = [&call.arg_types[0], &call.arg_types[1]];
    let equal = bits(left, right, types, call.rows, Operator::Equal)?;
    let bits = BooleanBuffer::collect_bool(call.rows, |row| {
        let same = match (left.is_null(row), right.is_null(row)) {
            (true, true) => true,
            (false, false) => equal.value(row),
            _ => false,
        };
        same != distinct
    });
    Ok(Arc::new(BooleanArray::new(bits, None)))
}

fn contained(call: &Call<'_>, wanted: bool) -> Result<ArrayRef> {
    let (value, list) = (&call.args[0], &call.args[1..]);
    if let Some(result) = in_constant_strings(call, wanted) {
        return result;
    }
    let mut found = BooleanBuffer::new_unset(call.rows);
    let mut unknown = BooleanBuffer::new_unset(call.rows);
    let types = [&call.arg_types[0], &call.arg_types[0]];
    for item in list {
        let equal = bits(value, item, types, call.rows, Operator::Equal)?;
        match unite(value, item, call.rows) {
            Some(nulls) => {
                found = &found | &(&equal & nulls.inner());
                unknown = &unknown | &!nulls.inner();
            }
            None => found = &found | &equal,
        }
    }
    let nulls = NullBuffer::new(&found | &!&unknown);
    let bits = if wanted { found } else { !&found };
    Ok(Arc::new(BooleanArray::new(bits, Some(nulls))))
}

/// A longer list of literal strings is looked up, not walked.
fn in_constant_strings(call: &Call<'_>, wanted: bool) -> Option<Result<ArrayRef>> {
    let list = &call.args[1..];
    if list.len() < 4 || !call.arg_types[0].is_string() || !list.iter().all(Value::is_scalar) {
        return None;
    }
    let items: std::collections::HashSet<&str> =
        list.iter().filter_map(|item| item.strings().get(0)).collect();
    let has_null = list.iter().any(|item| item.is_null(0));
    let value = call.args[0].strings();
    Some(booleans(call.rows, |row| {
        let found = items.contains(value.get(row)?);
        if found || !has_null {
            Some(found == wanted)
        } else {
            None
        }
    }))
}
