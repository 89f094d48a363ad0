//! What the families share: typing of arguments and loops over rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use millrace_core::Result;

use crate::cast::coerce;
use crate::function::{Call, Resolution};
use crate::value::BytesBuilder;
use crate::{DataType, Expr, Scalar, TypeKind};

/// Whether a result is null when some argument is.
pub(crate) fn any_nullable(args: &[Expr]) -> bool {
    args.iter().any(|a| a.data_type().nullable)
}

/// A type that is nullable exactly if some argument is.
pub(crate) fn strict(kind: TypeKind, args: &[Expr]) -> Resolution {
    Resolution::Type(DataType {
        kind,
        nullable: any_nullable(args),
    })
}

/// A result that may be null whatever the arguments.
pub(crate) fn nullable(kind: TypeKind) -> Resolution {
    Resolution::Type(DataType::nullable(kind))
}

pub(crate) fn string_kind() -> TypeKind {
    DataType::string().kind
}

pub(crate) fn kind(arg: &Expr) -> &TypeKind {
    &arg.data_type().kind
}

pub(crate) fn is_null_type(arg: &Expr) -> bool {
    arg.data_type().kind == TypeKind::Null
}

fn convert(arg: &mut Expr, to: &TypeKind) {
    let taken = std::mem::replace(
        arg,
        Expr::literal(Scalar::Null, DataType::nullable(TypeKind::Null)),
    );
    *arg = coerce(taken, to);
}

/// Casts an argument to a type that is known to fit.
pub(crate) fn to_kind(arg: &mut Expr, to: &TypeKind) -> bool {
    convert(arg, to);
    true
}

/// Takes CHAR and VARCHAR.
pub(crate) fn string(arg: &mut Expr) -> bool {
    if is_null_type(arg) {
        convert(arg, &string_kind());
    }
    arg.data_type().is_string()
}

/// Takes BINARY and VARBINARY.
pub(crate) fn binary(arg: &mut Expr) -> bool {
    if is_null_type(arg) {
        convert(arg, &DataType::bytes().kind);
    }
    arg.data_type().is_binary()
}

/// Takes TINYINT, SMALLINT and INT, as INT.
pub(crate) fn int(arg: &mut Expr) -> bool {
    let fits = matches!(
        kind(arg),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::Null
    );
    fits && to_kind(arg, &TypeKind::Int)
}

/// Takes all integers, as BIGINT.
pub(crate) fn bigint(arg: &mut Expr) -> bool {
    (arg.data_type().is_integer() || is_null_type(arg)) && to_kind(arg, &TypeKind::BigInt)
}

/// Takes all numbers, as DOUBLE.
pub(crate) fn double(arg: &mut Expr) -> bool {
    (arg.data_type().is_numeric() || is_null_type(arg)) && to_kind(arg, &TypeKind::Double)
}

pub(crate) fn boolean(arg: &mut Expr) -> bool {
    if is_null_type(arg) {
        convert(arg, &TypeKind::Boolean);
    }
    matches!(kind(arg), TypeKind::Boolean)
}

/// The text of a literal.
pub(crate) fn literal_string(arg: &Expr) -> Option<&str> {
    match arg {
        Expr::Literal {
            value: Scalar::String(text),
            ..
        } => Some(text),
        _ => None,
    }
}

pub(crate) fn literal_integer(arg: &Expr) -> Option<i64> {
    match arg {
        Expr::Literal {
            value: Scalar::Integer(value),
            ..
        } => Some(*value),
        Expr::Call { function, args, .. } if function == "UNARY -" => {
            args.first().and_then(literal_integer).and_then(i64::checked_neg)
        }
        Expr::Cast { expr, .. } if expr.data_type().is_integer() => literal_integer(expr),
        _ => None,
    }
}

/// Collects numbers, dates and times.
pub(crate) fn primitives<T: ArrowPrimitiveType>(
    rows: usize,
    mut value: impl FnMut(usize) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(rows);
    let mut nulls = arrow::array::NullBufferBuilder::new(rows);
    for row in 0..rows {
        let value = value(row);
        nulls.append(value.is_some());
        values.push(value.unwrap_or_default());
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.finish())))
}

/// As `primitives`, ending with the first error.
pub(crate) fn try_primitives<T: ArrowPrimitiveType>(
    rows: usize,
    mut value: impl FnMut(usize) -> Result<Option<T::Native>>,
) -> Result<ArrayRef> {
    let mut failure = None;
    let array = primitives::<T>(rows, |row| match value(row) {
        Ok(value) => value,
        Err(error) => {
            failure.get_or_insert(error);
            None
        }
    })?;
    failure.map_or(Ok(array), Err)
}

pub(crate) fn booleans(rows: usize, mut value: impl FnMut(usize) -> Option<bool>) -> Result<ArrayRef> {
    let mut values = arrow::array::BooleanBufferBuilder::new(rows);
    let mut nulls = arrow::array::NullBufferBuilder::new(rows);
    for row in 0..rows {
        let value = value(row);
        nulls.append(value.is_some());
        values.append(value.unwrap_or_default());
    }
    Ok(Arc::new(BooleanArray::new(values.finish(), nulls.finish())))
}

/// Collects strings; `write` appends one and gives true, or gives false for a null.
pub(crate) fn strings(rows: usize, mut write: impl FnMut(usize, &mut Vec<u8>) -> bool) -> Result<ArrayRef> {
    let mut builder = BytesBuilder::new(rows, rows * 16);
    for row in 0..rows {
        builder.write(|out| write(row, out));
    }
    builder.strings()
}

/// As `strings`, ending with the first error.
pub(crate) fn try_strings(
    rows: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<bool>,
) -> Result<ArrayRef> {
    let mut failure = None;
    let array = strings(rows, |row, out| {
        write(row, out).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            false
        })
    })?;
    failure.map_or(Ok(array), Err)
}

/// Collects byte strings.
pub(crate) fn byte_strings(
    rows: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> bool,
) -> Result<ArrayRef> {
    let mut builder = BytesBuilder::new(rows, rows * 16);
    for row in 0..rows {
        builder.write(|out| write(row, out));
    }
    builder.bytes()
}

/// One string to one string.
pub(crate) fn map_string(call: &Call<'_>, write: impl Fn(&str, &mut Vec<u8>)) -> Result<ArrayRef> {
    let input = call.args[0].strings();
    strings(call.rows, |row, out| match input.get(row) {
        Some(text) => {
            write(text, out);
            true
        }
        None => false,
    })
}

/// DOUBLE to DOUBLE.
pub(crate) fn map_double(call: &Call<'_>, f: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let input = call.args[0].primitives::<arrow::datatypes::Float64Type>();
    primitives::<arrow::datatypes::Float64Type>(call.rows, |row| input.get(row).map(&f))
}

/// The byte index of a code point, or the end of the text.
pub(crate) fn byte_index(text: &str, code_point: usize) -> usize {
    if text.is_ascii() {
        return code_point.min(text.len());
    }
    text.char_indices()
        .nth(code_point)
        .map_or(text.len(), |(index, _)| index)
}

/// Code points of a text.
pub(crate) fn length(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// Whether each argument is taken by the check at its place.
pub(crate) fn takes(args: &mut [Expr], checks: &[fn(&mut Expr) -> bool]) -> bool {
    args.len() == checks.len() && args.iter_mut().zip(checks).all(|(arg, check)| check(arg))
}
