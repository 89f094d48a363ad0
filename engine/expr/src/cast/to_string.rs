//! CAST to CHAR and VARCHAR.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes as a;
use millrace_core::Result;

use super::rules::fits_string;
use crate::compile::Session;
use crate::text::{date, decimal, number, time, timestamp, zone};
use crate::value::BytesBuilder;
use crate::{DataType, TypeKind};

/// Writes every value as text, cut or padded with spaces to the length of the target.
pub(super) fn cast(array: &ArrayRef, from: &DataType, to: &DataType, session: &Session) -> Result<ArrayRef> {
    if (from.is_string()) && fits_string(&from.kind, &to.kind) {
        return Ok(array.clone());
    }
    match &from.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            let values = array.as_string::<i32>();
            each(array, to, |row, out| {
                out.extend_from_slice(values.value(row).as_bytes())
            })
        }
        TypeKind::Boolean => {
            let values = array.as_boolean();
            each(array, to, |row, out| {
                out.extend_from_slice(boolean(values.value(row)))
            })
        }
        TypeKind::Int => {
            let values = array.as_primitive::<a::Int32Type>();
            each(array, to, |row, out| {
                number::write_integer(i64::from(values.value(row)), out)
            })
        }
        TypeKind::BigInt => {
            let values = array.as_primitive::<a::Int64Type>();
            each(array, to, |row, out| {
                number::write_integer(values.value(row), out)
            })
        }
        TypeKind::Double => {
            let values = array.as_primitive::<a::Float64Type>();
            each(array, to, |row, out| number::write_double(values.value(row), out))
        }
        TypeKind::Decimal { scale, .. } => {
            let values = array.as_primitive::<a::Decimal128Type>();
            each(array, to, |row, out| {
                decimal::write(values.value(row), *scale, out)
            })
        }
        _ => each(array, to, |row, out| write_value(array, from, row, session, out)),
    }
}

fn boolean(value: bool) -> &'static [u8] {
    if value { b"TRUE" } else { b"FALSE" }
}

fn each(array: &ArrayRef, to: &DataType, mut write: impl FnMut(usize, &mut Vec<u8>)) -> Result<ArrayRef> {
    let rows = array.len();
    let mut builder = BytesBuilder::new(rows, rows * 16);
    let nulls = array.logical_nulls();
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            builder.push_null();
            continue;
        }
        builder.write(|out| {
            let start = out.len();
            write(row, out);
            fit(out, start, &to.kind);
            true
        });
    }
    builder.strings()
}

/// Cuts or pads what was written from `start` on to the length of the type.
fn fit(out: &mut Vec<u8>, start: usize, to: &TypeKind) {
    let (length, pad) = match to {
        TypeKind::Char(n) => (*n as usize, true),
        TypeKind::Varchar(n) => (*n as usize, false),
        _ => return,
    };
    // A code point has at least one byte.
    if !pad && out.len() - start <= length {
        return;
    }
    let mut count = 0;
    for (at, byte) in out[start..].iter().enumerate() {
        if (*byte as i8) >= -0x40 {
            if count == length {
                out.truncate(start + at);
                return;
            }
            count += 1;
        }
    }
    if pad {
        out.resize(out.len() + length - count, b' ');
    }
}

/// Appends one value as CAST to STRING writes it; the value must not be null.
pub(crate) fn write_value(
    array: &dyn Array,
    from: &DataType,
    row: usize,
    session: &Session,
    out: &mut Vec<u8>,
) {
    match &from.kind {
        TypeKind::Null => out.extend_from_slice(b"NULL"),
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        TypeKind::Boolean => out.extend_from_slice(boolean(array.as_boolean().value(row))),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            let bytes = array.as_binary::<i32>().value(row);
            out.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes());
        }
        TypeKind::Decimal { scale, .. } => {
            decimal::write(array.as_primitive::<a::Decimal128Type>().value(row), *scale, out);
        }
        TypeKind::TinyInt => {
            number::write_integer(array.as_primitive::<a::Int8Type>().value(row).into(), out);
        }
        TypeKind::SmallInt => {
            number::write_integer(array.as_primitive::<a::Int16Type>().value(row).into(), out);
        }
        TypeKind::Int => number::write_integer(array.as_primitive::<a::Int32Type>().value(row).into(), out),
        TypeKind::BigInt => number::write_integer(array.as_primitive::<a::Int64Type>().value(row), out),
        TypeKind::Float => number::write_float(array.as_primitive::<a::Float32Type>().value(row), out),
        TypeKind::Double => number::write_double(array.as_primitive::<a::Float64Type>().value(row), out),
        TypeKind::Date => date::write(array.as_primitive::<a::Date32Type>().value(row), out),
        TypeKind::Time(precision) => {
            time::write(
                array.as_primitive::<a::Time32MillisecondType>().value(row),
                *precision,
                out,
            );
        }
        TypeKind::Timestamp(precision) => {
            timestamp::write(
                super::temporal::moment(array, row, *precision),
                b' ',
                *precision,
                out,
            );
        }
        TypeKind::TimestampLtz(precision) => {
            let instant = super::temporal::moment(array, row, *precision);
            timestamp::write(zone::to_local(session.time_zone, instant), b' ', *precision, out);
        }
        TypeKind::IntervalYearMonth => {
            let months = array.as_primitive::<a::IntervalYearMonthType>().value(row);
            out.push(if months < 0 { b'-' } else { b'+' });
            let months = months.unsigned_abs();
            number::write_integer(i64::from(months / 12), out);
            out.push(b'-');
            crate::text::push_two(out, months % 12);
        }
        TypeKind::IntervalDaySecond => {
            let millis = array.as_primitive::<a::DurationMillisecondType>().value(row);
            out.push(if millis < 0 { b'-' } else { b'+' });
            let millis = millis.unsigned_abs();
            number::write_integer((millis / time::MILLIS_PER_DAY as u64) as i64, out);
            out.push(b' ');
            time::write((millis % time::MILLIS_PER_DAY as u64) as i32, 3, out);
        }
        TypeKind::Array(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push(b'[');
            for i in 0..values.len() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_nullable(&values, element, i, session, out);
            }
            out.push(b']');
        }
        TypeKind::Map(key, value) => write_map(array, key, value, row, session, out),
        TypeKind::Multiset(element) => {
            write_map(
                array,
                element,
                &DataType::not_null(TypeKind::Int),
                row,
                session,
                out,
            );
        }
        TypeKind::Row(fields) => {
            let columns = array.as_struct().columns();
            out.push(b'(');
            for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_nullable(column, &field.data_type, row, session, out);
            }
            out.push(b')');
        }
    }
}

fn write_map(
    array: &dyn Array,
    key: &DataType,
    value: &DataType,
    row: usize,
    session: &Session,
    out: &mut Vec<u8>,
) {
    let entries = array.as_map().value(row);
    out.push(b'{');
    for i in 0..entries.len() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write_nullable(entries.column(0), key, i, session, out);
        out.push(b'=');
        write_nullable(entries.column(1), value, i, session, out);
    }
    out.push(b'}');
}

fn write_nullable(array: &ArrayRef, from: &DataType, row: usize, session: &Session, out: &mut Vec<u8>) {
    if array.data_type() == &a::DataType::Null || array.is_null(row) {
        out.extend_from_slice(b"NULL");
    } else {
        write_value(array, from, row, session, out);
    }
}
