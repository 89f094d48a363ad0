//! AND, OR, NOT and the tests of truth and nullness.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use millrace_core::Result;

use super::support::{any_nullable, boolean, takes};
use crate::function::{Call, Function, Lazy, Resolution};
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::lazy("AND", "BOOLEAN AND BOOLEAN", connective, Lazy::And),
    Function::lazy("OR", "BOOLEAN OR BOOLEAN", connective, Lazy::Or),
    Function::eager("NOT", "NOT BOOLEAN", negation, not),
    Function::eager("IS NULL", "any IS NULL", nullness, is_null),
    Function::eager("IS NOT NULL", "any IS NOT NULL", nullness, |call| {
        invert(is_null(call)?)
    }),
    Function::eager("IS TRUE", "BOOLEAN IS TRUE", truth, |call| is(call, true)),
    Function::eager("IS NOT TRUE", "BOOLEAN IS NOT TRUE", truth, |call| {
        invert(is(call, true)?)
    }),
    Function::eager("IS FALSE", "BOOLEAN IS FALSE", truth, |call| is(call, false)),
    Function::eager("IS NOT FALSE", "BOOLEAN IS NOT FALSE", truth, |call| {
        invert(is(call, false)?)
    }),
    Function::eager("IS UNKNOWN", "BOOLEAN IS UNKNOWN", truth, is_null),
    Function::eager("IS NOT UNKNOWN", "BOOLEAN IS NOT UNKNOWN", truth, |call| {
        invert(is_null(call)?)
    }),
];

fn connective(args: &mut Vec<Expr>) -> Resolution {
    if args.len() < 2 || !args.iter_mut().all(boolean) {
        return Resolution::Mismatch;
    }
    Resolution::Type(DataType {
        kind: TypeKind::Boolean,
        nullable: any_nullable(args),
    })
}

fn negation(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[boolean]) {
        return Resolution::Mismatch;
    }
    Resolution::Type(args[0].data_type().clone())
}

fn nullness(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 1 {
        Resolution::Type(DataType::not_null(TypeKind::Boolean))
    } else {
        Resolution::Mismatch
    }
}

fn truth(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[boolean]) {
        return Resolution::Mismatch;
    }
    Resolution::Type(DataType::not_null(TypeKind::Boolean))
}

fn not(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.args[0].booleans().array;
    Ok(Arc::new(BooleanArray::new(
        !array.values(),
        array.nulls().cloned(),
    )))
}

fn is_null(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.args[0].inner();
    let bits = match array.logical_nulls() {
        Some(nulls) => !nulls.inner(),
        None => BooleanBuffer::new_unset(array.len()),
    };
    Ok(Arc::new(BooleanArray::new(bits, None)))
}

fn is(call: &Call<'_>, value: bool) -> Result<ArrayRef> {
    let array = call.args[0].booleans().array;
    let bits = if value {
        array.values().clone()
    } else {
        !array.values()
    };
    let bits = match array.nulls() {
        Some(nulls) => &bits & nulls.inner(),
        None => bits,
    };
    Ok(Arc::new(BooleanArray::new(bits, None)))
}

/// Of an array without nulls.
fn invert(array: ArrayRef) -> Result<ArrayRef> {
    let array = arrow::array::AsArray::as_boolean(&array);
    Ok(Arc::new(BooleanArray::new(!array.values(), None)))
}
