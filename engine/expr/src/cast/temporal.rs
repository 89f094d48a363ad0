//! CAST among DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{self as a, ArrowPrimitiveType, TimeUnit};
use millrace_core::{Error, Result};

use crate::compile::Session;
use crate::text::timestamp::Moment;
use crate::text::zone;
use crate::types::timestamp_unit;
use crate::value::with_type;
use crate::{DataType, Expr, Scalar, TypeKind};

/// The value of a timestamp array of a precision.
pub(crate) fn moment(array: &dyn Array, row: usize, precision: u8) -> Moment {
    let unit = timestamp_unit(precision);
    let value = match unit {
        TimeUnit::Second => array.as_primitive::<a::TimestampSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<a::TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<a::TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<a::TimestampNanosecondType>().value(row),
    };
    Moment::from_unit(value, unit)
}

/// The values of a DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ array as moments; a date is its
/// midnight, a time is of 1970-01-01.
pub(crate) fn reader<'a>(
    array: &'a dyn Array,
    data_type: &DataType,
) -> Result<Box<dyn Fn(usize) -> Moment + 'a>> {
    Ok(match data_type.kind {
        TypeKind::Date => {
            let dates = array.as_primitive::<a::Date32Type>();
            Box::new(move |row| Moment::new(dates.value(row), 0))
        }
        TypeKind::Time(_) => {
            let times = array.as_primitive::<a::Time32MillisecondType>();
            Box::new(move |row| Moment::from_unit(times.value(row).into(), TimeUnit::Millisecond))
        }
        TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision) => {
            Box::new(move |row| moment(array, row, precision))
        }
        _ => {
            return Err(Error::internal(format!(
                "{data_type} is neither a date nor a time"
            )));
        }
    })
}

/// Builds an array of a DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ type; digits beyond a
/// timestamp's precision are cut.
pub(crate) fn build(
    to: &DataType,
    rows: usize,
    mut value: impl FnMut(usize) -> Result<Option<Moment>>,
) -> Result<ArrayRef> {
    match to.kind {
        TypeKind::Date => collect::<a::Date32Type>(rows, |row| Ok(value(row)?.map(|m| m.split().0))),
        // Milliseconds are kept whatever the precision, as Flink does.
        TypeKind::Time(_) => collect::<a::Time32MillisecondType>(rows, |row| {
            Ok(value(row)?.map(|m| (m.split().1 / 1_000_000) as i32))
        }),
        TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision) => {
            let unit = timestamp_unit(precision);
            let array = collect::<a::Int64Type>(rows, |row| {
                let Some(moment) = value(row)? else {
                    return Ok(None);
                };
                let value = moment
                    .truncate(precision)
                    .to_unit(unit)
                    .ok_or_else(|| out_of_range(to))?;
                Ok(Some(value))
            })?;
            with_type(array, &to.to_arrow())
        }
        _ => Err(Error::internal(format!("{to} is neither a date nor a time"))),
    }
}

pub(crate) fn out_of_range(to: &DataType) -> Error {
    Error::user(format!("a timestamp does not fit {}", to.kind))
        .with_detail("with more than 6 digits of fraction the range is 1677-09-21 to 2262-04-11")
}

fn collect<T: ArrowPrimitiveType>(
    rows: usize,
    mut value: impl FnMut(usize) -> Result<Option<T::Native>>,
) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(rows);
    let mut nulls = arrow::array::NullBufferBuilder::new(rows);
    for row in 0..rows {
        let value = value(row)?;
        nulls.append(value.is_some());
        values.push(value.unwrap_or_default());
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.finish())))
}

/// A literal TIMESTAMP with fewer digits, which Flink cuts when it plans: down, where the cast of any
/// other value cuts toward the epoch.
pub(super) fn shorter_literal(expr: &Expr, to: &DataType) -> Option<Expr> {
    let Expr::Literal {
        value: Scalar::Timestamp(value),
        data_type,
    } = expr
    else {
        return None;
    };
    match (&data_type.kind, &to.kind) {
        (TypeKind::Timestamp(from), TypeKind::Timestamp(precision)) if precision < from => {
            let moment = Moment::from_unit(*value, timestamp_unit(*from)).truncate(*precision);
            let value = moment.to_unit(timestamp_unit(*precision))?;
            Some(Expr::literal(Scalar::Timestamp(value), to.clone()))
        }
        _ => None,
    }
}

pub(super) fn cast(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    session: &Session,
) -> Result<ArrayRef> {
    use TypeKind::{Timestamp, TimestampLtz};
    // A wider precision of the same unit is the same values.
    if let (Timestamp(p), Timestamp(q)) | (TimestampLtz(p), TimestampLtz(q)) = (&from.kind, &to.kind)
        && timestamp_unit(*p) == timestamp_unit(*q)
        && p <= q
    {
        return with_type(array.clone(), &to.to_arrow());
    }
    let zone = session.time_zone;
    let convert: fn(zone::Zone, Moment) -> Moment = match (&from.kind, &to.kind) {
        (TimestampLtz(_), TimestampLtz(_)) => |_, m| m,
        (Timestamp(_), TypeKind::Date) => |_, m| m.toward_epoch(),
        (TimestampLtz(_), _) => zone::to_local,
        (_, TimestampLtz(_)) => zone::to_instant,
        _ => |_, m| m,
    };
    let cut = match (&from.kind, &to.kind) {
        (Timestamp(_) | TimestampLtz(_), Timestamp(p) | TimestampLtz(p)) => Some(*p),
        _ => None,
    };
    let read = reader(array, from)?;
    let fits = |moment: Moment| match to.kind {
        Timestamp(p) | TimestampLtz(p) => moment.to_unit(timestamp_unit(p)).is_some(),
        _ => true,
    };
    build(to, array.len(), |row| {
        if array.is_null(row) {
            return Ok(None);
        }
        let mut moment = convert(zone, read(row));
        if let Some(precision) = cut {
            moment = moment.truncate_as_cast(precision);
        }
        Ok(if try_cast && !fits(moment) {
            None
        } else {
            Some(moment)
        })
    })
}
