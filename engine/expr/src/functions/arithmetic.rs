//! `+ - * / %` and unary minus over numbers; over dates, times and intervals they are in
//! `interval`.
//!
//! As in Java, integers wrap and floating-point numbers follow IEEE 754; division of integers and
//! decimals by zero is an error. A decimal that leaves 38 digits is NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{self as a, ArrowNativeTypeOp, i256};
use millrace_core::{Error, Result};

use super::interval;
use super::support::{any_nullable, is_null_type, kind, primitives, to_kind, try_primitives};
use crate::cast::common_type;
use crate::cast::rules::as_decimal;
use crate::function::{Call, Function, Resolution};
use crate::text::decimal::power_of_ten;
use crate::value::{Value, arrow_error, with_type};
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager(
        "+",
        ADD,
        |args| resolve(args, Operator::Add),
        |call| evaluate(call, Operator::Add),
    ),
    Function::eager(
        "-",
        SUBTRACT,
        |args| resolve(args, Operator::Subtract),
        |call| evaluate(call, Operator::Subtract),
    ),
    Function::eager(
        "*",
        MULTIPLY,
        |args| resolve(args, Operator::Multiply),
        |call| evaluate(call, Operator::Multiply),
    ),
    Function::eager(
        "/",
        "number / number",
        |args| resolve(args, Operator::Divide),
        |call| evaluate(call, Operator::Divide),
    )
    .fallible(),
    Function::eager("%", "exact number % exact number", remainder, |call| {
        evaluate(call, Operator::Remainder)
    })
    .fallible(),
    Function::eager("MOD", "MOD(exact number, exact number)", remainder, |call| {
        evaluate(call, Operator::Remainder)
    })
    .fallible(),
    Function::eager("UNARY -", "- number, - interval", negation, negate),
    Function::eager("UNARY +", "+ number", identity, |call| {
        Ok(call.args[0].inner().clone())
    }),
];

const ADD: &str = "number + number, interval + interval, date or time + interval, interval + date or time";
const SUBTRACT: &str = "number - number, interval - interval, date or time - interval";
const MULTIPLY: &str = "number * number, interval * integer, integer * interval";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// The precision and scale of a decimal result, kept to 38 digits as Flink keeps it: at least 6
/// digits of scale survive where there were as many.
fn adjusted(precision: i32, scale: i32) -> TypeKind {
    if precision <= 38 {
        return TypeKind::Decimal {
            precision: precision as u8,
            scale: scale as u8,
        };
    }
    let whole = precision - scale;
    let scale = (38 - whole).max(scale.min(6));
    TypeKind::Decimal {
        precision: 38,
        scale: scale as u8,
    }
}

fn decimal_type((p1, s1): (u8, u8), (p2, s2): (u8, u8), operator: Operator) -> TypeKind {
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    match operator {
        Operator::Add | Operator::Subtract => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Operator::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        Operator::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        Operator::Remainder => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).min(p2 - s2) + scale, scale)
        }
    }
}

fn is_decimal(arg: &Expr) -> bool {
    matches!(kind(arg), TypeKind::Decimal { .. })
}

/// A NULL literal takes the other side's type.
fn settle_nulls(left: &mut Expr, right: &mut Expr) {
    if is_null_type(left) && right.data_type().is_numeric() {
        to_kind(left, &kind(right).clone());
    } else if is_null_type(right) && left.data_type().is_numeric() {
        to_kind(right, &kind(left).clone());
    }
}

fn resolve(args: &mut Vec<Expr>, operator: Operator) -> Resolution {
    let [left, right] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    settle_nulls(left, right);
    if !(left.data_type().is_numeric() && right.data_type().is_numeric()) {
        return match operator {
            Operator::Add => interval::resolve_add(args),
            Operator::Subtract => interval::resolve_subtract(args),
            Operator::Multiply => interval::resolve_multiply(args),
            _ => Resolution::Mismatch,
        };
    }
    if (is_decimal(left) || is_decimal(right))
        && let (Some(l), Some(r)) = (as_decimal(kind(left)), as_decimal(kind(right)))
    {
        to_kind(
            left,
            &TypeKind::Decimal {
                precision: l.0,
                scale: l.1,
            },
        );
        to_kind(
            right,
            &TypeKind::Decimal {
                precision: r.0,
                scale: r.1,
            },
        );
        return decimal_result(args, decimal_type(l, r, operator), operator);
    }
    let Some(common) = common_type(&[left.data_type().clone(), right.data_type().clone()]) else {
        return Resolution::Mismatch;
    };
    to_kind(left, &common.kind);
    to_kind(right, &common.kind);
    Resolution::Type(common)
}

/// A result of 38 digits may overflow, which is NULL.
fn decimal_result(args: &[Expr], kind: TypeKind, operator: Operator) -> Resolution {
    let may_overflow =
        operator != Operator::Remainder && matches!(kind, TypeKind::Decimal { precision: 38, .. });
    Resolution::Type(DataType {
        nullable: any_nullable(args) || may_overflow,
        kind,
    })
}

fn remainder(args: &mut Vec<Expr>) -> Resolution {
    let [left, right] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    settle_nulls(left, right);
    let (Some(l), Some(r)) = (as_decimal(kind(left)), as_decimal(kind(right))) else {
        return Resolution::Mismatch;
    };
    if is_decimal(left) || is_decimal(right) {
        to_kind(
            left,
            &TypeKind::Decimal {
                precision: l.0,
                scale: l.1,
            },
        );
        to_kind(
            right,
            &TypeKind::Decimal {
                precision: r.0,
                scale: r.1,
            },
        );
        return decimal_result(args, decimal_type(l, r, Operator::Remainder), Operator::Remainder);
    }
    // The result has the divisor's type, for it is smaller than the divisor; it is computed in
    // the wider one.
    let result = kind(right).clone();
    let wider = if l.0 > r.0 {
        kind(left).clone()
    } else {
        result.clone()
    };
    to_kind(left, &wider);
    to_kind(right, &wider);
    Resolution::Type(DataType {
        kind: result,
        nullable: any_nullable(args),
    })
}

fn negation(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] if arg.data_type().is_numeric() || interval::is_interval(kind(arg)) => {
            Resolution::Type(arg.data_type().clone())
        }
        _ => Resolution::Mismatch,
    }
}

fn identity(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] if arg.data_type().is_numeric() => Resolution::Rewritten(arg.clone()),
        _ => Resolution::Mismatch,
    }
}

fn evaluate(call: &Call<'_>, operator: Operator) -> Result<ArrayRef> {
    match call.arg_types[0].kind {
        TypeKind::TinyInt => integers::<a::Int8Type>(call, operator),
        TypeKind::SmallInt => integers::<a::Int16Type>(call, operator),
        TypeKind::Int if call.arg_types[1].is_integer() => integers::<a::Int32Type>(call, operator),
        TypeKind::BigInt if call.arg_types[1].is_integer() => integers::<a::Int64Type>(call, operator),
        TypeKind::Float => floats::<a::Float32Type>(call, operator),
        TypeKind::Double => floats::<a::Float64Type>(call, operator),
        TypeKind::Decimal { .. } => decimals(call, operator),
        _ => match operator {
            Operator::Add => interval::add(call),
            Operator::Subtract => interval::subtract(call),
            Operator::Multiply => interval::multiply(call),
            _ => Err(Error::internal("intervals are neither divided nor reduced")),
        },
    }
}

pub(super) fn division_by_zero() -> Error {
    Error::user("division by zero")
}

/// Applies `f` where both sides have a value; other values are arbitrary.
fn zip<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    f: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef> {
    let [left, right] = call.args else {
        return Err(Error::internal("an operator of two"));
    };
    let (l, r) = (
        left.inner().as_primitive::<T>(),
        right.inner().as_primitive::<T>(),
    );
    if (left.is_scalar() && l.is_null(0)) || (right.is_scalar() && r.is_null(0)) {
        return Ok(Arc::new(PrimitiveArray::<T>::new_null(call.rows)));
    }
    Ok(match (left, right) {
        (Value::Array(_), Value::Scalar(_)) => {
            let constant = r.value(0);
            Arc::new(l.unary::<_, T>(|value| f(value, constant)))
        }
        (Value::Scalar(_), Value::Array(_)) => {
            let constant = l.value(0);
            Arc::new(r.unary::<_, T>(|value| f(constant, value)))
        }
        _ => Arc::new(arrow::compute::binary::<_, _, _, T>(l, r, f).map_err(arrow_error)?),
    })
}

fn integers<T: ArrowPrimitiveType>(call: &Call<'_>, operator: Operator) -> Result<ArrayRef>
where
    T::Native: ArrowNativeTypeOp,
{
    match operator {
        Operator::Add => zip::<T>(call, |l, r| l.add_wrapping(r)),
        Operator::Subtract => zip::<T>(call, |l, r| l.sub_wrapping(r)),
        Operator::Multiply => zip::<T>(call, |l, r| l.mul_wrapping(r)),
        Operator::Divide | Operator::Remainder => {
            let (l, r) = (call.args[0].primitives::<T>(), call.args[1].primitives::<T>());
            let array = try_primitives::<T>(call.rows, |row| {
                let (Some(l), Some(r)) = (l.get(row), r.get(row)) else {
                    return Ok(None);
                };
                if r.is_zero() {
                    return Err(division_by_zero());
                }
                Ok(Some(if operator == Operator::Divide {
                    l.div_wrapping(r)
                } else {
                    l.mod_wrapping(r)
                }))
            })?;
            // A remainder has the divisor's type.
            if operator == Operator::Remainder && array.data_type() != &call.data_type.to_arrow() {
                return crate::cast::evaluate(
                    &array,
                    &call.arg_types[0],
                    &call.data_type.clone().with_nullable(true),
                    false,
                    call.session,
                );
            }
            Ok(array)
        }
    }
}

fn floats<T: ArrowPrimitiveType>(call: &Call<'_>, operator: Operator) -> Result<ArrayRef>
where
    T::Native: ArrowNativeTypeOp,
{
    match operator {
        Operator::Add => zip::<T>(call, |l, r| l.add_wrapping(r)),
        Operator::Subtract => zip::<T>(call, |l, r| l.sub_wrapping(r)),
        Operator::Multiply => zip::<T>(call, |l, r| l.mul_wrapping(r)),
        Operator::Divide => zip::<T>(call, |l, r| l.div_wrapping(r)),
        Operator::Remainder => Err(Error::internal("approximate numbers have no remainder")),
    }
}

fn decimals(call: &Call<'_>, operator: Operator) -> Result<ArrayRef> {
    let (
        TypeKind::Decimal { scale: s1, .. },
        TypeKind::Decimal { scale: s2, .. },
        TypeKind::Decimal { precision, scale },
    ) = (
        &call.arg_types[0].kind,
        &call.arg_types[1].kind,
        &call.data_type.kind,
    )
    else {
        return Err(Error::internal("a decimal operator over other types"));
    };
    let (s1, s2, precision, scale) = (*s1, *s2, *precision, *scale);
    let (l, r) = (
        call.args[0].primitives::<a::Decimal128Type>(),
        call.args[1].primitives::<a::Decimal128Type>(),
    );
    let pair = |row: usize| Some((l.get(row)?, r.get(row)?));
    let limit = power_of_ten(precision);
    let array = match operator {
        Operator::Add | Operator::Subtract => {
            let common = s1.max(s2);
            let (up1, up2) = (power_of_ten(common - s1), power_of_ten(common - s2));
            primitives::<a::Decimal128Type>(call.rows, |row| {
                let (l, r) = pair(row)?;
                let r = if operator == Operator::Subtract { -r } else { r };
                let small = l
                    .checked_mul(up1)
                    .zip(r.checked_mul(up2))
                    .and_then(|(l, r)| l.checked_add(r));
                match small {
                    Some(sum) if common == scale => (sum.abs() < limit).then_some(sum),
                    _ => {
                        let l = wide(l).wrapping_mul(wide(up1));
                        let r = wide(r).wrapping_mul(wide(up2));
                        narrow(l.wrapping_add(r), common, precision, scale)
                    }
                }
            })
        }
        Operator::Multiply => {
            let product_scale = s1 + s2;
            primitives::<a::Decimal128Type>(call.rows, |row| {
                let (l, r) = pair(row)?;
                match l.checked_mul(r) {
                    Some(product) if product_scale == scale => (product.abs() < limit).then_some(product),
                    _ => narrow(wide(l).wrapping_mul(wide(r)), product_scale, precision, scale),
                }
            })
        }
        Operator::Divide => try_primitives::<a::Decimal128Type>(call.rows, |row| {
            let Some((l, r)) = pair(row) else { return Ok(None) };
            if r == 0 {
                return Err(division_by_zero());
            }
            Ok(divide(
                l,
                r,
                i32::from(scale) + i32::from(s2) - i32::from(s1),
                limit,
            ))
        }),
        Operator::Remainder => {
            let common = s1.max(s2);
            let (up1, up2) = (wide(power_of_ten(common - s1)), wide(power_of_ten(common - s2)));
            try_primitives::<a::Decimal128Type>(call.rows, |row| {
                let Some((l, r)) = pair(row) else { return Ok(None) };
                if r == 0 {
                    return Err(division_by_zero());
                }
                let rest = wide(l).wrapping_mul(up1).wrapping_rem(wide(r).wrapping_mul(up2));
                Ok(narrow(rest, common, precision, scale))
            })
        }
    }?;
    with_type(array, &call.data_type.to_arrow())
}

fn wide(value: i128) -> i256 {
    i256::from_i128(value)
}

/// Rescales, rounding half up; none where the precision does not hold the result.
fn narrow(value: i256, from: u8, precision: u8, scale: u8) -> Option<i128> {
    let value = if from > scale {
        let mut value = value;
        let mut drop = from - scale;
        // A power of ten beyond 38 is divided out in two steps; the first cuts.
        if drop > 38 {
            value = value.wrapping_div(wide(power_of_ten(drop - 38)));
            drop = 38;
        }
        divide_half_up(value, wide(power_of_ten(drop)))
    } else {
        value.checked_mul(wide(power_of_ten(scale - from)))?
    };
    let value = value.to_i128()?;
    (value.unsigned_abs() < power_of_ten(precision).unsigned_abs()).then_some(value)
}

/// Rounds half away from zero; the divisor may be negative.
fn divide_half_up(value: i256, divisor: i256) -> i256 {
    let quotient = value.wrapping_div(divisor);
    let rest = value.wrapping_rem(divisor).wrapping_abs();
    let divisor_magnitude = divisor.wrapping_abs();
    if rest >= divisor_magnitude.wrapping_sub(rest) {
        let negative = value.is_negative() != divisor.is_negative();
        quotient.wrapping_add(if negative { i256::MINUS_ONE } else { i256::ONE })
    } else {
        quotient
    }
}

/// `left / right` with the left side moved up by a power of ten.
fn divide(left: i128, right: i128, up: i32, limit: i128) -> Option<i128> {
    let quotient = if up >= 0 {
        let mut left = wide(left);
        let mut up = up;
        while up > 0 {
            let step = up.min(38);
            left = left.checked_mul(wide(power_of_ten(step as u8)))?;
            up -= step;
        }
        divide_half_up(left, wide(right))
    } else {
        divide_half_up(
            wide(left),
            wide(right).checked_mul(wide(power_of_ten((-up) as u8)))?,
        )
    };
    let quotient = quotient.to_i128()?;
    (quotient.unsigned_abs() < limit.unsigned_abs()).then_some(quotient)
}

fn negate(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.args[0].inner();
    match call.arg_types[0].kind {
        TypeKind::IntervalYearMonth => {
            let values = array.as_primitive::<a::IntervalYearMonthType>();
            Ok(Arc::new(
                values.unary::<_, a::IntervalYearMonthType>(i32::wrapping_neg),
            ))
        }
        TypeKind::IntervalDaySecond => {
            let values = array.as_primitive::<a::DurationMillisecondType>();
            Ok(Arc::new(
                values.unary::<_, a::DurationMillisecondType>(i64::wrapping_neg),
            ))
        }
        _ => with_type(
            numeric::neg_wrapping(array).map_err(arrow_error)?,
            &call.data_type.to_arrow(),
        ),
    }
}
