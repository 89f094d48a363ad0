//! Integers in as few bytes as they have, for rows that rest in a store: counts and sums are mostly small.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use super::{NULL, Rows, encode};
use crate::Result;

/// The code of zero; that of a positive integer is its number of bytes more.
const ZERO: u8 = 0x20;

/// A column of which rows are taken.
enum Source<'a> {
    Long(&'a [i64], Option<&'a NullBuffer>),
    Int(&'a [i32], Option<&'a NullBuffer>),
    Other(&'a ArrayRef),
}

impl<'a> Source<'a> {
    fn of(column: &'a ArrayRef) -> Source<'a> {
        fn parts<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> (&[T::Native], Option<&NullBuffer>) {
            (
                array.values(),
                array.nulls().filter(|nulls| nulls.null_count() > 0),
            )
        }
        match column.data_type() {
            DataType::Int64 => {
                let (values, nulls) = parts(column.as_primitive::<Int64Type>());
                Source::Long(values, nulls)
            }
            DataType::Int32 => {
                let (values, nulls) = parts(column.as_primitive::<Int32Type>());
                Source::Int(values, nulls)
            }
            _ => Source::Other(column),
        }
    }
}

pub(super) fn rows(columns: &[ArrayRef], out: &mut Rows) -> Result<()> {
    let count = columns.first().map_or(0, |c| c.len());
    let sources: Vec<Source<'_>> = columns.iter().map(Source::of).collect();
    out.ends.reserve(count);
    let is_null = |nulls: &Option<&NullBuffer>, row: usize| nulls.is_some_and(|nulls| nulls.is_null(row));
    for row in 0..count {
        for source in &sources {
            match source {
                Source::Long(_, nulls) | Source::Int(_, nulls) if is_null(nulls, row) => out.data.push(NULL),
                Source::Long(values, _) => write(values[row], &mut out.data),
                Source::Int(values, _) => write(values[row].into(), &mut out.data),
                Source::Other(column) => encode::value(column, row, &mut out.data)?,
            }
        }
        out.ends.push(out.data.len());
    }
    Ok(())
}

fn write(value: i64, out: &mut Vec<u8>) {
    let negative = value < 0;
    let bits = (if negative { !value } else { value }) as u64;
    let length = 8 - bits.leading_zeros() as usize / 8;
    out.push(match negative {
        false => ZERO + length as u8,
        true => ZERO - 1 - length as u8,
    });
    out.extend_from_slice(&(value as u64).to_be_bytes()[8 - length..]);
}

/// Bytes of the integer with this code, and whether it is negative.
pub(super) fn length(code: u8) -> Option<(usize, bool)> {
    match code {
        ZERO..=0x28 => Some(((code - ZERO).into(), false)),
        0x17..ZERO => Some(((ZERO - 1 - code).into(), true)),
        _ => None,
    }
}

/// The integer with these bytes.
pub(super) fn read(bytes: &[u8], negative: bool) -> i64 {
    let fill = if negative { 0xff } else { 0 };
    let mut all = [fill; 8];
    all[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_be_bytes(all)
}
