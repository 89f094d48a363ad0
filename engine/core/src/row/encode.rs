//! Columns to bytes. Rows without nulls of types of fixed width, the most common keys, are written
//! column by column into place; all others row by row.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

use super::{ELEMENT, END, NULL, Rows, VALUE, fixed_width};
use crate::{Error, Result};

pub(super) fn rows(columns: &[ArrayRef], width: Option<usize>, out: &mut Rows) -> Result<()> {
    let count = columns.first().map_or(0, |c| c.len());
    out.ends.reserve(count);
    match width {
        Some(width) if columns.iter().all(|c| c.null_count() == 0) && !columns.is_empty() => {
            let start = out.data.len();
            out.data.resize(start + width * count, VALUE);
            let mut at = 0;
            for column in columns {
                strided(column, &mut out.data[start..], at, width)?;
                at += 1 + fixed_width(column.data_type()).unwrap_or(0);
            }
            out.ends.extend((1..=count).map(|row| start + row * width));
        }
        _ => {
            for row in 0..count {
                for column in columns {
                    value(column, row, &mut out.data)?;
                }
                out.ends.push(out.data.len());
            }
        }
    }
    Ok(())
}

/// Integers as bytes that sort.
trait Sortable<const N: usize>: Copy {
    fn bytes(self) -> [u8; N];
}

macro_rules! sortable {
    ($($native:ty, $unsigned:ty, $width:literal;)*) => {
        $(impl Sortable<$width> for $native {
            fn bytes(self) -> [u8; $width] {
                (self as $unsigned ^ (1 << (<$unsigned>::BITS - 1))).to_be_bytes()
            }
        })*
    };
}

sortable! {
    i8, u8, 1;
    i16, u16, 2;
    i32, u32, 4;
    i64, u64, 8;
    i128, u128, 16;
}

impl Sortable<4> for f32 {
    fn bytes(self) -> [u8; 4] {
        let bits = self.to_bits();
        let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
        (bits ^ flip).to_be_bytes()
    }
}

impl Sortable<8> for f64 {
    fn bytes(self) -> [u8; 8] {
        let bits = self.to_bits();
        let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
        (bits ^ flip).to_be_bytes()
    }
}

/// Calls `$visit::<Type, width>(array)` for the primitive type of a column; `$other` for the rest.
macro_rules! primitive {
    ($column:expr, $visit:ident ( $($argument:expr),* ), $other:expr) => {
        match $column.data_type() {
            DataType::Int8 => $visit::<Int8Type, 1>($column.as_primitive(), $($argument),*),
            DataType::Int16 => $visit::<Int16Type, 2>($column.as_primitive(), $($argument),*),
            DataType::Int32 => $visit::<Int32Type, 4>($column.as_primitive(), $($argument),*),
            DataType::Int64 => $visit::<Int64Type, 8>($column.as_primitive(), $($argument),*),
            DataType::Float32 => $visit::<Float32Type, 4>($column.as_primitive(), $($argument),*),
            DataType::Float64 => $visit::<Float64Type, 8>($column.as_primitive(), $($argument),*),
            DataType::Date32 => $visit::<Date32Type, 4>($column.as_primitive(), $($argument),*),
            DataType::Time32(TimeUnit::Millisecond) => {
                $visit::<Time32MillisecondType, 4>($column.as_primitive(), $($argument),*)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                $visit::<TimestampMillisecondType, 8>($column.as_primitive(), $($argument),*)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                $visit::<TimestampMicrosecondType, 8>($column.as_primitive(), $($argument),*)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                $visit::<TimestampNanosecondType, 8>($column.as_primitive(), $($argument),*)
            }
            DataType::Duration(TimeUnit::Millisecond) => {
                $visit::<DurationMillisecondType, 8>($column.as_primitive(), $($argument),*)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                $visit::<IntervalYearMonthType, 4>($column.as_primitive(), $($argument),*)
            }
            DataType::Decimal128(..) => $visit::<Decimal128Type, 16>($column.as_primitive(), $($argument),*),
            _ => $other,
        }
    };
}

/// Writes a column without nulls behind the null byte at `at` of each row.
fn strided(column: &ArrayRef, out: &mut [u8], at: usize, width: usize) -> Result<()> {
    fn fill<T: ArrowPrimitiveType, const N: usize>(
        array: &PrimitiveArray<T>,
        out: &mut [u8],
        at: usize,
        width: usize,
    ) -> Result<()>
    where
        T::Native: Sortable<N>,
    {
        for (row, value) in out.chunks_exact_mut(width).zip(array.values()) {
            row[at + 1..at + 1 + N].copy_from_slice(&value.bytes());
        }
        Ok(())
    }
    match column.data_type() {
        DataType::Boolean => {
            let array = column.as_boolean();
            for (row, value) in out.chunks_exact_mut(width).zip(array.values()) {
                row[at + 1] = u8::from(value);
            }
            Ok(())
        }
        _ => primitive!(column, fill(out, at, width), Err(unknown(column.data_type()))),
    }
}

pub(super) fn value(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
    fn push<T: ArrowPrimitiveType, const N: usize>(
        array: &PrimitiveArray<T>,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<()>
    where
        T::Native: Sortable<N>,
    {
        out.extend_from_slice(&array.value(row).bytes());
        Ok(())
    }
    if column.data_type() == &DataType::Null || column.is_null(row) {
        out.push(NULL);
        return Ok(());
    }
    out.push(VALUE);
    match column.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Utf8 => escaped(column.as_string::<i32>().value(row).as_bytes(), out),
        DataType::Binary => escaped(column.as_binary::<i32>().value(row), out),
        DataType::Struct(_) => {
            for field in column.as_struct().columns() {
                value(field, row, out)?;
            }
        }
        DataType::List(_) => elements(&column.as_list::<i32>().value(row), out)?,
        DataType::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(column.as_map().value(row));
            elements(&entries, out)?;
        }
        _ => primitive!(column, push(row, out), Err(unknown(column.data_type())))?,
    }
    Ok(())
}

fn elements(array: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    for element in 0..array.len() {
        out.push(ELEMENT);
        value(array, element, out)?;
    }
    out.push(END);
    Ok(())
}

fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}

fn unknown(data_type: &DataType) -> Error {
    Error::internal(format!("rows of type {data_type} have no encoding"))
}
