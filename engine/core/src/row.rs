//! Rows of Arrow columns as bytes: keys and their hashes, namespaces, state.
//!
//! The bytes sort as the values do, nulls first, and no row's bytes are the beginning of another
//! row's of the same types: so they serve as keys of a store, one after the other. Version 1:
//!
//! | | bytes |
//! |---|---|
//! | null | `00` |
//! | an integer as few bytes as it has, where a codec is told to | `20` and its number of bytes, from `0` to `8` for a positive one; `1f` less that of its complement for a negative one; then big-endian |
//! | any other value | `01`, then |
//! | BOOLEAN | `00` or `01` |
//! | integers, dates, times, intervals, decimals | big-endian, the sign bit flipped |
//! | FLOAT, DOUBLE | IEEE 754 big-endian; all bits flipped below zero, else the sign bit |
//! | text, bytes | as they are, `00` as `00 ff`; then `00 00` |
//! | ROW | its fields |
//! | ARRAY, MAP | `01` before each element (MAP: key, then value); then `00` |
//!
//! NaN and the two zeros of floats keep their bits: they are different keys, as in Flink.
//!
//! Layout: `encode` columns to bytes, `compact` integers to few bytes, `decode` bytes to columns.

mod compact;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, IntervalUnit};

use crate::{Error, Result};

/// Raised when the bytes of any type change.
pub const VERSION: u8 = 1;

const NULL: u8 = 0;
const VALUE: u8 = 1;
const END: u8 = 0;
const ELEMENT: u8 = 1;

/// Encodes and decodes rows of certain types.
#[derive(Debug, Clone)]
pub struct RowCodec {
    types: Vec<DataType>,
    /// Bytes of a row where that is the same for all rows without nulls.
    width: Option<usize>,
    /// Integers take as few bytes as they have.
    compact: bool,
}

/// Encoded rows one after another.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub data: Vec<u8>,
    /// Row i ends here; it begins where the row before ends.
    pub ends: Vec<usize>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start..self.ends[row]
    }

    pub fn get(&self, row: usize) -> &[u8] {
        &self.data[self.range(row)]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Appends an encoded row.
    pub fn push(&mut self, row: &[u8]) {
        self.data.extend_from_slice(row);
        self.ends.push(self.data.len());
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

impl RowCodec {
    /// An error for a type that has no encoding.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let types: Vec<DataType> = types.into_iter().collect();
        for data_type in &types {
            check(data_type)?;
        }
        let width = types.iter().map(|t| fixed_width(t).map(|w| w + 1)).sum();
        Ok(RowCodec {
            types,
            width,
            compact: false,
        })
    }

    /// One for rows that are stored: small integers take few bytes, and are written more slowly.
    pub fn compact(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Ok(RowCodec {
            compact: true,
            ..Self::new(types)?
        })
    }

    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Appends the rows of columns of equal length to `out`.
    pub fn encode(&self, columns: &[ArrayRef], out: &mut Rows) -> Result<()> {
        if columns.len() != self.types.len() {
            return Err(Error::internal(
                "rows are encoded with too few or too many columns",
            ));
        }
        for (column, data_type) in columns.iter().zip(&self.types) {
            if column.data_type() != data_type {
                return Err(Error::internal(format!(
                    "a row of type {data_type} is encoded from a column of type {}",
                    column.data_type()
                )));
            }
        }
        match self.compact {
            true => compact::rows(columns, out),
            false => encode::rows(columns, self.width, out),
        }
    }

    /// The columns of encoded rows. Bytes that no row of these types has are an error.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        decode::rows(&self.types, rows)
    }
}

/// Bytes of a value without its null byte, where all values of the type have as many.
fn fixed_width(data_type: &DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Null => 0,
        DataType::Boolean | DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32
        | DataType::Float32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Interval(IntervalUnit::YearMonth) => 4,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp(..) | DataType::Duration(_) => 8,
        DataType::Decimal128(..) => 16,
        _ => return None,
    })
}

fn check(data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Utf8 | DataType::Binary => Ok(()),
        DataType::Struct(fields) => fields.iter().try_for_each(|f| check(f.data_type())),
        DataType::List(item) => check(item.data_type()),
        DataType::Map(entries, _) => check(entries.data_type()),
        other if fixed_width(other).is_some() => Ok(()),
        other => Err(Error::internal(format!("rows of type {other} have no encoding"))),
    }
}
