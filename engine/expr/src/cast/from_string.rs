//! CAST from CHAR and VARCHAR.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use crate::compile::Session;
use crate::text::{date, decimal, number, time, timestamp, zone};
use crate::value::with_type;
use crate::{DataType, TypeKind};

/// Reads every value; what cannot be read is NULL with `try_cast`, else an error.
pub(super) fn cast(array: &ArrayRef, to: &DataType, try_cast: bool, session: &Session) -> Result<ArrayRef> {
    let array: &dyn Array = array;
    let context = Context { array, to, try_cast };
    match &to.kind {
        TypeKind::Boolean => {
            let strings = array.as_string::<i32>();
            let mut values = Vec::with_capacity(strings.len());
            for row in 0..strings.len() {
                values.push(match strings.is_valid(row).then(|| strings.value(row)) {
                    Some(text) => match boolean(text) {
                        None if !try_cast => return Err(context.error(text)),
                        value => value,
                    },
                    None => None,
                });
            }
            Ok(Arc::new(BooleanArray::from(values)))
        }
        TypeKind::TinyInt => {
            context.parse::<a::Int8Type>(|t| number::cast_integer(t).and_then(|v| i8::try_from(v).ok()))
        }
        TypeKind::SmallInt => {
            context.parse::<a::Int16Type>(|t| number::cast_integer(t).and_then(|v| i16::try_from(v).ok()))
        }
        TypeKind::Int => {
            context.parse::<a::Int32Type>(|t| number::cast_integer(t).and_then(|v| i32::try_from(v).ok()))
        }
        TypeKind::BigInt => context.parse::<a::Int64Type>(number::cast_integer),
        TypeKind::Float => context.parse::<a::Float32Type>(number::parse_float),
        TypeKind::Double => context.parse::<a::Float64Type>(number::parse_double),
        TypeKind::Decimal { precision, scale } => {
            let array = context.parse::<a::Decimal128Type>(|t| decimal::parse(t, *precision, *scale))?;
            with_type(array, &to.to_arrow())
        }
        TypeKind::Date => context.parse::<a::Date32Type>(date::parse),
        // Milliseconds are kept whatever the precision, as Flink does.
        TypeKind::Time(_) => context.parse::<a::Time32MillisecondType>(time::parse),
        TypeKind::Timestamp(precision) => {
            let unit = crate::types::timestamp_unit(*precision);
            let array =
                context.parse::<a::Int64Type>(|t| timestamp::parse(t)?.truncate(*precision).to_unit(unit))?;
            with_type(array, &to.to_arrow())
        }
        TypeKind::TimestampLtz(precision) => {
            let unit = crate::types::timestamp_unit(*precision);
            let array = context.parse::<a::Int64Type>(|t| {
                let instant = zone::to_instant(session.time_zone, timestamp::parse(t)?);
                instant.truncate(*precision).to_unit(unit)
            })?;
            with_type(array, &to.to_arrow())
        }
        _ => Err(Error::internal(format!("no cast from STRING to {}", to.kind))),
    }
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
    if is(&["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else if is(&["false", "f", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

struct Context<'a> {
    array: &'a dyn Array,
    to: &'a DataType,
    try_cast: bool,
}

impl Context<'_> {
    fn parse<T: ArrowPrimitiveType>(&self, read: impl Fn(&[u8]) -> Option<T::Native>) -> Result<ArrayRef> {
        let strings = self.array.as_string::<i32>();
        let mut values = Vec::with_capacity(strings.len());
        let mut nulls = arrow::array::NullBufferBuilder::new(strings.len());
        for row in 0..strings.len() {
            if strings.is_null(row) {
                values.push(T::Native::default());
                nulls.append_null();
                continue;
            }
            let text = strings.value(row);
            match read(text.as_bytes()) {
                Some(value) => {
                    values.push(value);
                    nulls.append_non_null();
                }
                None if self.try_cast => {
                    values.push(T::Native::default());
                    nulls.append_null();
                }
                None => return Err(self.error(text)),
            }
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.finish())))
    }

    fn error(&self, text: &str) -> Error {
        let shown: String = text.chars().take(100).collect();
        Error::user(format!("cannot cast '{shown}' to {}", self.to.kind))
            .with_hint(format!("TRY_CAST(... AS {}) gives NULL instead", self.to.kind))
    }
}
