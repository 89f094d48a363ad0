//! Times of rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use millrace_core::{Error, Result};
use millrace_expr::text::timestamp::Moment;
use millrace_expr::text::zone::{self, Zone};

/// A timestamp column in milliseconds; a null is before all time.
pub fn millis(column: &ArrayRef) -> Result<Vec<i64>> {
    fn each<T: ArrowPrimitiveType<Native = i64>>(column: &ArrayRef, units: i64) -> Vec<i64> {
        let column = column.as_primitive::<T>();
        match column.null_count() {
            0 => column.values().iter().map(|t| t.div_euclid(units)).collect(),
            _ => column
                .iter()
                .map(|t| t.map_or(i64::MIN, |t| t.div_euclid(units)))
                .collect(),
        }
    }
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => each::<TimestampMillisecondType>(column, 1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => each::<TimestampMicrosecondType>(column, 1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => each::<TimestampNanosecondType>(column, 1_000_000),
        other => return Err(untimely(other)),
    })
}

/// Milliseconds as a timestamp column of a type.
pub fn timestamps(millis: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    fn each<T: ArrowPrimitiveType<Native = i64>>(millis: Vec<i64>, units: i64, t: &DataType) -> ArrayRef {
        let values = millis.into_iter().map(|m| m.saturating_mul(units));
        Arc::new(PrimitiveArray::<T>::from_iter_values(values).with_data_type(t.clone()))
    }
    let t = data_type;
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, _) => each::<TimestampMillisecondType>(millis, 1, t),
        DataType::Timestamp(TimeUnit::Microsecond, _) => each::<TimestampMicrosecondType>(millis, 1_000, t),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => each::<TimestampNanosecondType>(millis, 1_000_000, t),
        other => return Err(untimely(other)),
    })
}

fn untimely(data_type: &DataType) -> Error {
    Error::internal(format!("a time was planned as {data_type}"))
}

/// What clocks show at an instant, as milliseconds without a zone.
pub fn local_millis(zone: Zone, instant: i64) -> i64 {
    instant + zone::offset_at(zone, instant.div_euclid(1000)) * 1000
}

/// The instant at which clocks show a time; the first one where there are two, and where clocks skip
/// it, as if they had not yet been put forward.
pub fn instant_millis(zone: Zone, local: i64) -> i64 {
    let local = Moment::from_unit(local, TimeUnit::Millisecond);
    let instant = zone::to_instant(zone, local).to_unit(TimeUnit::Millisecond);
    // Only beyond the years that anybody counts.
    instant.unwrap_or(i64::MAX)
}

const HOUR: i64 = 3_600_000;

/// The instant at which clocks show a time for the last time, as Flink's `TimeWindowUtil` takes it: in
/// an hour that clocks show twice, the second one; in one that they skip, its beginning.
pub fn last_instant_millis(zone: Zone, local: i64) -> i64 {
    let instant = instant_millis(zone, local);
    let later = instant_millis(zone, local.saturating_add(HOUR));
    match later.saturating_sub(instant) {
        0 => instant - instant % HOUR,
        step if step > HOUR => instant + HOUR,
        _ => instant,
    }
}
