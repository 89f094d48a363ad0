//! What can be cast to what, and the type that values of several types share.

use millrace_core::{Error, Result};

use crate::types::MAX_LENGTH;
use crate::{DataType, Field, TypeKind as T};

/// Whether `CAST` from one type to another exists, as in the matrix of Flink's documentation.
pub(crate) fn castable(from: &DataType, to: &DataType) -> bool {
    match (&from.kind, &to.kind) {
        (a, b) if a == b => true,
        (T::Null, _) => true,
        (_, T::Null) => false,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => castable(a, b),
        (T::Map(ak, av), T::Map(bk, bv)) => castable(ak, bk) && castable(av, bv),
        (T::Row(a), T::Row(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| castable(&a.data_type, &b.data_type))
        }
        (T::Array(e), T::Char(_) | T::Varchar(_)) => castable(e, &DataType::string()),
        (T::Multiset(e), T::Char(_) | T::Varchar(_)) => castable(e, &DataType::string()),
        (T::Map(k, v), T::Char(_) | T::Varchar(_)) => {
            castable(k, &DataType::string()) && castable(v, &DataType::string())
        }
        (T::Row(fields), T::Char(_) | T::Varchar(_)) => {
            fields.iter().all(|f| castable(&f.data_type, &DataType::string()))
        }
        (_, T::Char(_) | T::Varchar(_)) => true,
        (T::Char(_) | T::Varchar(_), to) => !matches!(
            to,
            T::Array(_)
                | T::Map(..)
                | T::Multiset(_)
                | T::Row(_)
                | T::IntervalYearMonth
                | T::IntervalDaySecond
        ),
        (T::Binary(_) | T::Varbinary(_), T::Binary(_) | T::Varbinary(_)) => true,
        (T::Boolean, _) => to.is_numeric(),
        (_, T::Boolean) => from.is_numeric(),
        (T::Date, T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Time(_), T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (
            T::Timestamp(_) | T::TimestampLtz(_),
            T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_),
        ) => true,
        _ => from.is_numeric() && to.is_numeric(),
    }
}

/// Refuses what cannot be cast, with what to do instead where Flink says so.
pub(crate) fn check(from: &DataType, to: &DataType) -> Result<()> {
    if castable(from, to) {
        return Ok(());
    }
    let interval = |t: &DataType| matches!(t.kind, T::IntervalYearMonth | T::IntervalDaySecond);
    if (interval(from) && to.is_numeric()) || (from.is_numeric() && interval(to)) {
        return Err(Error::unsupported(format!(
            "a cast from {} to {}",
            from.kind, to.kind
        )));
    }
    let error = Error::user(format!("cannot cast {} to {}", from.kind, to.kind));
    Err(match (&from.kind, &to.kind) {
        (T::Timestamp(_) | T::TimestampLtz(_), _) if to.is_numeric() => {
            error.with_hint("UNIX_TIMESTAMP(CAST(ts AS STRING)) gives seconds")
        }
        (_, T::Timestamp(_)) if from.is_numeric() => {
            error.with_hint("TO_TIMESTAMP(FROM_UNIXTIME(seconds)) gives a timestamp")
        }
        (_, T::TimestampLtz(_)) if from.is_numeric() => {
            error.with_hint("TO_TIMESTAMP_LTZ(number, precision) gives a timestamp")
        }
        _ => error,
    })
}

/// Whether a cast to DECIMAL may leave its range, which gives NULL.
pub(crate) fn may_overflow(from: &DataType, to: &DataType) -> bool {
    let T::Decimal { precision, scale } = to.kind else {
        return false;
    };
    match as_decimal(&from.kind) {
        Some((p, s)) => p - s > precision - scale || (s > scale && p - s == precision - scale),
        None => matches!(from.kind, T::Float | T::Double),
    }
}

/// Whether a value may be stored in a column of another type without a written cast (Flink's
/// `LogicalTypeCasts.supportsImplicitCast`).
pub(crate) fn storable(from: &DataType, to: &DataType) -> bool {
    let integer_rank = |kind: &T| match kind {
        T::TinyInt => Some(1),
        T::SmallInt => Some(2),
        T::Int => Some(3),
        T::BigInt => Some(4),
        _ => None,
    };
    match (&from.kind, &to.kind) {
        (a, b) if a == b => true,
        (T::Null, _) => true,
        (T::Char(_), T::Char(_)) => true,
        (T::Char(_) | T::Varchar(_), T::Varchar(_)) => true,
        (T::Binary(_), T::Binary(_)) => true,
        (T::Binary(_) | T::Varbinary(_), T::Varbinary(_)) => true,
        (_, T::Decimal { .. } | T::Double) => from.is_numeric(),
        (T::Decimal { .. }, T::Float) => true,
        (a, T::Float) => integer_rank(a).is_some(),
        (T::Timestamp(_), T::Date | T::Time(_)) => true,
        (T::Time(_), T::Time(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => storable(a, b),
        (T::Map(ak, av), T::Map(bk, bv)) => storable(ak, bk) && storable(av, bv),
        (T::Row(a), T::Row(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| storable(&a.data_type, &b.data_type))
        }
        (a, b) => matches!((integer_rank(a), integer_rank(b)), (Some(a), Some(b)) if a <= b),
    }
}

/// Whether a cast can fail at run time, so that it must not be evaluated for rows that do not
/// need it. A wrong "yes" costs time only.
pub(crate) fn may_fail(from: &DataType, to: &DataType) -> bool {
    if !from.nullable && to.nullable {
        return may_fail(from, &to.clone().with_nullable(false));
    }
    match (&from.kind, &to.kind) {
        (a, b) if a == b => false,
        (T::Char(_) | T::Varchar(_), T::Char(_) | T::Varchar(_) | T::Binary(_) | T::Varbinary(_)) => false,
        (T::Char(_) | T::Varchar(_), _) => true,
        (T::Float | T::Double, T::Decimal { .. }) => true,
        (_, T::Char(_) | T::Varchar(_)) => false,
        // A nanosecond timestamp does not reach every date.
        (_, T::Timestamp(p) | T::TimestampLtz(p)) => *p > 6,
        (T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_), _) => true,
        _ => false,
    }
}

/// The type that values of all these types are cast to in CASE, COALESCE, UNION and the like
/// (Flink's `LogicalTypeMerging.findCommonType`); none where they do not mix.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let nullable = types.iter().any(|t| t.nullable || t.kind == T::Null);
    let mut known = types.iter().filter(|t| t.kind != T::Null);
    let Some(first) = known.next() else {
        return types.first().cloned();
    };
    let merged = known.try_fold(first.clone(), |a, b| merge(&a, b))?;
    Some(merged.with_nullable(nullable))
}

fn merge(a: &DataType, b: &DataType) -> Option<DataType> {
    let kind = match (&a.kind, &b.kind) {
        (x, y) if x == y => x.clone(),
        (T::Char(m), T::Char(n)) => T::Varchar(*m.max(n)),
        (T::Char(m) | T::Varchar(m), T::Char(n) | T::Varchar(n)) => T::Varchar(*m.max(n)),
        (T::Binary(m) | T::Varbinary(m), T::Binary(n) | T::Varbinary(n)) => T::Varbinary(*m.max(n)),
        _ if a.is_numeric() && b.is_numeric() => numeric(&a.kind, &b.kind),
        (T::Time(m), T::Time(n)) => T::Time(*m.max(n)),
        (T::Timestamp(m), T::Timestamp(n)) => T::Timestamp(*m.max(n)),
        (T::TimestampLtz(m), T::TimestampLtz(n)) => T::TimestampLtz(*m.max(n)),
        (T::Array(x), T::Array(y)) => T::Array(Box::new(merge_nested(x, y)?)),
        (T::Multiset(x), T::Multiset(y)) => T::Multiset(Box::new(merge_nested(x, y)?)),
        (T::Map(xk, xv), T::Map(yk, yv)) => {
            T::Map(Box::new(merge_nested(xk, yk)?), Box::new(merge_nested(xv, yv)?))
        }
        (T::Row(x), T::Row(y)) if x.len() == y.len() => T::Row(
            x.iter()
                .zip(y)
                .map(|(x, y)| {
                    Some(Field::new(
                        x.name.clone(),
                        merge_nested(&x.data_type, &y.data_type)?,
                    ))
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    };
    Some(DataType {
        kind,
        nullable: a.nullable || b.nullable,
    })
}

fn merge_nested(a: &DataType, b: &DataType) -> Option<DataType> {
    common_type(&[a.clone(), b.clone()])
}

/// The decimal that holds every value of an exact number type.
pub(crate) fn as_decimal(kind: &T) -> Option<(u8, u8)> {
    match kind {
        T::TinyInt => Some((3, 0)),
        T::SmallInt => Some((5, 0)),
        T::Int => Some((10, 0)),
        T::BigInt => Some((19, 0)),
        T::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

/// The least restrictive of two number types: of two approximate ones the first, and DOUBLE where
/// a decimal meets an approximate one.
fn numeric(a: &T, b: &T) -> T {
    let approximate = |kind: &T| matches!(kind, T::Float | T::Double);
    let decimal = |kind: &T| matches!(kind, T::Decimal { .. });
    match (approximate(a), approximate(b)) {
        (true, true) => a.clone(),
        (true, false) => {
            if decimal(b) {
                T::Double
            } else {
                a.clone()
            }
        }
        (false, true) => {
            if decimal(a) {
                T::Double
            } else {
                b.clone()
            }
        }
        (false, false) => match (as_decimal(a), as_decimal(b)) {
            (Some((p1, s1)), Some((p2, s2))) if decimal(a) || decimal(b) => {
                let scale = s1.max(s2);
                let digits = (p1 - s1).max(p2 - s2);
                let precision = (digits + scale).min(38);
                T::Decimal {
                    precision,
                    scale: scale.min(precision),
                }
            }
            (Some((p1, _)), Some((p2, _))) => {
                if p1 >= p2 {
                    a.clone()
                } else {
                    b.clone()
                }
            }
            _ => a.clone(),
        },
    }
}

/// Whether values fit a type of strings without being cut or padded.
pub(crate) fn fits_string(from: &T, to: &T) -> bool {
    match (from, to) {
        (_, T::Varchar(MAX_LENGTH)) | (_, T::Varbinary(MAX_LENGTH)) => true,
        (T::Char(m), T::Char(n)) | (T::Binary(m), T::Binary(n)) => m == n,
        (T::Char(m) | T::Varchar(m), T::Varchar(n)) | (T::Binary(m) | T::Varbinary(m), T::Varbinary(n)) => {
            m <= n
        }
        _ => false,
    }
}
