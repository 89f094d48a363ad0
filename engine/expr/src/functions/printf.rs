//! PRINTF: values by a format, as `java.util.Formatter` has it.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::support::{nullable, string, string_kind, try_strings};
use crate::cast::temporal::moment;
use crate::function::{Call, Function, Resolution};
use crate::text::java_format::{Argument, Fault, Format, WIDEST};
use crate::text::{date, decimal, timestamp};
use crate::value::Value;
use crate::{DataType, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[Function::eager(
    "PRINTF",
    "PRINTF(STRING format, any, ...)",
    |args| {
        if !args.first_mut().is_some_and(string) {
            return Resolution::Mismatch;
        }
        match args.iter().find(|arg| !has_text(&arg.data_type().kind)) {
            None => nullable(string_kind()),
            // Flink writes the address of an object, which is another one each time.
            Some(arg) => Resolution::Refused(
                Error::user(format!(
                    "PRINTF of a value of type {} is not supported",
                    arg.data_type().kind
                ))
                .with_hint("CAST it to STRING"),
            ),
        }
    },
    printf,
)
.fallible()];

fn has_text(kind: &TypeKind) -> bool {
    !matches!(
        kind,
        TypeKind::Binary(_)
            | TypeKind::Varbinary(_)
            | TypeKind::Array(_)
            | TypeKind::Map(..)
            | TypeKind::Multiset(_)
            | TypeKind::Row(_)
    )
}

fn printf(call: &Call<'_>) -> Result<ArrayRef> {
    let formats = call.args[0].strings();
    let mut parsed: Option<(&str, Result<Format, Fault>)> = None;
    let mut text = String::new();
    try_strings(call.rows, |row, out| {
        let Some(format) = formats.get(row) else {
            return Ok(false);
        };
        if parsed.as_ref().is_none_or(|(known, _)| *known != format) {
            parsed = Some((format, Format::parse(format)));
        }
        let arguments: Vec<Argument<'_>> = call.args[1..]
            .iter()
            .zip(&call.arg_types[1..])
            .map(|(value, data_type)| argument(value, data_type, row))
            .collect();
        text.clear();
        let written = match &parsed {
            Some((_, Ok(format))) => format.write(&arguments, &mut text),
            Some((_, Err(Fault::NotBuilt(conversion)))) => {
                return Err(
                    Error::unsupported(format!("%{conversion} in the format of PRINTF")).with_hint(
                        "DATE_FORMAT writes dates, HEX and MD5 what is to be told apart; %s, %d, %x, %f, %e, %g, %c and %b are known",
                    ),
                );
            }
            Some((_, Err(Fault::TooWide))) => {
                return Err(Error::unsupported(format!(
                    "a width or precision beyond {WIDEST} in the format of PRINTF"
                )));
            }
            _ => Err(Fault::Java),
        };
        out.extend_from_slice(text.as_bytes());
        // What Java refuses is NULL in Flink.
        Ok(written.is_ok())
    })
}

/// A value as the object that Flink holds it in.
fn argument<'a>(value: &'a Value, data_type: &DataType, row: usize) -> Argument<'a> {
    if value.is_null(row) {
        return Argument::Null;
    }
    let array = value.inner();
    let index = value.index(row);
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        Argument::Text(String::from_utf8_lossy(&out).into_owned().into())
    };
    match &data_type.kind {
        TypeKind::Boolean => Argument::Boolean(array.as_boolean().value(index)),
        TypeKind::TinyInt => Argument::Integer(array.as_primitive::<a::Int8Type>().value(index).into(), 8),
        TypeKind::SmallInt => Argument::Integer(array.as_primitive::<a::Int16Type>().value(index).into(), 16),
        TypeKind::Int => Argument::Integer(array.as_primitive::<a::Int32Type>().value(index).into(), 32),
        TypeKind::BigInt => Argument::Integer(array.as_primitive::<a::Int64Type>().value(index), 64),
        TypeKind::Date => Argument::Integer(array.as_primitive::<a::Date32Type>().value(index).into(), 32),
        TypeKind::Time(_) => {
            let millis = array.as_primitive::<a::Time32MillisecondType>().value(index);
            Argument::Integer(millis.into(), 32)
        }
        TypeKind::IntervalYearMonth => {
            let months = array.as_primitive::<a::IntervalYearMonthType>().value(index);
            Argument::Integer(months.into(), 32)
        }
        TypeKind::IntervalDaySecond => Argument::Integer(
            array.as_primitive::<a::DurationMillisecondType>().value(index),
            64,
        ),
        TypeKind::Double => Argument::Double(array.as_primitive::<a::Float64Type>().value(index)),
        TypeKind::Float => Argument::Float(array.as_primitive::<a::Float32Type>().value(index)),
        TypeKind::Decimal { scale, .. } => {
            let unscaled = array.as_primitive::<a::Decimal128Type>().value(index);
            text(&|out| decimal::write(unscaled, *scale, out))
        }
        TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision) => {
            let moment = moment(array, index, *precision);
            text(&|out| local_date_time(moment, out))
        }
        _ => Argument::Text(Cow::Borrowed(array.as_string::<i32>().value(index))),
    }
}

/// As `java.time.LocalDateTime.toString` does: seconds, and threes of digits of their fraction, where needed.
fn local_date_time(moment: timestamp::Moment, out: &mut Vec<u8>) {
    let (days, nanos) = moment.split();
    let seconds = nanos / 1_000_000_000;
    let fraction = nanos % 1_000_000_000;
    date::write(days, out);
    out.extend_from_slice(format!("T{:02}:{:02}", seconds / 3600, seconds / 60 % 60).as_bytes());
    if seconds % 60 > 0 || fraction > 0 {
        out.extend_from_slice(format!(":{:02}", seconds % 60).as_bytes());
    }
    let digits = match fraction {
        0 => return,
        f if f % 1_000_000 == 0 => 3,
        f if f % 1_000 == 0 => 6,
        _ => 9,
    };
    out.push(b'.');
    let text = format!("{fraction:09}");
    out.extend_from_slice(&text.as_bytes()[..digits]);
}
