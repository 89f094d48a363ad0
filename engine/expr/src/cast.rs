//! CAST, TRY_CAST and the casts that stand in no query: store assignment and common types.

use arrow::array::{ArrayRef, new_null_array};
use millrace_core::{Error, Result};

use crate::compile::Session;
use crate::value::with_type;
use crate::{DataType, Expr, Scalar, TypeKind};

mod binary;
mod from_string;
mod nested;
pub(crate) mod numeric;
pub(crate) mod rules;
pub(crate) mod temporal;
pub(crate) mod to_string;

pub use rules::common_type;
pub(crate) use rules::may_fail;

/// `CAST(expr AS to)`. What Flink cannot cast is an error.
pub fn cast(expr: Expr, to: DataType) -> Result<Expr> {
    make(expr, to, false)
}

/// `TRY_CAST(expr AS to)`: what cannot be cast at run time is NULL, so the result is nullable.
pub fn try_cast(expr: Expr, to: DataType) -> Result<Expr> {
    make(expr, to.with_nullable(true), true)
}

fn make(expr: Expr, to: DataType, try_cast: bool) -> Result<Expr> {
    let from = expr.data_type().clone();
    let to = DataType {
        nullable: to.nullable || from.nullable,
        ..to
    };
    if let Expr::Literal {
        value: Scalar::Null, ..
    } = &expr
    {
        return Ok(Expr::literal(Scalar::Null, to.with_nullable(true)));
    }
    if from.kind == to.kind {
        return Ok(expr);
    }
    rules::check(&from, &to)?;
    if let Some(literal) = temporal::shorter_literal(&expr, &to) {
        return Ok(literal);
    }
    let to = if rules::may_overflow(&from, &to) {
        to.with_nullable(true)
    } else {
        to
    };
    Ok(Expr::Cast {
        expr: Box::new(expr),
        data_type: to,
        try_cast,
    })
}

/// The cast of Flink's store assignment, without which INSERT refuses a value: none when the types
/// are equal up to nullability. The result is nullable exactly if `expr` is: what a null in a
/// NOT NULL column does is the sink's affair.
pub fn implicit(expr: Expr, to: DataType) -> Result<Expr> {
    let from = expr.data_type().clone();
    if from.kind == to.kind {
        return Ok(expr);
    }
    if !rules::storable(&from, &to) {
        return Err(Error::user(format!(
            "a value of type {} cannot be stored as {}",
            from.kind, to.kind
        ))
        .with_hint(format!("write CAST(... AS {})", to.kind)));
    }
    let nullable = from.nullable;
    make(expr, to.with_nullable(nullable), false)
}

/// Casts to a common type that is known to fit; a literal NULL takes the type.
pub(crate) fn coerce(expr: Expr, to: &TypeKind) -> Expr {
    let nullable = expr.data_type().nullable;
    if expr.data_type().kind == *to {
        return expr;
    }
    let to = DataType {
        kind: to.clone(),
        nullable: nullable || expr.data_type().kind == TypeKind::Null,
    };
    match expr {
        Expr::Literal {
            value: Scalar::Null, ..
        } => Expr::literal(Scalar::Null, to),
        expr => Expr::Cast {
            expr: Box::new(expr),
            data_type: to,
            try_cast: false,
        },
    }
}

/// Casts every value of an array.
pub(crate) fn evaluate(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    session: &Session,
) -> Result<ArrayRef> {
    use TypeKind as T;
    let arrow_type = to.to_arrow();
    if from.kind == to.kind {
        return with_type(array.clone(), &arrow_type);
    }
    match (&from.kind, &to.kind) {
        (T::Null, _) => Ok(new_null_array(&arrow_type, array.len())),
        (_, T::Char(_) | T::Varchar(_)) => to_string::cast(array, from, to, session),
        (T::Char(_) | T::Varchar(_) | T::Binary(_) | T::Varbinary(_), T::Binary(_) | T::Varbinary(_)) => {
            binary::cast(array, from, to)
        }
        (T::Char(_) | T::Varchar(_), _) => from_string::cast(array, to, try_cast, session),
        (T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_), _) => {
            nested::cast(array, from, to, try_cast, session)
        }
        (T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_), _) => {
            temporal::cast(array, from, to, try_cast, session)
        }
        _ => numeric::cast(array, from, to, try_cast),
    }
}
