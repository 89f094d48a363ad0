//! Arithmetic of intervals, alone and with dates and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::support::{any_nullable, kind, primitives, try_primitives};
use crate::cast::temporal::{build, out_of_range, reader};
use crate::function::{Call, Resolution};
use crate::text::date;
use crate::text::time::MILLIS_PER_DAY;
use crate::text::timestamp::{Moment, per_second};
use crate::types::timestamp_unit;
use crate::value::{Value, with_type};
use crate::{DataType, Expr, TypeKind};

pub(crate) fn is_interval(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDaySecond)
}

fn accepts_interval(moment: &TypeKind, interval: &TypeKind) -> bool {
    match moment {
        TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => is_interval(interval),
        TypeKind::Time(_) => *interval == TypeKind::IntervalDaySecond,
        _ => false,
    }
}

fn typed(args: &[Expr], kind: TypeKind) -> Resolution {
    Resolution::Type(DataType {
        kind,
        nullable: any_nullable(args),
    })
}

pub(super) fn resolve_add(args: &mut Vec<Expr>) -> Resolution {
    let [left, right] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if accepts_interval(kind(right), kind(left)) {
        std::mem::swap(left, right);
    }
    resolve_subtract(args)
}

pub(super) fn resolve_subtract(args: &mut Vec<Expr>) -> Resolution {
    let [left, right] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let same = is_interval(kind(left)) && kind(left) == kind(right);
    if same || accepts_interval(kind(left), kind(right)) {
        typed(args, kind(left).clone())
    } else {
        Resolution::Mismatch
    }
}

pub(super) fn resolve_multiply(args: &mut Vec<Expr>) -> Resolution {
    let [left, right] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if is_interval(kind(right)) {
        std::mem::swap(left, right);
    }
    if is_interval(kind(left)) && right.data_type().is_integer() {
        let kind = kind(left).clone();
        typed(args, kind)
    } else {
        Resolution::Mismatch
    }
}

/// Access to an interval's number, months or milliseconds.
fn amounts<'a>(value: &'a Value, data_type: &DataType) -> Box<dyn Fn(usize) -> Option<i64> + 'a> {
    if data_type.kind == TypeKind::IntervalYearMonth {
        let values = value.primitives::<a::IntervalYearMonthType>();
        Box::new(move |row| values.get(row).map(i64::from))
    } else {
        let values = value.primitives::<a::DurationMillisecondType>();
        Box::new(move |row| values.get(row))
    }
}

pub(super) fn add(call: &Call<'_>) -> Result<ArrayRef> {
    combine(call, 1)
}

pub(super) fn subtract(call: &Call<'_>) -> Result<ArrayRef> {
    combine(call, -1)
}

fn combine(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    let amount = amounts(&call.args[1], &call.arg_types[1]);
    let months = call.arg_types[1].kind == TypeKind::IntervalYearMonth;
    match &call.arg_types[0].kind {
        TypeKind::IntervalYearMonth => {
            let left = call.args[0].primitives::<a::IntervalYearMonthType>();
            primitives::<a::IntervalYearMonthType>(call.rows, |row| {
                Some(left.get(row)?.wrapping_add((sign * amount(row)?) as i32))
            })
        }
        TypeKind::IntervalDaySecond => {
            let left = call.args[0].primitives::<a::DurationMillisecondType>();
            primitives::<a::DurationMillisecondType>(call.rows, |row| {
                Some(left.get(row)?.wrapping_add(sign.wrapping_mul(amount(row)?)))
            })
        }
        TypeKind::Date if !months => {
            let left = call.args[0].primitives::<a::Date32Type>();
            primitives::<a::Date32Type>(call.rows, |row| {
                Some(
                    left.get(row)?
                        .wrapping_add((sign * (amount(row)? / MILLIS_PER_DAY)) as i32),
                )
            })
        }
        TypeKind::Time(_) => {
            let left = call.args[0].primitives::<a::Time32MillisecondType>();
            primitives::<a::Time32MillisecondType>(call.rows, |row| {
                let moved = i64::from(left.get(row)?) + sign * (amount(row)? % MILLIS_PER_DAY);
                Some(moved.rem_euclid(MILLIS_PER_DAY) as i32)
            })
        }
        TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision) if !months => {
            let per_milli = per_second(timestamp_unit(*precision)) / 1000;
            let left = with_type(call.args[0].inner().clone(), &a::DataType::Int64)?;
            let values = left.as_primitive::<a::Int64Type>();
            let array = try_primitives::<a::Int64Type>(call.rows, |row| {
                if call.args[0].is_null(row) {
                    return Ok(None);
                }
                let Some(amount) = amount(row) else {
                    return Ok(None);
                };
                let moved = (sign * amount)
                    .checked_mul(per_milli)
                    .and_then(|delta| values.value(call.args[0].index(row)).checked_add(delta));
                moved.map(Some).ok_or_else(|| out_of_range(call.data_type))
            })?;
            with_type(array, &call.data_type.to_arrow())
        }
        TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            let read = reader(call.args[0].inner().as_ref(), &call.arg_types[0])?;
            build(call.data_type, call.rows, |row| {
                if call.args[0].is_null(row) {
                    return Ok(None);
                }
                let Some(amount) = amount(row) else {
                    return Ok(None);
                };
                Ok(Some(add_months(read(call.args[0].index(row)), sign * amount)))
            })
        }
        other => Err(Error::internal(format!("an interval is added to {other}"))),
    }
}

/// The same day of a later month, or its last day where it has no such day.
pub(super) fn add_months(moment: Moment, months: i64) -> Moment {
    let (days, nanos) = moment.split();
    let (year, month, day) = date::to_civil(days);
    let total = i64::from(year) * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12) as i32, total.rem_euclid(12) as u32 + 1);
    let day = day.min(date::days_in_month(year, month));
    Moment::new(date::from_civil(year, month, day), nanos)
}

pub(super) fn multiply(call: &Call<'_>) -> Result<ArrayRef> {
    let amount = amounts(&call.args[0], &call.arg_types[0]);
    let factor = call.args[1].integers()?;
    let product = |row: usize| Some(amount(row)?.wrapping_mul(factor.get(row)?));
    if call.data_type.kind == TypeKind::IntervalYearMonth {
        primitives::<a::IntervalYearMonthType>(call.rows, |row| product(row).map(|v| v as i32))
    } else {
        let array = primitives::<a::DurationMillisecondType>(call.rows, product)?;
        Ok(Arc::new(
            array.as_primitive::<a::DurationMillisecondType>().clone(),
        ))
    }
}
