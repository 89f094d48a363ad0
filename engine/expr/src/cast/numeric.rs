//! CAST among numbers and BOOLEAN.
//!
//! As in Java, integers wrap and floating-point numbers saturate; a decimal that does not fit is
//! NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use crate::text::{decimal, number};
use crate::value::with_type;
use crate::{DataType, TypeKind};

pub(super) fn cast(array: &ArrayRef, from: &DataType, to: &DataType, try_cast: bool) -> Result<ArrayRef> {
    let cast = match &from.kind {
        TypeKind::TinyInt => from_integer::<a::Int8Type>(array, to)?,
        TypeKind::SmallInt => from_integer::<a::Int16Type>(array, to)?,
        TypeKind::Int => from_integer::<a::Int32Type>(array, to)?,
        TypeKind::BigInt => from_integer::<a::Int64Type>(array, to)?,
        TypeKind::Float => from_float::<a::Float32Type>(array, to, try_cast)?,
        TypeKind::Double => from_float::<a::Float64Type>(array, to, try_cast)?,
        TypeKind::Decimal { scale, .. } => from_decimal(array, *scale, to)?,
        TypeKind::Boolean => {
            let integers = booleans_as_integers(array.as_boolean());
            from_integer::<a::Int8Type>(&integers, to)?
        }
        other => return Err(Error::internal(format!("no numeric cast from {other}"))),
    };
    with_type(cast, &to.to_arrow())
}

fn booleans_as_integers(array: &BooleanArray) -> ArrayRef {
    let values: Vec<i8> = array.values().iter().map(i8::from).collect();
    Arc::new(arrow::array::Int8Array::new(
        values.into(),
        array.nulls().cloned(),
    ))
}

fn map<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    array: &ArrayRef,
    convert: impl Fn(I::Native) -> O::Native,
) -> ArrayRef {
    Arc::new(array.as_primitive::<I>().unary::<_, O>(convert))
}

fn map_boolean<I: ArrowPrimitiveType>(array: &ArrayRef, convert: impl Fn(I::Native) -> bool) -> ArrayRef {
    Arc::new(BooleanArray::from_unary(array.as_primitive::<I>(), convert))
}

fn map_option<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    array: &ArrayRef,
    convert: impl Fn(I::Native) -> Option<O::Native>,
) -> ArrayRef {
    Arc::new(array.as_primitive::<I>().unary_opt::<_, O>(convert))
}

fn unknown(to: &DataType) -> Error {
    Error::internal(format!("no numeric cast to {to}"))
}

fn from_integer<I: ArrowPrimitiveType>(array: &ArrayRef, to: &DataType) -> Result<ArrayRef>
where
    I::Native: Into<i64>,
{
    Ok(match &to.kind {
        TypeKind::TinyInt => map::<I, a::Int8Type>(array, |v| v.into() as i8),
        TypeKind::SmallInt => map::<I, a::Int16Type>(array, |v| v.into() as i16),
        TypeKind::Int => map::<I, a::Int32Type>(array, |v| v.into() as i32),
        TypeKind::BigInt => map::<I, a::Int64Type>(array, Into::into),
        TypeKind::Float => map::<I, a::Float32Type>(array, |v| v.into() as f32),
        TypeKind::Double => map::<I, a::Float64Type>(array, |v| v.into() as f64),
        TypeKind::Boolean => map_boolean::<I>(array, |v| v.into() != 0),
        TypeKind::Decimal { precision, scale } => map_option::<I, a::Decimal128Type>(array, |v| {
            decimal::rescale(v.into().into(), 0, *precision, *scale)
        }),
        _ => return Err(unknown(to)),
    })
}

fn from_float<I: ArrowPrimitiveType>(array: &ArrayRef, to: &DataType, try_cast: bool) -> Result<ArrayRef>
where
    I::Native: Into<f64>,
{
    Ok(match &to.kind {
        // Java narrows to int first.
        TypeKind::TinyInt => map::<I, a::Int8Type>(array, |v| (v.into() as i32) as i8),
        TypeKind::SmallInt => map::<I, a::Int16Type>(array, |v| (v.into() as i32) as i16),
        TypeKind::Int => map::<I, a::Int32Type>(array, |v| v.into() as i32),
        TypeKind::BigInt => map::<I, a::Int64Type>(array, |v| v.into() as i64),
        TypeKind::Float => map::<I, a::Float32Type>(array, |v| v.into() as f32),
        TypeKind::Double => map::<I, a::Float64Type>(array, Into::into),
        TypeKind::Boolean => map_boolean::<I>(array, |v| v.into() != 0.0),
        TypeKind::Decimal { precision, scale } => {
            let values = array.as_primitive::<I>();
            let not_finite = |row: usize| values.is_valid(row) && !values.value(row).into().is_finite();
            if !try_cast && (0..values.len()).any(not_finite) {
                return Err(Error::user(format!(
                    "cannot cast NaN or an infinity to {}",
                    to.kind
                )));
            }
            map_option::<I, a::Decimal128Type>(array, |v| double_to_decimal(v.into(), *precision, *scale))
        }
        _ => return Err(unknown(to)),
    })
}

/// The shortest digits of a double, rounded half up; none where they do not fit.
pub(crate) fn double_to_decimal(value: f64, precision: u8, scale: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let mut text = Vec::with_capacity(32);
    number::write_double(value, &mut text);
    decimal::parse(&text, precision, scale)
}

fn from_decimal(array: &ArrayRef, from_scale: u8, to: &DataType) -> Result<ArrayRef> {
    type D = a::Decimal128Type;
    let divisor = decimal::power_of_ten(from_scale);
    Ok(match &to.kind {
        TypeKind::TinyInt => map::<D, a::Int8Type>(array, |v| (v / divisor) as i8),
        TypeKind::SmallInt => map::<D, a::Int16Type>(array, |v| (v / divisor) as i16),
        TypeKind::Int => map::<D, a::Int32Type>(array, |v| (v / divisor) as i32),
        TypeKind::BigInt => map::<D, a::Int64Type>(array, |v| (v / divisor) as i64),
        TypeKind::Float => map::<D, a::Float32Type>(array, |v| {
            let mut text = Vec::with_capacity(48);
            decimal::write(v, from_scale, &mut text);
            number::parse_float(&text).unwrap_or(f32::NAN)
        }),
        TypeKind::Double => map::<D, a::Float64Type>(array, |v| decimal::to_double(v, from_scale)),
        TypeKind::Boolean => map_boolean::<D>(array, |v| v != 0),
        TypeKind::Decimal { precision, scale } => {
            map_option::<D, D>(array, |v| decimal::rescale(v, from_scale, *precision, *scale))
        }
        _ => return Err(unknown(to)),
    })
}
