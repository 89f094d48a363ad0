//! Times of rows.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use millrace_core::{Error, Result};

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
        other => {
            return Err(Error::internal(format!("a time was planned as {other}")));
        }
    })
}
