//! Timestamps of Parquet files, as Flink writes and reads them.
//!
//! A file holds instants. Unless 'parquet.utc-timezone' is true, a TIMESTAMP is what clocks on this
//! machine show at its instant, and a TIMESTAMP_LTZ goes the same way, as if it were one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, PrimitiveArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{
    ArrowTimestampType, DataType as ArrowType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use millrace_core::{Error, Result};
use millrace_expr::text::timestamp::Moment;
use millrace_expr::text::zone::{self, Overlap};
use millrace_formats::time::{in_unit, units_per_second};

/// 1900-01-01T00:00:00Z, before which `java.util.TimeZone` knows no change of a zone's offset.
const FIRST_CHANGE: i64 = -2_208_988_800;

/// The zone in which a file's instants are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(zone::Zone);

impl Zone {
    pub const UTC: Zone = Zone(zone::Zone::UTC);

    pub fn machine() -> Self {
        Zone(zone::machine())
    }

    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        Zone(zone::parse(name).unwrap())
    }

    /// What clocks show at an instant, in seconds.
    pub fn local(self, instant: i64) -> i64 {
        if self == Zone::UTC {
            return instant;
        }
        instant + zone::offset_at(self.0, instant.max(FIRST_CHANGE))
    }

    /// The instant at which clocks show a time, as `java.sql.Timestamp.valueOf` has it: the later
    /// where they show it twice, later by the length of the gap where they never do.
    pub fn instant(self, local: i64) -> i64 {
        if self == Zone::UTC {
            return local;
        }
        let early = zone::offset_at(self.0, FIRST_CHANGE);
        if local - early < FIRST_CHANGE {
            return local - early;
        }
        let local = Moment {
            seconds: local,
            nanos: 0,
        };
        zone::resolve(self.0, local, Overlap::Later).seconds
    }
}

/// Whether there is a timestamp in values of this type.
pub fn are_in(data_type: &ArrowType) -> bool {
    match data_type {
        ArrowType::Timestamp(..) => true,
        ArrowType::List(item) => are_in(item.data_type()),
        ArrowType::Map(entries, _) => are_in(entries.data_type()),
        ArrowType::Struct(fields) => fields.iter().any(|f| are_in(f.data_type())),
        _ => false,
    }
}

/// Gives the timestamps in `array` the units of `target`, each moved by `shift`, which takes and
/// gives seconds. Finer digits than the target's are cut off. What has another shape stays as it is.
pub fn convert(array: &ArrayRef, target: &ArrowType, shift: &dyn Fn(i64) -> i64) -> Result<ArrayRef> {
    let misfit = |e| Error::internal("a Parquet column does not fit its type").with_source(e);
    Ok(match (array.data_type(), target) {
        (ArrowType::Timestamp(unit, _), ArrowType::Timestamp(..)) => leaf(array, *unit, target, shift)?,
        (ArrowType::List(_), ArrowType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = convert(list.values(), item.data_type(), shift)?;
            let item = Arc::new(item.as_ref().clone().with_data_type(values.data_type().clone()));
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(item, offsets, values, nulls).map_err(misfit)?)
        }
        (ArrowType::Map(_, _), ArrowType::Map(entries, sorted)) => {
            let map = array.as_map();
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = convert(&inner, entries.data_type(), shift)?;
            let entries = Arc::new(entries.as_ref().clone().with_data_type(inner.data_type().clone()));
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let inner = inner.as_struct().clone();
            Arc::new(MapArray::try_new(entries, offsets, inner, nulls, *sorted).map_err(misfit)?)
        }
        (ArrowType::Struct(from), ArrowType::Struct(to)) if from.len() == to.len() => {
            let row = array.as_struct();
            let columns = row
                .columns()
                .iter()
                .zip(to)
                .map(|(column, field)| convert(column, field.data_type(), shift))
                .collect::<Result<Vec<_>>>()?;
            let fields: Vec<_> = to
                .iter()
                .zip(&columns)
                .map(|(f, c)| Arc::new(f.as_ref().clone().with_data_type(c.data_type().clone())))
                .collect();
            let nulls = row.nulls().cloned();
            Arc::new(
                StructArray::try_new_with_length(fields.into(), columns, nulls, row.len()).map_err(misfit)?,
            )
        }
        _ => array.clone(),
    })
}

fn leaf(
    array: &ArrayRef,
    from: TimeUnit,
    target: &ArrowType,
    shift: &dyn Fn(i64) -> i64,
) -> Result<ArrayRef> {
    let ArrowType::Timestamp(to, label) = target else {
        return Ok(array.clone());
    };
    let per_second = units_per_second(from);
    let mut values = values(array, from).to_vec();
    for (row, value) in values.iter_mut().enumerate() {
        if array.is_null(row) {
            *value = 0;
            continue;
        }
        let seconds = shift(value.div_euclid(per_second));
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        *value = in_unit(seconds, nanos as u32, *to).ok_or_else(|| out_of_range(*to))?;
    }
    let nulls = array.nulls().cloned();
    let label = label.clone();
    Ok(match to {
        TimeUnit::Second => made::<TimestampSecondType>(values, nulls, label),
        TimeUnit::Millisecond => made::<TimestampMillisecondType>(values, nulls, label),
        TimeUnit::Microsecond => made::<TimestampMicrosecondType>(values, nulls, label),
        TimeUnit::Nanosecond => made::<TimestampNanosecondType>(values, nulls, label),
    })
}

fn made<T: ArrowTimestampType>(
    values: Vec<i64>,
    nulls: Option<arrow::buffer::NullBuffer>,
    label: Option<Arc<str>>,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_timezone_opt(label))
}

/// The numbers of an array of timestamps.
pub fn values(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    let any = array.as_any();
    let none: &[i64] = &[];
    match unit {
        TimeUnit::Second => any
            .downcast_ref()
            .map_or(none, |a: &TimestampSecondArray| a.values()),
        TimeUnit::Millisecond => any
            .downcast_ref()
            .map_or(none, |a: &TimestampMillisecondArray| a.values()),
        TimeUnit::Microsecond => any
            .downcast_ref()
            .map_or(none, |a: &TimestampMicrosecondArray| a.values()),
        TimeUnit::Nanosecond => any
            .downcast_ref()
            .map_or(none, |a: &TimestampNanosecondArray| a.values()),
    }
}

#[cold]
pub fn out_of_range(unit: TimeUnit) -> Error {
    let error = Error::user("a timestamp is beyond what its column can hold");
    match unit {
        TimeUnit::Nanosecond => error.with_hint(
            "with more than 6 digits of a second the years are 1677 to 2262: declare TIMESTAMP(6)",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `java.sql.Timestamp` (JDK 17).
    #[test]
    fn local_times_and_instants_are_those_of_java_sql() {
        let seconds = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        for (zone, local, instant, back) in [
            (
                "America/New_York",
                "2023-07-01T00:00:00Z",
                "2023-07-01T04:00:00Z",
                None,
            ),
            (
                "America/New_York",
                "2023-11-05T01:30:00Z",
                "2023-11-05T06:30:00Z",
                None,
            ),
            (
                "America/New_York",
                "2023-03-12T02:30:00Z",
                "2023-03-12T07:30:00Z",
                Some("2023-03-12T03:30:00Z"),
            ),
            (
                "America/New_York",
                "1883-11-18T12:00:00Z",
                "1883-11-18T17:00:00Z",
                None,
            ),
            (
                "America/New_York",
                "1883-11-18T11:58:00Z",
                "1883-11-18T16:58:00Z",
                None,
            ),
            (
                "America/New_York",
                "1600-01-01T00:00:00Z",
                "1600-01-01T05:00:00Z",
                None,
            ),
            (
                "Europe/Berlin",
                "2023-11-05T01:30:00Z",
                "2023-11-05T00:30:00Z",
                None,
            ),
            ("UTC", "2023-11-05T01:30:00Z", "2023-11-05T01:30:00Z", None),
        ] {
            let named = Zone::named(zone);
            assert_eq!(named.instant(seconds(local)), seconds(instant), "{zone} {local}");
            let back = back.unwrap_or(local);
            assert_eq!(named.local(seconds(instant)), seconds(back), "{zone} {instant}");
        }
    }

    #[test]
    fn what_a_unit_cannot_hold_is_an_error() {
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
            Some(253_402_300_799_000_000),
            None,
        ]));
        let nanos = ArrowType::Timestamp(TimeUnit::Nanosecond, None);
        let e = convert(&array, &nanos, &|s| s).unwrap_err().to_string();
        assert!(e.contains("TIMESTAMP(6)"), "{e}");
        let millis = ArrowType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]));
        let converted = convert(&array, &millis, &|s| s).unwrap();
        assert_eq!(converted.data_type(), &millis);
        assert_eq!(values(converted.as_ref(), TimeUnit::Millisecond)[0], -1);
        assert!(converted.is_null(1));
    }
}
