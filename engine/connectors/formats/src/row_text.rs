//! A row as Flink's `Row.toString` writes it: `+I[1, a, 2020-01-01T00:00, null]`.
//!
//! Values are in their Java classes' `toString`: a time leaves zero seconds out, fractions come in
//! groups of three digits, bytes are a list of signed numbers, a map is `{k=v}`.

use arrow::array::{Array, ArrayRef, AsArray, MapArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use millrace_core::{Result, RowKind};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, Field, TypeKind};

use crate::column::check_type;
use crate::{number, time};

/// Columns that are written row by row.
pub struct RowText<'a> {
    columns: Vec<(&'a DataType, &'a dyn Array)>,
}

impl<'a> RowText<'a> {
    pub fn new(fields: &'a [Field], arrays: &'a [ArrayRef]) -> Result<Self> {
        let columns = fields
            .iter()
            .zip(arrays)
            .map(|(field, array)| {
                check_type(array.as_ref(), field)?;
                Ok((&field.data_type, array.as_ref()))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(RowText { columns })
    }

    pub fn write(&self, kind: RowKind, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(kind.short().as_bytes());
        out.push(b'[');
        for (i, (data_type, array)) in self.columns.iter().enumerate() {
            separate(i, out);
            value(data_type, *array, row, out);
        }
        out.push(b']');
    }
}

fn separate(i: usize, out: &mut Vec<u8>) {
    if i > 0 {
        out.extend_from_slice(b", ");
    }
}

fn push(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

/// Writes one value; the array has the type's Arrow form.
pub fn value(data_type: &DataType, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) || data_type.kind == TypeKind::Null {
        return push("null", out);
    }
    match &data_type.kind {
        TypeKind::Null => {}
        TypeKind::Char(_) | TypeKind::Varchar(_) => push(array.as_string::<i32>().value(row), out),
        TypeKind::Boolean => push(
            if array.as_boolean().value(row) {
                "true"
            } else {
                "false"
            },
            out,
        ),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            out.push(b'[');
            for (i, b) in array.as_binary::<i32>().value(row).iter().enumerate() {
                separate(i, out);
                push(&(*b as i8).to_string(), out);
            }
            out.push(b']');
        }
        TypeKind::Decimal { scale, .. } => {
            number::write_decimal(out, array.as_primitive::<Decimal128Type>().value(row), *scale);
        }
        TypeKind::TinyInt => push(&array.as_primitive::<Int8Type>().value(row).to_string(), out),
        TypeKind::SmallInt => push(&array.as_primitive::<Int16Type>().value(row).to_string(), out),
        TypeKind::Int => push(&array.as_primitive::<Int32Type>().value(row).to_string(), out),
        TypeKind::BigInt => push(&array.as_primitive::<Int64Type>().value(row).to_string(), out),
        TypeKind::Float => number::write_float(out, array.as_primitive::<Float32Type>().value(row)),
        TypeKind::Double => number::write_double(out, array.as_primitive::<Float64Type>().value(row)),
        TypeKind::Date => time::write_date(out, i64::from(array.as_primitive::<Date32Type>().value(row))),
        TypeKind::Time(_) => {
            let millis = array.as_primitive::<Time32MillisecondType>().value(row);
            let nanos = millis.rem_euclid(1000) as u32 * 1_000_000;
            clock(i64::from(millis.div_euclid(1000)), nanos, false, out);
        }
        TypeKind::Timestamp(p) => timestamp(array, row, *p, false, out),
        TypeKind::TimestampLtz(p) => timestamp(array, row, *p, true, out),
        TypeKind::IntervalYearMonth => period(array.as_primitive::<IntervalYearMonthType>().value(row), out),
        TypeKind::IntervalDaySecond => {
            duration(array.as_primitive::<DurationMillisecondType>().value(row), out);
        }
        TypeKind::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            out.push(b'[');
            for i in 0..items.len() {
                separate(i, out);
                value(element, items.as_ref(), i, out);
            }
            out.push(b']');
        }
        TypeKind::Map(k, v) => map(k, v, array.as_map(), row, out),
        TypeKind::Multiset(element) => {
            map(
                element,
                &DataType::not_null(TypeKind::Int),
                array.as_map(),
                row,
                out,
            );
        }
        TypeKind::Row(fields) => {
            push("+I[", out);
            for (i, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                separate(i, out);
                value(&field.data_type, column.as_ref(), row, out);
            }
            out.push(b']');
        }
    }
}

fn map(key: &DataType, item: &DataType, map: &MapArray, row: usize, out: &mut Vec<u8>) {
    let offsets = map.value_offsets();
    out.push(b'{');
    for (i, at) in (offsets[row]..offsets[row + 1]).enumerate() {
        separate(i, out);
        value(key, map.keys().as_ref(), at as usize, out);
        out.push(b'=');
        value(item, map.values().as_ref(), at as usize, out);
    }
    out.push(b'}');
}

fn timestamp(array: &dyn Array, row: usize, precision: u8, instant: bool, out: &mut Vec<u8>) {
    let unit = timestamp_unit(precision);
    let value = match unit {
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => array.as_primitive::<TimestampNanosecondType>().value(row),
    };
    let per_second = time::units_per_second(unit);
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    time::write_date(out, seconds.div_euclid(86_400));
    out.push(b'T');
    clock(seconds.rem_euclid(86_400), nanos as u32, instant, out);
    if instant {
        out.push(b'Z');
    }
}

/// `LocalTime.toString`, or with `seconds` the time of `Instant.toString`, which never lacks them.
fn clock(second_of_day: i64, nanos: u32, seconds: bool, out: &mut Vec<u8>) {
    let (h, m, s) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    push(&format!("{h:02}:{m:02}"), out);
    if s == 0 && nanos == 0 && !seconds {
        return;
    }
    push(&format!(":{s:02}"), out);
    if nanos == 0 {
        return;
    }
    let fraction = if nanos.is_multiple_of(1_000_000) {
        format!(".{:03}", nanos / 1_000_000)
    } else if nanos.is_multiple_of(1000) {
        format!(".{:06}", nanos / 1000)
    } else {
        format!(".{nanos:09}")
    };
    push(&fraction, out);
}

/// `Period.toString` of years and months.
fn period(months: i32, out: &mut Vec<u8>) {
    let (years, rest) = (months / 12, months % 12);
    out.push(b'P');
    if months == 0 {
        return push("0D", out);
    }
    if years != 0 {
        push(&format!("{years}Y"), out);
    }
    if rest != 0 {
        push(&format!("{rest}M"), out);
    }
}

/// `Duration.toString`.
fn duration(millis: i64, out: &mut Vec<u8>) {
    if millis == 0 {
        return push("PT0S", out);
    }
    push("PT", out);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let rest = millis % 60_000;
    if hours != 0 {
        push(&format!("{hours}H"), out);
    }
    if minutes != 0 {
        push(&format!("{minutes}M"), out);
    }
    if rest == 0 {
        return;
    }
    let sign = if rest < 0 { "-" } else { "" };
    push(&format!("{sign}{}", (rest / 1000).abs()), out);
    let fraction = (rest % 1000).abs();
    if fraction != 0 {
        push(format!(".{fraction:03}").trim_end_matches('0'), out);
    }
    out.push(b'S');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn rows_as_flink_prints_them() {
        let fields = vec![
            Field::new("id", DataType::bigint()),
            Field::new("name", DataType::string()),
            Field::new("at", DataType::nullable(TypeKind::Timestamp(3))),
        ];
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(TimestampMillisecondArray::from(vec![
                1_577_836_800_000,
                1_577_836_801_500,
            ])),
        ];
        let text = RowText::new(&fields, &arrays).unwrap();
        let mut out = Vec::new();
        text.write(RowKind::Insert, 0, &mut out);
        text.write(RowKind::Delete, 1, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "+I[1, a, 2020-01-01T00:00]-D[2, null, 2020-01-01T00:00:01.500]"
        );
    }

    #[test]
    fn intervals() {
        let text = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            f(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(&|o| period(14, o)), "P1Y2M");
        assert_eq!(text(&|o| period(0, o)), "P0D");
        assert_eq!(text(&|o| duration(3_661_500, o)), "PT1H1M1.5S");
        assert_eq!(text(&|o| duration(-500, o)), "PT-0.5S");
        assert_eq!(text(&|o| duration(0, o)), "PT0S");
    }
}
