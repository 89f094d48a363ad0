//! Columns to records, as Flink's `CsvRowDataSerializationSchema` and Jackson below it write them.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_core::{Error, Result};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, RowType, TypeKind};

use super::dialect::{Dialect, Mark};
use crate::column::check_type;
use crate::number;
use crate::time::{self, Standard};

/// Longer texts are put in quotes unseen.
const LOOKED_AT: usize = 24;

pub struct CsvEncoder {
    fields: RowType,
    dialect: Dialect,
    scratch: Vec<u8>,
}

impl CsvEncoder {
    pub fn new(fields: &RowType, dialect: Dialect) -> Self {
        CsvEncoder {
            fields: fields.clone(),
            dialect,
            scratch: Vec::new(),
        }
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        if batch.rows.num_columns() < self.fields.fields.len() {
            return Err(Error::internal(
                "a batch has fewer columns than its format writes",
            ));
        }
        let columns = batch.rows.columns();
        for (field, array) in self.fields.fields.iter().zip(columns) {
            check_type(array.as_ref(), field)?;
        }
        for row in 0..batch.len() {
            for (i, (field, array)) in self.fields.fields.iter().zip(columns).enumerate() {
                if i > 0 {
                    out.data.extend_from_slice(self.dialect.delimiter.bytes());
                }
                cell(
                    &field.data_type,
                    array.as_ref(),
                    row,
                    &self.dialect,
                    &mut self.scratch,
                    &mut out.data,
                )?;
            }
            if out.data.len() > u32::MAX as usize {
                return Err(Error::user("a batch's payloads exceed 4 GiB")
                    .with_hint("set millrace.batch.max-rows to a smaller number"));
            }
            out.offsets.push(out.data.len() as u32);
        }
        Ok(())
    }
}

fn cell(
    data_type: &DataType,
    array: &dyn Array,
    row: usize,
    dialect: &Dialect,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    if array.is_null(row) || data_type.kind == TypeKind::Null {
        out.extend_from_slice(dialect.null_literal.as_deref().unwrap_or_default());
        return Ok(());
    }
    scratch.clear();
    let text = match &data_type.kind {
        TypeKind::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            for i in 0..items.len() {
                element_of(i, element, items.as_ref(), i, dialect, scratch)?;
            }
            true
        }
        TypeKind::Row(fields) => {
            for (i, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                element_of(i, &field.data_type, column.as_ref(), row, dialect, scratch)?;
            }
            true
        }
        _ => simple(data_type, array, row, dialect, scratch)?,
    };
    if text {
        quoted(scratch, dialect, out);
    } else {
        out.extend_from_slice(scratch);
    }
    Ok(())
}

fn element_of(
    nth: usize,
    data_type: &DataType,
    array: &dyn Array,
    row: usize,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) -> Result<()> {
    if nth > 0 {
        out.extend_from_slice(&dialect.element_delimiter);
    }
    if array.is_null(row) {
        out.extend_from_slice(dialect.null_literal.as_deref().unwrap_or_default());
        return Ok(());
    }
    simple(data_type, array, row, dialect, out).map(|_| ())
}

/// Writes a value that is neither array nor row; whether it is a text, and so may need quotes.
fn simple(
    data_type: &DataType,
    array: &dyn Array,
    row: usize,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) -> Result<bool> {
    let mut digits = itoa::Buffer::new();
    let mut integer = |out: &mut Vec<u8>, v: i64| out.extend_from_slice(digits.format(v).as_bytes());
    match &data_type.kind {
        TypeKind::Boolean => out.extend_from_slice(if array.as_boolean().value(row) {
            b"true"
        } else {
            b"false"
        }),
        TypeKind::TinyInt => integer(out, i64::from(array.as_primitive::<Int8Type>().value(row))),
        TypeKind::SmallInt => integer(out, i64::from(array.as_primitive::<Int16Type>().value(row))),
        TypeKind::Int => integer(out, i64::from(array.as_primitive::<Int32Type>().value(row))),
        TypeKind::BigInt => integer(out, array.as_primitive::<Int64Type>().value(row)),
        TypeKind::Float => number::write_float(out, array.as_primitive::<Float32Type>().value(row)),
        TypeKind::Double => number::write_double(out, array.as_primitive::<Float64Type>().value(row)),
        TypeKind::Decimal { scale, .. } => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            if dialect.scientific_decimals {
                number::write_decimal_stripped(out, unscaled, *scale);
            } else {
                number::write_decimal_plain(out, unscaled, *scale);
            }
        }
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            return Ok(true);
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            let bytes = array.as_binary::<i32>().value(row);
            let begin = out.len();
            out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
            let written = STANDARD
                .encode_slice(bytes, &mut out[begin..])
                .map_err(|e| Error::internal("base64 does not fit").with_source(e))?;
            out.truncate(begin + written);
            return Ok(true);
        }
        TypeKind::Date => {
            time::write_date(out, i64::from(array.as_primitive::<Date32Type>().value(row)));
            return Ok(true);
        }
        TypeKind::Time(_) => {
            time::write_time(out, array.as_primitive::<Time32MillisecondType>().value(row));
            return Ok(true);
        }
        TypeKind::Timestamp(p) => return Ok(timestamp(array, row, *p, false, out)),
        TypeKind::TimestampLtz(p) => return Ok(timestamp(array, row, *p, true, out)),
        other => {
            return Err(Error::internal(format!(
                "the csv format meets a column of type {other}"
            )));
        }
    }
    Ok(false)
}

fn timestamp(array: &dyn Array, row: usize, precision: u8, zoned: bool, out: &mut Vec<u8>) -> bool {
    let unit = timestamp_unit(precision);
    let value = match unit {
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => array.as_primitive::<TimestampNanosecondType>().value(row),
    };
    time::write_timestamp(out, value, unit, Standard::Sql, zoned);
    true
}

/// Appends a text, in quotes where it needs them.
fn quoted(text: &[u8], dialect: &Dialect, out: &mut Vec<u8>) {
    let Some(quote) = dialect.quote else {
        // Flink writes the text as it is: without quotes there is no way to protect a delimiter.
        return out.extend_from_slice(text);
    };
    if !needs_quotes(text, quote, dialect) {
        return out.extend_from_slice(text);
    }
    out.extend_from_slice(quote.bytes());
    let mut at = 0;
    while at < text.len() {
        let doubled = [Some(quote), dialect.escape]
            .into_iter()
            .flatten()
            .find(|mark| mark.is_at(text, at));
        let length = doubled.map_or(1, Mark::width);
        if doubled.is_some() {
            out.extend_from_slice(&text[at..at + length]);
        }
        out.extend_from_slice(&text[at..at + length]);
        at += length;
    }
    out.extend_from_slice(quote.bytes());
}

/// Jackson's quick look: a text that is long, or has a character up to the greatest of delimiter,
/// quote and line feeds.
fn needs_quotes(text: &[u8], quote: Mark, dialect: &Dialect) -> bool {
    // Jackson counts UTF-16 units.
    let length = || String::from_utf8_lossy(text).encode_utf16().count();
    if text.len() > LOOKED_AT && length() > LOOKED_AT {
        return true;
    }
    let greatest = dialect.delimiter.unit().max(quote.unit()).max(u16::from(b'\r'));
    let special = dialect.escape.map_or(u16::from(b'\\'), Mark::unit);
    if greatest.max(special) < 0x80 {
        return text
            .iter()
            .any(|&b| u16::from(b) <= greatest || u16::from(b) == special);
    }
    String::from_utf8_lossy(text)
        .encode_utf16()
        .any(|unit| unit <= greatest || unit == special)
}
